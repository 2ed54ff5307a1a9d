"""Load any accepted data as rows of the contract, each with its `row_id`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NoReturn

import pyarrow as pa
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.formats import FieldError, Format, Pair, detect_format
from hub_cards.schema import ROW_COLUMNS, VARIANTS, features
from hub_cards.sources import Source, find_source, read_file_records
from hub_cards.storage import load_folder
from hub_cards.where import rows_that_pass

ROW_ID_DIGITS = 16
CHUNK_ROWS = 5_000  # read at a time; the rows before lie in a file


@dataclass
class DataArguments:
    """Which data a stage reads; the same flags in every script."""

    dataset: str = field(
        metadata={"help": "Hub id, folder saved by a stage, or .json/.jsonl/.parquet file"},
    )
    dataset_config: str | None = field(
        default=None,
        metadata={"help": "Hub config, or the key of a saved folder (`original`, `selected`, …)"},
    )
    dataset_split: str = field(default="train", metadata={"help": "Hub split"})
    dataset_revision: str | None = field(default=None, metadata={"help": "Hub revision; resolved to a commit"})
    limit: int | None = field(default=None, metadata={"help": "take only the first N rows"})

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise BadInputError(f"--limit {self.limit}: must be at least 1")

    def source(self) -> Source:
        """The resolved source; raises `BadInputError` where there is none."""
        return find_source(self.dataset, self.dataset_revision)

    def view(self) -> dict[str, Any]:
        """What part of the source is taken, for the step's record."""
        return {"config": self.dataset_config, "split": self.dataset_split, "limit": self.limit}


@dataclass(frozen=True)
class LoadedRows:
    """Base rows and what loading them left out.

    Attributes:
        dataset: columns of `ROW_COLUMNS`, variant `original`.
        notes: counts of what a reader should know (exact duplicates, turns and columns not carried on).
    """

    dataset: Dataset
    notes: dict[str, Any]


def row_id(instruction: str, input: str, output: str) -> str:
    """Content hash of one pair: the first 16 hex digits of sha256 over its JSON."""
    text = json.dumps([instruction, input, output], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ROW_ID_DIGITS]


def number_duplicates(ids: Iterable[str], seen: Counter[str] | None = None) -> list[str]:
    """Make ids unique: the second occurrence of an id gets `-2`, the third `-3`, and so on.

    Args:
        seen: how often each id occurred before; counts on.
    """
    seen = Counter() if seen is None else seen
    unique = []
    for identity in ids:
        seen[identity] += 1
        unique.append(identity if seen[identity] == 1 else f"{identity}-{seen[identity]}")
    return unique


def load_rows(arguments: DataArguments, where: Sequence[str] = ()) -> LoadedRows:
    """Load base rows from a file, a folder saved by a stage or the Hub.

    Args:
        where: conditions on the source's columns (`hub_cards.where`); `limit` counts the rows that pass.

    Raises:
        BadInputError: the source is missing, unreadable, empty, of no accepted format, or a field is no string.
    """
    return _load(arguments, arguments.source(), where)


def _load(arguments: DataArguments, source: Source, where: Sequence[str] = ()) -> LoadedRows:
    if source.kind == "folder":
        dataset = _pick(load_folder(Path(arguments.dataset)), arguments)
        if where:
            dataset = dataset.select(rows_that_pass(where, _columns_of(dataset, arguments), len(dataset)))
        return LoadedRows(_head(dataset, arguments.limit), {})
    if source.kind == "file":
        records: Iterable[dict[str, Any]] = read_file_records(Path(arguments.dataset))
    else:
        records = _hub_records(arguments, source)
    if not where:
        return parse_records(records, arguments.dataset, arguments.limit)
    records = list(records)
    positions = rows_that_pass(where, _fields_of(records, arguments), len(records))
    return parse_records([records[position] for position in positions], arguments.dataset, arguments.limit, positions)


def _columns_of(dataset: Dataset, arguments: DataArguments) -> Callable[[str], list[Any]]:
    def values(column: str) -> list[Any]:
        if column not in dataset.column_names:
            _no_such_column(column, dataset.column_names, arguments)
        return dataset[column][:]

    return values


def _fields_of(records: list[dict[str, Any]], arguments: DataArguments) -> Callable[[str], list[Any]]:
    def values(column: str) -> list[Any]:
        if records and not any(column in record for record in records):
            _no_such_column(column, records[0], arguments)
        return [record.get(column) for record in records]

    return values


def _no_such_column(column: str, known: Iterable[str], arguments: DataArguments) -> NoReturn:
    raise BadInputError(
        f"--where: {arguments.dataset} has no column {column!r}; it has {', '.join(known)}. IFD and the other scores "
        "come from recipes/score.py: give the folder that it saved as --dataset"
    )


def load_variants(arguments: DataArguments) -> DatasetDict:
    """Every variant of a folder saved by a stage; any other data is the one variant `original`."""
    source = arguments.source()
    if source.kind != "folder":
        return DatasetDict(original=_load(arguments, source).dataset)
    saved = load_folder(Path(arguments.dataset))
    names = [arguments.dataset_config] if arguments.dataset_config else [name for name in VARIANTS if name in saved]
    if not names:
        raise BadInputError(
            f"--dataset {arguments.dataset}: holds {', '.join(saved)} and none of {', '.join(VARIANTS)}"
        )
    return DatasetDict(
        {name: _head(_pick(saved, arguments, name), arguments.limit) for name in names},
    )


def parse_records(
    records: Iterable[dict[str, Any]], where: str, limit: int | None = None, positions: Sequence[int] | None = None
) -> LoadedRows:
    """Turn raw records into rows.

    Args:
        where: what they are from, for the messages.
        positions: their numbers in the source, where they are not all of it.

    Raises:
        BadInputError: there are none, their format is unknown, or a record does not fit it (the message numbers it).
    """
    reader = _Reader(where, positions)
    with NamedTemporaryFile(suffix=".arrow") as file:
        schema = features(ROW_COLUMNS).arrow_schema
        with pa.ipc.new_stream(file, schema) as writer:
            taken = enumerate(islice(records, limit))
            while chunk := list(islice(taken, CHUNK_ROWS)):
                writer.write_table(pa.table(reader.columns(chunk), schema=schema))
        file.flush()
        if reader.format is None:
            raise BadInputError(f"{where} is empty: it holds no rows")
        # Mapped, not read: the rows may be more than the memory holds. The file lives as long as the mapping.
        table = pa.ipc.open_stream(pa.memory_map(file.name)).read_all()
    # Without a fingerprint of ours `datasets` would make one of all texts, in memory.
    return LoadedRows(Dataset(table, fingerprint=reader.digest.hexdigest()[:32]), reader.notes())


class _Reader:
    """Turns raw records into columns, and keeps what has to be known of all of them."""

    def __init__(self, where: str, positions: Sequence[int] | None) -> None:
        self.where, self.positions = where, positions
        self.format: Format | None = None
        self.seen: Counter[str] = Counter()
        self.ignored: set[str] = set()
        self.more_turns = 0
        self.digest = hashlib.sha256()

    def columns(self, records: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, list[Any]]:
        """The columns of some numbered records."""
        pairs = [self._pair(index, record) for index, record in records]
        ids = number_duplicates((row_id(pair.instruction, pair.input, pair.output) for pair in pairs), self.seen)
        source_ids = [None if record.get("id") is None else str(record["id"]) for _, record in records]
        self.digest.update(json.dumps([ids, source_ids]).encode())
        return {
            "row_id": ids,
            "source_id": source_ids,
            "instruction": [pair.instruction for pair in pairs],
            "input": [pair.input for pair in pairs],
            "output": [pair.output for pair in pairs],
            "variant": ["original"] * len(pairs),
        }

    def _pair(self, index: int, record: dict[str, Any]) -> Pair:
        self.format = self.format or detect_format(record, self.where)
        pair = _read(self.format, record, self.positions[index] if self.positions else index, self.where)
        self.ignored |= set(record) - self.format.needs - self.format.may_use - {"id"}
        self.more_turns += pair.more_turns
        return pair

    def notes(self) -> dict[str, Any]:
        """What the reading left out."""
        return {
            "format": self.format.name,
            "exact_duplicates": self.seen.total() - len(self.seen),
            "rows_with_further_turns_not_carried": self.more_turns,
            "columns_not_carried": sorted(self.ignored),
        }


def _read(base_format: Format, record: dict[str, Any], index: int, where: str) -> Pair:
    try:
        missing = base_format.needs - set(record)
        if missing:
            raise FieldError(f"field {min(missing)!r} is missing")
        pair = base_format.read(record)
        for text in (pair.instruction, pair.input, pair.output, str(record.get("id"))):
            text.encode()
    except FieldError as error:
        raise BadInputError(f"{where}, row {index}: {error} ({base_format.name} format; rows count from 0)") from error
    except UnicodeEncodeError as error:
        raise BadInputError(f"{where}, row {index}: holds half a surrogate pair, which is no valid text") from error
    return pair


def _pick(saved: DatasetDict, arguments: DataArguments, name: str | None = None) -> Dataset:
    """One key of a saved folder: the one asked for, else `selected`, else `original`."""
    name = name or arguments.dataset_config or next((key for key in ("selected", "original") if key in saved), None)
    if name not in saved:
        raise BadInputError(f"--dataset_config {name}: {arguments.dataset} holds {', '.join(saved)}")
    return saved[name]


def _head(dataset: Dataset, limit: int | None) -> Dataset:
    return dataset if limit is None else dataset.select(range(min(limit, len(dataset))))


def _hub_records(arguments: DataArguments, source: Source) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        return load_dataset(
            arguments.dataset, arguments.dataset_config, split=arguments.dataset_split, revision=source.revision
        )
    except (DatasetNotFoundError, ValueError) as error:  # ValueError: unknown config or split, names the known ones
        raise BadInputError(f"--dataset {arguments.dataset}: {str(error).splitlines()[0]}") from error
