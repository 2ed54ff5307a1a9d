import json

import pytest

from reflection.oracles import batch_lines
from reflection.oracles.base import Completion
from reflection.oracles.batch_ledger import BatchLedger
from reflection.oracles.batch_lines import keep_answers, read_line, request_line
from reflection.oracles.faults import Remedy
from reflection.statuses import CONTENT_FILTER, CONTEXT_OVERFLOW, NO_CHOICES
from reflection.store import IN_MEMORY, CompletionStore

KEY = "sk-test-51f0-do-not-write-me-anywhere"


class TestRequestLine:
    def test_is_one_line_of_ascii_whatever_is_asked(self):
        request = {"messages": [{"role": "user", "content": "a\nb\u2028c 日"}], "max_tokens": 5}
        line = request_line("k", request, "http://localhost")
        assert line.isascii() and line.splitlines(keepends=True) == [line]
        assert json.loads(line) == {"custom_id": "k", "method": "POST", "url": "/v1/chat/completions", "body": request}

    def test_bears_openais_own_name_of_the_length_limit_for_openai(self):
        body = json.loads(request_line("k", {"max_tokens": 5}, None))["body"]
        assert body == {"max_completion_tokens": 5}


class TestReadLine:
    @pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xff", b"null", b"[]", b"7", b"{}", b'{"custom_id": 7}'])
    def test_what_is_no_line_is_none(self, raw):
        assert read_line(raw, "m", KEY) is None

    @pytest.mark.parametrize(
        ("response", "error", "expected"),
        [
            ({"status_code": 200, "body": {"choices": []}}, None, NO_CHOICES),
            ({"status_code": 400, "body": {"error": {"message": "m", "code": "content_filter"}}}, None, CONTENT_FILTER),
            ({"status_code": 413, "body": "too large"}, None, CONTEXT_OVERFLOW),
            ({"status_code": 400, "body": {"error": {"message": "m", "code": ["?"]}}}, None, Remedy.REFUSED),
            ({"status_code": 404, "body": None}, None, Remedy.REFUSED),
            ({"status_code": 429, "body": {}}, None, Remedy.THROTTLE),
            ({"status_code": "200", "body": {"choices": []}}, None, Remedy.RETRY),
            (None, {"code": "batch_expired", "message": f"late {KEY}"}, Remedy.RETRY),
            (None, {"code": "insufficient_quota"}, Remedy.NO_CREDIT),
            (7, 7, Remedy.RETRY),
        ],
    )
    def test_says_what_became_of_the_request(self, response, error, expected):
        raw = json.dumps({"custom_id": "k", "response": response, "error": error}).encode()
        key, outcome = read_line(raw, "m", KEY)
        assert key == "k"
        assert (outcome.failure if isinstance(outcome, Completion) else outcome.remedy) == expected
        assert KEY not in (outcome.detail or "")

    def test_an_answer_is_marked_as_bought_in_a_batch(self):
        body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
        raw = json.dumps({"custom_id": "k", "response": {"status_code": 200, "body": body}}).encode()
        assert read_line(raw, "m", KEY) == (
            "k",
            Completion("hi", finish_reason="stop", model="m", prompt_tokens=3, batched=True),
        )


class TestKeepAnswers:
    @pytest.mark.parametrize("commit", [1, 2, 3, 100])
    def test_stores_what_is_answered_and_tells_the_rest(self, commit, monkeypatch):
        monkeypatch.setattr(batch_lines, "COMMIT", commit)
        store = CompletionStore(IN_MEMORY)
        ledger = BatchLedger(store, "")
        requests = {store.key(request): request for request in ({"ask": number} for number in range(6))}
        ledger.record("b", requests)

        def line(key: str, status: int) -> bytes:
            body = {"choices": [{"message": {"content": f"to {key}"}}]}
            return json.dumps({"custom_id": key, "response": {"status_code": status, "body": body}}).encode() + b"\n"

        keys = list(requests)
        lines = [line(key, 200) for key in keys[:4]] + [line(keys[4], 500), line("who", 200), b"\n", b"{\n", b"\xff"]
        found = keep_answers(ledger, "b", [*lines, lines[0]], "m", KEY)
        assert [store.get(key).text for key in keys[:4]] == [f"to {key}" for key in keys[:4]]
        assert ledger.unanswered("b") == sorted(keys[4:])
        assert list(found.faults) == [keys[4]]
        assert (found.malformed, found.unknown) == (2, 1)
