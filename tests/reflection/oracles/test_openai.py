import json
import threading
import time
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles import Completion, OracleRequest
from reflection.oracles import openai as oracle_module
from reflection.oracles.chat import Sampling
from reflection.oracles.config import Flags
from reflection.oracles.openai import OpenAIOracle, Pace
from reflection.store import CompletionStore

KEY = "sk-test-3f9a-do-not-write-me-anywhere"
AT_ONCE = {"retry-after-ms": "1"}


def chat(text, finish_reason="stop", **changes) -> dict:
    """The body of a normal answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "oracle-1-2026-05-01",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **changes,
    }


def failure(message: str) -> dict:
    return {"error": {"message": message, "type": "error", "param": None, "code": None}}


def normal(question, times):
    return 200, chat(f"answer to {question}"), {}


def always(status, body, headers=None):
    def answer(question, times):
        return status, body, headers or {}

    return answer


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A key; no proxy, no other endpoint; no long waits between tries."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(oracle_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(oracle_module, "LONGEST_DELAY", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> CompletionStore:
    return CompletionStore(str(tmp_path / "completions.sqlite"))


@pytest.fixture
def oracle(endpoint, store) -> OpenAIOracle:
    return make(endpoint, store)


def make(endpoint, store, concurrency: int = 4, max_tokens: int = 64, model: str = "oracle-1") -> OpenAIOracle:
    pace = Pace(concurrency, None, None, timeout_seconds=20, max_error_fraction=1)
    return OpenAIOracle(Sampling(model, max_tokens), store, endpoint.url, pace)


def complete(oracle: OpenAIOracle, requests: list[OracleRequest]) -> list[Completion]:
    """One job a request, and what is known of each afterwards."""
    oracle.run(lambda: map(iter_one, requests), len(requests))
    return [oracle.answer(one) for one in requests]


def iter_one(one: OracleRequest):
    """A job that asks one thing."""
    yield one


def request(question, attempt: int = 0) -> OracleRequest:
    messages = [{"role": "system", "content": "Be picky."}, {"role": "user", "content": str(question)}]
    return OracleRequest(f"row-{question}", None, "reflect_response", messages, attempt)


def stored_texts(store: CompletionStore) -> list[str]:
    return [text for (text,) in store.connection.execute("SELECT text FROM completions ORDER BY created_at")]


class TestNormalAnswers:
    def test_an_answer_comes_with_who_wrote_it_how_it_ended_and_what_it_cost(self, endpoint, oracle):
        assert complete(oracle, [request("why")]) == [
            Completion("answer to why", "stop", None, "oracle-1-2026-05-01", None, 11, 7, from_store=True)
        ]
        assert endpoint.paths == {"/v1/chat/completions"}
        assert endpoint.keys == {f"Bearer {KEY}"}

    def test_what_is_sent_is_the_papers_sampling_and_nothing_else(self, endpoint, oracle):
        complete(oracle, [request("why")])
        assert endpoint.requests == [
            {
                "model": "oracle-1",
                "messages": [{"role": "system", "content": "Be picky."}, {"role": "user", "content": "why"}],
                "temperature": 0,
                "top_p": 1,
                "max_tokens": 64,
                "seed": 0,
            }
        ]

    def test_answers_come_in_the_order_of_the_requests_however_they_arrive(self, endpoint, oracle):
        def answer(question, times):
            time.sleep(0.05 if question == "0" else 0)
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        found = complete(oracle, [request(number) for number in range(8)])
        assert [completion.text for completion in found] == [f"answer to {number}" for number in range(8)]

    def test_nothing_to_ask_asks_nothing(self, endpoint, oracle):
        assert complete(oracle, []) == []
        assert endpoint.requests == []

    def test_an_answer_that_stopped_for_length_says_so(self, endpoint, oracle):
        endpoint.answer = always(200, chat("[Better Answer] The mo", "length"))
        (found,) = complete(oracle, [request("why")])
        assert (found.text, found.finish_reason) == ("[Better Answer] The mo", "length")

    def test_a_local_server_may_leave_usage_and_model_out(self, endpoint, oracle):
        endpoint.answer = always(200, chat("yes", usage=None, model=None))
        assert complete(oracle, [request("why")]) == [Completion("yes", "stop", None, "oracle-1", from_store=True)]

    def test_an_empty_text_is_an_answer(self, endpoint, oracle, store):
        endpoint.answer = always(200, chat(""))
        (found,) = complete(oracle, [request("why")])
        assert (found.text, found.failure) == ("", None)
        assert stored_texts(store) == [""]

    def test_hostile_text_arrives_as_it_was_written(self, endpoint, oracle):
        text = "é😀\u2028\x00 {x} [End] '\";\r\n\t"
        endpoint.answer = always(200, chat(text))
        assert [complete(oracle, [request("why")])[0].text for _ in range(2)] == [text, text]

    def test_half_a_surrogate_pair_does_not_cost_the_answer(self, endpoint, oracle, store):
        raw = json.dumps(chat("half \ud83d, whole \U0001f600"), ensure_ascii=True).encode()
        endpoint.answer = always(200, raw)
        (found,) = complete(oracle, [request("why")])
        assert found.text == "half ?, whole \U0001f600"
        assert stored_texts(store) == [found.text]


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [2, 4])
    def test_as_many_requests_as_allowed_are_in_flight_and_no_more(self, endpoint, store, monkeypatch, concurrency):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 1)
        together = threading.Barrier(concurrency, timeout=10)

        def answer(question, times):
            together.wait()  # fewer in flight than `concurrency` break it
            time.sleep(0.02)  # more in flight than `concurrency` would be seen
            return 200, chat("yes"), {}

        endpoint.answer = answer
        found = complete(make(endpoint, store, concurrency), [request(number) for number in range(12)])
        assert [completion.text for completion in found] == ["yes"] * 12
        assert endpoint.peak == concurrency

    def test_a_concurrency_of_one_asks_one_after_the_other(self, endpoint, store):
        def answer(question, times):
            time.sleep(0.01)
            return 200, chat("yes"), {}

        endpoint.answer = answer
        complete(make(endpoint, store, concurrency=1), [request(number) for number in range(6)])
        assert endpoint.peak == 1
        assert endpoint.questions() == ["0", "1", "2", "3", "4", "5"]


class TestJobs:
    def test_a_job_goes_on_with_the_answer_it_was_given(self, endpoint, oracle):
        def job():
            first = yield request("a")
            yield request(f"after {first.text}")

        oracle.run(lambda: [job()], 1)
        assert endpoint.questions() == ["a", "after answer to a"]

    def test_a_slow_answer_holds_up_no_other_job(self, endpoint, store):
        others_done = threading.Event()

        def answer(question, times):
            if question == "slow":
                assert others_done.wait(20)  # until all the others have been answered
            elif question == "29":
                others_done.set()
            return 200, chat("yes"), {}

        endpoint.answer = answer
        found = complete(make(endpoint, store, concurrency=2), [request("slow"), *map(request, range(30))])
        assert {completion.text for completion in found} == {"yes"}

    def test_jobs_are_taken_as_there_is_room_for_them(self, endpoint, store):
        taken = 0

        def jobs():
            nonlocal taken
            for number in range(20):
                taken += 1
                yield iter_one(request(number))

        def answer(question, times):
            seen.append(taken)
            return 200, chat("yes"), {}

        seen: list[int] = []
        endpoint.answer = answer
        make(endpoint, store, concurrency=3).run(jobs, 20)
        assert len(seen) == 20
        assert all(count <= number + 3 for number, count in enumerate(seen, start=1))


class TestStore:
    def test_the_same_question_twice_at_once_is_paid_for_once(self, endpoint, oracle):
        answers = complete(oracle, [request("a"), request("b"), request("a")])
        assert sorted(endpoint.questions()) == ["a", "b"]
        assert answers[0] == answers[2] != answers[1]

    def test_answers_from_the_store_are_not_asked_again(self, endpoint, store, tmp_path):
        complete(make(endpoint, store), [request(number) for number in range(3)])
        assert len(endpoint.requests) == 3
        later = make(endpoint, CompletionStore(str(tmp_path / "completions.sqlite")))
        found = complete(later, [request(number) for number in range(5)])
        assert sorted(endpoint.questions()) == ["0", "1", "2", "3", "4"]
        assert [completion.text for completion in found] == [f"answer to {number}" for number in range(5)]
        assert (found[0].model, found[0].prompt_tokens, found[0].completion_tokens) == ("oracle-1-2026-05-01", 11, 7)

    def test_a_second_attempt_is_a_request_of_its_own_with_another_seed(self, endpoint, oracle):
        def numbered(question, times):
            return 200, chat(f"answer {times}"), {}

        endpoint.answer = numbered
        found = [complete(oracle, [request("why", attempt)])[0].text for attempt in (0, 1, 0, 1)]
        assert found == ["answer 1", "answer 2", "answer 1", "answer 2"]
        assert [body["seed"] for body in endpoint.requests] == [0, 1]

    def test_another_model_or_length_limit_is_another_request_and_another_endpoint_is_not(self, endpoint, store):
        complete(make(endpoint, store), [request("why")])
        complete(make(endpoint, store, model="oracle-2"), [request("why")])
        complete(make(endpoint, store, max_tokens=128), [request("why")])
        assert len(endpoint.requests) == 3
        moved = make(endpoint, store)
        moved.base_url = "http://127.0.0.1:1/v1"
        assert complete(moved, [request("why")])[0].text == "answer to why"

    def test_an_answer_is_in_the_store_before_the_others_have_arrived(self, endpoint, store, tmp_path):
        seen = []

        def answer(question, times):
            if question == "last":
                other = CompletionStore(str(tmp_path / "completions.sqlite"))
                seen.extend(stored_texts(other))
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        complete(make(endpoint, store, concurrency=1), [request("first"), request("second"), request("last")])
        assert seen == ["answer to first", "answer to second"]


class TestTexts:
    def test_go_to_the_endpoint_of_texts_and_their_answers_are_kept(self, endpoint, store):
        def answer(question, times):
            choice = {"index": 0, "finish_reason": "stop", "text": f" answer to {question}"}
            return 200, {**chat(""), "object": "text_completion", "choices": [choice]}, {}

        endpoint.answer = answer
        oracle = make(endpoint, store)
        asked = [OracleRequest(f"{n}", None, "koala", None, prompt=f"Q {n}\nA:", stop=("\nQ",)) for n in range(5)]
        for _ in range(2):
            found = complete(oracle, asked)
            assert [completion.text for completion in found] == [f" answer to Q {n}\nA:" for n in range(5)]
        assert endpoint.paths == {"/v1/completions"}
        assert len(endpoint.requests) == 5
        assert next(body for body in endpoint.requests if body["prompt"] == "Q 0\nA:") == {
            "model": "oracle-1",
            "prompt": "Q 0\nA:",
            "max_tokens": 64,
            "temperature": 0,
            "top_p": 1,
            "stop": ["\nQ"],
            "seed": 0,
        }

    def test_a_model_may_be_served_under_another_name_than_it_is_kept(self, endpoint, store):
        endpoint.answer = normal
        pace = Pace(4, None, None, timeout_seconds=20, max_error_fraction=1)
        oracle = OpenAIOracle(Sampling("mine@hash", 64), store, endpoint.url, pace, served_model="mine")
        assert complete(oracle, [request("why")])[0].text == "answer to why"
        assert endpoint.requests[0]["model"] == "mine"
        assert '"model": "mine@hash"' in next(store.rows())["request"]

    def test_messages_name_what_the_user_has_set(self, endpoint, store):
        endpoint.answer = always(404, failure("no such model"))
        pace = Pace(4, None, None, timeout_seconds=20, max_error_fraction=1)
        flags = Flags("--server_url http://here", "--served_model", "--server_url")
        oracle = OpenAIOracle(Sampling("m", 64), store, endpoint.url, pace, flags=flags)
        said = r"^--server_url http://here: .*model or path \(404\); check --served_model and --server_url: .*no such"
        with pytest.raises(BadInputError, match=said):
            complete(oracle, [request("why")])
