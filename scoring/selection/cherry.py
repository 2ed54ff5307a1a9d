"""Cherry LLM: the rows that are most difficult and whose instruction still helps (arXiv 2308.12032)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome
from scoring.selection.share import BELOW_THE_CUT, Share, keep_best
from scoring.selection.table import Rows

IFD_NOT_BELOW_1 = "ifd_not_below_1"
RATIOS = ("loss", "ppl")
TOP_IFD_REASONS = {
    UNSCORED: "the row has no IFD",
    IFD_NOT_BELOW_1: "its IFD is 1 or more: the instruction does not help the response",
    BELOW_THE_CUT: "others have a higher IFD",
    KEPT: "kept",
}


def keep_top_ifd(rows: Rows, share: Share, ratio: str, group_by: str | None = None) -> Outcome:
    """Drop rows whose IFD is 1 or more, keep those with the highest.

    Args:
        ratio: `loss` or `ppl`: which quantity's ratio IFD is.
        group_by: a column; each of its values gets a part of the places that is proportional to its rows.
    """
    ifd_N = rows.numbers(f"ifd_{ratio}")
    groups = None if group_by is None else [str(value) for value in rows.column(group_by).to_pylist()]
    return keep_best(rows, ifd_N, share, barred=((IFD_NOT_BELOW_1, ifd_N >= 1),), groups=groups)


@dataclass(frozen=True)
class Cherry(Share):
    """The top of the rows by IFD, among those with an IFD below 1."""

    ratio: str = field(default="loss", metadata={"help": "IFD as the ratio of losses, as Cherry has it, or of ppl"})
    group_by: str | None = field(default=None, metadata={"help": "column whose values share the places in proportion"})
    reasons: ClassVar[dict[str, str]] = TOP_IFD_REASONS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("cherry")
        if self.ratio not in RATIOS:
            raise BadInputError(f"strategy cherry: ratio {self.ratio!r} is unknown; the ratios are {', '.join(RATIOS)}")

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Strategy`."""
        return (f"ifd_{self.ratio}",)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Strategy`."""
        return () if self.group_by is None else (self.group_by,)

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        return keep_top_ifd(rows, self, self.ratio, self.group_by)
