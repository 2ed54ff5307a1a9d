"""S-IFD: IFD of the tokens that the instruction says most about (T-SHIRT, arXiv 2506.01317)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.ratios import mean_loss
from scoring.selection.base import KEPT, UNSCORED, Outcome
from scoring.selection.cherry import IFD_NOT_BELOW_1
from scoring.selection.share import BELOW_THE_CUT, Share, keep_best
from scoring.selection.table import Rows

GIVEN, ALONE = "token_losses_A_condition", "token_losses_A_direct"


@dataclass(frozen=True)
class SIfd(Share):
    """The top of the rows by S-IFD, among those with an IFD below 1.

    For the response's tokens, d_t = loss given the instruction - loss alone. tau is that quantile of |d_t|, over all
    rows that came in, above which the part `informative` of the tokens lies. S-IFD = exp(mean of the row's d_t with
    |d_t| > tau); a row without such a token has none.

    A text's first token has no loss of its own where the tokenizer adds no BOS: the two lists are aligned at their
    ends. Of rows scored with `--span aligned` they are of the same tokens.
    """

    informative: float = field(default=0.5, metadata={"help": "the part of all tokens that counts"})
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no losses by token, or none of its tokens counts",
        IFD_NOT_BELOW_1: "its IFD is 1 or more: the instruction does not help the response",
        BELOW_THE_CUT: "others have a higher S-IFD",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = (GIVEN, ALONE)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("sifd")
        if not 0 < self.informative <= 1:
            raise BadInputError(f"strategy sifd: informative {self.informative}: must be above 0 and at most 1")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        given, alone = (_lists(rows, column) for column in (GIVEN, ALONE))
        differences = [
            a[len(a) - size :] - b[len(b) - size :]
            for a, b in zip(given, alone, strict=True)
            for size in (min(len(a), len(b)),)
        ]
        all_differences = np.concatenate([np.empty(0), *differences])
        if not len(all_differences):
            raise BadInputError(f"strategy sifd: no row has {GIVEN} and {ALONE}: score with --keep_token_losses true")
        tau = float(np.quantile(np.abs(all_differences), 1 - self.informative))
        scores_N = np.array([s_ifd(difference_T, tau) for difference_T in differences])
        ifd_N = np.array([_log_ifd(*losses) for losses in zip(given, alone, strict=True)])
        outcome = keep_best(rows, scores_N, self, barred=((IFD_NOT_BELOW_1, ifd_N >= 0),))
        outcome.notes["tau"] = tau
        return outcome


def s_ifd(differences_T: np.ndarray, tau: float) -> float:
    """S-IFD of one row from its tokens' differences; NaN where none is larger than tau."""
    counted = differences_T[np.abs(differences_T) > tau]
    return float(np.exp(counted.mean())) if len(counted) else np.nan


def _log_ifd(given_T: np.ndarray, alone_T: np.ndarray) -> float:
    if not len(given_T) or not len(alone_T):
        return np.nan
    return mean_loss(given_T) - mean_loss(alone_T)


def _lists(rows: Rows, column: str) -> list[np.ndarray]:
    found = [np.array([] if values is None else values, dtype=np.float64) for values in rows.column(column).to_pylist()]
    # One loss that is no number would leave no tau for any row.
    return [losses_T if np.isfinite(losses_T).all() else np.empty(0) for losses_T in found]
