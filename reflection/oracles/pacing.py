"""How fast an endpoint is asked: slots that shrink when it says 429, and caps per minute."""

from __future__ import annotations

import asyncio
from collections import deque

DECREASE = 0.7  # of the concurrency is left after a 429
SECONDS_PER_MINUTE = 60.0


class ClosedError(Exception):
    """No more slots are given: the run is stopping."""


class AdaptiveLimit:
    """How many requests may be in flight: fewer after a 429, slowly more again while all goes well.

    Additive increase, multiplicative decrease, as TCP does: a round of successes as long as the current limit adds one
    slot; a 429 leaves 70 %, once for all the requests that were already under way, and with Retry-After nothing starts
    before that time, because the limit is the account's and not the request's.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.current = float(maximum)
        self.in_flight = 0
        self._paused_until = 0.0
        self._lowered_at = 0.0
        self._waiters: deque[asyncio.Future] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    async def acquire(self) -> None:
        """Take a slot.

        Raises:
            ClosedError: the run is stopping.
        """
        if self._closed:
            raise ClosedError
        if not self._waiters and self._has_room():
            self.in_flight += 1
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release()  # the slot came together with the cancellation
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """An answer came: recover."""
        self.current = min(float(self.maximum), self.current + 1 / self.current)
        self._wake()

    def throttled(self, started_at: float, retry_after: float | None) -> None:
        """A 429 came for a request that started at `started_at` (event loop time)."""
        now = self._loop.time()
        if started_at >= self._lowered_at:  # else this news is older than the last decrease
            self.current = max(1.0, self.current * DECREASE)
            self._lowered_at = now
        if retry_after and now + retry_after > self._paused_until:
            self._paused_until = now + retry_after
            self._loop.call_at(self._paused_until, self._wake)

    def close(self) -> None:
        """Give no more slots: whoever waits for one gets `ClosedError`."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(ClosedError())

    def _has_room(self) -> bool:
        return self.in_flight < int(self.current) and self._loop.time() >= self._paused_until

    def _wake(self) -> None:
        while self._waiters and self._has_room():
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)


class Pacer:
    """Spreads requests and tokens evenly over each minute; without caps it never waits.

    Tokens are booked by an estimate when a request starts and set right by `correct` when its answer is there.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self.seconds_a_request = SECONDS_PER_MINUTE / requests_per_minute if requests_per_minute else 0.0
        self.seconds_a_token = SECONDS_PER_MINUTE / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = 0.0
        self._next_token = 0.0

    def book(self, now: float, tokens: float) -> float:
        """Take the next place in time for a request of `tokens` tokens.

        Returns:
            How many seconds from `now` it may start.
        """
        start = max(now, self._next_request, self._next_token)
        self._next_request = start + self.seconds_a_request
        self._next_token = start + tokens * self.seconds_a_token
        return start - now

    def correct(self, booked: float, used: float) -> None:
        """A request that was booked with `booked` tokens used `used`."""
        self._next_token += (used - booked) * self.seconds_a_token
