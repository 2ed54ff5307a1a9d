import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hub_cards.schema import SCORE_COLUMNS
from scoring.ifd import LOSS_KEYS, Scorer, loss_columns, score_batch
from scoring.templates import get_template

HOSTILE = [
    ("Say yes.", "", '"Yes"'),  # begins with punctuation: may merge with the prompt's last token
    ("Repeat: the cat", "the cat", "the cat"),  # the input repeats the instruction
    ("", "only an input", "fine"),
    ("Count {to} 3 {0}", "", "{1} {two}"),
    ("Emoji 😀\u2028line", "\ttab", "é\u0301 ﷺ \x00 end"),
    ("x", "", "y"),
    ("  ", "", "  "),
]


def scorer(model_and_tokenizer, template="vicuna", max_length=2048, max_batch_tokens=2048) -> Scorer:
    model, tokenizer = model_and_tokenizer
    return Scorer(model, tokenizer, get_template(template), max_length, max_batch_tokens)


def batch_of(rows):
    return {name: [row[i] for row in rows] for i, name in enumerate(("instruction", "input", "output"))}


def check_against_naive(batch, found, model_and_tokenizer, naive, template="vicuna", max_length=2048):
    rows = zip(batch["instruction"], batch["input"], batch["output"], strict=True)
    for number, row in enumerate(rows):
        wanted = naive(*model_and_tokenizer, get_template(template), row, max_length)
        for key in LOSS_KEYS:
            loss = found[f"loss_{key}"][number]
            assert (loss is None) == (wanted[key] is None), (row, key)
            assert loss is None or loss == pytest.approx(wanted[key], rel=1e-5), (row, key)


@pytest.mark.parametrize("max_batch_tokens", [1, 4096])
def test_every_loss_of_every_real_row_equals_the_naive_one(student, real_rows, naive, max_batch_tokens):
    found = score_batch(real_rows, scorer(student, max_batch_tokens=max_batch_tokens))
    check_against_naive(real_rows, found, student, naive)
    assert set(found["score_status"]) == {"ok"}


@pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none"])
def test_hostile_rows_equal_the_naive_ones_with_every_kind_of_model(random_model, naive, template):
    batch = batch_of(HOSTILE)
    found = score_batch(batch, scorer(random_model, template, max_length=512))
    check_against_naive(batch, found, random_model, naive, template, max_length=512)


@pytest.mark.parametrize("max_length", [40, 64, 90])
def test_truncation_equals_the_naive_one(random_model, real_rows, naive, max_length):
    batch = {name: values[:24] for name, values in real_rows.items()}
    found = score_batch(batch, scorer(random_model, "alpaca", max_length))
    check_against_naive(batch, found, random_model, naive, "alpaca", max_length)
    assert set(found["score_status"]) - {"ok"}


def test_both_sides_of_a_cut_answer_see_as_many_tokens(student):
    """methods: the direct text is cut so that numerator and denominator cover the same number of target tokens."""
    from scoring.ifd import encode_row_spans

    cut = scorer(student, max_length=80)
    spans = encode_row_spans(["Tell me a story."], [""], ["Once upon a time there was a king. " * 20], cut)
    assert spans["A_direct"][0].n_scored == spans["A_condition"][0].n_scored > 0
    assert len(spans["A_condition"][0].ids) == 80


@pytest.mark.parametrize(
    ("row", "max_length", "status", "nulls"),
    [
        (("Why?", "", "Because."), 2048, "ok", set()),
        (("Why?", "", ""), 2048, "empty_output", {"A_direct", "A_condition"}),
        (("", "", "Because."), 2048, "empty_instruction", {"Q_direct", "Q_condition"}),
        (("Why? " * 200, "", "Because."), 100, "target_lost", {"A_direct", "A_condition"}),
        (("Why?", "", "Because it is so. " * 50), 90, "target_lost", {"Q_direct", "Q_condition"}),
        (("Why? " * 20, "", "Because."), 90, "target_truncated", set()),
    ],
)
def test_what_cannot_be_scored_is_null_with_a_reason(student, row, max_length, status, nulls):
    found = score_batch(batch_of([row]), scorer(student, "none", max_length))
    assert found["score_status"] == [status]
    assert {key for key in LOSS_KEYS if found[f"loss_{key}"][0] is None} == nulls
    assert (found["ifd_ppl"][0] is None) == ("A_direct" in nulls)
    assert (found["rifd_ppl"][0] is None) == ("Q_direct" in nulls)


def test_without_bos_a_one_token_answer_has_no_direct_loss(random_model):
    _, tokenizer = random_model
    answer = "y"
    assert len(tokenizer.tokenize(answer)) == 1
    found = score_batch(batch_of([("Letter after x?", "", answer)]), scorer(random_model, max_length=512))
    has_bos = tokenizer("")["input_ids"] != []
    assert found["score_status"] == ["ok" if has_bos else "target_lost"]
    assert (found["loss_A_direct"][0] is not None) == has_bos
    assert found["loss_A_condition"][0] is not None
    assert found["n_tokens_A"] == [1]


def test_a_model_that_gives_nan_is_an_error_and_not_a_number(student):
    _, tokenizer = student
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[7] = math.nan
    found = score_batch(batch_of([("Why?", "", "Because.")]), scorer((model, tokenizer)))
    assert found["score_status"] == ["error"]
    numbers = [name for name in found if name.startswith(("loss", "ppl", "ifd", "rifd"))]
    assert all(found[name] == [None] for name in numbers)


def test_lengths_count_the_texts_own_tokens(student):
    _, tokenizer = student
    found = score_batch(batch_of([("Add up:", "1 2 3", "It is six.")]), scorer(student, max_length=60))
    assert found["n_tokens_Q"] == [len(tokenizer.tokenize("Add up:1 2 3"))]
    assert found["n_tokens_A"] == [len(tokenizer.tokenize("It is six."))]


def test_ratios_by_hand():
    columns = loss_columns({"Q_direct": 2.0, "A_direct": 4.0, "Q_condition": 1.0, "A_condition": 3.0})
    assert columns["ppl_A_direct"] == pytest.approx(54.598150033)
    assert columns["ifd_ppl"] == pytest.approx(0.367879441)  # e^(3-4)
    assert columns["rifd_ppl"] == pytest.approx(0.367879441)
    assert columns["ifd_loss"] == 0.75
    assert columns["rifd_loss"] == 0.5


def test_the_columns_are_those_of_the_contract(student):
    found = score_batch(batch_of([("Why?", "", "Because.")]), scorer(student))
    assert list(found) == [column.name for column in SCORE_COLUMNS]


def test_padding_side_of_the_tokenizer_does_not_matter(student):
    model, tokenizer = student
    batch = batch_of(HOSTILE)
    right = score_batch(batch, scorer(student))
    side = tokenizer.padding_side
    try:
        tokenizer.padding_side = "left" if side == "right" else "right"
        assert score_batch(batch, scorer((model, tokenizer))) == right
    finally:
        tokenizer.padding_side = side


def test_the_student_is_trained_and_hears_the_instruction(student, real_rows):
    """The shipped student: far better than chance on rows it never saw, and real pairs have lower IFD than shuffled."""
    model, tokenizer = student
    real = score_batch(real_rows, scorer(student))
    torch.manual_seed(0)
    untrained = (LlamaForCausalLM(model.config).eval(), tokenizer)
    chance = score_batch(real_rows, scorer(untrained))
    answers = real_rows["output"]
    shuffled = score_batch({**real_rows, "output": answers[1:] + answers[:1]}, scorer(student))

    def mean(values):
        return sum(values) / len(values)

    for key in LOSS_KEYS:
        assert mean(real[f"loss_{key}"]) < 0.7 * mean(chance[f"loss_{key}"]), key
    for score in ("ifd_ppl", "rifd_ppl"):
        assert mean(real[score]) < mean(shuffled[score]) - 0.01, score
