"""The running account of a run: what it may spend, how many requests failed lately, how far it is."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable

from tqdm import tqdm

from hub_cards.errors import StoppedError
from reflection.costs import Price, Usage
from reflection.oracles.base import Completion
from reflection.statuses import CONTENT_FILTER, CONTEXT_OVERFLOW, REASONS

ERROR_WINDOW = 100
MIN_WINDOW = 20  # finished requests before their errors mean something
LOG_SECONDS = 60.0


class BudgetSpentError(Exception):
    """The next request might cost more than is left."""


class Budget:
    """Keeps what was spent, with what the requests in flight may cost at most, below a limit.

    Args:
        limit: dollars; None for no limit.
    """

    def __init__(self, limit: float | None, price: Price | None) -> None:
        self.limit, self.price = limit, price
        self.spent = self.reserved = 0.0
        self._changed = asyncio.Event()

    async def reserve(self, prompt_tokens: float, max_tokens: int) -> float:
        """Set aside what a request may cost at most; waits for requests in flight that may leave some over.

        Raises:
            BudgetSpentError: nothing is in flight any more and it is still too much.
        """
        if self.limit is None or self.price is None:
            return 0.0
        most = self.price.dollars(prompt_tokens, max_tokens)
        while self.spent + self.reserved + most > self.limit:
            if self.reserved <= 0:
                raise BudgetSpentError
            self._changed.clear()
            await self._changed.wait()
        self.reserved += most
        return most

    def settle(self, reserved: float, spent: float) -> None:
        """A request is done: give back what was set aside and book what it cost."""
        self.spent += spent
        # Sums of floats do not come back to zero by themselves.
        self.reserved = self.reserved - reserved if self.reserved - reserved > 1e-12 else 0.0
        self._changed.set()


class ErrorWindow:
    """Stops a run of which too much fails: a broken service must not eat the night, or the money.

    A prompt that the service filters or finds too long is the row's own and does not count.
    """

    def __init__(self, max_fraction: float) -> None:
        self.max_fraction = max_fraction
        self.recent: deque[bool] = deque(maxlen=ERROR_WINDOW)

    def add(self, completion: Completion) -> None:
        """Count one finished request.

        Raises:
            StoppedError: more than the fraction of the recent ones got no text.
        """
        if completion.failure in (CONTENT_FILTER, CONTEXT_OVERFLOW):
            return
        self.recent.append(completion.text is None)
        failed = sum(self.recent)
        if len(self.recent) >= MIN_WINDOW and failed > self.max_fraction * len(self.recent):
            raise StoppedError(
                f"{failed} of the last {len(self.recent)} requests got no answer (--max_error_fraction "
                f"{self.max_fraction}); the last one: {completion.failure}, "
                f"{completion.detail or REASONS[completion.failure]}. What was answered is kept: the same command goes "
                "on from there"
            )


class Progress:
    """Shows how far a run is: a bar on a terminal, a line a minute in a log.

    Args:
        total, jobs_per_row: how many jobs there are, and how many make a row.
        say: prints a line.
    """

    def __init__(self, total: int, jobs_per_row: int, usage: Usage, say: Callable[[str], None]) -> None:
        self.total, self.jobs_per_row, self.usage, self.say = total, jobs_per_row, usage, say
        self.done = 0
        self.started = self.said = time.monotonic()
        shown = sys.stderr.isatty()
        bar = "{percentage:3.0f}%|{bar}| {postfix}"
        self.bar = tqdm(total=total, bar_format=bar, disable=not shown, leave=False)

    def job_done(self) -> None:
        """Count one job."""
        self.done += 1
        now = time.monotonic()
        if not self.bar.disable:
            self.bar.set_postfix_str(self.line(), refresh=False)
            self.bar.update()
        elif now - self.said >= LOG_SECONDS:
            self.said = now
            self.say(self.line())

    def line(self) -> str:
        """Rows, rows a second, tokens, dollars, time left."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / self.jobs_per_row / seconds
        left = (self.total - self.done) / self.jobs_per_row / rate if self.usage.completions and self.done else None
        parts = [
            f"{self.done // self.jobs_per_row:,} of {self.total // self.jobs_per_row:,} rows",
            f"{rate:.1f} rows/s",
        ]
        parts += [self.usage.as_text(), f"{duration(left)} left" if left is not None else "no row yet"]
        return ", ".join(parts)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min` or `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
