"""SelectIT: the rows that a model rates highest with the least doubt (arXiv 2402.16705)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome
from scoring.selection.share import BELOW_THE_CUT, Share, keep_best
from scoring.selection.table import Rows

LEVELS = ("token", "sentence", "model")


@dataclass(frozen=True)
class SelectIT(Share):
    """The top of the rows by a rating; its levels nest: model over sentence over token."""

    level: str = field(default="sentence", metadata={"help": f"which rating: {', '.join(LEVELS)}"})
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no rating",
        BELOW_THE_CUT: "others are rated higher",
        KEPT: "kept",
    }
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("selectit")
        if self.level not in LEVELS:
            raise BadInputError(
                f"strategy selectit: level {self.level!r} is unknown; the levels are {', '.join(LEVELS)}"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Strategy`."""
        return (f"selectit_{self.level}",)

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        return keep_best(rows, rows.numbers(*self.reads), self)
