"""What every strategy takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Decision:
    """The outcome for one row.

    Attributes:
        selected: whether the winner is kept.
        variant: the variant that won the comparisons, kept or not; None where nothing could be compared.
        reason: a word that says why.
    """

    selected: bool
    variant: str | None
    reason: str
