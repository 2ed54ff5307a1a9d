"""Selective Reflection-Tuning: the student chooses among a row's variants (arXiv 2402.10110, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from scoring.selection.base import KEPT, NOBODY, UNSCORED, Outcome, place, reasons_of
from scoring.selection.table import Rows

ONLY_SCORED = "only_scored"
IFD_NOT_BELOW_1 = "ifd_not_below_1"
RIFD_NOT_BELOW_1 = "rifd_not_below_1"
WINNER_UNSCORED = "winner_unscored"
RESPONSE_NOT_REFLECTED = "response_not_reflected"
ORIGINAL, INSTRUCTION, RESPONSE, BOTH = map(
    place, ("original", "reflect_instruction", "reflect_response", "reflect_both")
)


@dataclass(frozen=True)
class Selective:
    """The student's choice.

    1. The reflected instruction goes on if it is the more difficult one: its IFD is above the original's.
    2. The reflected response of that instruction goes on if its instruction is easier to tell from it: its r-IFD is
       below that of the pair with the old response.
    3. The winner stays if its IFD and r-IFD are below 1.

    Where only one side of a comparison has a number, that side goes on; a tie keeps the old one; a variant that was
    never made takes no part.
    """

    require_reflected_response: bool = field(
        default=True, metadata={"help": "keep only winners whose response was reflected, as the published sets do"}
    )
    # In the order in which a row meets them.
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "neither side of a comparison has a number",
        WINNER_UNSCORED: "the winner lacks a number that the gate needs",
        IFD_NOT_BELOW_1: "the winner's IFD is 1 or more: the instruction does not help the response",
        RIFD_NOT_BELOW_1: "the winner's r-IFD is 1 or more: the response does not point to its instruction",
        RESPONSE_NOT_REFLECTED: "a pair with its old response won, and only reflected responses are kept",
        ONLY_SCORED: "kept; one side of a comparison had no number",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ("ifd_ppl", "rifd_ppl")
    needs: ClassVar[tuple[str, ...]] = ()

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        made = [place(name) for name in rows.table.variants]
        ifd_VN, rifd_VN = (rows.all_numbers(column) for column in self.reads)
        one, other = (np.full(len(rows), number if number in made else NOBODY) for number in (ORIGINAL, INSTRUCTION))
        questions_N, alone_1 = _better(one, other, ifd_VN, larger_wins=True)

        reflected_N = np.where(questions_N == INSTRUCTION, BOTH, RESPONSE)
        reflected_N[~np.isin(reflected_N, made)] = NOBODY
        winners_N, alone_2 = _better(questions_N, reflected_N, rifd_VN, larger_wins=False)
        winners_N[questions_N == NOBODY] = NOBODY

        ifd_N, rifd_N = _values(ifd_VN, winners_N), _values(rifd_VN, winners_N)
        old_response_N = ~np.isin(winners_N, (RESPONSE, BOTH))
        out = (
            (UNSCORED, winners_N == NOBODY),
            (WINNER_UNSCORED, np.isnan(ifd_N) | np.isnan(rifd_N)),
            (IFD_NOT_BELOW_1, ~(ifd_N < 1)),
            (RIFD_NOT_BELOW_1, ~(rifd_N < 1)),
            (RESPONSE_NOT_REFLECTED, old_response_N & self.require_reflected_response),
        )
        reasons_N = reasons_of(len(rows))
        reasons_N[alone_1 | alone_2] = ONLY_SCORED
        for reason, mask_N in reversed(out):
            reasons_N[mask_N] = reason
        return Outcome(reasons_N, ~np.any([mask_N for _, mask_N in out], axis=0), winners_N)


def _values(values_VN: np.ndarray, variants_N: np.ndarray) -> np.ndarray:
    """Of each row the value of one variant; NaN for nobody."""
    return np.where(variants_N == NOBODY, np.nan, values_VN[variants_N, np.arange(len(variants_N))])


def _better(
    old_N: np.ndarray, new_N: np.ndarray, scores_VN: np.ndarray, larger_wins: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The winners of a comparison, and where one won because the other side has no number."""
    before_N, after_N = _values(scores_VN, old_N), _values(scores_VN, new_N)
    has_old, has_new = ~np.isnan(before_N), ~np.isnan(after_N)
    new_wins = after_N > before_N if larger_wins else after_N < before_N
    winners_N = np.where(has_new & (new_wins | ~has_old), new_N, np.where(has_old, old_N, NOBODY))
    return winners_N, (has_old ^ has_new) & (old_N != NOBODY) & (new_N != NOBODY)
