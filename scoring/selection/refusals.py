"""The WizardLM filter: responses that refuse, or speak of themselves as a language model's, teach nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml

from scoring.selection.base import KEPT, UNSCORED, Outcome, reasons_of
from scoring.selection.table import Rows

REFUSAL = "refusal"
SPEAKS_AS_AI = "speaks_as_ai"
PATTERNS = Path(__file__).parent / "refusals.yaml"


@dataclass(frozen=True)
class Refusals:
    """Drops what `refusals.yaml` names, in ten languages; keeps everything else."""

    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row was scored and has no IFD: an empty response, for instance",
        REFUSAL: "the response begins with a refusal",
        SPEAKS_AS_AI: "the response speaks of itself as a language model",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ("output",)

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        reasons_N = reasons_of(len(rows))
        for row, response in enumerate(rows.texts("output")):
            reasons_N[row] = refusal_of(response) or KEPT
        reasons_N[rows.unscored()] = UNSCORED
        return Outcome(reasons_N, np.asarray(reasons_N == KEPT, dtype=bool))


def refusal_of(response: str) -> str | None:
    """`refusal` or `speaks_as_ai` where a response is one, else None."""
    refuses, speaks_as_ai = _patterns()
    if refuses.match(response):
        return REFUSAL
    return SPEAKS_AS_AI if speaks_as_ai.search(response) else None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    known = yaml.safe_load(PATTERNS.read_text(encoding="utf-8"))
    refuses, speaks_as_ai = (
        "|".join(pattern for patterns in known[kind].values() for pattern in patterns)
        for kind in ("refuses", "speaks_as_ai")
    )
    return re.compile(rf"\W*(?:{refuses})", re.IGNORECASE), re.compile(speaks_as_ai, re.IGNORECASE)
