"""The live line of a scoring run: how far it is, how fast, and when it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from scoring.likelihood import LikelihoodEngine

LOG_SECONDS = 60.0


class Progress:
    """A bar on a terminal, a line a minute in a log.

    It shows what this rank does, scaled up to all of them: shares are of equal cost, so that ranks are about equally
    far.

    Args:
        total, total_of_all: rows that this rank, and all ranks together, have to score.
        engine: counts the tokens; None where nobody does.
        say: prints a line.
        shown: False on all ranks but one.
    """

    def __init__(
        self, total: int, total_of_all: int, engine: LikelihoodEngine | None, say: Callable[[str], None], shown: bool
    ) -> None:
        self.total, self.engine, self.say, self.shown = total, engine, say, shown
        self.scale = total_of_all / max(total, 1)
        self.done = 0
        self.tokens_before = engine.tokens_run if engine else 0
        self.started = self.said = time.monotonic()
        on_terminal = shown and sys.stderr.isatty()
        self.bar = tqdm(
            total=total, bar_format="{percentage:3.0f}%|{bar}| {postfix}", disable=not on_terminal, leave=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if kind is None and self.done and self.shown:
            self.say(self.line())

    def advance(self, rows: int) -> None:
        """Count rows that were scored now."""
        self.done += rows
        now = time.monotonic()
        if not self.bar.disable:
            self.bar.set_postfix_str(self.line(), refresh=False)
            self.bar.update(rows)
        elif self.shown and now - self.said >= LOG_SECONDS and self.done < self.total:
            self.said = now
            self.say(self.line())

    def seconds_left(self) -> float:
        """How long the rest will take at the speed so far."""
        return (time.monotonic() - self.started) * (self.total - self.done) / max(self.done, 1)

    def line(self) -> str:
        """Rows, speed, tokens a batch and time left (or taken)."""
        taken = max(time.monotonic() - self.started, 1e-9)
        rows = self.done * self.scale
        left = f"{duration(self.seconds_left())} left" if self.done < self.total else f"{duration(taken)} taken"
        tokens = ""
        if self.engine is not None:
            per_second = (self.engine.tokens_run - self.tokens_before) * self.scale / taken
            tokens = f"{per_second:,.0f} tokens/s, {self.engine.max_batch_tokens:,} tokens a batch, "
        return f"{rows:,.0f} of {self.total * self.scale:,.0f} rows, {rows / taken:,.1f} rows/s, {tokens}{left}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
