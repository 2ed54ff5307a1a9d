"""Compare two selections of the same rows by their ledgers: what both kept, and whether they rank alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Value

from hub_cards.arrow import arrow_column, numbers, positions_in
from hub_cards.errors import BadInputError
from hub_cards.schema import SELECT_COLUMNS
from hub_cards.tables import Table, as_text
from scoring.alignment import rank_correlation

FRACTIONS = (0.01, 0.05, 0.10, 0.20)
TEXTS = ("selected_variant", "select_reason")
CHANGED_FEATURES = Features(
    {
        **{name: Value("string") for name in ("row_id", "change")},
        **{f"selected_{side}": Value("bool") for side in "ab"},
        **{f"{name}_{side}": Value("string") for name in TEXTS for side in "ab"},
    }
)
ONLY_A, ONLY_B, OTHER_VARIANT = "kept_only_in_a", "kept_only_in_b", "other_variant"


@dataclass(frozen=True)
class Overlap:
    """How many of the best-ranked rows two selections share.

    Attributes:
        k: the rows taken from the top of each ranking.
        fraction: `k` as a part of the rows in both; null where `k` is the smaller number of kept rows with a rank.
        share: the part of the `k` rows that both have, from 0 to 1.
    """

    k: int
    fraction: float | None
    share: float


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over the `n` rows that have both numbers; `rho` is null where a side is constant."""

    rho: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """What two selections, A and B, have in common. Everything but `rows` is about the rows in both ledgers.

    Attributes:
        rows: how many are `in_both`, `only_in_a`, `only_in_b`.
        kept: how many were kept `in_both`, `only_in_a`, `only_in_b`; `other_variant`: in both, but
            in another variant.
        jaccard: rows kept in both over rows kept in either; null where none was kept.
        overlaps: of the best-ranked rows; empty where a ledger has no ranks.
        correlations: of `select_score` and of every score that both ledgers have.
        changed: the rows that were not decided alike, in the order of A, with both variants and reasons.
    """

    rows: dict[str, int]
    kept: dict[str, int]
    jaccard: float | None
    overlaps: list[Overlap]
    correlations: dict[str, Correlation]
    changed: Dataset

    def as_dict(self) -> dict[str, Any]:
        """All but the changed rows, as JSON takes it."""
        return {
            "rows": self.rows,
            "kept": self.kept,
            "jaccard": self.jaccard,
            "overlaps": [vars(overlap) for overlap in self.overlaps],
            "spearman": {name: vars(correlation) for name, correlation in self.correlations.items()},
        }


def compare(a: Dataset, b: Dataset) -> Comparison:
    """Compare two ledgers, joined by `row_id`.

    Args:
        a, b: the `decisions` of two selections: `row_id`, `selected`, `selected_variant`, `select_reason`, and where
            there are any `select_rank`, `select_score` and columns of scores.

    Raises:
        BadInputError: a ledger repeats a row, or no row is in both.
    """
    ids_a, ids_b = (_ids(ledger, side) for ledger, side in ((a, "A"), (b, "B")))
    found = positions_in(ids_a, ids_b)
    in_both = np.flatnonzero(found >= 0)
    if not len(in_both):
        raise BadInputError("A and B have no row_id in common; compare selections from the same rows")
    left, right = a.select(in_both), b.select(found[in_both])
    kept_a, kept_b = (arrow_column(side, "selected").to_numpy().astype(bool) for side in (left, right))
    variants = [arrow_column(side, "selected_variant").to_numpy() for side in (left, right)]
    moved = kept_a & kept_b & (variants[0] != variants[1])
    either = int((kept_a | kept_b).sum())
    kept = {
        "in_both": int((kept_a & kept_b).sum()),
        "only_in_a": int((kept_a & ~kept_b).sum()),
        "only_in_b": int((kept_b & ~kept_a).sum()),
        "other_variant": int(moved.sum()),
    }
    return Comparison(
        rows={"in_both": len(in_both), "only_in_a": len(a) - len(in_both), "only_in_b": len(b) - len(in_both)},
        kept=kept,
        jaccard=kept["in_both"] / either if either else None,
        overlaps=_overlaps(left, right, kept_a, kept_b),
        correlations=_correlations(left, right),
        changed=_changed(left, right, kept_a, kept_b, moved),
    )


def _ids(ledger: Dataset, side: str) -> pa.ChunkedArray:
    ids = arrow_column(ledger, "row_id")
    if len(ids.unique()) != len(ids):
        raise BadInputError(f"{side} repeats a row_id: {len(ids)} rows, {len(ids.unique())} different ids")
    return ids


def _overlaps(left: Dataset, right: Dataset, kept_a: np.ndarray, kept_b: np.ndarray) -> list[Overlap]:
    if not all("select_rank" in side.column_names for side in (left, right)):
        return []
    ranks = [numbers(arrow_column(side, "select_rank")) for side in (left, right)]
    ids = arrow_column(left, "row_id").to_numpy().astype(str)
    orders = [_best_first(rank, kept, ids) for rank, kept in zip(ranks, (kept_a, kept_b), strict=True)]
    ranked_kept = min(int((~np.isnan(rank) & kept).sum()) for rank, kept in zip(ranks, (kept_a, kept_b), strict=True))
    wanted = [(ranked_kept, None), *((math.floor(fraction * len(left) + 0.5), fraction) for fraction in FRACTIONS)]
    return [
        Overlap(k, fraction, len(np.intersect1d(orders[0][:k], orders[1][:k])) / k)
        for k, fraction in wanted
        if 0 < k <= min(len(order) for order in orders)
    ]


def _best_first(ranks_N: np.ndarray, kept_N: np.ndarray, ids_N: np.ndarray) -> np.ndarray:
    """The positions of the ranked rows; where two steps gave the same rank the kept row comes first."""
    ranked = np.flatnonzero(~np.isnan(ranks_N))
    return ranked[np.lexsort((ids_N[ranked], ~kept_N[ranked], ranks_N[ranked]))]


def _correlations(left: Dataset, right: Dataset) -> dict[str, Correlation]:
    """Of all number columns that both have, in the order of A; a column without any pair of numbers is left out."""
    decided = {"row_id", *(column.name for column in SELECT_COLUMNS)} - {"select_score"}
    found = {}
    for name in left.column_names:
        if name in decided or name not in right.column_names:
            continue
        columns = [arrow_column(side, name) for side in (left, right)]
        if any(not (pa.types.is_integer(part.type) or pa.types.is_floating(part.type)) for part in columns):
            continue
        found[name] = spearman(*(numbers(part) for part in columns))
    return {name: correlation for name, correlation in found.items() if correlation.n}


def spearman(first_N: np.ndarray, second_N: np.ndarray) -> Correlation:
    """Spearman's rho, ties at their mean rank, of the rows where neither side is NaN."""
    both = ~(np.isnan(first_N) | np.isnan(second_N))
    return Correlation(rank_correlation(first_N[both], second_N[both]), int(both.sum()))


def _changed(left: Dataset, right: Dataset, kept_a: np.ndarray, kept_b: np.ndarray, moved: np.ndarray) -> Dataset:
    positions = np.flatnonzero((kept_a != kept_b) | moved)
    changes = np.where(moved, OTHER_VARIANT, np.where(kept_a, ONLY_A, ONLY_B))
    sides = {"a": (left.select(positions), kept_a), "b": (right.select(positions), kept_b)}
    return Dataset.from_dict(
        {
            "row_id": sides["a"][0]["row_id"][:],
            "change": changes[positions].tolist(),
            **{f"selected_{side}": kept[positions].tolist() for side, (_, kept) in sides.items()},
            **{f"{name}_{side}": rows[name][:] for name in TEXTS for side, (rows, _) in sides.items()},
        },
        features=CHANGED_FEATURES,
    )


def as_report(comparison: Comparison) -> str:
    """The comparison as text for a terminal."""
    counts, *others = map(as_text, as_tables(comparison))
    others += [as_text(correlation_table(comparison.correlations))] if comparison.correlations else []
    return "\n\n".join([counts, "\n".join(as_lines(comparison)), *others])


def as_lines(comparison: Comparison) -> list[str]:
    """What the counts do not say, a sentence each."""
    kept = comparison.kept
    return [
        f"{kept['other_variant']:,} of the {kept['in_both']:,} rows kept in both were kept in another variant.",
        f"Jaccard of the kept rows: {_number(comparison.jaccard)}",
    ]


def as_tables(comparison: Comparison, sides: Sequence[str] = ("A", "B")) -> list[Table]:
    """The counts and, where there are ranks, how many of the best both share.

    Args:
        sides: what the two selections are called.
    """
    rows, kept = comparison.rows, comparison.kept
    counts = [("rows", rows), ("kept, of the rows in both", kept)]
    header = ["", "in both", *(f"only in {side}" for side in sides)]
    tables = [[header, *([label, *(f"{of[key]:,}" for key in rows)] for label, of in counts)]]
    if comparison.overlaps:
        lines = [
            [
                "the smaller number of kept rows" if o.fraction is None else f"{o.fraction:.0%} of the rows",
                f"{o.k:,}",
                f"{o.share:.3f}",
            ]
            for o in comparison.overlaps
        ]
        tables.append([["best-ranked rows", "k", "in common"], *lines])
    return tables


def correlation_table(correlations: Mapping[str, Correlation]) -> Table:
    """Header and one line a score: whether the two sides order the rows alike by it."""
    lines = [[name, _number(found.rho), f"{found.n:,}"] for name, found in correlations.items()]
    return [["the same order by", "Spearman", "rows"], *lines]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
