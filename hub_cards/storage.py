"""Save a stage's result so that a folder that exists is complete: written beside its place, renamed when whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
from datasets import DatasetDict, load_from_disk
from filelock import FileLock, Timeout

from hub_cards.errors import BadInputError
from hub_cards.provenance import PROVENANCE_FILE, StepRecord, read_records, write_records


def is_up_to_date(output_dir: Path, record: StepRecord) -> bool:
    """Whether `output_dir` already holds the finished result of exactly this step on exactly these inputs."""
    records = read_records(output_dir)
    return bool(records) and records[-1].fingerprint == record.fingerprint and not records[-1].unfinished


def check_output_dir(output_dir: Path, step: str) -> None:
    """Refuse a place that holds anything but an earlier result of the same step.

    Raises:
        BadInputError: it is a file, or a folder that another step, or none of ours, has written.
    """
    if output_dir.is_file():
        raise BadInputError(f"--output_dir {output_dir}: is a file")
    if not output_dir.exists() or not any(output_dir.iterdir()):
        return
    records = read_records(output_dir)
    if not records or records[-1].step != step:
        holder = f"a result of the {records[-1].step} step" if records else "files that no stage of ours wrote"
        raise BadInputError(f"--output_dir {output_dir}: holds {holder}; choose another folder or remove it")


def work_dir(output_dir: Path) -> Path:
    """Where a stage keeps finished parts until its result is whole; survives a crash, so a rerun goes on from it."""
    return output_dir.parent / f".{output_dir.name}.work"


@contextmanager
def locked(output_dir: Path, flag: str = "--output_dir") -> Iterator[None]:
    """Keep a second process from writing the same result. The lock is the kernel's: it dies with its process.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: another process holds it, or the parent folder cannot be made.
    """
    try:
        output_dir.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output_dir.parent / f".{output_dir.name}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise BadInputError(f"{flag} {output_dir}: another process is writing it right now") from error
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadInputError(f"{flag} {output_dir}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_folder(output_dir: Path) -> Iterator[Path]:
    """A fresh folder beside `output_dir` to write into; on leaving without an exception it takes that place."""
    partial = output_dir.parent / f".{output_dir.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    replaced = output_dir.parent / f".{output_dir.name}.replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    if output_dir.exists():
        output_dir.rename(replaced)
    partial.rename(output_dir)
    shutil.rmtree(replaced, ignore_errors=True)
    shutil.rmtree(work_dir(output_dir), ignore_errors=True)


@contextmanager
def place_beside(folder: Path) -> Iterator[Path]:
    """A place for what is laid out of a result, on its disk: weights are linked, and the system's may be too small."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.hub-") as place:
        yield Path(place)


def make_readable(folder: Path) -> None:
    """Let those read the files of a folder who may read other new files: safetensors writes for its owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def save_result(output_dir: Path, result: DatasetDict, records: list[StepRecord]) -> None:
    """Save a stage's `DatasetDict` (Arrow shards) with its lineage, all or nothing."""
    with new_folder(output_dir) as folder:
        save_parts(folder, result)
        write_records(folder, records)


def save_parts(folder: Path, parts: DatasetDict) -> None:
    """Save a `DatasetDict` as Arrow shards."""
    # Without the explicit number `datasets` writes no shard for an empty part, and then cannot load it.
    parts.save_to_disk(folder, num_shards={name: None if len(rows) else 1 for name, rows in parts.items()})


def load_folder(folder: Path) -> DatasetDict:
    """The `DatasetDict` that a stage saved.

    Raises:
        BadInputError: the folder holds no saved data set, or not the whole of one.
    """
    if not (folder / "dataset_dict.json").is_file() or not (folder / PROVENANCE_FILE).is_file():
        raise BadInputError(f"{folder}: holds no data set saved by a stage")
    try:
        return load_from_disk(folder)
    except FileNotFoundError as error:
        missing = error.filename or str(error).splitlines()[0]
        raise BadInputError(f"{folder}: is damaged: {missing} is missing; run its stage again") from error
    except pa.ArrowInvalid as error:  # a file that is cut off
        raise BadInputError(f"{folder}: is damaged ({' '.join(str(error).split())}); run its stage again") from error


def is_disk_full(error: OSError) -> bool:
    """Whether an error means that the disk (or the user's quota) is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_file(path: Path, flag: str, replace: bool = False) -> Iterator[IO[str]]:
    """A text file to write, beside `path`; on leaving without an exception it takes that place.

    Halves of surrogate pairs, which no file can hold, become question marks.

    Args:
        replace: whether one that is there gives way.

    Raises:
        BadInputError: there is one already, or the folder cannot be written.
    """
    if path.exists() and not replace:
        raise BadInputError(f"{flag} {path}: exists; choose another name or remove it")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadInputError(f"{flag} {path}: cannot be written ({error.strerror})") from error
    finally:
        if partial.is_file():
            partial.unlink()
