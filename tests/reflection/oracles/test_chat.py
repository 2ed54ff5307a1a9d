"""Requests and responses as data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflection.oracles import Completion, OracleRequest
from reflection.oracles.chat import (
    Sampling,
    before_stop,
    estimated_tokens,
    on_the_wire,
    read_response,
    storable,
    without_secrets,
)
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

    @pytest.mark.parametrize(
        ("sampling", "changes", "key"),
        [
            (("m", 64, 0), {}, "1a79145ddc492057b852a6e3adb24fe8"),
            (("m", 64, 0.7), {"attempt": 1}, "35f6573858025ca6eabddf9d78cddbaa"),
            (("m", 64, None), {"response_format": {"type": "json_object"}}, "203f8ab4171043678d747e701515838c"),
        ],
    )
    def test_the_keys_of_chats_are_what_they_have_always_been(self, sampling, changes, key):
        assert CompletionStore.key(Sampling(*sampling).request(request(**changes))) == key


def text_request(**changes) -> OracleRequest:
    return OracleRequest("r", None, "koala", None, prompt="Q: Why?\nA:", **changes)


class TestText:
    def test_a_text_stands_in_place_of_the_messages(self):
        body = Sampling("m", 64).request(text_request(stop=("\nQ:", " Q:")))
        assert json.dumps(body) == (
            '{"model": "m", "prompt": "Q: Why?\\nA:", "max_tokens": 64, "temperature": 0, "top_p": 1, '
            '"stop": ["\\nQ:", " Q:"], "seed": 0}'
        )

    def test_what_decides_the_answer_decides_the_key(self):
        keys = [
            CompletionStore.key(Sampling("m", 64, shorten=shorten).request(one))
            for shorten in (False, True)
            for one in (text_request(), text_request(stop=("\nQ:",)), request())
        ]
        assert len(set(keys)) == len(keys)

    @pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1", "http://localhost:8000/v1"])
    def test_its_limit_has_kept_its_name(self, base_url):
        body = Sampling("m", 64).request(text_request())
        assert on_the_wire(body, base_url) == body

    def test_the_answer_stands_in_its_choice(self):
        body = {"model": "m-2026", "choices": [{"index": 0, "text": " Because.", "finish_reason": "length"}]}
        assert read_response(body, "m") == Completion(" Because.", "length", model="m-2026")

    @pytest.mark.parametrize("text", [None, 7, ["x"]])
    def test_no_text(self, text):
        assert read_response({"choices": [{"text": text}]}, "m").failure == "null_content"

    def test_tokens_are_estimated_from_the_bytes(self):
        assert estimated_tokens({"prompt": "x" * 40}) == estimated_tokens({"messages": [{"content": "x" * 40}]}) == 18


class TestStop:
    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            (" Three.\nUSER: And", " Three."),
            (" Three. USER: And\nUSER: more", " Three."),
            ("USER: And", ""),  # a tokenizer has swallowed the blank
            (" Three. The USER said", None),
            (" SUPERUSER: root", None),
            ("", None),
        ],
    )
    def test_the_first_one_ends_the_answer(self, text, kept):
        assert before_stop(text, ("\nUSER:", " USER:")) == kept

    def test_one_of_blanks_alone_needs_its_blanks(self):
        assert before_stop("One.\n\nTwo.", ("\n\n",)) == "One."
        assert before_stop("One.", ("\n\n",)) is None

    def test_without_any_nothing_is_cut(self):
        assert before_stop("USER: And", ()) is None


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
