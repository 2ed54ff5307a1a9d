import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError, StoppedError
from reflection.costs import Price
from reflection.oracles import batch_service, openai_batch
from reflection.oracles import openai as live
from reflection.oracles.base import Completion, OracleRequest
from reflection.oracles.chat import Sampling
from reflection.oracles.openai_batch import OpenAIBatchOracle
from reflection.statuses import CONTENT_FILTER, CONTEXT_OVERFLOW, NOT_ASKED, NULL_CONTENT, ORACLE_ERROR
from reflection.store import CompletionStore

KEY = "sk-test-51f0-do-not-write-me-anywhere"
SAMPLING = Sampling("m", 64)
PRICE = Price(10.0, 20.0, 0.5, "the test")
DOLLARS = (100 * 10 + 50 * 20) * 1e-6 / 2  # of one of the endpoint's answers, in a batch


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A key; no proxy, no other endpoint; nothing waits."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(batch_service, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(live, "LONGEST_DELAY", 0.001)
    monkeypatch.setattr(openai_batch, "LOG_SECONDS", 0)


@pytest.fixture
def store(tmp_path: Path) -> CompletionStore:
    return CompletionStore(str(tmp_path / "completions.sqlite"))


@pytest.fixture
def oracle(batch_endpoint, store) -> OpenAIBatchOracle:
    return make(batch_endpoint, store)


def make(endpoint, store, price: Price | None = PRICE, **options) -> OpenAIBatchOracle:
    return OpenAIBatchOracle(SAMPLING, store, endpoint.url, price, poll_seconds=0.001, **options)


def request(question, attempt: int = 0) -> OracleRequest:
    return OracleRequest(f"row-{question}", None, "v", [{"role": "user", "content": str(question)}], attempt)


def ask(question):
    """A job of one request."""
    yield request(question)


def ask_twice(question):
    """A job whose second request hangs on the first one's answer."""
    first = yield request(question)
    if first.text is not None:
        yield request(f"{question}, {first.text}")


def run(oracle, questions, job=ask) -> list[Completion]:
    """Carry one job a question; what is known of their first requests afterwards."""
    questions = list(questions)
    oracle.run(lambda: (job(question) for question in questions), len(questions))
    return [oracle.answer(request(question)) for question in questions]


def sizes(endpoint) -> list[int]:
    return [len(lines) for lines in endpoint.lines.values()]


class TestRun:
    def test_asks_in_one_batch_and_keeps_the_answers_at_the_batch_price(self, batch_endpoint, oracle, store):
        answers = run(oracle, range(700))
        assert [answer.text for answer in answers] == [f"answer to {number}" for number in range(700)]
        assert {(answer.batched, answer.from_store, answer.model) for answer in answers} == {(True, True, "m-1")}
        assert sizes(batch_endpoint) == [700]
        assert oracle.usage.dollars == pytest.approx(700 * DOLLARS)
        line = batch_endpoint.lines["batch_1"][0]
        question = line["body"]["messages"][0]["content"]
        assert line["custom_id"] == store.key(SAMPLING.request(request(question)))
        assert line["body"] == SAMPLING.request(request(question))

    def test_openai_itself_is_sent_its_own_name_of_the_length_limit(self, batch_endpoint, store, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", batch_endpoint.url)
        oracle = OpenAIBatchOracle(SAMPLING, store, None, poll_seconds=0.001)
        assert run(oracle, "a")[0].text == "answer to a"
        body = batch_endpoint.lines["batch_1"][0]["body"]
        assert body["max_completion_tokens"] == 64
        assert "max_tokens" not in body

    def test_second_requests_go_into_a_second_wave(self, batch_endpoint, oracle):
        run(oracle, range(20), ask_twice)
        assert sizes(batch_endpoint) == [20, 20]
        assert set(batch_endpoint.submitted.values()) == {1}
        assert oracle.answer(request("7, answer to 7")).text == "answer to 7, answer to 7"

    def test_equal_requests_are_asked_once(self, batch_endpoint, store):
        run(make(batch_endpoint, store, max_requests=4), [0, 1, *(number % 5 for number in range(1200))])
        assert batch_endpoint.submitted == Counter("01234")
        assert sizes(batch_endpoint) == [4, 1]

    def test_asks_nothing_that_is_in_the_store(self, batch_endpoint, oracle, store):
        run(oracle, range(5))
        batch_endpoint.calls.clear()
        assert run(make(batch_endpoint, store), range(5))[4].text == "answer to 4"
        assert batch_endpoint.calls == {}

    @pytest.mark.parametrize("question", ["\u2028\x85 a\r\nb\n", "日本語 " * 50, '{"custom_id": "x"}\n'])
    def test_any_text_comes_back_as_it_is(self, oracle, question):
        assert run(oracle, [question])[0].text == f"answer to {question}"

    def test_splits_by_requests_and_by_bytes(self, batch_endpoint, store):
        run(make(batch_endpoint, store, max_requests=4), range(10))
        assert sizes(batch_endpoint) == [4, 4, 2]
        run(make(batch_endpoint, store, max_bytes=1000), range(100, 110))
        for name, lines in list(batch_endpoint.lines.items())[3:]:
            raw = batch_endpoint.files[batch_endpoint.batches[name]["input_file_id"]]
            assert len(raw) <= 1000
            assert len(raw) + len(raw) / len(lines) > 1000 or name == "batch_6"
        assert set(batch_endpoint.submitted.values()) == {1}
        run(make(batch_endpoint, store, max_bytes=10), range(200, 202))  # a line longer than a file has one of its own
        assert sizes(batch_endpoint)[-2:] == [1, 1]

    def test_says_how_far_it_is(self, oracle, capsys):
        run(oracle, range(3), ask_twice)
        assert capsys.readouterr().out.splitlines() == [
            "[reflect] submitted batch batch_1: 3 requests",
            "[reflect] 1 batch at the service, 0 of 3 requests done; 0 of 3 rows complete, $0.00 so far",
            "[reflect] 1 batch at the service, 3 of 3 requests done; 0 of 3 rows complete, $0.00 so far",
            "[reflect] batch batch_1 completed: 3 of 3 requests answered",
            "[reflect] submitted batch batch_2: 3 requests",
            "[reflect] 1 batch at the service, 0 of 3 requests done; 0 of 3 rows complete, $0.00 so far",
            "[reflect] 1 batch at the service, 3 of 3 requests done; 0 of 3 rows complete, $0.00 so far",
            "[reflect] batch batch_2 completed: 3 of 3 requests answered",
        ]

    def test_needs_a_key(self, batch_endpoint, store, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(BadInputError, match="--oracle openai_batch: set the environment variable OPENAI_API_KEY"):
            make(batch_endpoint, store)


class TestRequestsWithoutAnAnswer:
    @pytest.mark.parametrize(
        "first", [(500, {"error": {}}), (429, {}), (200, {"error": {}}), (200, None), "batch_expired", None, b"{", b"7"]
    )
    def test_are_asked_again_in_the_next_wave(self, batch_endpoint, oracle, first):
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, times: first if times == 1 and q in ("3", "5") else ok(q, times)
        assert [answer.text for answer in run(oracle, range(9))] == [f"answer to {number}" for number in range(9)]
        assert sizes(batch_endpoint) == [9, 2]

    def test_are_given_up_after_three_batches_and_asked_by_the_next_run(self, batch_endpoint, oracle, store):
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, times: (503, {}) if q == "3" and times <= 3 else ok(q, times)
        answers = run(oracle, range(9), ask_twice)
        assert (answers[3].failure, answers[3].detail) == (ORACLE_ERROR, "3 batches, the last one: 503: no message")
        assert [answer.text is None for answer in answers] == [number == 3 for number in range(9)]
        assert batch_endpoint.submitted["3"] == 3
        assert run(make(batch_endpoint, store), range(9))[3].text == "answer to 3"
        assert set(batch_endpoint.paid.values()) == {1}

    @pytest.mark.parametrize(
        ("outcome", "failure"),
        [
            ((400, {"error": {"message": "too long", "code": "context_length_exceeded"}}), CONTEXT_OVERFLOW),
            ((400, {"error": {"message": "no", "code": "content_filter"}}), CONTENT_FILTER),
            ((200, {"choices": [{"message": {"content": None}}]}), NULL_CONTENT),
        ],
    )
    def test_that_would_be_answered_the_same_again_are_kept_as_that(
        self, batch_endpoint, oracle, store, outcome, failure
    ):
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, times: outcome if q == "1" else ok(q, times)
        assert [answer.failure for answer in run(oracle, range(3))] == [None, failure, None]
        assert run(make(batch_endpoint, store), range(3))[1].failure == failure
        assert set(batch_endpoint.submitted.values()) == {1}

    def test_of_most_of_a_batch_stop_the_run(self, batch_endpoint, oracle):
        batch_endpoint.answer = lambda *_: (500, {"error": {"message": "on fire"}})
        with pytest.raises(StoppedError, match=r"20 of the 20 requests of batch batch_3 got no answer.*on fire"):
            run(oracle, range(20))

    def test_refused_ones_end_the_run_after_all_batches_were_collected(self, batch_endpoint, store):
        ok = batch_endpoint.answer
        refusal = 400, {"error": {"message": f"Unknown parameter for {KEY}", "code": "unknown_parameter"}}
        batch_endpoint.answer = lambda q, times: refusal if q == "0" else ok(q, times)
        oracle = make(batch_endpoint, store, max_requests=5)
        batch_endpoint.more_polls = {"batch_3": 4}
        with pytest.raises(BadInputError, match=r"refuses the request \(400\): Unknown parameter for …"):
            run(oracle, range(15), ask_twice)
        assert [oracle.answer(request(number)).text is None for number in range(15)] == [True] + [False] * 14
        assert sizes(batch_endpoint) == [5, 5, 5]  # nothing more was asked
        with pytest.raises(BadInputError):
            run(oracle, range(15))
        assert batch_endpoint.submitted == Counter(map(str, range(15))) + Counter("0")

    def test_for_want_of_credit_stop_the_run(self, batch_endpoint, oracle):
        batch_endpoint.answer = lambda *_: (429, {"error": {"message": "!", "code": "insufficient_quota"}})
        with pytest.raises(StoppedError, match="no credit left"):
            run(oracle, range(3))

    def test_lines_that_mean_nothing_are_ignored_and_counted(self, batch_endpoint, oracle, capsys):
        ok = batch_endpoint.answer
        foreign = {"custom_id": "who", "response": {"status_code": 200, "body": {}}}
        odd = {"0": b"\n\n", "1": json.dumps(foreign).encode(), "2": b"\xff", "3": b'{"custom_id": 7}', "4": b"[]"}
        batch_endpoint.answer = lambda q, times: odd[q] if q in odd and times == 1 else ok(q, times)
        assert all(answer.text for answer in run(oracle, range(9)))
        assert (
            "file file-output-batch_1: 3 lines cannot be read, 1 are for no request of batch batch_1; ignored"
            in capsys.readouterr().out
        )


class TestBatchesThatEndOtherwise:
    def test_expired_ones_are_collected_and_the_rest_asked_again(self, batch_endpoint, oracle, capsys):
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, n: "batch_expired" if n == 1 and int(q) % 2 else ok(q, n)
        batch_endpoint.end = lambda number: "expired" if number == 1 else "completed"
        assert all(answer.text for answer in run(oracle, range(30)))
        assert sizes(batch_endpoint) == [30, 15]
        assert set(batch_endpoint.paid.values()) == {1}
        assert "batch batch_1 expired: 15 of 30 requests answered" in capsys.readouterr().out

    def test_cancelled_ones_are_collected_and_stop_the_run(self, batch_endpoint, oracle, store):
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, n: "batch_cancelled" if n == 1 and int(q) % 2 else ok(q, n)
        batch_endpoint.end = lambda number: "cancelled" if number == 1 else "completed"
        with pytest.raises(StoppedError, match=r"batch batch_1 was cancelled at the service; .*the same command"):
            run(oracle, range(30))
        assert all(answer.text for answer in run(make(batch_endpoint, store), range(30)))
        assert sizes(batch_endpoint) == [30, 15]
        assert set(batch_endpoint.paid.values()) == {1}

    def test_refused_ones_end_the_run_with_the_reason(self, batch_endpoint, oracle, store):
        batch_endpoint.end = lambda number: (
            ("model_mismatch", f"The model of {KEY} is odd.", 7) if number == 1 else "completed"
        )
        reason = r"--oracle openai_batch: the service refuses batch batch_1: The model of … is odd. \(line 7 of"
        with pytest.raises(BadInputError, match=reason):
            run(oracle, range(9))
        assert all(answer.text for answer in run(make(batch_endpoint, store), range(9)))
        assert set(batch_endpoint.submitted.values()) == {1}

    def test_without_room_for_one_they_become_smaller(self, batch_endpoint, oracle, capsys):
        batch_endpoint.room = 6
        assert all(answer.text for answer in run(oracle, range(20)))
        assert sizes(batch_endpoint) == [20, 10, 5, 5, 5, 5]
        assert set(batch_endpoint.submitted.values()) == {1}
        assert "at most 1 batch(es) of 5 requests at a time" in capsys.readouterr().out

    def test_without_room_for_several_they_wait_for_each_other(self, batch_endpoint, store):
        batch_endpoint.room = 6
        batch_endpoint.polls = 4
        assert all(answer.text for answer in run(make(batch_endpoint, store, max_requests=5), range(20)))
        assert set(batch_endpoint.submitted.values()) == {1}
        taken = [batch for batch in batch_endpoint.batches.values() if batch["status"] == "completed"]
        assert [len(batch_endpoint.lines[batch["id"]]) for batch in taken] == [5, 5, 5, 5]

    def test_without_room_for_one_request_the_run_stops(self, batch_endpoint, oracle):
        batch_endpoint.room = 0
        with pytest.raises(StoppedError, match="no room for a batch of even one request"):
            run(oracle, range(4))
        assert sizes(batch_endpoint) == [4, 2, 1]

    def test_files_that_are_gone_stop_the_run_before_anything_is_paid_twice(self, batch_endpoint, oracle, store):
        gone = 404, {"error": {"message": "No such File object"}}, {}
        batch_endpoint.before = lambda call, number: gone if call == "content" and number == 1 else None
        with pytest.raises(StoppedError, match=r"file file-output-batch_1 .* is no longer at the service"):
            run(oracle, range(4))
        assert sizes(batch_endpoint) == [4]
        assert all(answer.text for answer in run(make(batch_endpoint, store), range(4)))


class TestBudget:
    @pytest.mark.parametrize("max_requests", [100, 2])
    def test_what_is_under_way_never_exceeds_it_at_its_worst(self, batch_endpoint, store, max_requests):
        worst = PRICE.dollars(2 * 9, 64, batched=True)  # two digits are a token, and there are eight around them
        dear = {"prompt_tokens": 18, "completion_tokens": 64, "total_tokens": 82}
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, times: (200, ok(q, times)[1] | {"usage": dear})
        oracle = make(batch_endpoint, store, budget_usd=4.9 * worst, max_requests=max_requests)
        answers = run(oracle, range(10, 30))
        assert sum(sizes(batch_endpoint)) == 4
        assert oracle.usage.dollars == pytest.approx(4 * worst)
        assert Counter(answer.failure for answer in answers) == {None: 4, NOT_ASKED: 16}

    def test_what_another_run_left_under_way_counts(self, batch_endpoint, store):
        batch_endpoint.before = lambda call, _: os.kill(os.getpid(), signal.SIGINT) if call == "retrieve" else None
        budget = 4.9 * PRICE.dollars(2 * 9, 64, batched=True)
        with pytest.raises(KeyboardInterrupt):
            run(make(batch_endpoint, store, budget_usd=budget), range(10, 30))
        asked_before_looking = []
        batch_endpoint.before = lambda call, _: asked_before_looking.append(call)
        run(make(batch_endpoint, store, budget_usd=budget), range(10, 30))
        assert asked_before_looking[0] == "retrieve"
        assert sizes(batch_endpoint)[0] == 4

    def test_goes_on_with_what_answers_left_over(self, batch_endpoint, store, capsys):
        cheap = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        ok = batch_endpoint.answer
        batch_endpoint.answer = lambda q, times: (200, ok(q, times)[1] | {"usage": cheap})
        worst = PRICE.dollars(2 * 9, 64, batched=True)
        budget = 5.5 * worst
        oracle = make(batch_endpoint, store, budget_usd=budget)
        answers = run(oracle, range(10, 90))
        assert sizes(batch_endpoint)[0] == 5
        asked = sum(sizes(batch_endpoint))
        price = PRICE.dollars(9, 1, batched=True)
        assert budget - worst < asked * price <= budget
        assert sum(answer.text is not None for answer in answers) == asked
        assert f"stops asking: the next answer might cost more than is left of ${budget:g}" in capsys.readouterr().out
        asked_again = make(batch_endpoint, store, budget_usd=budget)
        run(asked_again, range(10, 90))  # what the store holds has been paid from the same budget
        assert sum(sizes(batch_endpoint)) == asked

    def test_answers_of_other_jobs_do_not_count(self, batch_endpoint, store):
        run(make(batch_endpoint, store), range(50, 90))
        oracle = make(batch_endpoint, store, budget_usd=2 * PRICE.dollars(2 * 9, 64, batched=True))
        assert sum(answer.text is not None for answer in run(oracle, range(10, 15))) == 2


def test_texts_are_refused_before_anything_is_submitted(batch_endpoint, oracle):
    job = lambda _: iter([OracleRequest("r", None, "koala", None, prompt="Q: Why?")])  # noqa: E731
    with pytest.raises(BadInputError, match=r"^--oracle openai_batch: takes chats only; have text prompts answered by"):
        run(oracle, ["why"], job)
    assert sizes(batch_endpoint) == []
