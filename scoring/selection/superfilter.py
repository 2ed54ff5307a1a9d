"""Superfiltering: a small scorer stands in for the student (arXiv 2402.00530)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scoring.selection.base import Outcome
from scoring.selection.cherry import TOP_IFD_REASONS, keep_top_ifd
from scoring.selection.share import Share
from scoring.selection.table import Rows


@dataclass(frozen=True)
class Superfilter(Share):
    """The top of the rows by a small model's IFD (ratio of perplexities), among those with an IFD below 1.

    With diversity: a larger share here, and `facility_location` after it.
    """

    reasons: ClassVar[dict[str, str]] = TOP_IFD_REASONS
    reads: ClassVar[tuple[str, ...]] = ("ifd_ppl",)
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("superfilter")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        return keep_top_ifd(rows, self, "ppl")
