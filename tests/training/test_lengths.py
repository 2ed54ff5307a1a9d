"""The counts against a naive count, and against what TRL's own trainer really leaves of the rows."""

import json
import shutil

import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import SFTConfig, SFTTrainer

from training.formatting import prompt_completion
from training.lengths import count_lengths
from training.trainer import Trainer

TOKENS = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64"))})
CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenized(pairs):
    """Rows of so many prompt and completion tokens."""
    rows = [{"input_ids": [7] * (p + c), "labels": [-100] * p + [7] * c} for p, c in pairs]
    return (
        Dataset.from_list(rows, features=TOKENS)
        if rows
        else Dataset.from_dict({n: [] for n in TOKENS}, features=TOKENS)
    )


def test_by_hand():
    rows = tokenized([(3, 2), (3, 3), (6, 1), (5, 4), (4, 0)])
    lengths = count_lengths(rows, max_length=6, packing=None)
    assert lengths.counts() == {
        "rows": 5,
        "rows_whole": 2,  # 5 and 6 tokens
        "rows_cut": 1,  # 9 tokens, of whose completion one is left
        "rows_split": 0,
        "rows_without_room_for_a_completion": 2,  # 6 tokens of prompt; and one without a completion
        "tokens_per_epoch": 5 + 6 + 6,
        "completion_tokens_per_epoch": 2 + 3 + 1,
    }
    assert lengths.longest == 6
    assert str(lengths) == (
        "5 rows: 2 whole, 1 cut at 6 tokens, 2 dropped: no room for their completion; "
        "17 tokens an epoch, 6 of them in completions"
    )


def test_packing_keeps_the_prompts_of_rows_that_lose_their_completion_or_splits_rows():
    rows = tokenized([(3, 2), (6, 1), (5, 4)])
    packed = count_lengths(rows, max_length=6, packing="bfd")
    assert (packed.whole, packed.cut, packed.without_completion) == (1, 1, 1)
    assert (packed.tokens, packed.completion_tokens) == (5 + 6 + 6, 2 + 1)
    assert "1 kept without any loss: no room for their completion" in str(packed)
    split = count_lengths(rows, max_length=6, packing="bfd_split")
    assert (split.whole, split.split, split.without_completion, split.tokens) == (1, 2, 0, 5 + 7 + 9)
    assert "2 split over sequences of 6 tokens" in str(split)
    wrapped = count_lengths(rows, max_length=6, packing="wrapped")
    assert (wrapped.split, wrapped.tokens, wrapped.completion_tokens) == (None, 21, 7)
    assert str(wrapped).startswith("3 rows: cut wherever 6 tokens are full; ")
    assert wrapped.counts()["rows_whole"] is None


def test_without_a_limit_and_without_rows():
    lengths = count_lengths(tokenized([(3, 2), (600, 1)]), max_length=None, packing=None)
    assert (lengths.whole, lengths.tokens, lengths.longest) == (2, 606, 601)
    nothing = count_lengths(tokenized([]), max_length=8, packing=None)
    assert (nothing.rows, nothing.whole, nothing.tokens, nothing.longest) == (0, 0, 0, 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), st.integers(2, 12))
def test_a_naive_count(pairs, limit):
    whole = cut = lost = tokens = completion = 0
    for prompt, answer in pairs:
        labels = ([0] * prompt + [1] * answer)[:limit]
        if sum(labels) == 0:
            lost += 1
            continue
        whole, cut = (whole + 1, cut) if prompt + answer <= limit else (whole, cut + 1)
        tokens, completion = tokens + len(labels), completion + sum(labels)
    found = count_lengths(tokenized(pairs), limit, None)
    assert (found.whole, found.cut, found.without_completion) == (whole, cut, lost)
    assert (found.tokens, found.completion_tokens) == (tokens, completion)


@pytest.fixture(scope="module")
def student(quickstart, tmp_path_factory):
    """The student, with a chat template."""
    folder = tmp_path_factory.mktemp("student") / "chat"
    shutil.copytree(quickstart / "student", folder)
    (folder / "chat_template.jinja").write_text(CHAT)
    return folder


@pytest.fixture(scope="module")
def rows(quickstart):
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines()[:30]
    records = [json.loads(line) for line in lines]
    records[3] |= {"instruction": "Tell me more " * 60}
    records[5] |= {"instruction": "Say a.", "input": "", "output": "a"}
    return {name: [record[name] for record in records] for name in ("instruction", "input", "output")}


@pytest.mark.parametrize("template", ["vicuna", "chat_template"])
@pytest.mark.parametrize(
    "limits",
    [
        {"max_length": 64},
        {"max_length": None},
        {"max_length": 64, "packing": True},
        {"max_length": 64, "packing": True, "packing_strategy": "bfd_split"},
        {"max_length": 64, "packing": True, "packing_strategy": "wrapped"},
    ],
    ids=["cut", "whole", "bfd", "bfd_split", "wrapped"],
)
def test_trl_leaves_what_was_counted(student, rows, tmp_path, template, limits):
    given_rows = Dataset.from_dict(prompt_completion(rows, template))
    args = SFTConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **limits)
    trainer = Trainer(model=str(student), args=args, train_dataset=given_rows)
    trls = SFTTrainer(model=str(student), args=args, train_dataset=given_rows).train_dataset
    assert trainer.train_dataset.to_dict() == trls.to_dict()
    lengths = trainer.lengths
    assert lengths.rows == 30
    assert lengths.tokens == sum(map(len, trls["input_ids"]))
    assert lengths.completion_tokens == sum(label != -100 for labels in trls["labels"] for label in labels)
    if not limits.get("packing"):
        assert lengths.rows - len(trls) == lengths.without_completion
        assert lengths.cut == sum(len(ids) == limits["max_length"] for ids in trls["input_ids"])
        assert lengths.longest == max(map(len, trls["input_ids"]))
    elif limits.get("packing_strategy") != "wrapped":
        parts = sum(map(len, trls["seq_lengths"]))
        assert (parts == 30) if lengths.split == 0 else (parts > 30)
    if limits == {"max_length": 64}:  # so that every kind is there
        assert lengths.without_completion and lengths.cut
