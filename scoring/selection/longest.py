"""Baseline: the longest responses (arXiv 2402.04833)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome
from scoring.selection.share import BELOW_THE_CUT, Share, keep_best
from scoring.selection.table import Rows

TOKENS, CHARACTERS = "tokens", "characters"


@dataclass(frozen=True)
class Longest(Share):
    """The rows with the longest responses."""

    unit: str = field(default=TOKENS, metadata={"help": "tokens of the scorer (`n_tokens_A`), or characters"})
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no length in tokens, or was scored and has no IFD",
        BELOW_THE_CUT: "others are longer",
        KEPT: "kept",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("longest")
        if self.unit not in (TOKENS, CHARACTERS):
            raise BadInputError(f"strategy longest: unit {self.unit!r} is unknown; it is {TOKENS} or {CHARACTERS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Strategy`."""
        return ("n_tokens_A",) if self.unit == TOKENS else ()

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Strategy`."""
        return () if self.unit == TOKENS else ("output",)

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        if self.unit == TOKENS and not rows.has("n_tokens_A"):
            raise BadInputError("strategy longest: the rows have no n_tokens_A: score them, or add unit=characters")
        if self.unit == TOKENS:
            lengths_N = rows.numbers("n_tokens_A")
        else:
            lengths_N = np.array([float(len(text)) for text in rows.texts("output")])
        return keep_best(rows, lengths_N, self)
