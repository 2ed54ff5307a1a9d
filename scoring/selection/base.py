"""What every strategy takes and gives: rows with their scores in; kept or not, variant, reason and rank out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from hub_cards.schema import VARIANTS
from scoring.selection.table import Rows

KEPT = "kept"
UNSCORED = "unscored"
NOBODY = -1  # the place of a variant that does not exist


@dataclass(frozen=True)
class Outcome:
    """What a step decided for the N rows it was shown.

    Attributes:
        reasons_N: a word that says why the row is kept or dropped.
        kept_N: whether the row goes on.
        variants_N: places in `VARIANTS` of the variant that won, kept or not, `NOBODY` where none did; None where the
            step leaves the variant as it is.
        ranks_N: 1 for the best, 0 where a row has no rank; None where the step does not rank.
        scores_N: what was ranked by, NaN where there is nothing; None where the step does not rank.
        notes: what the step's record should say of the whole.
    """

    reasons_N: np.ndarray
    kept_N: np.ndarray
    variants_N: np.ndarray | None = None
    ranks_N: np.ndarray | None = None
    scores_N: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """One step of a selection; its options are the fields of its dataclass.

    Attributes:
        reasons: for each reason that it may give its meaning.
    """

    reasons: ClassVar[Mapping[str, str]]

    @property
    def reads(self) -> tuple[str, ...]:
        """The score columns that it decides by; the ledger keeps them, of all variants."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The other columns that it looks at: texts, embeddings. The ledger does not keep them."""
        ...

    def decide(self, rows: Rows) -> Outcome:
        """Decide all rows that the steps before have left.

        Raises:
            BadInputError: a column is missing, or fewer rows can be kept than are asked for.
        """
        ...


def place(variant: str) -> int:
    """The place of a variant in `VARIANTS`."""
    return VARIANTS.index(variant)


def is_kept(reasons_N: np.ndarray) -> np.ndarray:
    """Which rows have the reason `kept`, as booleans."""
    return np.asarray(reasons_N == KEPT, dtype=bool)


def reasons_of(size: int, reason: str = KEPT) -> np.ndarray:
    """The same reason for all rows; others may be put in its place."""
    return np.full(size, reason, dtype=object)
