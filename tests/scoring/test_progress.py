import re
from types import SimpleNamespace

import pytest

from scoring import progress
from scoring.progress import Progress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: False))
    return clock


@pytest.fixture
def engine() -> SimpleNamespace:
    """It ran 5,000 tokens before, which are not counted."""
    return SimpleNamespace(tokens_run=5000, max_batch_tokens=4096)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (0.4, "0 s"), (40, "40 s"), (99.4, "99 s"), (100, "2 min"), (720, "12 min"), (5940, "99 min")),
        *((6000, "1 h 40 min"), (12_000, "3 h 20 min"), (7200, "2 h 0 min"), (90_061, "25 h 1 min")),
    ],
)
def test_seconds_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_a_line_is_about_all_ranks(clock, engine):
    said = []
    with Progress(1000, 2000, engine, said.append, shown=True) as bar:
        clock.now += 10
        engine.tokens_run += 30_000
        bar.advance(250)
        assert bar.line() == "500 of 2,000 rows, 50.0 rows/s, 6,000 tokens/s, 4,096 tokens a batch, 30 s left"
        assert bar.seconds_left() == 30
        clock.now += 30
        engine.max_batch_tokens = 512
        bar.advance(750)
        wanted = "2,000 of 2,000 rows, 50.0 rows/s, 1,500 tokens/s, 512 tokens a batch, 40 s taken"
        assert bar.line() == wanted
    assert said == [wanted]


def test_shares_may_differ(clock, engine):
    """A rank that has a third of all rows speaks for all."""
    with Progress(10, 30, engine, print, shown=False) as bar:
        clock.now += 10
        bar.advance(5)
        assert bar.line().startswith("15 of 30 rows, 1.5 rows/s")


def test_a_log_gets_a_line_a_minute(clock, engine):
    said = []
    with Progress(100, 100, engine, said.append, shown=True) as bar:
        for _ in range(10):
            clock.now += 25
            bar.advance(10)
    done = [int(re.match(r"\d+", line).group()) for line in said]
    assert done == [30, 60, 90, 100]  # after 75, 150, 225 seconds, and at the end


def test_the_last_shard_is_said_once(clock, engine):
    said = []
    with Progress(10, 10, engine, said.append, shown=True) as bar:
        clock.now += 100
        bar.advance(10)
    assert len(said) == 1


def test_before_the_first_row_nothing_is_divided_by_zero(clock, engine):
    with Progress(10, 10, engine, print, shown=False) as bar:
        assert bar.line().startswith("0 of 10 rows, 0.0 rows/s")
    with Progress(0, 0, engine, print, shown=False) as bar:
        assert "taken" in bar.line()


def test_other_ranks_say_nothing(clock, engine):
    said = []
    with Progress(10, 20, engine, said.append, shown=False) as bar:
        clock.now += 100
        bar.advance(5)
        clock.now += 100
        bar.advance(5)
    assert said == []


def test_a_run_that_had_nothing_to_do_says_nothing(clock, engine):
    said = []
    with Progress(0, 0, engine, said.append, shown=True):
        pass
    assert said == []


def test_after_an_error_no_end_is_claimed(clock, engine):
    said = []
    with pytest.raises(KeyboardInterrupt), Progress(10, 10, engine, said.append, shown=True) as bar:
        bar.advance(5)
        raise KeyboardInterrupt
    assert said == []
