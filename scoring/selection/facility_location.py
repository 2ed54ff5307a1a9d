"""Diversity: rows that together cover all others (facility location, as in Superfiltering, arXiv 2402.00530)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scoring.selection.base import KEPT, UNSCORED, Outcome, reasons_of
from scoring.selection.coverage import pick_by_coverage
from scoring.selection.share import Share, keep_picked
from scoring.selection.table import Rows

NOT_PICKED = "not_picked"
EMBEDDING = "embedding"


@dataclass(frozen=True)
class FacilityLocation(Share):
    """The rows, picked one after the other, whose sentence embeddings come closest to all rows' that came in."""

    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no embedding, or was scored and has no IFD",
        NOT_PICKED: "rows like it were picked",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = (EMBEDDING,)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("facility_location")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        vectors_MD, has_N = rows.vectors(EMBEDDING)
        has_direction_M = vectors_MD.any(axis=1)  # a vector of zeros has none
        vectors_MD, has_N[has_N] = vectors_MD[has_direction_M], has_direction_M
        scored_N = has_N & ~rows.unscored()
        vectors_MD, left = vectors_MD[scored_N[has_N]], np.flatnonzero(scored_N)
        by_id = np.argsort(rows.ids[left])  # so that of equal rows the one with the smallest id is picked
        coverage = pick_by_coverage(vectors_MD[by_id], self.of(len(rows), len(left)))
        reasons_N = reasons_of(len(rows), UNSCORED)
        reasons_N[left] = NOT_PICKED
        notes = {"objective": coverage.objective, "mean_similarity": coverage.mean_similarity}
        return keep_picked(reasons_N, left[by_id][coverage.picks], coverage.gains, **notes)
