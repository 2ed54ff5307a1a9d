"""Requests and responses as data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflection.oracles import Completion, OracleRequest
from reflection.oracles.chat import Sampling, on_the_wire, read_response, storable, without_secrets
from reflection.statuses import NO_TEXT, ORACLE_ERROR
from reflection.store import CompletionStore

MESSAGES = [{"role": "user", "content": "Why?"}]


def request(attempt: int = 0, response_format=None, **changes) -> OracleRequest:
    row = {"row_id": "r", "source_id": None, "variant": "reflect_response", **changes}
    return OracleRequest(messages=MESSAGES, attempt=attempt, response_format=response_format, **row)


class TestRequest:
    def test_is_the_papers_sampling(self):
        assert json.dumps(Sampling("m", 64).request(request())) == (
            '{"model": "m", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 64, '
            '"temperature": 0, "top_p": 1, "seed": 0}'
        )

    @pytest.mark.parametrize("temperature", [0, 0.0, 0.7])
    def test_a_second_ask_is_sampled_with_a_seed_of_its_own(self, temperature):
        body = Sampling("m", 64, temperature).request(request(attempt=1))
        assert (body["temperature"], body["seed"]) == (1, 1)

    def test_temperature_may_be_left_to_the_service(self):
        for attempt in (0, 1):
            assert Sampling("m", 64, None).request(request(attempt)) == {
                "model": "m",
                "messages": MESSAGES,
                "max_tokens": 64,
                "seed": attempt,
            }

    @pytest.mark.parametrize(("one", "other"), [(0, 0.0), (1, 1.0), (2.0, 2)])
    def test_equal_numbers_give_one_key(self, one, other):
        keys = {CompletionStore.key(Sampling("m", 64, t).request(request())) for t in (one, other)}
        assert len(keys) == 1

    def test_the_key_is_of_what_is_asked_and_not_of_who_asks(self):
        def key(one=None, **sampling):
            return CompletionStore.key(
                Sampling(**{"model": "m", "max_tokens": 64, **sampling}).request(one or request())
            )

        assert key(request(row_id="other", source_id="s", variant="reflect_both")) == key()
        others = [
            key(request(attempt=1)),
            key(request(response_format={"type": "json_object"})),
            key(temperature=0.5),
            key(temperature=None),
            key(model="n"),
            key(max_tokens=65),
            key(),
        ]
        assert len(set(others)) == len(others)

    def test_openai_itself_is_told_the_limit_by_its_new_name(self):
        body = Sampling("m", 64).request(request())
        before = dict(body)
        wire = on_the_wire(body, None)
        assert wire["max_completion_tokens"] == 64
        assert "max_tokens" not in wire
        assert {**wire, "max_tokens": 64} == {**body, "max_completion_tokens": 64}
        assert on_the_wire(body, "http://localhost:8000/v1") == body == before


def chat(content="Because.", finish_reason="stop", **changes) -> dict:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return {"model": "m-2026", "choices": [choice], "usage": usage, **changes}


class TestResponse:
    def test_whole(self):
        assert read_response(chat(), "m") == Completion(
            "Because.", "stop", model="m-2026", prompt_tokens=11, completion_tokens=7
        )

    @pytest.mark.parametrize(
        "body", [None, [], "x", 7, {"error": {"message": "away"}}, chat(choices={}), chat(choices=3)]
    )
    def test_what_is_no_chat_completion_is_an_error(self, body):
        found = read_response(body, "m")
        assert (found.text, found.failure, found.model) == (None, "oracle_error", "m")
        assert found.detail

    @pytest.mark.parametrize("choices", [[], [None], ["x"]])
    def test_no_choices(self, choices):
        found = read_response(chat(choices=choices), "m")
        assert (found.text, found.failure, found.prompt_tokens) == (None, "no_choices", 11)

    @pytest.mark.parametrize("content", [None, [{"type": "text", "text": "x"}], 7, True, {}])
    def test_null_content(self, content):
        assert read_response(chat(content), "m").failure == "null_content"

    @pytest.mark.parametrize("content", ["half an ans", "", None])
    def test_content_filter(self, content):
        found = read_response(chat(content, "content_filter"), "m")
        assert (found.text, found.failure, found.finish_reason) == (None, "content_filter", "content_filter")

    def test_an_empty_text_is_a_text(self):
        assert (read_response(chat(""), "m").text, read_response(chat(""), "m").failure) == ("", None)

    def test_a_refusal_in_its_own_field_is_the_text(self):
        body = chat(None)
        body["choices"][0]["message"]["refusal"] = "I cannot."
        assert read_response(body, "m").text == "I cannot."

    @pytest.mark.parametrize("count", ["7", 7.5, True, -1, 2**63, None, [7]])
    def test_odd_counts_are_not_known(self, count):
        found = read_response(chat(usage={"prompt_tokens": count, "completion_tokens": 7}), "m")
        assert (found.prompt_tokens, found.completion_tokens) == (None, 7)

    @pytest.mark.parametrize("changes", [{"usage": None}, {"usage": "none"}, {"model": None}, {"model": 3}])
    def test_usage_and_model_may_be_missing(self, changes):
        found = read_response(chat(**changes), "m")
        assert found.text == "Because."
        assert found.prompt_tokens == (None if "usage" in changes else 11)
        assert found.model == ("m" if "model" in changes else "m-2026")

    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "refusal",
                        "usage",
                        "prompt_tokens",
                        "finish_reason",
                        "error",
                        "model",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )

    @given(values | st.builds(lambda message: chat(choices=[{"message": message}]), values))
    def test_never_raises_and_has_a_text_or_a_failure(self, body):
        found = read_response(body, "m")
        assert (found.text is None) == (found.failure in {*NO_TEXT, ORACLE_ERROR})
        assert found.text is None or found.text.encode() is not None
        assert isinstance(found.model, str)


def test_halves_of_surrogate_pairs_are_replaced():
    assert storable("a\ud83db\U0001f600") == "a?b\U0001f600"


@pytest.mark.parametrize(
    ("text", "secret", "expected"),
    [
        ("no\n key  here", "k3y", "no key here"),
        ("Bearer k3y is bad", "k3y", "Bearer … is bad"),
        ("Incorrect API key: sk-proj-abcd1234", None, "Incorrect API key: …"),
        ("x" * 999, None, "x" * 300),
    ],
)
def test_without_secrets(text, secret, expected):
    assert without_secrets(text, secret) == expected


def test_a_null_error_beside_an_answer_is_none():
    body = {"error": None, "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    assert read_response(body, "m").text == "hi"


@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1"])
def test_openai_itself_wants_the_new_name_of_the_limit(base_url):
    assert on_the_wire({"model": "m", "max_tokens": 5}, base_url) == {"model": "m", "max_completion_tokens": 5}
