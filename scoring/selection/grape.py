"""GRAPE: of several responses the one that the student finds likeliest (arXiv 2502.04194)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scoring.selection.base import KEPT, NOBODY, UNSCORED, Outcome, reasons_of
from scoring.selection.table import Rows


@dataclass(frozen=True)
class Grape:
    """The variant with the lowest loss of the response given its instruction; of equal ones the first of `VARIANTS`."""

    reasons: ClassVar[dict[str, str]] = {UNSCORED: "no variant has a conditional loss", KEPT: "kept"}
    reads: ClassVar[tuple[str, ...]] = ("loss_A_condition",)
    needs: ClassVar[tuple[str, ...]] = ()

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        losses_VN = rows.all_numbers(*self.reads)
        unscored_N = np.isnan(losses_VN).all(axis=0)
        winners_N = np.where(np.isnan(losses_VN), np.inf, losses_VN).argmin(axis=0)
        reasons_N = reasons_of(len(rows))
        reasons_N[unscored_N] = UNSCORED
        return Outcome(reasons_N, ~unscored_N, np.where(unscored_N, NOBODY, winners_N))
