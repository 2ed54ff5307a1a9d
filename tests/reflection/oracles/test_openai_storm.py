"""Thousands of requests through everything that can go wrong, over real HTTP; see tests/benchmarks/fault_server.py."""

import gc
import re
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.schema import ROW_COLUMNS, features
from reflection.oracles import openai as oracle_module
from reflection.oracles.chat import Sampling
from reflection.oracles.openai import OpenAIOracle, Pace
from reflection.prompts import load_prompts
from reflection.reflect import Asking, ask, assemble
from reflection.statuses import REASONS
from reflection.store import CompletionStore

ALL = ("reflect_instruction", "reflect_response", "reflect_both")
KEY = "sk-proj-4Zq8sTormT0ss3dButN0tL0st"
CONCURRENCY = 64
PASSING = ("500", "503", "429", "drop", "half", "hang", "drip", "malformed", "no_completion", "html")
LASTING = ("no_choices", "null_content", "content_filter", "truncated", "refusal", "context_overflow")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and short waits."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(oracle_module, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(oracle_module, "LONGEST_DELAY", 1.0)


@pytest.fixture
def store(tmp_path: Path) -> CompletionStore:
    return CompletionStore(str(tmp_path / "completions.sqlite"))


def make_rows(count: int) -> Dataset:
    numbers = range(1000, 1000 + count)  # no number is the beginning of another
    columns = {
        "row_id": [f"row-{n}" for n in numbers],
        "source_id": [None] * count,
        "instruction": [f"Tell me about place #{n}." for n in numbers],
        "input": [""] * count,
        "output": [f"It is place {n} of many." for n in numbers],
        "variant": ["original"] * count,
    }
    return Dataset.from_dict(columns, features=features(ROW_COLUMNS))


def make(server, store, concurrency: int = CONCURRENCY, **pace) -> OpenAIOracle:
    settings = {"requests_per_minute": None, "tokens_per_minute": None, "timeout_seconds": 20, "max_error_fraction": 1}
    return OpenAIOracle(Sampling("oracle-1", 256), store, server.url, Pace(concurrency, **{**settings, **pace}))


ASKING = Asking(load_prompts())


def run(rows: Dataset, variants, oracle: OpenAIOracle, tmp_path: Path):
    """Ask and assemble: the variants, and the outcome counts."""
    ask(rows, variants, oracle, ASKING)
    return assemble(rows, variants, oracle, ASKING, "key", tmp_path / "work")


def expected_statuses(about: dict, count: int) -> tuple[dict[str, list[str]], set[tuple]]:
    """By what the server gave to each (row, variant, attempt): every row's statuses, and the needed requests."""
    kinds = {(row, variant, attempt): kind for row, variant, attempt, kind in about.values()}
    of_kind = {"good": "ok", **{kind: kind for kind in LASTING}}
    needed, statuses = set(), {variant: [] for variant in ALL}
    for row in range(1000, 1000 + count):
        for variant in ALL:
            if variant == "reflect_both" and statuses["reflect_instruction"][-1] != "ok":
                statuses[variant].append("parent_not_reflected")
                continue
            needed.add((row, variant, 0))
            status = of_kind[kinds[row, variant, 0]]
            if status in ("no_choices", "null_content", "truncated", "refusal"):
                needed.add((row, variant, 1))
                if kinds[row, variant, 1] == "good":
                    status = "ok"
            statuses[variant].append(status)
    return statuses, needed


class TestStorm:
    ROWS = 680

    @pytest.fixture(scope="class")
    def weather(self) -> dict:
        return {
            "seed": 1,
            "latency_ms": 20,
            "faults": {**dict.fromkeys(PASSING, 0.02), "hang": 0.003, "drip": 0.003, "429": 0.005},
            "lasting": dict.fromkeys(LASTING, 0.03),
            "storms": [700, 120, 8],
        }

    def test_every_row_gets_its_one_status_and_no_request_is_paid_for_twice(
        self, fault_server, store, tmp_path, weather, capsys
    ):
        fault_server.configure(**weather)
        rows = make_rows(self.ROWS)
        oracle = make(fault_server, store, timeout_seconds=1.5)
        made, counts = run(rows, ALL, oracle, tmp_path)
        seen = fault_server.everything()
        assert len(seen["paid"]) >= 2000
        assert set(seen["faults"]) == set(PASSING)  # all of it did happen
        assert seen["refused"] >= 50
        assert 8 < seen["peak"] <= CONCURRENCY

        # Every row of every variant, in order, with exactly the status that its answers give.
        expected, needed = expected_statuses(seen["about"], self.ROWS)
        assert {name: made[name]["reflect_status"][:] for name in ALL} == expected
        assert {tuple(made[name]["row_id"][:]) for name in made} == {tuple(rows["row_id"][:])}
        assert set(LASTING) < set(expected["reflect_response"])
        assert set(expected["reflect_response"]) <= {"ok", *REASONS}
        assert counts["reflect_status"] == {name: dict(Counter(expected[name])) for name in ALL}

        # What the server was asked is what was needed, and no more; each was paid for once.
        assert sorted(about[:3] for about in seen["about"].values()) == sorted(map(list, needed))
        assert set(seen["paid"].values()) == {1}
        unpaid = sum(about[-1] == "context_overflow" for about in seen["about"].values())
        assert len(seen["paid"]) == len(needed) - unpaid
        assert unpaid > 0

        # The store holds each of them, under the same name, and what it cost is what the server billed.
        stored = {row["key"]: row for row in store.rows()}
        assert set(stored) == set(seen["about"])
        assert sum(row["prompt_tokens"] or 0 for row in stored.values()) == seen["prompt_tokens"]
        assert sum(row["completion_tokens"] or 0 for row in stored.values()) == seen["completion_tokens"]
        assert oracle.usage.prompt_tokens == seen["prompt_tokens"]
        assert oracle.usage.completion_tokens == seen["completion_tokens"]
        assert oracle.usage.completions == len(seen["paid"])
        assert oracle.failures == {}
        assert KEY not in "".join(capsys.readouterr())

        # The same again asks nothing and gives the same.
        again, _ = run(rows, ALL, make(fault_server, CompletionStore(store.path)), tmp_path / "again")
        assert fault_server.counts()["requests"] == seen["requests"]
        assert {name: again[name].to_list() for name in again} == {name: made[name].to_list() for name in made}

    @pytest.mark.parametrize("kind", LASTING)
    def test_an_answer_without_a_pair_has_a_status_of_its_own(self, fault_server, store, tmp_path, kind):
        fault_server.configure(lasting={kind: 1})
        made, counts = run(make_rows(30), ALL, make(fault_server, store, 8), tmp_path)
        assert counts["reflect_status"] == {
            "reflect_instruction": {kind: 30},
            "reflect_response": {kind: 30},
            "reflect_both": {"parent_not_reflected": 30},
        }
        for column in ("instruction", "input", "output"):
            assert made["reflect_both"][column][:] == made["original"][column][:]
        tries = 1 if kind in ("content_filter", "context_overflow") else 2
        assert fault_server.counts()["requests"] == 60 * tries


class TestAdaptiveConcurrency:
    def test_it_falls_to_what_the_server_allows_and_rises_again(self, fault_server, store, tmp_path):
        fault_server.configure(latency_ms=100, sigma=0.3, limit=8, limited=[150, 450], retry_after=["0.05"])
        _, counts = run(make_rows(1200), ["reflect_response"], make(fault_server, store), tmp_path)
        assert counts["reflect_status"] == {"reflect_response": {"ok": 1200}}
        log = fault_server.everything()["log"]
        in_flight = [entry[4] for entry in log]
        assert 16 <= max(in_flight[:150]) <= CONCURRENCY
        assert max(in_flight[350:450]) <= 12  # it has found the limit
        assert sum(entry[2] == "429" for entry in log[350:450]) <= 25
        assert max(in_flight[-300:]) >= 16  # the limit is gone: it finds that too

    def test_while_the_service_wants_a_pause_nothing_is_started(self, fault_server, store, tmp_path):
        fault_server.configure(latency_ms=5, faults={"429": 0.02}, max_faults=1, retry_after=["0.4"])
        run(make_rows(200), ["reflect_response"], make(fault_server, store, 8), tmp_path)
        log = fault_server.everything()["log"]
        refusals = [ended for _, ended, kind, *_ in log if kind == "429"]
        assert refusals
        # What was on its way when the refusal was written may still arrive.
        for ended in refusals:
            assert sum(ended + 0.1 < started < ended + 0.35 for started, *_ in log) == 0


class TestCaps:
    def test_requests_per_minute(self, fault_server, store, tmp_path):
        run(make_rows(61), ["reflect_response"], make(fault_server, store, requests_per_minute=1200), tmp_path)
        starts = [entry[0] for entry in fault_server.everything()["log"]]
        assert len(starts) == 61
        assert starts[-1] - starts[0] >= 60 / 1200 * 60 * 0.95  # 61 starts have 60 gaps of 50 ms

    def test_tokens_per_minute(self, fault_server, store, tmp_path):
        cap = 300_000
        run(make_rows(100), ["reflect_response"], make(fault_server, store, 4, tokens_per_minute=cap), tmp_path)
        log = fault_server.everything()["log"]
        seconds = log[-1][0] - log[0][0]
        assert len(log) == 100
        used = sum(entry[3] for entry in log[:-4])
        assert used <= cap / 60 * seconds * 1.05


class TestWhatStopsTheRun:
    @pytest.mark.parametrize(
        ("status", "message", "named"),
        [
            (401, "Incorrect API key provided: {authorization}", ["OPENAI_API_KEY", "401"]),
            (403, "Not for {authorization}", ["OPENAI_API_KEY", "403"]),
            (404, "The model `oracle-1` does not exist", ["--oracle_model", "--base_url", "404"]),
            (400, "Unknown parameter: 'seed'", ["400", "Unknown parameter: 'seed'"]),
        ],
    )
    def test_a_refusal_is_one_line_and_is_not_repeated(self, fault_server, store, tmp_path, status, message, named):
        refuse = {"status": status, "message": message, "after": 20}
        fault_server.configure(latency_ms=5, refuse=refuse)
        oracle = make(fault_server, store, 8)
        with pytest.raises(BadInputError) as error:
            ask(make_rows(200), ALL, oracle, ASKING)
        said = str(error.value)
        assert said.startswith("--oracle openai: ")
        assert all(word in said for word in named)
        assert "\n" not in said
        assert KEY not in said
        seen = fault_server.everything()
        asked = Counter(entry[2] for entry in seen["log"])
        assert asked[str(status)] <= 8  # those that were under way
        assert seen["paid_in_all"] == len(list(store.rows())) >= 20

        fault_server.change(refuse=None)
        _, counts = run(make_rows(200), ALL, oracle, tmp_path)
        assert set(counts["reflect_status"]["reflect_both"]) == {"ok"}
        assert fault_server.counts()["paid_more_than_once"] == 0

    @pytest.mark.parametrize(("status", "code"), [(429, "insufficient_quota"), (402, None)])
    def test_an_empty_account_stops_at_once(self, fault_server, store, status, code):
        refuse = {"status": status, "code": code, "message": "You exceeded your current quota", "after": 20}
        fault_server.configure(latency_ms=5, refuse=refuse)
        with pytest.raises(StoppedError, match="OPENAI_API_KEY has no credit left"):
            ask(make_rows(200), ALL, make(fault_server, store, 8), ASKING)
        seen = fault_server.everything()
        assert sum(entry[2] == str(status) for entry in seen["log"]) <= 8
        assert seen["paid_in_all"] == len(list(store.rows())) >= 20

    def test_too_many_errors_in_a_window_stop_it_and_what_was_answered_is_kept(
        self, fault_server, store, tmp_path, monkeypatch, caplog
    ):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 2)
        refuse = {"status": 500, "message": "The server is\non fire", "after": 300}
        fault_server.configure(refuse=refuse)
        with pytest.raises(StoppedError) as error:
            ask(make_rows(500), ALL, make(fault_server, store, 8, max_error_fraction=0.3), ASKING)
        said = str(error.value)
        assert "--max_error_fraction 0.3" in said
        assert re.search(r"3\d of the last 100 requests", said)
        assert "The server is on fire" in said
        assert "\n" not in said
        del error
        gc.collect()
        assert "never retrieved" not in caplog.text  # that other workers saw it too is nobody's news
        seen = fault_server.everything()
        failed = sum(entry[2] == "500" for entry in seen["log"])
        assert 2 * 31 <= failed <= 2 * (31 + 8)
        assert seen["paid_in_all"] == len(list(store.rows())) >= 300

        fault_server.change(refuse=None)
        _, counts = run(make_rows(500), ALL, make(fault_server, store, 8), tmp_path)
        assert counts["reflect_status"] == {name: {"ok": 500} for name in ALL}
        assert fault_server.counts()["paid_more_than_once"] == 0

    def test_a_pause_of_hours_stops_it(self, fault_server, store):
        fault_server.configure(limit=0, retry_after=["7200"])
        with pytest.raises(StoppedError, match="120 minutes"):
            ask(make_rows(20), ALL, make(fault_server, store, 8), ASKING)
        assert fault_server.counts()["requests"] <= 8


def test_a_slow_answer_holds_up_its_own_row_only(fault_server, store, tmp_path):
    fault_server.configure(latency_ms=2, slow={"#1000": 3.0})
    run(make_rows(100), ["reflect_response"], make(fault_server, store, 4), tmp_path)
    log = fault_server.everything()["log"]
    (slow,) = (entry for entry in log if entry[1] - entry[0] >= 3.0)
    assert log.index(slow) < 4
    assert max(entry[1] for entry in log if entry is not slow) < slow[1]
