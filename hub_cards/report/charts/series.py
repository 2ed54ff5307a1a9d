"""The rows of a report as the charts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from hub_cards.report.charts.charts import ChartRows, OtherRows
from hub_cards.report.joined import JoinedRows

CHARTED = ("ifd_ppl", "rifd_ppl", "n_tokens_Q", "n_tokens_A")
IN_CHARACTERS = {
    "n_tokens_Q": ("n_characters_Q", ("instruction", "input")),
    "n_tokens_A": ("n_characters_A", ("output",)),
}
SELECTIVE = "selective"


def chart_rows(rows: JoinedRows, other: JoinedRows | None, steps: Sequence[Mapping[str, Any]]) -> ChartRows:
    """The numbers that are drawn.

    Args:
        steps: of the selection, from its record; none where no record has them.
    """
    decided = rows.decisions is not None
    names = {name: rows.decision_words(name) for name in ("selected_variant", "select_reason", "select_step")}
    return ChartRows(
        rows.ids,
        {variant: _columns(rows, variant) for variant in rows.variants},
        {variant: counts for variant in rows.variants if (counts := _statuses(rows, variant))},
        rows.selected() if decided else None,
        **{name: None if column is None else column.to_pylist() for name, column in names.items()},
        gate=not steps or any(step["name"] == SELECTIVE for step in steps),
        other=None if other is None else _other(other),
    )


def _columns(rows: JoinedRows, variant: str) -> dict[str, np.ndarray]:
    found = {column: rows.numbers(variant, column) for column in CHARTED if rows.has(variant, column)}
    for column, (name, texts) in IN_CHARACTERS.items():
        if column not in found:
            found[name] = _characters(rows, variant, texts)
    return found


def _characters(rows: JoinedRows, variant: str, texts: Sequence[str]) -> np.ndarray:
    """The length of these texts together, NaN where there is none of them."""
    lengths = np.array([rows.lengths(variant, name) for name in texts])
    return np.where(np.isnan(lengths).all(axis=0), np.nan, np.nansum(lengths, axis=0))


def _statuses(rows: JoinedRows, variant: str) -> dict[str, int]:
    """How often the oracle's answers had which outcome, nulls left out."""
    column = rows.words(variant, "reflect_status")
    counted = [] if column is None else pc.value_counts(column).to_pylist()
    return {entry["values"]: entry["counts"] for entry in counted if entry["values"] is not None}


def _other(other: JoinedRows) -> OtherRows:
    variants = {variant: _columns(other, variant) for variant in other.variants}
    if other.decisions is None:
        return OtherRows(variants)
    return OtherRows(variants, other.selected(), other.decision_words("selected_variant").to_pylist())
