"""The rows of a report: variants and decisions side by side, joined by `row_id`, as columns and as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from hub_cards.arrow import arrow_column, numbers, positions_in
from hub_cards.errors import BadInputError
from hub_cards.schema import COLUMNS_BY_NAME, SELECT_COLUMNS

NONE = 255  # the code of what is null
OTHERS = 254  # the code of all names beyond the most frequent ones
DECISION = {column.name for column in SELECT_COLUMNS}


class JoinedRows:
    """The rows of the first variant, with those of the others and their decisions beside them.

    Args:
        row_ids: of the rows that are shown, in their order.
        variants: each with `row_id`; a row that a variant does not have is null there.
        decisions: with `row_id` and the select columns; None where nothing was decided.

    Raises:
        BadInputError: a variant, or the decisions, repeat a `row_id`.
    """

    def __init__(self, row_ids: pa.ChunkedArray, variants: Mapping[str, Dataset], decisions: Dataset | None) -> None:
        self.row_ids = row_ids
        self.variants = dict(variants)
        self.decisions = decisions
        self._places_N = {name: self._places(rows, name) for name, rows in self.variants.items()}
        self._decided_N = None if decisions is None else self._places(decisions, "decisions")

    def __len__(self) -> int:
        return len(self.row_ids)

    def _places(self, rows: Dataset, name: str) -> np.ndarray:
        known = arrow_column(rows, "row_id")
        if len(pc.unique(known)) != len(known):
            raise BadInputError(f"variant {name} repeats a row_id: {len(known)} rows have {len(pc.unique(known))} ids")
        return positions_in(self.row_ids, known)

    @cached_property
    def ids(self) -> list[str]:
        """The `row_id`s as Python strings."""
        return self.row_ids.to_pylist()

    def has(self, variant: str, column: str) -> bool:
        """Whether a variant has a column."""
        return column in self.variants[variant].column_names

    def score_columns(self) -> list[str]:
        """The number columns of the contract that any variant has, in the contract's order.

        A perplexity is left out where its loss is there: it is the same number in other words.
        """
        present = {column for rows in self.variants.values() for column in rows.column_names}
        found = [
            name
            for name, column in COLUMNS_BY_NAME.items()
            if name in present and column.dtype in ("float64", "int64") and name not in DECISION
        ]
        return [name for name in found if not (name.startswith("ppl_") and name.replace("ppl_", "loss_", 1) in found)]

    def numbers(self, variant: str, column: str) -> np.ndarray:
        """A column of numbers, float64 of shape (N,); NaN stands for null, for infinity and for a missing row."""
        if not self.has(variant, column):
            return np.full(len(self), np.nan)
        return _taken(numbers(arrow_column(self.variants[variant], column)), self._places_N[variant])

    def decision_numbers(self, column: str) -> np.ndarray:
        """A number column of the decisions, as `numbers`."""
        if self.decisions is None or column not in self.decisions.column_names:
            return np.full(len(self), np.nan)
        return _taken(numbers(arrow_column(self.decisions, column)), self._decided_N)

    def selected(self) -> np.ndarray:
        """Uint8 of shape (N,): 1 kept, 0 dropped, `NONE` where nothing was decided of a row."""
        if self.decisions is None:
            return np.full(len(self), NONE, dtype=np.uint8)
        kept = pc.fill_null(arrow_column(self.decisions, "selected"), False).to_numpy().astype(np.uint8)
        return np.where(self._decided_N >= 0, kept[self._decided_N], NONE).astype(np.uint8)

    def words(self, variant: str, column: str) -> pa.ChunkedArray | None:
        """A text column in the order of the rows, null where a row is missing; None where there is no such column."""
        if not self.has(variant, column):
            return None
        return _in_order(arrow_column(self.variants[variant], column), self._places_N[variant])

    def decision_words(self, column: str) -> pa.ChunkedArray | None:
        """The same of the decisions."""
        if self.decisions is None or column not in self.decisions.column_names:
            return None
        return _in_order(arrow_column(self.decisions, column), self._decided_N)

    def rows_of(self, variant: str, columns: Sequence[str], size: int) -> Iterator[dict[str, list[Any]]]:
        """Columns of a variant in the order of the rows, as Python lists of `size` rows; None for what is not there."""
        present = [column for column in columns if self.has(variant, column)]
        places_N = self._places_N[variant]
        table = self.variants[variant].select_columns(present).with_format("arrow")[:] if present else None
        for start in range(0, len(self), size):
            places = places_N[start : start + size]
            taken = table.take(pa.array(places, mask=places < 0)) if table is not None else None
            yield {
                column: taken[column].to_pylist() if column in present else [None] * len(places) for column in columns
            }


def _taken(values: np.ndarray, places_N: np.ndarray) -> np.ndarray:
    return np.where(places_N >= 0, values[places_N], np.nan) if len(values) else np.full(len(places_N), np.nan)


def _in_order(column: pa.ChunkedArray, places_N: np.ndarray) -> pa.ChunkedArray:
    return column.take(pa.array(places_N, mask=places_N < 0))


def codes_of(columns: Sequence[pa.ChunkedArray | None]) -> tuple[list[str], list[np.ndarray]]:
    """Text columns as numbers into one list of their names, the most frequent first.

    Returns:
        The names, at most 254 and then `(others)`, and for each column uint8 of shape (N,), `NONE` for null; no array
        for a column that is None.
    """
    counted: Counter[str] = Counter()
    for column in columns:
        if column is not None:
            counted.update({entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()})
    counted.pop(None, None)
    names = [name for name, _ in counted.most_common()]
    shown = pa.array(names[:OTHERS], pa.string())
    found = []
    for column in columns:
        if column is None:
            continue
        codes = pc.index_in(pc.cast(column, pa.string()), value_set=shown)
        other = pc.if_else(pc.is_null(column), NONE, OTHERS)
        found.append(pc.coalesce(codes, pc.cast(other, pa.int32())).to_numpy().astype(np.uint8))
    return [*names[:OTHERS], *(["(others)"] if len(names) > OTHERS else [])], found
