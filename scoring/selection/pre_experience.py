"""Cherry's pre-experience: a few rows of every kind, on which the student first learns to follow (arXiv 2308.12032)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome, is_kept, reasons_of
from scoring.selection.experience import pick_experience
from scoring.selection.table import Rows

NOT_PICKED = "not_picked"


@dataclass(frozen=True)
class PreExperience:
    """K-means over the student's prompt embeddings; of each cluster rows of middling perplexity, evenly spaced."""

    clusters: int = field(default=100, metadata={"help": "clusters of K-means"})
    per_cluster: int = field(default=10, metadata={"help": "rows of each cluster; all where it has fewer"})
    low: float = field(default=25.0, metadata={"help": "percentile of ppl from which a cluster's rows are taken"})
    high: float = field(default=75.0, metadata={"help": "percentile of ppl up to which they are taken"})
    seed: int = 0
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no prompt embedding, or was scored and has no IFD",
        NOT_PICKED: "outside its cluster's band of perplexity, or between two rows that were picked",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ("ppl_prompt",)
    needs: ClassVar[tuple[str, ...]] = ("prompt_embedding",)

    def __post_init__(self) -> None:
        for name in ("clusters", "per_cluster"):
            if getattr(self, name) < 1:
                raise BadInputError(f"strategy pre_experience: {name} {getattr(self, name)}: must be at least 1")
        if not 0 <= self.low <= self.high <= 100:
            raise BadInputError(
                f"strategy pre_experience: low {self.low:g}, high {self.high:g}: must be percentiles, low not above"
            )

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        vectors_MD, has_N = rows.vectors("prompt_embedding")
        ppl_N = rows.numbers("ppl_prompt")
        scored_N = has_N & ~np.isnan(ppl_N) & ~rows.unscored()
        left = np.flatnonzero(scored_N)
        picked, clusters = pick_experience(
            vectors_MD[scored_N[has_N]],
            ppl_N[left],
            clusters=self.clusters,
            per_cluster=self.per_cluster,
            low=self.low,
            high=self.high,
            seed=self.seed,
            ids=rows.ids[left],
        )
        reasons_N = reasons_of(len(rows), UNSCORED)
        reasons_N[left] = NOT_PICKED
        reasons_N[left[picked]] = KEPT
        kept_N = is_kept(reasons_N)
        return Outcome(reasons_N, kept_N, notes={"clusters": len(np.unique(clusters))})
