"""Where records come from: a file, a folder saved by a stage, or the Hub; and what identifies their content."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from hub_cards.errors import BadInputError
from hub_cards.hub.remote import FIRST_BLOCK, HubFolder, RemoteFile, parquet_source, resolve_commit

FILE_TYPES = (".json", ".jsonl", ".parquet")
LARGE_FILE = 2**20
# Files that speak of a data set; they hold no rows of it.
DESCRIPTIONS = (
    *("provenance.json", "published_files.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"),
    "state.json",
)


@dataclass(frozen=True)
class Source:
    """One origin of data.

    Attributes:
        kind: `file`, `folder` (saved by a stage, or data files) or `hub`.
        location: the path or Hub id as the user gave it.
        fingerprint: changes whenever the content does: hash of a file or of all files of a folder, fingerprint of a
            step's result, or commit.
        revision: the commit a Hub id was resolved to, else null.
    """

    kind: str
    location: str
    fingerprint: str
    revision: str | None = None


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    state = path.stat()
    if state.st_size < LARGE_FILE:
        return _hash_state.__wrapped__(path, None)
    return _hash_state(path.resolve(), (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=256)
def _hash_state(path: Path, _state: tuple[int, ...] | None) -> str:
    """A stage asks several times for what identifies its input: a large file is read once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path) -> str:
    """sha256 over the names and bytes of the files directly in `folder` (a model folder has no others)."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    lines = [f"{name} {hash_file(folder / name)}" for name in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def looks_like_hub_id(location: str) -> bool:
    """Whether `location` can only be meant as `user/name`."""
    return location.count("/") == 1 and not location.startswith((".", "/", "~")) and not location.endswith(FILE_TYPES)


def is_data(path: PurePath) -> bool:
    """Whether a path within a data set is a data file: not hidden, and none that describes a data set."""
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix in FILE_TYPES and path.name not in DESCRIPTIONS and not hidden


def data_files(folder: Path) -> list[Path]:
    """The data files anywhere below `folder`, sorted."""
    return sorted(path for path in folder.rglob("*") if is_data(path.relative_to(folder)) and path.is_file())


def find_source(location: str, revision: str | None = None, flag: str = "--dataset") -> Source:
    """Resolve data to a source with a content fingerprint.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: nothing is there, the file type is unknown, or a folder holds no data.
    """
    if not location:
        raise BadInputError(f"{flag}: is empty; name a Hub id, a folder or a file")
    path = Path(location)
    if path.is_file():
        if path.suffix not in FILE_TYPES:
            raise BadInputError(f"{flag} {location}: unknown file type {path.suffix!r}; use {', '.join(FILE_TYPES)}")
        return Source("file", location, hash_file(path))
    if path.is_dir():
        return Source("folder", location, _folder_fingerprint(path, flag))
    if looks_like_hub_id(location):
        commit = resolve_commit(location, revision, "dataset", flag)
        return Source("hub", location, f"{location}@{commit}", commit)
    raise BadInputError(f"{flag} {location}: there is no such file or folder, and it is not a Hub id (user/name)")


def find_model(location: str, revision: str | None = None, flag: str = "--model_name_or_path") -> Source:
    """Resolve a model: a folder by its files' hash, a Hub id by its commit.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: the folder holds no model, or there is neither folder nor Hub repository.
    """
    path = Path(location)
    if path.is_dir():
        if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
            raise BadInputError(
                f"{flag} {location}: the folder holds an adapter and no whole model; take the folder above it, where "
                "recipes/sft.py saved the merged one, or merge it into its base model"
            )
        if not (path / "config.json").is_file():
            raise BadInputError(f"{flag} {location}: the folder holds no config.json, so no model")
        return Source("folder", location, hash_folder(path))
    if path.exists() or location.startswith((".", "/", "~")) or location.count("/") > 1:
        raise BadInputError(f"{flag} {location}: there is no such folder")
    commit = resolve_commit(location, revision, "model", flag)
    return Source("hub", location, f"{location}@{commit}", commit)


def is_saved_folder(folder: Path) -> bool:
    """Whether a stage saved this folder, and not another program the files that it holds, nor `publish`."""
    from hub_cards.provenance import read_records

    is_data_set = (folder / "dataset_dict.json").is_file()
    return bool(read_records(folder)) and (is_data_set or not data_files(folder))


def _folder_fingerprint(folder: Path, flag: str) -> str:
    from hub_cards.provenance import read_records

    if is_saved_folder(folder):
        return read_records(folder)[-1].result_fingerprint
    files = data_files(folder)
    if not files:
        raise BadInputError(
            f"{flag} {folder}: the folder was not saved by a stage (it has no provenance.json), and it holds no "
            f"{', '.join(FILE_TYPES)} files"
        )
    lines = [f"{path.relative_to(folder).as_posix()} {hash_file(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def hub_folder(source: Source, flag: str = "--dataset") -> HubFolder:
    """The files of a Hub source."""
    return HubFolder(source.location, source.revision, flag)


def hub_data_files(folder: HubFolder) -> list[PurePosixPath]:
    """The data files of a Hub data set, sorted; raises as `HubFolder.sizes`."""
    return [path for path in map(PurePosixPath, sorted(folder.sizes())) if is_data(path)]


def download(source: Source, flag: str = "--dataset") -> Path:
    """All data files of a Hub source and its card as a folder, from the cache where they are there already.

    Raises:
        BadInputError: the Hub says no, it holds no data files, or offline and it is not cached.
        StoppedError: the Hub is out of reach.
    """
    folder = hub_folder(source, flag)
    files = hub_data_files(folder)
    if not files:
        raise BadInputError(f"{flag} {source.location}: the repository holds no {', '.join(FILE_TYPES)} files")
    folder.fetch([*files, *(PurePosixPath(name) for name in folder.sizes() if name == "README.md")])
    return folder.snapshot


def read_file_records(path: Path | RemoteFile) -> Iterator[dict[str, Any]]:
    """The records of a .json (array, or one record a line), .jsonl or .parquet file, in order.

    Raises:
        BadInputError: the file cannot be read as what its name says; the message has the line.
    """
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    if path.suffix == ".json" and _is_array(path):
        parse = _parse_array_piecewise if isinstance(path, RemoteFile) else _parse_array
        yield from _check_objects(path, parse(path), "row")
    else:
        yield from _check_objects(path, _parse_lines(path), "line")


def _read_parquet(path: Path | RemoteFile) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(parquet_source(path)).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: a damaged page, found on reading
        raise no_parquet(path, error) from error


def no_parquet(path: object, error: Exception) -> BadInputError:
    """The line for a file that is no parquet, or a damaged one."""
    return BadInputError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})")


def _is_array(path: Path | RemoteFile) -> bool:
    with path.open("rb") as file:
        start = b""
        while not start and (block := file.read(64)):
            start = block.removeprefix(codecs.BOM_UTF8).lstrip()
    return start[:1] == b"["


def _parse_array(path: Path | RemoteFile) -> Iterator[tuple[int, Any]]:
    return enumerate(_parse_json(path, _decode(path, path.read_bytes())))


def _parse_array_piecewise(path: RemoteFile) -> Iterator[tuple[int, Any]]:
    """An array from its start on, as far as its records are wanted; what is odd about it is left to `_parse_array`."""
    decode, parse = codecs.getincrementaldecoder("utf-8-sig")("replace").decode, json.JSONDecoder().raw_decode
    text, before, number = "", "[", 0
    with path.open("rb") as file:
        while block := file.read(FIRST_BLOCK):
            text += decode(block)
            while (rest := text.lstrip()).startswith(before):
                try:
                    record, end = parse(start := rest[1:].lstrip())
                except (ValueError, RecursionError):  # not all of it has come, or it is no JSON
                    break
                yield number, record
                text, before, number = start[end:], ",", number + 1
    if text.strip() != "]":
        yield from islice(_parse_array(path), number, None)


def _parse_lines(path: Path | RemoteFile) -> Iterator[tuple[int, Any]]:
    """A line at a time, so that a file may be larger than the memory."""
    offset = 0
    # In bytes a line ends at \n alone; as text it may also end at U+2028 and the like, which JSON strings may hold.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = _decode(path, line, offset)
            offset += len(line)
            if text.strip():
                yield number, _parse_json(path, text, number)


def _decode(path: Path | RemoteFile, content: bytes, offset: int = 0) -> str:
    try:
        return (content if offset else content.removeprefix(codecs.BOM_UTF8)).decode()
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise BadInputError(f"{path} is not UTF-8 text ({error.reason} at byte {at})") from error


def _parse_json(path: Path | RemoteFile, text: str, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise BadInputError(f"{path} is not JSON: {error.msg} at line {line}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists thousands deep
        raise BadInputError(f"{path} is not JSON that can be read: {error} (from line {first_line})") from error


def _check_objects(path: Path | RemoteFile, records: Iterator[tuple[int, Any]], unit: str) -> Iterator[dict[str, Any]]:
    for number, record in records:
        if not isinstance(record, dict):
            raise BadInputError(
                f"{path}: {unit} {number} is {json.dumps(record)[:60]}, not an object with named fields"
            )
        yield record
