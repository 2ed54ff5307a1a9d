"""Scores that were published, beside the rows that they are of: selection without a model. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.arrow import arrow_column, numbers, positions_in
from hub_cards.cli import say
from hub_cards.errors import BadInputError
from hub_cards.hub.columns import ColumnReader
from hub_cards.parts import find_parts, parts_of
from hub_cards.provenance import fingerprint_of, read_records
from hub_cards.rows import row_ids
from hub_cards.schema import VARIANTS
from hub_cards.sources import FILE_TYPES, Source, data_files, find_source, hub_data_files, hub_folder, is_saved_folder
from hub_cards.storage import load_folder
from hub_cards.texts import TEXTS
from scoring.alignment import check_alignment
from scoring.prescored_formats import KNOWN, Part, columns_to_read, part_of_table, read_part
from scoring.ratios import LOSS_KEYS

FLAG = "--statistics"
ReadPart = Callable[[Sequence[str] | None], Part]
# What the checks look at, whatever is asked for.
CHECKED = tuple(f"{unit}_{key}" for unit in ("loss", "ppl") for key in LOSS_KEYS)
TIED = 0.02  # share by which instructions must make responses less likely before that is odd
MAX_DIFFERENCE, MIN_SHARE = 0.02, 0.99  # nats between a loss and the logarithm of its perplexity; of that many rows


def find_statistics(location: str, revision: str | None = None) -> Source:
    """Resolve `--statistics`: a file, a folder (saved by score, or of data files) or a Hub id.

    Raises:
        BadInputError: nothing is there.
    """
    return find_source(location, revision, FLAG)


def add_statistics(
    variants: DatasetDict, source: Source, columns: Sequence[str] | None = None, text: Source | None = None
) -> tuple[DatasetDict, dict[str, Any]]:
    """Put published score columns beside the rows of every variant.

    Aligned by `row_id` where the statistics have it, by a hash of the texts where they hold these, else by position,
    once both are seen to belong together (`scoring.alignment`). Missing is null: what has no number in the
    statistics, and rows that are not in them. Of a Hub repository only the columns that are needed are fetched, and a
    line says how many bytes that moved.

    Args:
        variants: each with `row_id`, `instruction`, `input` and `output`.
        columns: the score columns that are wanted, as far as the statistics have them; all where it is None. Scores
            that the rows have of their own go: they would be another model's.
        text: what the variants were loaded from, to be held against what the statistics say that they are of.

    Returns:
        The variants, and the notes for the record, by variant: `aligned_by`, how many rows each side has alone, what
        became null, what the checks saw, `warnings`.

    Raises:
        BadInputError: the statistics lack a variant, cannot be read, or are not of these rows.
    """
    reader = ColumnReader(hub_folder(source, FLAG)) if source.kind == "hub" else None
    parts = _find_parts(source, reader)
    missing = [name for name in variants if name not in parts]
    if missing:
        raise BadInputError(
            f"{FLAG} {source.location}: has no {', '.join(missing)}; it has {', '.join(parts)}. Choose one variant of "
            "the data with --dataset_config, or give statistics of all"
        )
    added, notes = DatasetDict(), {}
    for name, rows in variants.items():
        added[name], notes[name] = _add(rows, parts[name](columns), name, source, columns, text)
    if reader is not None and reader.size:
        say("select", reader.line())
    return added, notes


def _find_parts(source: Source, reader: ColumnReader | None) -> dict[str, ReadPart]:
    """By variant, a function that reads the columns that are wanted of its statistics."""
    path = Path(source.location)
    if source.kind == "file":
        return {"original": lambda columns: read_part([path], _with_checked(columns))}
    if source.kind == "folder" and is_saved_folder(path):
        saved = load_folder(path)
        return {name: _reader_of(saved[name], f"{path} ({name})") for name in VARIANTS if name in saved}
    paths = data_files(path) if reader is None else hub_data_files(reader.folder)
    if not paths:
        raise BadInputError(f"{FLAG} {source.location}: holds no {', '.join(FILE_TYPES)} files")
    parts = find_parts(path, paths) if reader is None else parts_of(paths)
    if len(parts) == 1 and not parts.keys() & set(VARIANTS):
        parts = dict(zip(["original"], parts.values(), strict=True))
    return {name: _reader_of_files(paths, reader) for name, paths in parts.items()}


def _with_checked(columns: Sequence[str] | None) -> Sequence[str] | None:
    return None if columns is None else [*columns, *CHECKED]


def _reader_of_files(paths: Sequence[Any], reader: ColumnReader | None) -> ReadPart:
    """Of the Hub only what is wanted moves: the checks look at what of that they can."""

    def read(columns: Sequence[str] | None) -> Part:
        if reader is None:
            return read_part(paths, _with_checked(columns))
        if any(path.suffix != ".parquet" for path in paths):
            return read_part(reader.whole(paths), _with_checked(columns))
        table, found = reader.table(paths, lambda found: columns_to_read(found, columns))
        return part_of_table(table, f"{reader.folder.repo_id}/{paths[0]}", _with_checked(columns), found)

    return read


def _reader_of(saved: Dataset, where: str) -> ReadPart:
    def read(wanted: Sequence[str] | None) -> Part:
        found, columns = saved.column_names, _with_checked(wanted)
        names = [name for name in found if name == "row_id" or (name in KNOWN and (columns is None or name in columns))]
        return part_of_table(saved.select_columns(names).with_format("arrow")[:], where, columns, found)

    return read


def _add(
    rows: Dataset, part: Part, name: str, source: Source, columns: Sequence[str] | None, text: Source | None
) -> tuple[Dataset, dict[str, Any]]:
    where = f"{FLAG} {source.location} ({name})"
    warnings = _check_numbers(part.scores, where)
    notes: dict[str, Any] = {"aligned_by": part.aligned_by, "rows": len(rows), **part.notes}
    scores = part.scores.select([column for column in part.scores.column_names if columns is None or column in columns])
    if part.row_ids is None:
        _check_count(part, rows, where)
        _check_lineage(source, text, where)
        notes |= _check_position(part.scores, rows, where)
    else:
        scores, counts = _by_id(scores, part, rows, name, where)
        notes |= counts
    # Scores of the rows' own would be another model's: one decision is never made of two.
    kept = rows.remove_columns([column for column in rows.column_names if column in KNOWN])
    beside = Dataset(scores, fingerprint=fingerprint_of([source.fingerprint, name, scores.column_names]))
    added = concatenate_datasets([kept, beside], axis=1) if scores.num_columns else kept
    return added, {**notes, "warnings": warnings}


def _by_id(scores: pa.Table, part: Part, rows: Dataset, name: str, where: str) -> tuple[pa.Table, dict[str, int]]:
    """The scores in the order of the rows; null where a row has none."""
    ids = arrow_column(rows, "row_id")
    if part.aligned_by == "text" and name != "original":  # there `row_id` is that of the original row
        table = rows.select_columns(list(TEXTS)).with_format("arrow")[:]
        ids = pa.chunked_array([pa.array(row_ids(dict(zip(TEXTS, table.columns, strict=True))), pa.string())])
    if ids.equals(part.row_ids):
        return scores, {"rows_without_statistics": 0, "statistics_not_used": 0}
    different = pc.count_distinct(part.row_ids).as_py()
    if different != part.rows:
        raise BadInputError(f"{where}: repeats a row_id: {part.rows} rows, {different} different ids")
    found = positions_in(ids, part.row_ids)
    has = found >= 0
    if not has.any():
        raise BadInputError(
            f"{where}: is of other rows: none of the {len(rows)} rows of the data is among its {part.rows} "
            f"(compared by {part.aligned_by})"
        )
    counts = {
        "rows_without_statistics": int((~has).sum()),
        "statistics_not_used": part.rows - len(np.unique(found[has])),
    }
    return scores.take(pa.array(found, mask=~has)), counts


def _check_count(part: Part, rows: Dataset, where: str) -> None:
    if part.rows != len(rows):
        raise BadInputError(
            f"{where}: has {part.rows:,} rows and the data {len(rows):,}; statistics without ids and texts belong to "
            "the rows by position, so give the whole data set that they were made of, without --limit"
        )


def _check_lineage(source: Source, text: Source | None, where: str) -> None:
    """Refuse statistics whose own record says that they are of another text."""
    folder = Path(source.location) if source.kind == "folder" else None
    records = read_records(folder) if folder else []
    known = {record.inputs["dataset"].fingerprint for record in records if "dataset" in record.inputs}
    known |= {record.result_fingerprint for record in records}
    if text is not None and known and text.fingerprint not in known:
        of = ", ".join(dict.fromkeys(str(record.inputs["dataset"].location) for record in records if record.inputs))
        raise BadInputError(f"{where}: was made of {of} in another revision than {text.location} has; give that one")


def _check_position(scores: pa.Table, rows: Dataset, where: str) -> dict[str, Any]:
    table = rows.select_columns(list(TEXTS)).with_format("arrow")[:]
    question = pc.binary_join_element_wise(table["instruction"], table["input"], "")
    texts = {"Q": question.combine_chunks(), "A": table["output"].combine_chunks()}
    columns = {key: f"loss_{key}_direct" for key in texts if f"loss_{key}_direct" in scores.column_names}
    losses = {key: numbers(scores[column]) for key, column in columns.items()}
    return check_alignment(where, texts, losses) if losses else {}


def _check_numbers(scores: pa.Table, where: str) -> list[str]:
    """Refuse columns that are not what their names say; what is only odd is returned as warnings."""
    have = {name: numbers(scores[name]) for name in CHECKED if name in scores.column_names}
    for key in LOSS_KEYS:
        if f"loss_{key}" not in have or f"ppl_{key}" not in have:
            continue
        loss, ppl = have[f"loss_{key}"], have[f"ppl_{key}"]
        both = ~np.isnan(loss) & ~np.isnan(ppl)
        with np.errstate(divide="ignore", invalid="ignore"):
            same = np.abs(np.log(ppl[both]) - loss[both]) <= MAX_DIFFERENCE
        if both.any() and same.mean() < MIN_SHARE:
            raise BadInputError(
                f"{where}: ppl_{key} is exp(loss_{key}) in only {same.mean():.0%} of the rows, so these columns are "
                "not what their names say"
            )
    above, below = have.get("ppl_A_condition"), have.get("ppl_A_direct")
    if above is None or below is None or np.isnan(above).all() or np.isnan(below).all():
        return []
    medians = np.nanmedian(above), np.nanmedian(below)
    if medians[0] < medians[1] * (1 + TIED):
        return []
    return [
        f"{where}: the median ppl of the responses with their instruction is {medians[0]:.3g}, without it "
        f"{medians[1]:.3g}: instructions do not help, so this may not be what it should be"
    ]
