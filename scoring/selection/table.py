"""The rows of a selection as arrays: what was scored of every variant, joined by `row_id`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from hub_cards.arrow import arrow_column, numbers, positions_in
from hub_cards.errors import BadInputError
from hub_cards.schema import VARIANTS
from hub_cards.storage import load_folder

IFD = "ifd_ppl"


def load_selection(folder: str) -> DatasetDict:
    """What an earlier selection saved: `selected` and `decisions`."""
    return load_folder(Path(folder))


class ScoreTable:
    """The variants of the same rows, in the order of the first variant. Columns are read when they are asked for.

    Args:
        variants: the keys of `VARIANTS` that there are, each with `row_id`; other keys are ignored.
        load_selection: gives what an earlier selection saved, by its folder.

    Raises:
        BadInputError: a variant lacks `row_id` or repeats one, or the variants hold different rows.
    """

    def __init__(self, variants: DatasetDict, load_selection: Callable[[str], DatasetDict] = load_selection) -> None:
        self.variants = tuple(name for name in VARIANTS if name in variants)
        if not self.variants:
            raise BadInputError(f"--dataset holds {', '.join(variants)} and none of {', '.join(VARIANTS)}")
        self.parts = {name: variants[name] for name in self.variants}
        self.load_selection = load_selection
        self.row_ids = self._row_ids(self.variants[0])
        self.order = {name: self._order(name) for name in self.variants}
        self._numbers: dict[tuple[str, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.row_ids)

    @cached_property
    def ids(self) -> np.ndarray:
        """The row ids as fixed-width text, which numpy can sort."""
        return self.row_ids.to_numpy().astype(str)

    def has(self, column: str) -> bool:
        """Whether every variant has this column."""
        return all(column in part.column_names for part in self.parts.values())

    def numbers(self, column: str, variant: str) -> np.ndarray:
        """A score of one variant, float64; NaN where it is null."""
        key = (column, variant)
        if key not in self._numbers:
            found = self.column(column, variant)
            if not (
                pa.types.is_integer(found.type) or pa.types.is_floating(found.type) or pa.types.is_null(found.type)
            ):
                raise BadInputError(f"column {column} of variant {variant} holds {found.type}, not numbers")
            self._numbers[key] = numbers(found)
        return self._numbers[key]

    def column(self, column: str, variant: str) -> pa.ChunkedArray:
        """A column of one variant, in the order of the table.

        Raises:
            BadInputError: the variant does not have it.
        """
        if column not in self.parts[variant].column_names:
            raise BadInputError(
                f"variant {variant} has no column {column}: score it first (recipes/score.py), or give --statistics "
                "that have it"
            )
        found, order = arrow_column(self.parts[variant], column), self.order[variant]
        return found if order is None else found.take(pa.array(order))

    def _row_ids(self, name: str) -> pa.ChunkedArray:
        if "row_id" not in self.parts[name].column_names:
            raise BadInputError(f"variant {name} has no column row_id; load it with recipes/score.py first")
        found = arrow_column(self.parts[name], "row_id")
        different = pc.count_distinct(found).as_py()
        if different != len(found):
            raise BadInputError(f"variant {name} repeats a row_id: {len(found)} rows, {different} different ids")
        return found

    def _order(self, name: str) -> np.ndarray | None:
        """Where the table's rows are in a variant; None where it is in the same order."""
        ids = self._row_ids(name)
        if ids.equals(self.row_ids):
            return None
        found = positions_in(self.row_ids, ids)
        if len(ids) != len(self.row_ids) or (found < 0).any():
            odd = min(set(ids.to_pylist()) ^ set(self.row_ids.to_pylist()))
            raise BadInputError(
                f"variants {self.variants[0]} and {name} hold different rows: only one has row_id {odd}"
            )
        return found


@dataclass(frozen=True)
class Rows:
    """The N rows that a step sees: those that the steps before it have left, with the variant that stands for each.

    Attributes:
        positions_N: where they are in the table.
        variants_N: the place in `VARIANTS` of each row's variant.
    """

    table: ScoreTable
    positions_N: np.ndarray
    variants_N: np.ndarray

    def __len__(self) -> int:
        return len(self.positions_N)

    @property
    def ids(self) -> np.ndarray:
        """The row ids, as text that numpy can sort."""
        return self.table.ids[self.positions_N]

    def has(self, column: str) -> bool:
        """Whether every variant has this column."""
        return self.table.has(column)

    def numbers(self, column: str) -> np.ndarray:
        """A score of each row's variant, float64; NaN where it is null."""
        values_N = np.full(len(self), np.nan)
        for name, mine_N in self._by_variant():
            values_N[mine_N] = self.table.numbers(column, name)[self.positions_N[mine_N]]
        return values_N

    def all_numbers(self, column: str) -> np.ndarray:
        """A score of every variant, of shape (4, N) in the order of `VARIANTS`; NaN where it is null or not made."""
        values_VN = np.full((len(VARIANTS), len(self)), np.nan)
        for name in self.table.variants:
            values_VN[VARIANTS.index(name)] = self.table.numbers(column, name)[self.positions_N]
        return values_VN

    def column(self, column: str) -> pa.Array:
        """Any column of each row's variant."""
        parts, order = [], []
        for name, mine_N in self._by_variant():
            parts.append(self.table.column(column, name).take(pa.array(self.positions_N[mine_N])).combine_chunks())
            order.append(np.flatnonzero(mine_N))
        if not parts:
            return self.table.column(column, self.table.variants[0]).slice(0, 0).combine_chunks()
        return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))

    def texts(self, column: str) -> list[str]:
        """A text of each row's variant; a null is an empty text."""
        return pc.fill_null(self.column(column), "").to_pylist()

    def vectors(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """A list column as one matrix.

        Returns:
            The vectors of the rows that have one, float32 of shape (M, D), and which rows those are, of shape (N,).

        Raises:
            BadInputError: the lists are of different lengths.
        """
        found = self.column(column)
        has_N = (
            pc.and_(pc.is_valid(found), pc.greater(pc.fill_null(pc.list_value_length(found), 0), 0))
            .to_numpy(zero_copy_only=False)
            .copy()
        )
        lists = found.filter(pa.array(has_N))
        lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
        if len(lengths) > 1:
            raise BadInputError(f"column {column} holds lists of different lengths ({lengths[0]} and {lengths[1]})")
        values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        vectors_MD = values.reshape(len(lists), -1) if len(lists) else np.empty((0, 0), np.float32)
        fine_M = np.isfinite(vectors_MD).all(axis=1)
        has_N[has_N] = fine_M
        return vectors_MD[fine_M], has_N

    def unscored(self) -> np.ndarray:
        """Rows without an IFD, where IFD was taken at all: those that could not be scored, an empty response say."""
        return np.isnan(self.numbers(IFD)) if self.has(IFD) else np.zeros(len(self), dtype=bool)

    def selection(self, folder: str) -> Dataset:
        """The rows that an earlier selection kept."""
        return self.table.load_selection(folder)["selected"]

    def _by_variant(self) -> list[tuple[str, np.ndarray]]:
        return [(VARIANTS[number], self.variants_N == number) for number in np.unique(self.variants_N) if number >= 0]
