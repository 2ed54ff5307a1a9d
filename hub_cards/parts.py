"""The parts of a folder of data files: which files hold which variant, by the names of splits and configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from hub_cards.errors import BadInputError
from hub_cards.schema import VARIANTS

ALIASES = {"origin": "original", **{name: name for name in VARIANTS}}
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
    parts: dict[str, list[Path]] = {}
    for path in files:
        parts.setdefault(part_name(path.relative_to(folder)), []).append(path)
    return {name: parts[name] for name in sorted(parts, key=lambda name: (*VARIANTS, name).index(name))}


def read_parquet(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of parquet files, one after the other, of these columns only.

    Raises:
        BadInputError: a file is damaged, or the files have different columns.
    """
    tables = []
    for path in paths:
        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                tables.append(file.read(columns=None if columns is None else list(columns)))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})") from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise BadInputError(
            f"{paths[0].parent}: its files have different columns ({' '.join(str(error).split())})"
        ) from error


def read_batches(paths: Sequence[Path], limit: int | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of parquet files, one after the other and some at a time, up to `limit` of them.

    Raises:
        BadInputError: a file is damaged.
    """
    left = limit
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                # Whole groups: batches of a fixed size cut across them would copy every text once more.
                for number in range(file.num_row_groups):
                    for batch in file.read_row_group(number).to_batches():
                        batch = batch if left is None else batch.slice(0, left)
                        batch.validate(full=True)  # text that is not UTF-8
                        if len(batch):
                            yield batch
                        left = None if left is None else left - len(batch)
                        if left == 0:
                            return
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: a damaged page, found on reading
            raise BadInputError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})") from error


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a parquet file.

    Raises:
        BadInputError: it is none.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{path} cannot be read as parquet ({' '.join(str(error).split())})") from error
