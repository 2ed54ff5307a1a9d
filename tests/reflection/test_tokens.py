"""Counting and cutting, with the quickstart student's tokenizer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_cards.errors import BadInputError
from reflection.prompts import load_prompts
from reflection.tokens import PromptLimit, estimate_tokens, load_tokenizer

PROMPT = load_prompts()["response"]
PAIR = {
    "instruction": "Sort the numbers below. " * 20,
    "input": "12 7 99 3 " * 20,
    "output": "First comes three, and then seven. " * 20,
}


@pytest.fixture(scope="module")
def tokenizer(quickstart):
    return load_tokenizer(str(quickstart / "student"))


@pytest.fixture(scope="module")
def count(tokenizer):
    """Tokens of messages, counted without the code under test: eight more for what a template puts around each."""

    def naive(messages) -> int:
        return sum(len(tokenizer.encode(turn["content"], add_special_tokens=False)) + 8 for turn in messages)

    return naive


def messages_of(pair) -> list[dict]:
    return PROMPT.messages(**pair)


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [([], 0), ([""], 8), (["abcd"], 9), (["abcde"], 10), (["é" * 4], 10), (["a" * 400, "b"], 108 + 9)],
)
def test_estimate_is_a_quarter_of_the_bytes_and_eight_a_message(texts, tokens):
    assert estimate_tokens([{"role": "user", "content": text} for text in texts]) == tokens


class TestFit:
    def test_a_prompt_that_fits_exactly_is_whole(self, tokenizer, count):
        whole = messages_of(PAIR)
        assert PromptLimit(tokenizer, count(whole)).fit(PROMPT, PAIR, False) == (whole, False)

    def test_one_token_less_cuts_the_end_of_the_answer_only(self, tokenizer, count):
        limit = count(messages_of(PAIR)) - 1
        fitted, cut = PromptLimit(tokenizer, limit).fit(PROMPT, PAIR, False)
        assert cut
        assert limit - 5 <= count(fitted) <= limit
        user = fitted[1]["content"]
        assert user.startswith(f"[Instruction]\n{PAIR['instruction']}\n{PAIR['input']}\n\n[The Start of Answer]\nFirst")
        kept = user.split("[The Start of Answer]\n")[1].split("\n\n[The End of Answer]")[0]
        assert PAIR["output"].startswith(kept)
        assert len(PAIR["output"]) - 20 < len(kept) < len(PAIR["output"])

    def test_then_the_input_is_cut_and_then_the_instruction(self, tokenizer, count):
        without_answer = count(messages_of({**PAIR, "output": ""}))
        fitted, _ = PromptLimit(tokenizer, without_answer - 5).fit(PROMPT, PAIR, False)
        question, rest = fitted[1]["content"].split("\n\n[The Start of Answer]\n")
        assert question.startswith(f"[Instruction]\n{PAIR['instruction']}\n12 7")
        assert len(question) < len(f"[Instruction]\n{PAIR['instruction']}\n{PAIR['input']}")
        assert rest.startswith("\n\n[The End of Answer]")

        without_input = count(messages_of({**PAIR, "output": "", "input": ""}))
        fitted, _ = PromptLimit(tokenizer, without_input - 5).fit(PROMPT, PAIR, False)
        kept = fitted[1]["content"].split("\n\n[The Start of Answer]\n")[0].removeprefix("[Instruction]\n")
        assert PAIR["instruction"].startswith(kept)
        assert 0 < len(kept) < len(PAIR["instruction"])

    def test_the_criteria_are_never_cut(self, tokenizer, count):
        empty = count(messages_of({"instruction": "", "input": "", "output": ""}))
        fitted, cut = PromptLimit(tokenizer, empty).fit(PROMPT, PAIR, False)
        assert cut
        assert fitted == messages_of({"instruction": "", "input": "", "output": ""})
        with pytest.raises(BadInputError) as error:
            PromptLimit(tokenizer, empty - 1).fit(PROMPT, PAIR, False)
        assert str(error.value) == (
            f"--oracle_context: leaves {empty - 1} tokens for a prompt, the criteria alone take {empty}; lower "
            "--max_tokens or take an oracle with a longer context"
        )

    @settings(max_examples=60, deadline=None)
    @given(
        st.fixed_dictionaries({name: st.text(max_size=300) for name in ("instruction", "input", "output")}),
        st.integers(0, 500),
    )
    def test_never_more_than_the_limit_and_cut_only_where_it_must_be(self, tokenizer, count, pair, room):
        limit = count(messages_of({"instruction": "", "input": "", "output": ""})) + room
        fitted, cut = PromptLimit(tokenizer, limit).fit(PROMPT, pair, False)
        assert count(fitted) <= limit
        assert cut == (count(messages_of(pair)) > limit)
        if not cut:
            assert fitted == messages_of(pair)


def test_no_tokenizer_is_refused_in_one_line(tmp_path):
    with pytest.raises(BadInputError, match=r"--oracle_tokenizer .*: cannot be loaded") as error:
        load_tokenizer(str(tmp_path))
    assert "\n" not in str(error.value)
