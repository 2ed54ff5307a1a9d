"""Reflection-Tuning V1: all rows as the oracle rewrote them (arXiv 2310.11716)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome, place, reasons_of
from scoring.selection.table import IFD, Rows

REFLECT_BOTH = "reflect_both"


@dataclass(frozen=True)
class Recycled:
    """`reflect_both` of every row; where the oracle's pair was not adopted, that is its parent's."""

    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the pair was scored and has no IFD: an empty response, for instance",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        if REFLECT_BOTH not in rows.table.variants:
            raise BadInputError(
                f"strategy recycled takes the variant {REFLECT_BOTH}; --dataset has {', '.join(rows.table.variants)}"
            )
        number = place(REFLECT_BOTH)
        unscored_N = np.isnan(rows.all_numbers(IFD)[number]) if rows.has(IFD) else np.zeros(len(rows), dtype=bool)
        reasons_N = reasons_of(len(rows))
        reasons_N[unscored_N] = UNSCORED
        return Outcome(reasons_N, ~unscored_N, np.full(len(rows), number))
