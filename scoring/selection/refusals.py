"""The WizardLM filter: responses that refuse, or speak of themselves as a language model's, teach nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from scoring.selection.base import KEPT, UNSCORED, Outcome, is_kept, reasons_of
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
        reasons_N = refusals_of(rows.column("output"))
        reasons_N[rows.unscored()] = UNSCORED
        return Outcome(reasons_N, is_kept(reasons_N))


def refusals_of(responses: pa.Array) -> np.ndarray:
    """`refusal`, `speaks_as_ai` or `kept` for each response; a null is an empty one."""
    responses = pc.fill_null(pc.cast(responses, pa.string()), "")
    reasons_N = reasons_of(len(responses))
    for reason, pattern in zip((SPEAKS_AS_AI, REFUSAL), _patterns(), strict=True):
        found = pc.match_substring_regex(responses, pattern, ignore_case=True)
        reasons_N[found.to_numpy(zero_copy_only=False)] = reason
    return reasons_N


@cache
def _patterns() -> tuple[str, str]:
    """Of what speaks as a model, and of what refuses: after quotation marks and the like, at the very beginning."""
    known = yaml.safe_load(PATTERNS.read_text(encoding="utf-8"))
    speaks_as_ai, refuses = (
        "|".join(pattern for patterns in known[kind].values() for pattern in patterns)
        for kind in (SPEAKS_AS_AI, "refuses")
    )
    return speaks_as_ai, rf"""^[\s"'“”‘’«»*#>\-–—(\[]*(?:{refuses})"""
