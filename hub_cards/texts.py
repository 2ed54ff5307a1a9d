"""The three texts of many records at once, as Arrow: the common formats in one go, all others record by record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXTS = ("instruction", "input", "output")
FLAT, NESTED = "alpaca", "published data struct"  # the formats, as `hub_cards.formats` names them
Texts = dict[str, pa.Array]


def texts_of_records(format_name: str, records: Sequence[Mapping[str, Any]]) -> Texts | None:
    """`instruction`, `input`, `output` and `source_id` of records, without nulls but in `source_id`.

    Returns:
        None where the format is another one, or a record does not fit it: then each must be looked at.
    """
    if format_name not in (FLAT, NESTED):
        return None
    try:
        holders = records if format_name == FLAT else [record["data"] for record in records]
        found = {name: pa.array([holder.get(name) for holder in holders], pa.string()) for name in TEXTS}
        ids = [record.get("id") for record in records]
        found["source_id"] = pa.array([None if one is None else str(one) for one in ids], pa.string())
    except (pa.ArrowException, AttributeError, KeyError, TypeError, UnicodeEncodeError):
        return None
    return _complete(found)


def texts_of_batch(format_name: str, batch: pa.RecordBatch) -> Texts | None:
    """The same of an Arrow batch, whose texts are not copied."""
    if format_name not in (FLAT, NESTED):
        return None
    holder: Any = batch
    if format_name == NESTED:
        holder = batch.column("data")
        if not pa.types.is_struct(holder.type) or holder.null_count:
            return None
    names = batch.schema.names if format_name == FLAT else [field.name for field in holder.type]
    found = {}
    for name in TEXTS:
        if name not in names:
            found[name] = pa.nulls(len(batch), pa.string())
            continue
        column = holder.column(name) if format_name == FLAT else pc.struct_field(holder, name)
        if not (_is_text(column.type) or pa.types.is_null(column.type)):
            return None
        found[name] = column.cast(pa.string())
    ids = batch.column("id") if "id" in batch.schema.names else pa.nulls(len(batch), pa.string())
    if not (_is_text(ids.type) or pa.types.is_integer(ids.type) or pa.types.is_null(ids.type)):
        return None
    found["source_id"] = ids.cast(pa.string())
    return _complete(found)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _complete(found: Texts) -> Texts | None:
    """With an empty `input` where there is none; None where another text is missing."""
    if found["instruction"].null_count or found["output"].null_count:
        return None
    return {**found, "input": pc.fill_null(found["input"], "")}
