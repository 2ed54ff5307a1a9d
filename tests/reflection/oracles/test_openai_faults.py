"""The `openai` oracle where the endpoint does not answer as it should, and what is written of a whole stage."""

import json
import logging
import runpy
import socket
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.config import ReflectConfig
from reflection.oracles import Completion, OracleRequest, make_oracle
from reflection.oracles import openai as oracle_module
from reflection.oracles.chat import Sampling
from reflection.oracles.openai import OpenAIOracle, Pace, api_key, backoff
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


class TestRowsThatFail:
    @pytest.mark.parametrize("status", [429, 500, 503, 408, 409])
    def test_a_passing_failure_is_asked_again(self, endpoint, oracle, store, status):
        def answer(question, times):
            if question == "1" and times < 3:
                return status, failure("slow down"), AT_ONCE
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        found = complete(oracle, [request(number) for number in range(3)])
        assert [completion.text for completion in found] == ["answer to 0", "answer to 1", "answer to 2"]
        assert [completion.failure for completion in found] == [None, None, None]
        assert sorted(endpoint.questions()) == ["0", "1", "1", "1", "2"]
        assert len(stored_texts(store)) == 3

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_lasting_failure_is_that_rows_error_and_no_others(self, endpoint, oracle, store, monkeypatch, status):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 2)

        def answer(question, times):
            if question == "1":
                return status, failure("out of order"), AT_ONCE
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        found = complete(oracle, [request(number) for number in range(3)])
        assert [completion.text for completion in found] == ["answer to 0", None, "answer to 2"]
        assert found[1].failure == "oracle_error"
        assert "out of order" in found[1].detail
        assert sorted(endpoint.questions()) == ["0", "1", "1", "2"]
        assert sorted(stored_texts(store)) == ["answer to 0", "answer to 2"]

    def test_retries_are_bounded(self, endpoint, oracle, monkeypatch):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 4)
        endpoint.answer = always(500, failure("out of order"), AT_ONCE)
        complete(oracle, [request("why")])
        assert len(endpoint.requests) == 4

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_prompt_too_long_for_the_endpoint_is_that_rows_own_and_never_asked_again(
        self, endpoint, oracle, store, status
    ):
        def answer(question, times):
            if question == "1":
                return status, failure("the maximum context length is 8 tokens"), AT_ONCE
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        found = complete(oracle, [request(number) for number in range(3)])
        assert [completion.text for completion in found] == ["answer to 0", None, "answer to 2"]
        assert (found[1].failure, found[1].from_store) == ("context_overflow", True)
        assert "maximum context length" in found[1].detail
        assert complete(make(endpoint, store), [request(1)]) == [found[1]]
        assert sorted(endpoint.questions()) == ["0", "1", "2"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (chat(None), "null_content"),
            (chat("x", choices=[{"index": 0, "finish_reason": "stop"}]), "null_content"),
            (chat([{"type": "text", "text": "x"}]), "null_content"),
            (chat("x", choices=[]), "no_choices"),
            (chat("x", choices=[None]), "no_choices"),
            (chat("I ca", "content_filter"), "content_filter"),
        ],
        ids=["null content", "no message", "content in parts", "no choices", "a null choice", "filtered"],
    )
    def test_an_answer_without_text_has_its_own_status_is_paid_for_and_kept(
        self, endpoint, oracle, store, body, status
    ):
        endpoint.answer = lambda question, times: (200, body, {}) if question == "1" else normal(question, times)
        found = complete(oracle, [request(number) for number in range(3)])
        assert [completion.text for completion in found] == ["answer to 0", None, "answer to 2"]
        assert (found[1].failure, found[1].prompt_tokens, found[1].from_store) == (status, 11, True)
        assert complete(make(endpoint, store), [request(1)]) == [found[1]]
        assert endpoint.questions().count("1") == 1

    @pytest.mark.parametrize(
        ("body", "headers", "tries"),
        [
            ({"id": "x", "error": {"message": "upstream is away"}}, {}, 3),
            (["x"], {}, 3),
            (b"{broken", {}, 3),
            (b"", {}, 3),
            (b"\xff\xfe", {}, 3),
            (b"[" * 100_000, {}, 3),
            (b"<html>Welcome</html>", {"content-type": "text/html"}, 1),
        ],
        ids=["an error", "a list", "broken JSON", "an empty body", "no text", "nested beyond reason", "a web page"],
    )
    def test_what_is_no_chat_completion_is_an_error_and_asked_again_next_time(
        self, endpoint, oracle, store, monkeypatch, body, headers, tries
    ):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 3)
        endpoint.answer = lambda question, times: (200, body, headers) if question == "1" else normal(question, times)
        found = complete(oracle, [request(number) for number in range(3)])
        assert [completion.text for completion in found] == ["answer to 0", None, "answer to 2"]
        assert found[1].failure == "oracle_error"
        assert found[1].detail
        assert endpoint.questions().count("1") == tries
        assert sorted(stored_texts(store)) == ["answer to 0", "answer to 2"]
        endpoint.answer = normal
        assert complete(make(endpoint, store), [request(1)])[0].text == "answer to 1"

    def test_an_endpoint_that_is_not_there_is_an_error_of_every_row(self, store, monkeypatch):
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 1)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
            pace = Pace(2, None, None, timeout_seconds=20, max_error_fraction=1)
            found = complete(OpenAIOracle(Sampling("oracle-1", 64), store, url, pace), [request(1), request(2)])
        assert [(completion.text, completion.failure) for completion in found] == [(None, "oracle_error")] * 2
        assert stored_texts(store) == []

    def test_the_waits_between_tries_double_up_to_a_minute_with_half_of_them_left_to_chance(self, monkeypatch):
        monkeypatch.setattr(oracle_module, "FIRST_DELAY", 0.5)
        monkeypatch.setattr(oracle_module, "LONGEST_DELAY", 60.0)
        longest = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
        for number, most in enumerate(longest):
            waits = [backoff(number) for _ in range(200)]
            assert most / 2 <= min(waits) < max(waits) <= most


class TestWhatNoRetryCanMend:
    @pytest.mark.parametrize(
        ("status", "named"),
        [
            (401, ["OPENAI_API_KEY", "401"]),
            (403, ["OPENAI_API_KEY", "403"]),
            (404, ["--oracle_model", "--base_url", "404"]),
            (400, ["400"]),
        ],
    )
    def test_the_run_stops_with_one_line_and_what_had_arrived_is_in_the_store(self, endpoint, store, status, named):
        def answer(question, times):
            if question == "3":
                return status, failure(f"refused for {KEY}"), {}
            return 200, chat(f"answer to {question}"), {}

        endpoint.answer = answer
        oracle = make(endpoint, store, concurrency=1)
        with pytest.raises(BadInputError) as error:
            complete(oracle, [request(number) for number in range(6)])
        message = str(error.value)
        assert message.startswith("--oracle openai: ")
        assert all(word in message for word in named)
        assert "\n" not in message
        assert KEY not in message
        assert stored_texts(store) == ["answer to 0", "answer to 1", "answer to 2"]
        assert endpoint.questions().count("3") == 1  # not repeated
        assert "5" not in endpoint.questions()  # one more may have been under way, but the rest is not gone on with

        endpoint.answer = normal
        found = complete(oracle, [request(number) for number in range(6)])
        assert [completion.text for completion in found] == [f"answer to {number}" for number in range(6)]
        assert [endpoint.questions().count(number) for number in "0123"] == [1, 1, 1, 2]

    def test_many_refusals_at_once_are_one_error(self, endpoint, store, caplog, capsys):
        endpoint.answer = always(401, failure("no"))
        with pytest.raises(BadInputError, match="OPENAI_API_KEY"):
            complete(make(endpoint, store, concurrency=8), [request(number) for number in range(40)])
        assert len(endpoint.requests) <= 16
        assert "never retrieved" not in caplog.text + capsys.readouterr().err

    @pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
    def test_without_a_key_nothing_starts(self, endpoint, store, monkeypatch, value):
        monkeypatch.delenv("OPENAI_API_KEY")
        if value is not None:
            monkeypatch.setenv("OPENAI_API_KEY", value)
        with pytest.raises(BadInputError) as error:
            make(endpoint, store)
        assert "OPENAI_API_KEY" in str(error.value)
        assert "\n" not in str(error.value)


def reflection_config(endpoint, tmp_path: Path) -> ReflectConfig:
    data = tmp_path / "rows.jsonl"
    records = [{"instruction": f"Question {n}?", "input": "", "output": f"Answer {n}."} for n in range(3)]
    data.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return ReflectConfig(
        dataset=str(data),
        output_dir=str(tmp_path / "run/reflect"),
        oracle="openai",
        oracle_model="oracle-1",
        base_url=endpoint.url,
        store=str(tmp_path / "run/completions.sqlite"),
        concurrency=2,
        max_tokens=64,
    )


class TestWholeStage:
    def test_the_key_is_written_nowhere_and_the_settings_that_matter_are(
        self, endpoint, root, tmp_path, caplog, capfd, monkeypatch
    ):
        caplog.set_level(logging.DEBUG)
        monkeypatch.setattr(oracle_module, "MAX_TRIES", 1)

        def answer(question, times):
            if "Question 2" in question:
                return 500, failure("out of order"), AT_ONCE
            if "[Better Answer]" in question:
                return 200, chat("Short. [Better Answer] Better. [End]"), {}
            return 200, chat("Vague. [New Instruction] New? [End] [New Answer] Yes. [End]"), {}

        endpoint.answer = answer
        runpy.run_path(str(root / "recipes/reflect.py"))["main"](reflection_config(endpoint, tmp_path))
        assert endpoint.keys == {f"Bearer {KEY}"}
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        names = {file.name for file in files}
        assert {"completions.sqlite", "provenance.json", "dataset_dict.json"} <= names
        assert [file for file in files if KEY.encode() in file.read_bytes()] == []
        out, err = capfd.readouterr()
        assert KEY not in out + err + caplog.text

        (record,) = json.loads((tmp_path / "run/reflect/provenance.json").read_text(encoding="utf-8"))
        assert record["config"]["oracle_model"] == "oracle-1"
        assert record["config"]["max_tokens"] == 64
        assert endpoint.url not in json.dumps(record)
        assert record["counts"]["reflect_status"]["reflect_instruction"] == {"ok": 2, "oracle_error": 1}
        assert record["counts"]["reflect_status"]["reflect_both"] == {"ok": 2, "parent_not_reflected": 1}

    def test_the_settings_make_the_oracle_that_they_describe(self, endpoint, tmp_path):
        config = reflection_config(endpoint, tmp_path)
        oracle = make_oracle(config)
        assert isinstance(oracle, OpenAIOracle)
        assert oracle.can_resample is True
        complete(oracle, [request("why")])
        assert [(body["model"], body["max_tokens"]) for body in endpoint.requests] == [("oracle-1", 64)]
        assert (tmp_path / "run/completions.sqlite").is_file()


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-é", "sk-1\x7f"])
def test_a_key_that_no_header_takes_is_refused_before_anything_is_asked(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BadInputError, match="OPENAI_API_KEY: holds") as error:
        api_key("--oracle openai")
    assert key.strip() not in str(error.value)
