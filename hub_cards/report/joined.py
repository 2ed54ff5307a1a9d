"""The rows of a report: variants and decisions side by side, joined by `row_id`, as columns and as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """The rows that a report shows, with what each variant has of them and with their decisions.

    Args:
        row_ids: of the rows that are shown, in their order, each once.
        variants: each with `row_id`; a row that a variant does not have is null there.
        decisions: with `row_id` and the select columns; None where nothing was decided.

    Raises:
        BadInputError: a variant, or the decisions, repeat a `row_id` or lack one. All that reads a column raises it
            too, where the column is not of the contract's kind.
    """

    def __init__(self, row_ids: pa.ChunkedArray, variants: Mapping[str, Dataset], decisions: Dataset | None) -> None:
        self.row_ids = row_ids
        self.variants = dict(variants)
        self.decisions = decisions
        self._parts = {name: _Part(f"variant {name}", rows, row_ids) for name, rows in self.variants.items()}
        self._decided = None if decisions is None else _Part("the decisions", decisions, row_ids)

    def __len__(self) -> int:
        return len(self.row_ids)

    @cached_property
    def ids(self) -> list[str]:
        """The `row_id`s as Python strings."""
        return self.row_ids.to_pylist()

    def has(self, variant: str, column: str) -> bool:
        """Whether a variant has a column."""
        return self._parts[variant].has(column)

    def is_there(self, variant: str) -> np.ndarray:
        """Bool of shape (N,): whether a variant has the row."""
        return self._parts[variant].places_N >= 0

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
        """A column of numbers, float64 of shape (N,); NaN stands for null, for infinity and for what is not there."""
        return self._parts[variant].numbers(column)

    def lengths(self, variant: str, column: str) -> np.ndarray:
        """The characters of a text, float64 of shape (N,); NaN where there is none."""
        return self._parts[variant].lengths(column)

    def decision_numbers(self, column: str) -> np.ndarray:
        """A number column of the decisions, as `numbers`."""
        return np.full(len(self), np.nan) if self._decided is None else self._decided.numbers(column)

    def decided_columns(self) -> list[str]:
        """The score columns of the variants, and those that the ledger of a selection kept of them."""
        kept = set() if self.decisions is None else set(self.decisions.column_names)
        of_ledger = (name for name in COLUMNS_BY_NAME if any(f"{name}_{variant}" in kept for variant in self.variants))
        return list(dict.fromkeys([*self.score_columns(), *of_ledger]))

    def decided_by(self, variant: str, column: str) -> np.ndarray | None:
        """The numbers that a selection saw: those of its ledger, else the variant's own; None where there are none.

        Rows may have been scored again since, by another student.
        """
        kept = f"{column}_{variant}"
        if self.decisions is not None and kept in self.decisions.column_names:
            return self.decision_numbers(kept)
        return self.numbers(variant, column) if self.has(variant, column) else None

    def selected(self) -> np.ndarray:
        """Uint8 of shape (N,): 1 kept, 0 dropped, `NONE` where nothing was decided of a row."""
        if self._decided is None:
            return np.full(len(self), NONE, dtype=np.uint8)
        kept = self._decided.flags("selected")
        return np.where(np.isnan(kept), NONE, kept).astype(np.uint8)

    def words(self, variant: str, column: str) -> pa.ChunkedArray | None:
        """A text column in the order of the rows, null where a row is missing; None where there is no such column."""
        return self._parts[variant].words(column)

    def decision_words(self, column: str) -> pa.ChunkedArray | None:
        """The same of the decisions."""
        return None if self._decided is None else self._decided.words(column)

    def texts(self, variant: str, columns: Sequence[str], size: int) -> Iterator[dict[str, list[str | None]]]:
        """Text columns of a variant in the order of the rows, `size` rows at a time; None for what is not there."""
        return self._parts[variant].texts(columns, size)


class _Part:
    """One variant, or the decisions, beside the rows of a report.

    Attributes:
        places_N: where the rows of the report are in it; -1 for a row that it does not have.
    """

    def __init__(self, name: str, rows: Dataset, row_ids: pa.ChunkedArray) -> None:
        self.name = name
        self.rows = rows
        known = arrow_column(rows, "row_id")
        if known.null_count:
            raise BadInputError(f"{name}: {known.null_count} of {len(known)} rows have no row_id")
        different = pc.count_distinct(known).as_py()
        if different != len(known):
            raise BadInputError(f"{name}: a row_id is there twice ({len(known)} rows, {different} different ids)")
        self.places_N = positions_in(row_ids, known)
        self.is_in_order = np.array_equal(self.places_N, np.arange(len(known)))

    def has(self, column: str) -> bool:
        return column in self.rows.column_names

    def numbers(self, column: str) -> np.ndarray:
        return self._taken(column, _is_number, "numbers", numbers)

    def flags(self, column: str) -> np.ndarray:
        return self._taken(column, pa.types.is_boolean, "true or false", numbers)

    def lengths(self, column: str) -> np.ndarray:
        return self._taken(column, _is_text, "texts", lambda found: numbers(pc.utf8_length(_as_text(found))))

    def _taken(
        self,
        column: str,
        fits: Callable[[pa.DataType], bool],
        kind: str,
        as_numbers: Callable[[pa.ChunkedArray], np.ndarray],
    ) -> np.ndarray:
        """Numbers from a column, in the order of the report's rows; NaN where there is no column, or no row."""
        found = np.full(len(self.places_N), np.nan)
        if self.has(column):
            self._check(column, fits, kind)
            there_N = self.places_N >= 0
            found[there_N] = as_numbers(arrow_column(self.rows, column))[self.places_N[there_N]]
        return found

    def words(self, column: str) -> pa.ChunkedArray | None:
        if not self.has(column):
            return None
        self._check(column, _is_text, "texts")
        found = _as_text(arrow_column(self.rows, column))
        return found if self.is_in_order else found.take(pa.array(self.places_N, mask=self.places_N < 0))

    def texts(self, columns: Sequence[str], size: int) -> Iterator[dict[str, list[str | None]]]:
        present = [column for column in columns if self.has(column)]
        for column in present:
            self._check(column, _is_text, "texts")
        rows = self.rows.select_columns(present).with_format("arrow")
        for start in range(0, len(self.places_N), size):
            places_B = self.places_N[start : start + size]
            there_B = places_B >= 0
            found = dict.fromkeys(columns, [None] * len(places_B))
            if present and there_B.any():
                # Not `pyarrow.Table.take`: that copies whole columns to give a few rows of them.
                table = rows[_as_range(places_B[there_B])]
                found |= {column: _spread(table[column].to_pylist(), there_B) for column in present}
            yield found

    def _check(self, column: str, fits: Callable[[pa.DataType], bool], kind: str) -> None:
        found = self.rows.data.schema.field(column).type
        if not (fits(found) or pa.types.is_null(found)):
            raise BadInputError(f"column {column} of {self.name} holds {found}, not {kind}")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _as_range(places: np.ndarray) -> range | np.ndarray:
    """Places that follow one another as a range, of which nothing is copied."""
    first, last = int(places[0]), int(places[-1])
    in_order = range(first, last + 1)
    return in_order if len(in_order) == len(places) and (np.diff(places) == 1).all() else places


def _spread(values: list[Any], there: np.ndarray) -> list[Any]:
    """Values at the places where there are any, None at the others."""
    if there.all():
        return values
    following = iter(values)
    return [next(following) if is_there else None for is_there in there.tolist()]


def codes_of(columns: Sequence[pa.ChunkedArray]) -> tuple[list[str], list[np.ndarray]]:
    """Text columns as numbers into one list of their names, the most frequent first.

    Returns:
        The names, at most 254 and then `(others)`, and for each column uint8 of shape (N,), `NONE` for null.
    """
    counted: Counter[str] = Counter()
    for column in columns:
        counted.update({entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()})
    counted.pop(None, None)
    names = [name for name, _ in counted.most_common()]
    shown = pa.array(names[:OTHERS], pa.string())
    codes = [_codes(column, shown) for column in columns]
    return [*names[:OTHERS], *(["(others)"] if len(names) > OTHERS else [])], codes


def _codes(column: pa.ChunkedArray, shown: pa.Array) -> np.ndarray:
    codes = pc.fill_null(pc.index_in(column, value_set=shown), OTHERS)
    return pc.if_else(pc.is_null(column), NONE, codes).to_numpy().astype(np.uint8)
