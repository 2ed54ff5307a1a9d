"""Baselines: rows at random, and rows at random of the lengths of a selection that they are to be compared with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome, is_kept, reasons_of
from scoring.selection.share import Share, keep_best
from scoring.selection.table import Rows

NOT_DRAWN = "not_drawn"
LENGTH_BINS, LEAST_IN_BIN = 20, 5


def draws(ids: np.ndarray, seed: int) -> np.ndarray:
    """A number from 0 to 1 for every row, of its id and the seed alone: whatever rows it stands among."""
    digests = (hashlib.sha256(f"{seed} {identity}".encode()).digest() for identity in ids)
    return np.array([int.from_bytes(digest[:6]) / 2**48 for digest in digests])


@dataclass(frozen=True)
class RandomRows(Share):
    """Rows at random, the same ones for the same seed."""

    seed: int = 0
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row was scored and has no IFD: an empty response, for instance",
        NOT_DRAWN: "chance",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("random")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        outcome = keep_best(rows, draws(rows.ids, self.seed), self, smallest=True)
        outcome.reasons_N[~outcome.kept_N & (outcome.reasons_N != UNSCORED)] = NOT_DRAWN
        return outcome


@dataclass(frozen=True)
class LengthMatchedRandom:
    """Rows at random whose responses are as long as those of another selection, and as many.

    The other selection's lengths (in characters) are cut into bins of equally many rows, five or more, 20 bins at most;
    from each bin as many rows are drawn as that selection has in it.
    """

    like: str = field(default="", metadata={"help": "folder of the selection that is to be matched"})
    seed: int = 0
    reasons: ClassVar[dict[str, str]] = RandomRows.reasons
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("output",)

    def __post_init__(self) -> None:
        if not self.like:
            raise BadInputError("strategy length_matched_random: like: name the folder of the selection to be matched")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        wanted = np.array([len(text) for text in rows.selection(self.like)["output"]])
        if not len(wanted):
            raise BadInputError(f"like {self.like}: that selection kept no row")
        lengths_N = np.array([len(text) for text in rows.texts("output")])
        unscored_N = rows.unscored()
        order = np.lexsort((rows.ids, draws(rows.ids, self.seed)))
        order = order[~unscored_N[order]]
        reasons_N = reasons_of(len(rows), NOT_DRAWN)
        reasons_N[unscored_N] = UNSCORED
        for low, high, count in length_bins(wanted):
            fitting = order[(lengths_N[order] >= low) & (lengths_N[order] < high)]
            if len(fitting) < count:
                raise BadInputError(
                    f"like {self.like}: has {count} responses of {low:g} to {high:g} characters, the rows here only "
                    f"{len(fitting)}: their lengths cannot be matched. Where that selection chose other variants, "
                    "choose them first: `recycled`, then this step"
                )
            reasons_N[fitting[:count]] = KEPT
        return Outcome(reasons_N, is_kept(reasons_N))


def length_bins(lengths: np.ndarray) -> list[tuple[float, float, int]]:
    """Lower bound, upper bound (not in it) and rows of each bin, from the shortest to the longest."""
    bins = min(max(len(lengths) // LEAST_IN_BIN, 1), LENGTH_BINS)
    edges = np.quantile(lengths, np.linspace(0, 1, bins + 1)[:-1])
    bounds = [*np.unique(edges), float(lengths.max() + 1)]
    counts, _ = np.histogram(lengths, bins=bounds)
    return [(low, high, int(count)) for low, high, count in zip(bounds[:-1], bounds[1:], counts, strict=True) if count]
