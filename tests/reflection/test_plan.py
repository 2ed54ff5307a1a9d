"""The plan of a dry run, against counts made by hand."""

import math
from pathlib import Path

import pytest
from datasets import Dataset

from hub_cards.schema import ROW_COLUMNS, features
from reflection.config import ReflectConfig
from reflection.oracles import Completion, OracleRequest
from reflection.oracles.chat import Sampling
from reflection.plan import make_plan
from reflection.prompts import load_prompts
from reflection.reflect import Asking
from reflection.store import Answer, CompletionStore
from reflection.tokens import PromptLimit, load_tokenizer

ALL = ["reflect_instruction", "reflect_response", "reflect_both"]
ASKING = Asking(load_prompts())
NEW = {"instruction": "What else?", "input": "", "output": "This."}
INSTRUCTION = Completion("Bad. [New Instruction] What else? [End] [New Answer] This. [End]", "stop")
RESPONSE = Completion("Bad. [Better Answer] That. [End]", "stop")
UNUSABLE = Completion("No.", "stop")


@pytest.fixture
def config(tmp_path: Path) -> ReflectConfig:
    store = str(tmp_path / "deep/completions.sqlite")
    return ReflectConfig(dataset="d.jsonl", oracle_model="gpt-4.1", max_tokens=64, store=store)


def make_rows(count: int = 4) -> Dataset:
    columns = {
        "row_id": [f"row-{n}" for n in range(count)],
        "source_id": [None] * count,
        "instruction": [f"Question {n}?" + " Why so?" * n for n in range(count)],
        "input": [""] * count,
        "output": [f"Answer {n}." for n in range(count)],
        "variant": ["original"] * count,
    }
    return Dataset.from_dict(columns, features=features(ROW_COLUMNS))


def pair(row: dict) -> dict:
    return {name: row[name] for name in ("instruction", "input", "output")}


def keep(config: ReflectConfig, kind: str, asked: dict, completion: Completion, attempt: int = 0, **usage) -> None:
    """Put an answer about a pair into the store."""
    request = OracleRequest("", None, "", ASKING.prompts[kind].messages(**asked), attempt)
    body = Sampling("gpt-4.1", 64, 0).request(request)
    whole = Completion(completion.text, completion.finish_reason, model="m", **usage)
    CompletionStore(config.store).put([Answer(body, whole, None)])


def estimate(kind: str, asked: dict) -> int:
    turns = ASKING.prompts[kind].messages(**asked)
    return sum(math.ceil(len(turn["content"].encode()) / 4) + 8 for turn in turns)


def numbers(plan) -> dict[str, tuple[int, int]]:
    return {name: (part.stored, part.to_ask) for name, part in plan.variants.items()}


class TestCounts:
    def test_without_a_store_everything_is_to_be_asked_and_no_store_is_made(self, config, tmp_path):
        rows = make_rows()
        plan = make_plan(rows, config, ASKING)
        assert numbers(plan) == dict.fromkeys(ALL, (0, 4))
        assert list(tmp_path.iterdir()) == []
        for kind in ("instruction", "response"):
            expected = sum(estimate(kind, pair(row)) for row in rows)
            assert plan.variants[f"reflect_{kind}"].prompt_tokens == expected
        # What reflect_both will show is not known yet: 62 % of an instruction reflection of 760 tokens.
        empty = estimate("response", {"instruction": "", "input": "", "output": ""})
        assert plan.variants["reflect_both"].prompt_tokens == pytest.approx(4 * (empty + 0.62 * 760))

    def test_a_store_in_part_filled_answers_what_it_can(self, config):
        rows = make_rows()
        keep(config, "instruction", pair(rows[0]), INSTRUCTION)
        keep(config, "response", NEW, RESPONSE)  # reflect_both of row 0
        keep(config, "response", pair(rows[0]), RESPONSE)
        keep(config, "instruction", pair(rows[1]), UNUSABLE)  # its re-ask is still to come
        keep(config, "response", pair(rows[2]), UNUSABLE)
        keep(config, "response", pair(rows[2]), UNUSABLE, attempt=1)  # nothing is asked a third time
        plan = make_plan(rows, config, ASKING)
        assert numbers(plan) == {
            "reflect_instruction": (2, 3),  # rows 0 and 1; row 1 again, 2 and 3
            "reflect_response": (3, 2),
            "reflect_both": (1, 3),
        }
        expected = sum(estimate("instruction", pair(rows[n])) for n in (1, 2, 3))
        assert plan.variants["reflect_instruction"].prompt_tokens == expected

    def test_a_full_store_leaves_nothing_to_ask(self, config):
        rows = make_rows(2)
        for row in rows:
            keep(config, "instruction", pair(row), INSTRUCTION)
            keep(config, "response", pair(row), RESPONSE)
        keep(config, "response", NEW, RESPONSE)  # both rows have the same new pair, asked about once
        plan = make_plan(rows, config, ASKING)
        assert numbers(plan) == {"reflect_instruction": (2, 0), "reflect_response": (2, 0), "reflect_both": (1, 0)}
        assert {part.prompt_tokens for part in plan.variants.values()} == {0}

    def test_exact_duplicates_are_asked_once(self, config):
        rows = make_rows(2).select([0, 1, 0, 0])
        assert numbers(make_plan(rows, config, ASKING)) == dict.fromkeys(ALL, (0, 2))

    def test_a_failure_that_is_kept_is_not_asked_again(self, config):
        rows = make_rows(1)
        request = OracleRequest("", None, "", ASKING.prompts["instruction"].messages(**pair(rows[0])))
        body = Sampling("gpt-4.1", 64, 0).request(request)
        CompletionStore(config.store).put([Answer(body, Completion(None, failure="context_overflow"), None)])
        plan = make_plan(rows, config, ASKING)
        assert numbers(plan) == {"reflect_instruction": (1, 0), "reflect_response": (0, 1), "reflect_both": (0, 0)}

    def test_a_tokenizer_counts_exactly(self, config, quickstart):
        tokenizer = load_tokenizer(str(quickstart / "student"))
        rows = make_rows(2)
        asking = Asking(load_prompts(), limit=PromptLimit(tokenizer, 10**6))
        plan = make_plan(rows, config, asking)
        turns = [turn for row in rows for turn in ASKING.prompts["response"].messages(**pair(row))]
        expected = sum(len(tokenizer.encode(turn["content"], add_special_tokens=False)) + 8 for turn in turns)
        assert plan.variants["reflect_response"].prompt_tokens == expected
        assert "counted by the tokenizer" in plan.as_text()


class TestMoney:
    def test_of_the_estimate_is_that_of_its_tokens(self, config):
        rows = make_rows(4)
        text = make_plan(rows, config, ASKING).as_text()
        both = 4 * (estimate("response", {"instruction": "", "input": "", "output": ""}) + 0.62 * 760)
        tokens_in = round(both) + sum(estimate(kind, pair(row)) for row in rows for kind in ("instruction", "response"))
        tokens_out = 4 * (760 + 490 + 620)
        live = tokens_in * 2e-6 + tokens_out * 8e-6  # gpt-4.1
        assert f"Estimated price: ${live:.2f} live (--oracle openai), ${live / 2:.2f} by the Batch API" in text
        total = next(line for line in text.splitlines() if line.startswith("total"))
        assert total.split() == ["total", "12", "0", "12", f"{tokens_in:,}", f"{tokens_out:,}"]
        assert text.splitlines()[-1] == "Nothing was asked."

    def test_answers_are_as_long_as_the_stored_ones_where_there_are_twenty(self, config):
        rows = make_rows(24)
        for n in range(19):
            keep(config, "response", pair(rows[n]), RESPONSE, prompt_tokens=1, completion_tokens=100 + n)
        assert make_plan(rows, config, ASKING).variants["reflect_response"].usual_answer("reflect_response") == 490
        keep(config, "response", pair(rows[19]), RESPONSE, prompt_tokens=1, completion_tokens=119)
        part = make_plan(rows, config, ASKING).variants["reflect_response"]
        assert part.usual_answer("reflect_response") == pytest.approx(109.5)  # the mean of 100, …, 119

    def test_what_was_spent_counts_against_the_budget(self, config):
        config.budget_usd = 10.0
        rows = make_rows(2)
        keep(config, "response", pair(rows[0]), RESPONSE, prompt_tokens=1_000_000, completion_tokens=250_000)
        keep(config, "response", pair(rows[1]), RESPONSE, prompt_tokens=1_000_000, batched=True)
        plan = make_plan(rows, config, ASKING)
        assert plan.spent == pytest.approx(2 + 2 + 1)
        assert "The answers in the store have cost $5.00." in plan.as_text()
        assert "--budget_usd 10 leaves $5.00." in plan.as_text()

    def test_without_a_price_it_asks_for_one(self, config):
        config.oracle_model = "mine"
        assert "give --price_in and --price_out" in make_plan(make_rows(1), config, ASKING).as_text()
