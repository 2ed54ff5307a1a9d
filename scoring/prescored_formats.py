"""The formats of published statistics: files in, score columns out. Imports no torch.

What failed when they were made stands there as 0, NaN or nothing; here it is null.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from hub_cards.arrow import numbers
from hub_cards.errors import BadInputError
from hub_cards.parts import parquet_schema, read_parquet
from hub_cards.rows import row_ids
from hub_cards.schema import (
    COHERENCE_COLUMNS,
    EMBEDDING_COLUMNS,
    PROMPT_EMBEDDING_COLUMNS,
    SCORE_COLUMNS,
    SELECTIT_COLUMNS,
    TOKEN_LOSS_COLUMNS,
    features,
)
from hub_cards.sources import read_file_records
from hub_cards.texts import FLAT, TEXTS, texts_of_batch
from scoring.ratios import LOSS_KEYS, MAX_LOSS, RATIOS

STATISTICS_COLUMNS = (
    *(*SCORE_COLUMNS, *TOKEN_LOSS_COLUMNS, *SELECTIT_COLUMNS),
    *(*EMBEDDING_COLUMNS, *COHERENCE_COLUMNS, *PROMPT_EMBEDDING_COLUMNS),
)
KNOWN = {column.name: column for column in STATISTICS_COLUMNS}
UNITS = ("loss", "ppl")
LEAST_PPL = 1 - 1e-6  # that of a text that is certain, but for rounding
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """The statistics of one variant.

    Attributes:
        rows: how many there are.
        scores: the score columns, with the types of the contract.
        row_ids: what their rows are known by: `row_id`, else content hashes of their texts; None where they have
            neither, and only their positions say whose they are.
        aligned_by: `row_id`, `text` or `position`.
        notes: what was found in them, as counts of rows.
    """

    rows: int
    scores: pa.Table
    row_ids: pa.ChunkedArray | None
    aligned_by: str
    notes: dict[str, int] = field(default_factory=dict)


def read_part(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Part:
    """Statistics of one variant from parquet, JSON or JSON-lines files.

    Args:
        columns: the score columns that are wanted; all where it is None.

    Raises:
        BadInputError: the files cannot be read, or hold nothing that is known as statistics.
    """
    where = str(paths[0])
    if all(path.suffix == ".parquet" for path in paths):
        found = parquet_schema(paths[0]).names
        return part_of_table(read_parquet(paths, columns_to_read(found, columns)), where, columns, found)
    tables = [_read_json(path) for path in paths]
    return part_of_table(pa.concat_tables(tables, promote_options="permissive"), where, columns)


def columns_to_read(found: Sequence[str], columns: Sequence[str] | None = None) -> list[str]:
    """Of the columns of a file those that statistics are read from.

    Beside a `row_id` only what is wanted; else all, as numbers are derived from others, and rows known by their texts.
    """
    if "row_id" in found:
        return [name for name in found if name == "row_id" or (name in KNOWN and _is_wanted(name, columns))]
    return [name for name in found if name in KNOWN or name in (*TEXTS, "data", *UNITS)]


def part_of_table(
    table: pa.Table, where: str, columns: Sequence[str] | None = None, found: Sequence[str] | None = None
) -> Part:
    """Statistics from a table in any of the formats.

    Args:
        where: what it is from, for the messages.
        found: the columns that its source has, where it is not all of them.

    Raises:
        BadInputError: it holds nothing that is known as statistics.
    """
    found = table.column_names if found is None else found
    if "row_id" in found and any(name in KNOWN for name in found):
        return Part(len(table), _typed(table, columns, where), table["row_id"].cast(pa.string()), "row_id")
    holder = table
    if "data" in table.column_names and pa.types.is_struct(table.schema.field("data").type):
        holder = pa.table({name: pc.struct_field(table["data"], name) for name in _fields(table)})
    if any(unit in holder.column_names and _is_list(holder[unit].type) for unit in UNITS):
        arrays, notes = _arrays_of_lists(holder, where)
        return Part(len(table), _derived(arrays, columns), None, "position", notes)
    arrays, notes = _arrays_of_columns(holder)
    if not arrays:
        raise BadInputError(
            f"{where}: holds no statistics that are known; its columns are {', '.join(found) or '(none)'}. Known are "
            "row_id with score columns, data.loss and data.ppl, and loss_*, ppl_*, ifd_*, rifd_* beside the texts"
        )
    ids = _ids_of_texts(holder)
    return Part(len(table), _derived(arrays, columns), ids, "position" if ids is None else "text", notes)


def derive(arrays: Arrays) -> Arrays:
    """What follows from losses or perplexities and is missing: `scoring.ratios.loss_columns` for whole columns.

    Args:
        arrays: columns by name, NaN where null. A loss and its perplexity are null together, and a ratio with either
            of its sides.
    """
    done = dict(arrays)
    for key in LOSS_KEYS:
        loss, ppl = done.get(f"loss_{key}"), done.get(f"ppl_{key}")
        if loss is not None:
            loss = np.where(loss < MAX_LOSS, loss, np.nan)
        if loss is not None and ppl is None:
            ppl = np.exp(loss)
        elif ppl is not None and loss is None:
            loss = np.log(ppl)
        if loss is not None:
            missing = np.isnan(loss) | np.isnan(ppl)
            done[f"loss_{key}"], done[f"ppl_{key}"] = (np.where(missing, np.nan, values) for values in (loss, ppl))
    for name, (condition, direct) in RATIOS.items():
        for unit in UNITS:
            above, below = done.get(f"{unit}_{condition}"), done.get(f"{unit}_{direct}")
            if above is None or below is None:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(below == 0, np.nan, above / below)
            given = done.get(f"{name}_{unit}")
            done[f"{name}_{unit}"] = ratio if given is None else np.where(np.isnan(ratio), np.nan, given)
    return done


def _is_wanted(name: str, columns: Sequence[str] | None) -> bool:
    return columns is None or name in columns


def _typed(table: pa.Table, columns: Sequence[str] | None, where: str) -> pa.Table:
    """The known columns of a table of ours, in the contract's types."""
    names = [name for name in KNOWN if name in table.column_names and _is_wanted(name, columns)]
    schema = features(KNOWN[name] for name in names).arrow_schema
    try:
        return table.select(names).cast(schema)
    except pa.ArrowException as error:
        raise BadInputError(
            f"{where}: a score column has another type than it should ({' '.join(str(error).split())})"
        ) from error


def _derived(arrays: Arrays, columns: Sequence[str] | None) -> pa.Table:
    done = derive(arrays)
    names = [name for name in KNOWN if name in done and _is_wanted(name, columns)]
    made = {name: pa.array(done[name], pa.float64(), from_pandas=True) for name in names}
    return pa.table(made, schema=features(KNOWN[name] for name in names).arrow_schema)


def _fields(table: pa.Table) -> list[str]:
    return [item.name for item in table.schema.field("data").type]


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _arrays_of_lists(holder: pa.Table, where: str) -> tuple[Arrays, dict[str, int]]:
    """Columns from lists of four, in the order of `LOSS_KEYS`; another length, or none, is null four times."""
    values, bad = {}, np.zeros(len(holder), bool)
    for unit in UNITS:
        if unit not in holder.column_names or not _is_list(holder[unit].type):
            continue
        lists = holder[unit].combine_chunks()
        right_N = pc.fill_null(pc.equal(pc.list_value_length(lists), len(LOSS_KEYS)), False)
        right_N = right_N.to_numpy(zero_copy_only=False)
        values[unit] = np.full((len(LOSS_KEYS), len(holder)), np.nan)
        values[unit][:, right_N] = numbers(lists.filter(pa.array(right_N)).flatten()).reshape(-1, len(LOSS_KEYS)).T
        bad |= ~right_N
    if len(bad) and bad.all():
        lengths = sorted({len(one) for unit in values for one in holder[unit].to_pylist() if one is not None})
        found = f"of {', '.join(map(str, lengths))} numbers" if lengths else "all missing"
        raise BadInputError(
            f"{where}: the lists of {' and '.join(values)} are {found}; statistics have lists of exactly "
            f"{len(LOSS_KEYS)}, in the order {', '.join(LOSS_KEYS)}"
        )
    arrays = {f"{unit}_{key}": rows[number] for unit, rows in values.items() for number, key in enumerate(LOSS_KEYS)}
    arrays, zeros = _without_zeros(arrays)
    return arrays, {"missing_lists": int(bad.sum()), "zeros_as_null": zeros}


def _arrays_of_columns(holder: pa.Table) -> tuple[Arrays, dict[str, int]]:
    names = [f"{unit}_{key}" for unit in UNITS for key in LOSS_KEYS]
    names += [f"{name}_{unit}" for name in RATIOS for unit in UNITS]
    arrays = {}
    for name in names:
        if name in holder.column_names and _is_number(holder[name].type):
            arrays[name] = numbers(holder[name])
    arrays, zeros = _without_zeros(arrays)
    return arrays, {"zeros_as_null": zeros}


def _without_zeros(arrays: Arrays) -> tuple[Arrays, int]:
    """A perplexity of 0, or a loss of 0 whose perplexity is not 1, is a failure that was swallowed.

    So is what no model can give: a perplexity below 1, a loss or a ratio below 0.
    """
    cleaned, rows = {}, np.zeros(len(next(iter(arrays.values()), ())), bool)
    for name, values in arrays.items():
        zero_N = values == 0
        if name.startswith("loss_"):
            zero_N &= arrays.get(name.replace("loss_", "ppl_"), values) != 1
        zero_N |= values < (LEAST_PPL if name.startswith("ppl_") else 0)
        cleaned[name] = np.where(zero_N, np.nan, values)
        rows |= zero_N
    return cleaned, int(rows.sum())


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _ids_of_texts(holder: pa.Table) -> pa.ChunkedArray | None:
    """Content hashes, repeats numbered; None where there are no texts."""
    if not {"instruction", "output"} <= set(holder.column_names):
        return None
    seen, ids = Counter(), []
    for batch in holder.select([name for name in TEXTS if name in holder.column_names]).to_batches():
        texts = texts_of_batch(FLAT, batch)
        if texts is None:
            return None
        ids += row_ids(texts, seen)
    return pa.chunked_array([pa.array(ids, pa.string())])


def _read_json(path: Path) -> pa.Table:
    """A JSON array or JSON lines as a table; bare NaN is a number."""
    if path.suffix == ".jsonl":
        try:  # ten times as fast, but knows neither NaN nor columns of mixed types
            return pyarrow.json.read_json(path)
        except (pa.ArrowException, OSError):
            pass
    records = list(read_file_records(path))
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: _column([record.get(name) for record in records], name, path) for name in names}
    return pa.table(columns) if columns else pa.table({"_": pa.nulls(len(records))})


def _column(values: list[Any], name: str, path: Path) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError):
        if name not in KNOWN and name not in (*UNITS, "data", *TEXTS):
            return pa.array([json.dumps(value) for value in values])  # not ours to read
        raise BadInputError(f"{path}: field {name!r} holds values of different types") from None
