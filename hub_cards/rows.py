"""Load any accepted data as rows of the contract, each with its `row_id`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
from datasets import Dataset, DatasetDict

from hub_cards.arrow import mapped
from hub_cards.errors import BadInputError
from hub_cards.formats import FieldError, Format, Pair, detect_format
from hub_cards.hub.rows import find_split, split_records, streaming_explained
from hub_cards.parts import (
    ALIASES,
    AnyFile,
    PartFiles,
    choose_parts,
    find_part_files,
    parquet_schema,
    read_batches,
    read_table,
)
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import ROW_COLUMNS, VARIANTS, features
from hub_cards.sources import Source, find_source, hub_folder, read_file_records
from hub_cards.storage import load_folder
from hub_cards.texts import TEXTS, Texts, texts_of_batch, texts_of_records
from hub_cards.where import rows_that_pass

ROW_ID_DIGITS = 16
CHUNK_ROWS = 5_000  # read at a time; the rows before lie in a file
Chunk = list[dict[str, Any]] | pa.RecordBatch


@dataclass
class DataArguments:
    """Which data a stage reads; the same flags in every script."""

    dataset: str = field(
        metadata={"help": "Hub id, folder saved by a stage or of data files, or .json/.jsonl/.parquet file"},
    )
    dataset_config: str | None = field(
        default=None,
        metadata={"help": "Hub config, or the key of a saved folder (`original`, `selected`, …)"},
    )
    dataset_split: str = field(default="train", metadata={"help": "Hub split"})
    dataset_revision: str | None = field(default=None, metadata={"help": "Hub revision; resolved to a commit"})
    limit: int | None = field(default=None, metadata={"help": "take only the first N rows"})
    streaming: bool = field(
        default=False,
        metadata={"help": "read rows of a Hub id in place, as far as needed; keeps no copy of its files"},
    )

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise BadInputError(f"--limit {self.limit}: must be at least 1")

    def source(self) -> Source:
        """The resolved source; raises `BadInputError` where there is none.

        From then on it is that commit, also of a copy of these arguments: a branch may move while a stage runs.
        """
        with streaming_explained(self.dataset, self.streaming):
            source = find_source(self.dataset, self.dataset_revision)
        if self.streaming and source.kind != "hub":
            raise BadInputError(f"--streaming: is for data on the Hub; --dataset {self.dataset} is a {source.kind}")
        self.dataset_revision = source.revision or self.dataset_revision
        return source

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
    # The three strings as `json.dumps(..., ensure_ascii=False)` writes a list of them, without its overhead.
    text = f"[{encode_basestring(instruction)}, {encode_basestring(input)}, {encode_basestring(output)}]"
    return hashlib.sha256(text.encode()).digest()[: ROW_ID_DIGITS // 2].hex()


def row_ids(texts: Texts, seen: Counter[str] | None = None) -> list[str]:
    """The ids of many rows, from their `instruction`, `input` and `output`; repeats numbered on from `seen`."""
    return number_duplicates(map(row_id, *(texts[name].to_pylist() for name in TEXTS)), seen)


def number_duplicates(ids: Iterable[str], seen: Counter[str] | None = None) -> list[str]:
    """Make ids unique: the second occurrence of an id gets `-2`, the third `-3`, and so on.

    Args:
        seen: how often each id occurred before; counts on.
    """
    seen = Counter() if seen is None else seen
    ids = list(ids)
    if not seen and len(set(ids)) == len(ids):
        seen.update(ids)
        return ids
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
    with streaming_explained(arguments.dataset, arguments.streaming):
        return _load(arguments, arguments.source(), where)


def _load(arguments: DataArguments, source: Source, where: Sequence[str] = ()) -> LoadedRows:
    parts = find_part_files(source, arguments.streaming)
    if source.kind == "folder" or parts:
        # What passes is known of all rows only.
        asked = replace(arguments, limit=None) if where else arguments
        saved = _load_parts(parts, asked, source, one=True) if parts else load_folder(Path(arguments.dataset))
        dataset = _pick(saved, arguments, next(iter(saved)) if parts else None)
        if where:
            dataset = dataset.select(rows_that_pass(where, _columns_of(dataset, arguments), len(dataset)))
        return LoadedRows(_head(dataset, arguments.limit), {})
    limit = None if where else arguments.limit
    if source.kind == "file":
        chunks = _file_chunks([Path(arguments.dataset)], limit)
    else:
        chunks = _hub_chunks(arguments, source, limit)
    if not where:
        return _read_rows(_Reader(arguments.dataset, None), chunks)
    records = [record for chunk in chunks for record in (chunk if isinstance(chunk, list) else chunk.to_pylist())]
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
    """Every variant of a folder saved by a stage, or of data whose splits or configs are named as variants are.

    Rows of the variants of such data belong together by position where they have no `row_id`: then they get that of
    the original row. Any other data is the one variant `original`.

    Raises:
        BadInputError: as `load_rows`; or the variants of one data set have different numbers of rows.
    """
    with streaming_explained(arguments.dataset, arguments.streaming):
        return _load_variants(arguments, arguments.source())


def _load_variants(arguments: DataArguments, source: Source) -> DatasetDict:
    parts = find_part_files(source, arguments.streaming)
    if source.kind != "folder" and not parts:
        return DatasetDict(original=_load(arguments, source).dataset)
    saved = _load_parts(parts, arguments, source) if parts else load_folder(Path(arguments.dataset))
    wanted = None if parts else ALIASES.get(arguments.dataset_config, arguments.dataset_config)
    names = list(saved) if parts else [wanted] if wanted else [name for name in VARIANTS if name in saved]
    if not names or names == ["selected"]:
        hint = "; name all steps in one --strategy, on what this was selected from" if "selected" in saved else ""
        raise BadInputError(
            f"--dataset {arguments.dataset}: holds {', '.join(saved)} and none of {', '.join(VARIANTS)}{hint}"
        )
    return first_rows(DatasetDict({name: _pick(saved, arguments, name) for name in names}), arguments.limit)


def first_rows(variants: DatasetDict, limit: int | None) -> DatasetDict:
    """The first `limit` rows of every variant; all where it is None."""
    return DatasetDict({name: _head(rows, limit) for name, rows in variants.items()})


def _load_parts(files: PartFiles, arguments: DataArguments, source: Source, one: bool = False) -> DatasetDict:
    """The parts that are asked for, of which no others are fetched; where none is named as a variant, as `original`.

    Args:
        one: only the part that stands for the whole, `selected` or else `original`.
    """
    where = f"--dataset {arguments.dataset}"
    parts, names = choose_parts(files.paths, arguments.dataset_config, arguments.dataset_split, one, where)
    key = [source.fingerprint, arguments.limit]
    loaded = DatasetDict()
    original = None
    chosen = {name: files.get(parts[name]) for name in names}
    if "original" in parts and (names[0] == "original" or not _has_row_ids(chosen[names[0]])):
        paths = chosen.get("original") or files.get(parts["original"])
        original = _read_part(paths, "original", arguments, key)
    for name in names:
        is_first = name == "original"
        loaded[name] = original if is_first else _read_part(chosen[name], name, arguments, key, original)
    return loaded


def _has_row_ids(paths: Sequence[AnyFile]) -> bool:
    return paths[0].suffix == ".parquet" and {"row_id", *TEXTS} <= set(parquet_schema(paths[0]).names)


def _read_part(
    paths: Sequence[AnyFile], name: str, arguments: DataArguments, key: list[Any], original: Dataset | None = None
) -> Dataset:
    """The rows of one part; the ids are its own, else by position those of `original`, else content hashes."""
    limit, fingerprint = arguments.limit, fingerprint_of([*key, name])
    if _has_row_ids(paths):
        return Dataset(read_table(paths, limit), fingerprint=fingerprint)
    where = f"{arguments.dataset} ({name})"
    variant = name if name in VARIANTS else "original"
    ids = None if original is None else original["row_id"][:]
    reader = _Reader(where, None, variant, ids)
    rows = _read_rows(reader, _file_chunks(paths, limit), fingerprint).dataset
    if ids is not None and len(rows) != len(ids):
        raise BadInputError(
            f"{where} has {len(rows)} rows and original has {len(ids)}: without row_id the rows of the variants belong "
            "together by position, so there must be as many"
        )
    return rows


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
    return _read_rows(_Reader(where, positions), _chunks(records, limit))


def _chunks(records: Iterable[dict[str, Any]], limit: int | None) -> Iterator[list[dict[str, Any]]]:
    records = islice(records, limit)
    while chunk := list(islice(records, CHUNK_ROWS)):
        yield chunk


def _file_chunks(paths: Sequence[AnyFile], limit: int | None) -> Iterable[Chunk]:
    if all(path.suffix == ".parquet" for path in paths):
        return read_batches(paths, limit)
    return _chunks(chain.from_iterable(read_file_records(path) for path in paths), limit)


def _hub_chunks(arguments: DataArguments, source: Source, limit: int | None) -> Iterable[Chunk]:
    """The records of a Hub data set of one part, whatever its files are."""
    hub = hub_folder(source)
    split = find_split(hub, arguments.dataset_config, arguments.dataset_split)
    if split.is_plain:
        return _file_chunks((hub.in_place if arguments.streaming else hub.fetch)(split.paths), limit)
    return _chunks(split_records(hub, split, arguments.streaming), limit)


def _read_rows(reader: _Reader, chunks: Iterable[Chunk], fingerprint: str | None = None) -> LoadedRows:
    schema = features(ROW_COLUMNS).arrow_schema
    table = mapped((pa.table(reader.columns(chunk), schema=schema) for chunk in chunks), schema)
    if reader.format is None:
        raise BadInputError(f"{reader.where} is empty: it holds no rows")
    # Without a fingerprint of ours `datasets` would make one of all texts, in memory.
    return LoadedRows(Dataset(table, fingerprint=fingerprint or reader.digest.hexdigest()[:32]), reader.notes())


class _Reader:
    """Turns raw records into columns, and keeps what has to be known of all of them.

    Args:
        where: what they are from, for the messages.
        positions: their numbers in the source, where they are not all of it.
        ids: the ids of the rows, where these are not to be made of the texts.
    """

    def __init__(
        self, where: str, positions: Sequence[int] | None, variant: str = "original", ids: list[str] | None = None
    ) -> None:
        self.where, self.positions, self.variant, self.ids = where, positions, variant, ids
        self.format: Format | None = None
        self.rows = 0
        self.seen: Counter[str] = Counter()
        self.ignored: set[str] = set()
        self.more_turns = 0
        self.digest = hashlib.sha256()

    def columns(self, chunk: Chunk) -> dict[str, Any]:
        """The columns of the next records."""
        is_batch = isinstance(chunk, pa.RecordBatch)
        fields = set(chunk.schema.names) if is_batch else set().union(*chunk)
        first = dict.fromkeys(fields) if is_batch else chunk[0]
        self.format = self.format or detect_format(first, self.where)
        texts = (texts_of_batch if is_batch else texts_of_records)(self.format.name, chunk)
        if texts is None:
            texts = self._one_by_one(chunk.to_pylist() if is_batch else chunk)
        self.ignored |= fields - self.format.needs - self.format.may_use - {"id"}
        start, self.rows = self.rows, self.rows + len(chunk)
        if self.ids is None:
            ids = row_ids(texts, self.seen)
            self.digest.update(json.dumps([ids, texts["source_id"].to_pylist()]).encode())
        else:
            ids = [*self.ids[start : self.rows], *[""] * (self.rows - max(start, len(self.ids)))]
        return {"row_id": ids, **texts, "variant": [self.variant] * len(chunk)}

    def _one_by_one(self, records: Sequence[dict[str, Any]]) -> Texts:
        """The texts of records of which some are no plain rows; raises `BadInputError` for one that cannot be read."""
        pairs = []
        for index, record in enumerate(records, self.rows):
            position = self.positions[index] if self.positions else index
            pairs.append(_read(self.format, record, position, self.where))
        self.more_turns += sum(pair.more_turns for pair in pairs)
        ids = [record.get("id") for record in records]
        found = {name: pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in TEXTS}
        return {**found, "source_id": pa.array([None if one is None else str(one) for one in ids], pa.string())}

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
