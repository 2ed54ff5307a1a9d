"""The kinds of scores that a run can take, as a run sees them: columns that a model adds to rows, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from datasets import Dataset, Features, Value

from hub_cards.schema import Column, features
from hub_cards.shards import Batch
from scoring.config import IFD
from scoring.ifd import EncodedRows, Scorer, encode_rows, score_batch
from scoring.likelihood import LikelihoodEngine
from scoring.preflight import Preflight

CHECKED_ROWS, CHECKED_SPANS = 16, 12  # all four kinds of text, from rows that share prefixes
# For the record's counts, and not in the result.
COUNTED = {"boundary_merged": Value("bool"), "depends_on_span": Value("bool")}


class Adds(Protocol):
    """Whatever adds columns to a batch of rows."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it adds."""
        ...

    def prepare(self, rows: Batch) -> Any:
        """What can be done ahead of the model, in another thread."""
        ...

    def compute(self, rows: Batch, prepared: Any) -> Batch:
        """The columns, from the rows and what `prepare` made of them."""
        ...


@dataclass
class Measure:
    """One kind of score in a run.

    Attributes:
        name: what the run calls it; the finished shards of one kind are told from another's by it.
        adds: computes its columns.
        engine: the model's, where there is one that counts tokens.
        hidden: columns beside those, of use in the run and not in its result.
    """

    name: str
    adds: Adds
    engine: LikelihoodEngine | None = None
    hidden: Features = field(default_factory=Features)

    @property
    def features(self) -> Features:
        """Of the columns that it adds to the result."""
        return features(self.adds.columns)

    def compute(self, rows: Batch, prepared: Any) -> Batch:
        """The columns of `features` and `hidden`."""
        return self.adds.compute(rows, prepared)

    def begin(self, rows: Dataset, todo: int, say: Callable[[str], None]) -> None:
        """Called before the first of `todo` rows is computed."""

    def watch(self, shard: Dataset, seconds_left: float) -> None:
        """Shown every shard that the main process has computed."""

    def end(self) -> None:
        """Called after the last row."""


@dataclass
class _AddsIfd:
    scorer: Scorer

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.scorer.columns

    def prepare(self, rows: Batch) -> EncodedRows:
        return encode_rows(rows, self.scorer)

    def compute(self, rows: Batch, encoded: EncodedRows) -> Batch:
        sides = list(zip(encoded.pairs["Q"], encoded.pairs["A"], strict=True))
        counted = {name: [any(getattr(pair, name) for pair in pairs) for pairs in sides] for name in COUNTED}
        return {**score_batch(rows, self.scorer, encoded), **counted}


@dataclass
class IfdMeasure(Measure):
    """The four losses, IFD and r-IFD: checked against the plainest way on the first rows, looked at after 200."""

    preflight: Preflight | None = field(default=None, init=False)

    @classmethod
    def of(cls, scorer: Scorer) -> IfdMeasure:
        """By a student."""
        return cls(IFD, _AddsIfd(scorer), scorer.engine, Features(COUNTED))

    def begin(self, rows: Dataset, todo: int, say: Callable[[str], None]) -> None:
        """Hold the first rows against one text at a time before anything is scored."""
        scorer, engine = self.adds.scorer, self.engine
        spans = [span for span in encode_rows(rows[:CHECKED_ROWS], scorer).all_spans() if span.n_scored]
        worst = engine.check(spans[:: -(-len(spans) // CHECKED_SPANS) or 1])
        layout = "packed, common prefixes once" if engine.why_padded is None else f"padded ({engine.why_padded})"
        say(
            f"{layout}, {engine.max_batch_tokens:,} tokens a batch; self-check: losses within {worst:.0e} of one text "
            "at a time"
        )
        self.preflight = Preflight(scorer, todo, say)

    def watch(self, shard: Dataset, seconds_left: float) -> None:
        """See `Measure`."""
        self.preflight.add(shard, seconds_left)

    def end(self) -> None:
        """See `Measure`."""
        if self.preflight is not None:
            self.preflight.finish()
