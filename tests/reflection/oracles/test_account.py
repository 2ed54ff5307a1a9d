"""Money, errors and progress of a run."""

import asyncio
import random

import pytest

from hub_cards.errors import StoppedError
from reflection.costs import Price, Usage
from reflection.oracles import Completion
from reflection.oracles import account as account_module
from reflection.oracles.account import Budget, BudgetSpentError, ErrorWindow, Progress, duration

DOLLAR_A_TOKEN = Price(1_000_000.0, 1_000_000.0, 0.5, "here")


class TestBudget:
    @pytest.mark.parametrize("seed", range(20))
    def test_is_never_exceeded_by_many_at_once(self, seed):
        chance = random.Random(seed)
        limit, worst, refused = 100.0, 0.0, 0

        async def ask(budget: Budget) -> None:
            nonlocal worst, refused
            most = chance.randint(1, 20)
            try:
                reserved = await budget.reserve(most / 2, most / 2)
            except BudgetSpentError:
                refused += 1
                return
            assert reserved == most
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)
            budget.settle(reserved, chance.choice([0, most / 3, most]))
            worst = max(worst, budget.spent)

        async def run() -> Budget:
            budget = Budget(limit, DOLLAR_A_TOKEN)
            await asyncio.gather(*(ask(budget) for _ in range(60)))
            return budget

        budget = asyncio.run(run())
        assert worst == budget.spent <= limit
        assert budget.reserved == 0
        assert refused > 0
        assert budget.spent > limit - 20  # a request costs 20 at most: with more left, none would have been refused

    def test_waits_for_what_requests_in_flight_may_leave_over(self):
        async def run() -> list[str]:
            budget, said = Budget(10, DOLLAR_A_TOKEN), []
            first = await budget.reserve(8, 0)

            async def second() -> None:
                await budget.reserve(5, 0)
                said.append("second starts")

            task = asyncio.create_task(second())
            for _ in range(5):
                await asyncio.sleep(0)
            said.append("first ends")
            budget.settle(first, 2)
            await task
            return said

        assert asyncio.run(run()) == ["first ends", "second starts"]

    def test_ends_a_wait_when_nothing_is_left_over(self):
        async def run() -> float:
            budget = Budget(10, DOLLAR_A_TOKEN)
            first = await budget.reserve(8, 0)
            waiting = asyncio.create_task(budget.reserve(5, 0))
            await asyncio.sleep(0)
            budget.settle(first, 8)
            with pytest.raises(BudgetSpentError):
                await waiting
            return budget.spent

        assert asyncio.run(run()) == 8

    def test_counts_what_the_store_had(self):
        async def run() -> None:
            budget = Budget(10, DOLLAR_A_TOKEN)
            budget.settle(0.0, 9.5)
            with pytest.raises(BudgetSpentError):
                await budget.reserve(1, 0)
            assert await budget.reserve(0.5, 0) == 0.5

        asyncio.run(run())

    @pytest.mark.parametrize(("limit", "price"), [(None, DOLLAR_A_TOKEN), (None, None)])
    def test_without_a_limit_nothing_is_set_aside(self, limit, price):
        async def run() -> float:
            return await Budget(limit, price).reserve(1e12, 10**9)

        assert asyncio.run(run()) == 0


GOOD = Completion("x")
BAD = Completion(None, failure="oracle_error", detail="10 tries, the last one: 500: away")
OWN = [Completion(None, failure=status) for status in ("content_filter", "context_overflow")]


class TestErrorWindow:
    def feed(self, fraction: float, outcomes: list[Completion]) -> int:
        """How many are counted before the run is stopped; all of them where it is not."""
        window = ErrorWindow(fraction)
        for number, completion in enumerate(outcomes, start=1):
            try:
                window.add(completion)
            except StoppedError:
                return number
        return len(outcomes)

    def test_stops_as_soon_as_there_are_twenty(self):
        assert self.feed(0.5, [BAD] * 50) == 20

    def test_half_is_not_more_than_half(self):
        assert self.feed(0.5, [GOOD, BAD] * 100) == 200
        assert self.feed(0.5, [GOOD, BAD] * 50 + [BAD] * 50) == 101

    def test_forgets_what_was_more_than_a_hundred_ago(self):
        assert self.feed(0.1, [BAD] * 2 + [GOOD] * 18 + [GOOD] * 100 + [BAD] * 11) == 131
        assert self.feed(0.1, [BAD] * 2 + [GOOD] * 118 + [BAD] * 10) == 130

    @pytest.mark.parametrize("own", OWN, ids=lambda completion: completion.failure)
    def test_what_is_the_rows_own_does_not_count(self, own):
        assert self.feed(0.1, [own] * 500) == 500
        assert self.feed(0.5, [own] * 50 + [BAD] * 19) == 69

    @pytest.mark.parametrize("failure", ["no_choices", "null_content"])
    def test_answers_without_text_count(self, failure):
        assert self.feed(0.5, [Completion(None, failure=failure)] * 50) == 20

    def test_never_stops_at_a_fraction_of_one(self):
        assert self.feed(1, [BAD] * 300) == 300

    def test_the_line_says_what_and_how_to_go_on(self):
        window = ErrorWindow(0.25)
        for _ in range(19):
            window.add(BAD)
        with pytest.raises(StoppedError) as error:
            window.add(BAD)
        assert str(error.value) == (
            "20 of the last 20 requests got no answer (--max_error_fraction 0.25); the last one: oracle_error, "
            "10 tries, the last one: 500: away. What was answered is kept: the same command goes on from there"
        )


class TestProgress:
    @pytest.fixture
    def clock(self, monkeypatch):
        """The time, to be set."""

        class Clock:
            now = 1000.0

            def monotonic(self) -> float:
                return self.now

        clock = Clock()
        monkeypatch.setattr(account_module, "time", clock)
        return clock

    def test_line(self, clock):
        usage = Usage(DOLLAR_A_TOKEN)
        progress = Progress(total=2000, jobs_per_row=2, usage=usage, say=print)
        clock.now += 1
        assert progress.line() == "0 of 1,000 rows, 0.0 rows/s, 0 tokens in, 0 out, $0.00, no row yet"
        usage.add("a", 1000, 500, batched=False)
        for _ in range(201):
            progress.job_done()
        clock.now += 49
        # 100.5 rows in 50 s: 2.01 rows a second, 899.5 rows to go
        assert progress.line() == ("100 of 1,000 rows, 2.0 rows/s, 1,000 tokens in, 500 out, $1,500.00, 7 min left")
        progress.close()

    def test_a_log_gets_a_line_a_minute(self, clock, monkeypatch):
        monkeypatch.setattr(account_module.sys.stderr, "isatty", lambda: False, raising=False)
        said = []
        progress = Progress(300, 1, Usage(None), said.append)
        for _ in range(300):
            clock.now += 1
            progress.job_done()
        assert [line.split(",")[0] for line in said] == [f"{60 * n} of 300 rows" for n in range(1, 6)]
        progress.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45.4, "45 s"), (120, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (11100, "3 h 05 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
