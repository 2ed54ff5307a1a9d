"""The parts of a folder of data files: which files hold which variant, by the names of splits and configs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hub_cards.arrow import mapped
from hub_cards.errors import BadInputError
from hub_cards.hub.remote import RemoteFile, parquet_source
from hub_cards.schema import VARIANTS
from hub_cards.sources import Source, data_files, hub_data_files, hub_folder, is_saved_folder, no_parquet

AnyFile = Path | RemoteFile
ALIASES = {"origin": "original", **{name: name for name in VARIANTS}}
DEFAULT_SPLIT = "train"
LIMITED_BATCH = 1_000  # rows at a time where only the first ones are wanted
COLUMN_BUFFER = 2**17  # bytes of a remote column at a time, likewise
SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")


def part_name(path: PurePath) -> str:
    """The variant that a file's name or one of its folders names, else its config, else its split.

    Args:
        path: within the folder: `data/origin-00000-of-00001-<hash>.parquet`, `reflect_both/train-….parquet`,
            `origin.jsonl`, `default/origin/0000.parquet` and the like.
    """
    split = SHARD.sub("", path.stem)
    folders = [name for name in reversed(path.parent.parts) if name not in ("data", "default")]
    names = [split, *folders]
    return next((ALIASES[name] for name in names if name in ALIASES), folders[0] if folders else split)


def find_parts(folder: Path, files: Iterable[Path]) -> dict[str, list[Path]]:
    """The files of each part, the variants first, in the contract's order."""
    parts = parts_of([path.relative_to(folder) for path in files])
    return {name: [folder / path for path in paths] for name, paths in parts.items()}


def parts_of(paths: Iterable[PurePath]) -> dict[str, list[PurePath]]:
    """The same of paths within a folder."""
    parts: dict[str, list[PurePath]] = {}
    for path in paths:
        parts.setdefault(part_name(path), []).append(path)
    return {name: parts[name] for name in sorted(parts, key=lambda name: (*VARIANTS, name).index(name))}


@dataclass(frozen=True)
class PartFiles:
    """The data files of a folder or of a Hub data set, by their paths in it; `get` makes some of them readable."""

    paths: Sequence[PurePath]
    get: Callable[[Sequence[PurePath]], Sequence[AnyFile]]


def find_part_files(source: Source, streaming: bool) -> PartFiles | None:
    """The files of a source that is read by its parts: of a folder that no stage saved, of a Hub data set of variants.

    Args:
        streaming: whether a Hub data set is read in place; else what is read of it is downloaded.

    Returns:
        None for any other source.
    """
    if source.kind == "folder" and not is_saved_folder(folder := Path(source.location)):
        paths = [path.relative_to(folder) for path in data_files(folder)]
        return PartFiles(paths, lambda chosen: [folder / path for path in chosen])
    if source.kind == "hub":
        hub = hub_folder(source)
        paths = hub_data_files(hub)
        if any(part_name(path) in VARIANTS for path in paths):
            return PartFiles(paths, hub.in_place if streaming else hub.fetch)
    return None


def choose_parts(
    paths: Iterable[PurePath], config: str | None, split: str, one: bool, where: str
) -> tuple[dict[str, list[PurePath]], list[str]]:
    """Which parts are asked for.

    Where there is only one and it has the name of no variant, or the split asked for is one and there are no
    variants, it is the `original`.

    Args:
        config: the name of a part, also as the published sets name it; none or `default` for all variants.
        split: the name of a part too, where the variants are splits; else of what is taken of each part that has
            several splits.
        one: only the part that stands for the whole, `selected` or else `original`.
        where: what has them, for the messages.

    Returns:
        The paths of every part by its name, and the names asked for: at least one.

    Raises:
        BadInputError: there is no such part or split; the message names the known ones.
    """
    parts = parts_of(paths)
    known, split_is_part = ", ".join(parts), ALIASES.get(split, split) in parts
    wanted = None if config == "default" and config not in parts else ALIASES.get(config, config)
    if not wanted and split in parts and not parts.keys() & set(VARIANTS):
        wanted, parts = "original", {"original": parts[split]}
    elif not wanted and ALIASES.get(split) in parts:
        wanted = ALIASES[split]
    elif not wanted and len(parts) == 1:
        parts = {name if name in VARIANTS else "original": paths for name, paths in parts.items()}
    if one and not wanted:
        wanted = next((name for name in ("selected", "original") if name in parts), None)
    names = [wanted] if wanted else [name for name in VARIANTS if name in parts]
    if not names or names[0] not in parts:
        holds = f"holds the parts {known}; choose one with --dataset_config"
        if not wanted and split == DEFAULT_SPLIT:
            raise BadInputError(f"{where}: {holds}")
        asked = f"--dataset_config {config}" if wanted else f"--dataset_split {split}"
        raise BadInputError(f"{asked}: {where} has no part of this name; it {holds}")
    if split_is_part:
        return parts, names
    return {name: _of_split(paths, name, split, where) for name, paths in parts.items()}, names


def _of_split(paths: list[PurePath], name: str, split: str, where: str) -> list[PurePath]:
    """The files of one split, where a part has files of several."""
    splits = dict.fromkeys(SHARD.sub("", path.stem) for path in paths)
    if split in splits:
        return [path for path in paths if SHARD.sub("", path.stem) == split]
    if split == DEFAULT_SPLIT:
        return paths
    raise BadInputError(f"--dataset_split {split}: {where} has of {name} the splits {', '.join(splits)}")


def read_parquet(paths: Sequence[AnyFile], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of parquet files, one after the other, of these columns only.

    Raises:
        BadInputError: a file is damaged, or the files have different columns.
    """
    tables = []
    for path in paths:
        try:
            with pq.ParquetFile(parquet_source(path), memory_map=True) as file:
                tables.append(file.read(columns=None if columns is None else list(columns)))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise no_parquet(path, error) from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise different_columns(paths[0], error) from error


def different_columns(where: object, error: Exception) -> BadInputError:
    """The line for files of one part that do not go together."""
    return BadInputError(f"{where}: its files have different columns ({' '.join(str(error).split())})")


def read_batches(paths: Sequence[AnyFile], limit: int | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of parquet files, one after the other and some at a time, up to `limit` of them.

    Raises:
        BadInputError: a file is damaged.
    """
    left = limit
    for path in paths:
        try:
            with pq.ParquetFile(parquet_source(path), **_buffers(path, limit)) as file:
                for batch in _batches(file, limit):
                    batch = batch if left is None else batch.slice(0, left)
                    batch.validate(full=True)  # text that is not UTF-8
                    if len(batch):
                        yield batch
                    left = None if left is None else left - len(batch)
                    if left == 0:
                        return
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: a damaged page, found on reading
            raise no_parquet(path, error) from error


def _buffers(path: AnyFile, limit: int | None) -> dict[str, Any]:
    """How pyarrow fetches a file: for all rows in few requests, for the first ones only the start of every column."""
    if isinstance(path, RemoteFile) and limit is not None:
        return {"pre_buffer": False, "buffer_size": COLUMN_BUFFER}
    return {"pre_buffer": isinstance(path, RemoteFile)}


def _batches(file: pq.ParquetFile, limit: int | None) -> Iterator[pa.RecordBatch]:
    if limit is not None:
        yield from file.iter_batches(batch_size=min(limit, LIMITED_BATCH))
        return
    # Whole groups: batches of a fixed size cut across them would copy every text once more.
    for number in range(file.num_row_groups):
        yield from file.read_row_group(number).to_batches()


def read_table(paths: Sequence[AnyFile], limit: int | None = None) -> pa.Table:
    """The first rows of parquet files as a table, all where there is no limit; what is large lies in a file.

    Raises:
        BadInputError: a file is damaged, or the files have different columns.
    """
    schema = parquet_schema(paths[0])
    try:
        return mapped((pa.Table.from_batches([batch]).cast(schema) for batch in read_batches(paths, limit)), schema)
    except (pa.ArrowException, ValueError) as error:
        raise different_columns(paths[0], error) from error


def parquet_schema(path: AnyFile) -> pa.Schema:
    """The columns of a parquet file.

    Raises:
        BadInputError: it is none.
    """
    try:
        return pq.ParquetFile(parquet_source(path), pre_buffer=False).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise no_parquet(path, error) from error
