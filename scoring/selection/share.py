"""How many rows to keep, and keeping the best of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome, is_kept, reasons_of
from scoring.selection.table import Rows

BELOW_THE_CUT = "below_the_cut"


@dataclass(frozen=True)
class Share:
    """A part of the rows: a fraction of those that came in, or an exact number. One of the two is set."""

    fraction: float | None = field(default=None, metadata={"help": "the part of the rows that came in"})
    count: int | None = field(default=None, metadata={"help": "an exact number of rows"})

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise BadInputError(f"fraction {self.fraction}: must be above 0 and at most 1")
        if self.count is not None and self.count < 1:
            raise BadInputError(f"count {self.count}: must be at least 1")

    def check(self, strategy: str) -> None:
        """Raise `BadInputError` unless exactly one of the two is set."""
        if (self.fraction is None) == (self.count is None):
            raise BadInputError(f"strategy {strategy}: give either fraction or count")

    def of(self, n_rows: int, n_left: int) -> int:
        """The number of rows to keep; a fraction is rounded to the nearest row.

        Args:
            n_rows: rows that came in.
            n_left: rows that can be kept.

        Raises:
            BadInputError: that is none, or more than there are.
        """
        wanted = self.count if self.count is not None else math.floor(n_rows * self.fraction + 0.5)
        part = "" if self.count is not None else f"fraction {self.fraction:g} of {n_rows:,} rows is "
        if wanted < 1:
            raise BadInputError(f"{part}not even one row")
        if wanted > n_left:
            raise BadInputError(
                f"{part or 'count '}{wanted:,}, but of the {n_rows:,} rows only {n_left:,} can be kept"
                + ("; ask for less" if n_left else ": see the reasons that the strategy has for the others")
            )
        return wanted


def keep_picked(reasons_N: np.ndarray, picked: np.ndarray, worth: np.ndarray | list[float], **notes: float) -> Outcome:
    """Keep rows that were picked one after the other; the place of a pick is its rank.

    Args:
        reasons_N: why the others are dropped; those of the picked rows are overwritten.
        picked: places of the rows, the first pick first.
        worth: what each was worth when it was picked.
    """
    ranks_N, scores_N = np.zeros(len(reasons_N), dtype=np.int64), np.full(len(reasons_N), np.nan)
    reasons_N[picked] = KEPT
    ranks_N[picked] = np.arange(1, len(picked) + 1)
    scores_N[picked] = worth
    return Outcome(reasons_N, is_kept(reasons_N), ranks_N=ranks_N, scores_N=scores_N, notes=notes)


def keep_best(
    rows: Rows,
    scores_N: np.ndarray,
    share: Share,
    *,
    smallest: bool = False,
    barred: tuple[tuple[str, np.ndarray], ...] = (),
    groups: list[str] | None = None,
) -> Outcome:
    """Keep the rows with the highest scores; ties are broken by `row_id`, smallest first.

    Args:
        scores_N: NaN where a row has none; such a row is never kept.
        smallest: the lowest scores are the best.
        barred: reasons and the rows that they keep out, the first that applies.
        groups: a label a row: every group gets a part of the places that is proportional to its rows.

    Raises:
        BadInputError: more rows are asked for than can be kept, of all or of a group.
    """
    reasons_N = reasons_of(len(rows), BELOW_THE_CUT)
    out_N = np.zeros(len(rows), dtype=bool)
    for reason, mask_N in ((UNSCORED, rows.unscored() | np.isnan(scores_N)), *barred):
        reasons_N[mask_N & ~out_N] = reason
        out_N |= mask_N
    left = np.flatnonzero(~out_N)
    n_wanted = share.of(len(rows), len(left))
    order = left[np.lexsort((rows.ids[left], scores_N[left] if smallest else -scores_N[left]))]
    ranks_N = np.zeros(len(rows), dtype=np.int64)
    ranks_N[order] = np.arange(1, len(order) + 1)
    kept = order[:n_wanted] if groups is None else _best_of_groups(order, np.array(groups, dtype=object), n_wanted)
    reasons_N[kept] = KEPT
    return Outcome(reasons_N, is_kept(reasons_N), ranks_N=ranks_N, scores_N=scores_N)


def _best_of_groups(order: np.ndarray, groups_N: np.ndarray, n_wanted: int) -> np.ndarray:
    names, sizes = np.unique(groups_N.astype(str), return_counts=True)
    kept = []
    for name, quota in zip(names.tolist(), quotas(sizes, n_wanted), strict=True):
        mine = order[groups_N[order].astype(str) == name]
        if quota > len(mine):
            raise BadInputError(
                f"group {name!r} has a quota of {quota} rows, but only {len(mine)} of it can be kept; ask for less"
            )
        kept.append(mine[:quota])
    return np.concatenate(kept)


def quotas(sizes: np.ndarray, n_wanted: int) -> np.ndarray:
    """Places for groups of these sizes, proportional by largest remainders; the first of equal ones gets a place."""
    places, remainders = np.divmod(sizes * n_wanted, sizes.sum())
    left = n_wanted - places.sum()
    places[np.argsort(-remainders, kind="stable")[:left]] += 1
    return places
