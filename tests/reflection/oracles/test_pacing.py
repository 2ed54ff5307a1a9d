import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reflection.oracles.pacing import AdaptiveLimit, ClosedError, Pacer


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine; one that waits for ever is an error."""
    asyncio.run(asyncio.wait_for(test(), 30))


async def taken(limit: AdaptiveLimit, wanted: int) -> tuple[int, list[asyncio.Task]]:
    """How many of the wanted slots are given at once, and the tasks that wait for the others."""
    tasks = [asyncio.create_task(limit.acquire()) for _ in range(wanted)]
    await asyncio.sleep(0.01)
    return sum(task.done() for task in tasks), tasks


class TestAdaptiveLimit:
    def test_gives_as_many_slots_as_allowed_and_the_next_one_when_one_is_free(self):
        async def test():
            limit = AdaptiveLimit(3)
            given, tasks = await taken(limit, 5)
            assert given == limit.in_flight == 3
            limit.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert [task.done() for task in tasks] == [True, True, True, True, False]
            assert limit.in_flight == 3
            limit.close()
            await asyncio.gather(*tasks, return_exceptions=True)

        in_loop(test)

    def test_a_burst_of_429s_lowers_it_once(self):
        async def test():
            limit = AdaptiveLimit(10)
            now = asyncio.get_running_loop().time()
            for _ in range(10):  # all under way when the first of them came back
                limit.throttled(now, None)
            assert limit.current == pytest.approx(7)
            limit.throttled(asyncio.get_running_loop().time() + 1, None)  # started since
            assert limit.current == pytest.approx(4.9)

        in_loop(test)

    def test_never_falls_below_one_and_recovers_to_the_maximum_and_no_further(self):
        async def test():
            limit = AdaptiveLimit(4)
            for round_number in range(20):
                limit.throttled(asyncio.get_running_loop().time() + round_number, None)
                await asyncio.sleep(0)
            assert limit.current == 1
            limit.succeeded()
            assert limit.current == 2  # a round of one success adds one
            for _ in range(100):
                limit.succeeded()
            assert limit.current == 4

        in_loop(test)

    def test_a_pause_holds_all_and_ends_by_itself(self):
        async def test():
            limit = AdaptiveLimit(2)
            limit.throttled(asyncio.get_running_loop().time(), 0.2)
            given, tasks = await taken(limit, 1)
            assert given == 0
            await tasks[0]  # nothing else happens meanwhile
            assert limit.in_flight == 1

        in_loop(test)

    def test_closed_it_gives_no_slot_to_those_who_wait_and_those_who_come(self):
        async def test():
            limit = AdaptiveLimit(1)
            _, tasks = await taken(limit, 3)
            limit.close()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in found] == [type(None), ClosedError, ClosedError]
            with pytest.raises(ClosedError):
                await limit.acquire()
            limit.release()
            assert limit.in_flight == 0

        in_loop(test)

    def test_a_cancelled_wait_loses_no_slot(self):
        async def test():
            limit = AdaptiveLimit(1)
            await limit.acquire()
            _, (first, second) = await taken(limit, 2)
            limit.release()  # gives the slot to the first, which is cancelled before it can take it
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await second
            assert limit.in_flight == 1

        in_loop(test)


class TestPacer:
    def test_without_caps_never_waits(self):
        pacer = Pacer(None, None)
        assert [pacer.book(5.0, 1e9) for _ in range(3)] == [0, 0, 0]

    def test_spreads_requests_evenly(self):
        pacer = Pacer(60, None)
        assert [pacer.book(10.0, 0) for _ in range(3)] == [0, 1, 2]
        assert pacer.book(20.0, 0) == 0  # time that nobody used is not saved up
        assert pacer.book(20.25, 0) == 0.75

    def test_spreads_tokens_and_is_set_right_by_what_was_used(self):
        pacer = Pacer(None, 600)  # ten a second
        assert pacer.book(0.0, 20) == 0
        assert pacer.book(0.0, 10) == 2
        pacer.correct(20, 40)
        assert pacer.book(0.0, 10) == 5

    def test_keeps_the_stricter_cap(self):
        pacer = Pacer(60, 60)
        assert [pacer.book(0.0, 3) for _ in range(3)] == [0, 3, 6]
