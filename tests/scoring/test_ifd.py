import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hub_cards.schema import SCORE_COLUMNS, TOKEN_LOSS_COLUMNS
from scoring.ifd import encode_rows, score_batch
from scoring.ratios import LOSS_KEYS, columns_of_token_losses
from scoring.spans import ALIGNED
from scoring.templates import get_template

HOSTILE = [
    ("Say yes.", "", '"Yes"'),  # begins with punctuation: may merge with the prompt's last token
    ("Repeat: the cat", "the cat", "the cat"),  # the input repeats the instruction
    ("", "only an input", "fine"),
    ("Count {to} 3 {0}", "", "{1} {two}"),
    ("Emoji 😀\u2028line", "\ttab", "é\u0301 ﷺ \x00 end"),
    ("x", "", "y"),
    ("  ", "", "  "),
    ("Write nothing.", "", ""),
    ("", "", "An answer to nothing."),
]


def batch_of(rows):
    return {name: [row[i] for row in rows] for i, name in enumerate(("instruction", "input", "output"))}


def check_against_naive(batch, found, student, naive, template="vicuna", max_length=2048):
    model, tokenizer = student
    rows = zip(batch["instruction"], batch["input"], batch["output"], strict=True)
    for number, row in enumerate(rows):
        wanted = naive(model, tokenizer, get_template(template, tokenizer), row, max_length)
        for key in LOSS_KEYS:
            loss = found[f"loss_{key}"][number]
            assert (loss is None) == (wanted[key] is None), (row, key)
            assert loss is None or loss == pytest.approx(wanted[key], rel=1e-5), (row, key)


class TestAgainstTheNaiveReference:
    @pytest.mark.parametrize(("max_batch_tokens", "pack"), [(1, True), (4096, True), (2048, False)])
    def test_every_loss_of_every_real_row(self, student, real_rows, naive, make_scorer, max_batch_tokens, pack):
        rows = {name: values[:16] for name, values in real_rows.items()}
        scorer = make_scorer(student, max_length=2048, max_batch_tokens=max_batch_tokens, pack=pack)
        found = score_batch(rows, scorer)
        check_against_naive(rows, found, student, naive)
        assert set(found["score_status"]) == {"ok"}

    @pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none"])
    def test_hostile_rows_with_every_kind_of_model(self, random_student, naive, make_scorer, template):
        batch = batch_of(HOSTILE)
        found = score_batch(batch, make_scorer(random_student, template))
        check_against_naive(batch, found, random_student, naive, template, 512)

    @pytest.mark.parametrize("max_length", [60, 90, 130])
    def test_truncation(self, random_student, real_rows, naive, make_scorer, max_length):
        batch = {name: values[:10] for name, values in real_rows.items()}
        found = score_batch(batch, make_scorer(random_student, "none", max_length))
        check_against_naive(batch, found, random_student, naive, "none", max_length)
        assert set(found["score_status"]) - {"ok"}

    def test_a_chat_template(self, model_of, tokenizer_of, real_rows, naive, make_scorer):
        """It writes a BOS that the tokenizer adds too; the text must hold one."""
        tokenizer = tokenizer_of("byte-level, BOS")
        chat = (
            "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}[assistant] {% endif %}"
        )
        model, batch = model_of("llama"), {name: values[:4] for name, values in real_rows.items()}
        before = tokenizer.chat_template
        try:
            tokenizer.chat_template = chat
            scorer = make_scorer((model, tokenizer), "chat_template", 2048)
            found = score_batch(batch, scorer)
            check_against_naive(batch, found, (model, tokenizer), naive, "chat_template")
            encoded = encode_rows(batch, scorer)
        finally:
            tokenizer.chat_template = before
        assert set(found["score_status"]) == {"ok"}
        for span in encoded.all_spans():
            assert span.ids.count(0) == 1 and span.ids[0] == 0
        assert tokenizer.decode(encoded.spans("A_condition")[0].ids[1:8]).startswith("[user]")


class TestCut:
    def test_both_sides_of_a_cut_answer_see_as_many_tokens(self, student, make_scorer):
        """methods: the direct text is cut so that numerator and denominator cover the same number of target tokens."""
        rows = batch_of([("Tell me a story.", "", "Once upon a time there was a king. " * 20)])
        encoded = encode_rows(rows, make_scorer(student, max_length=80))
        direct, condition = (encoded.spans(key)[0] for key in ("A_direct", "A_condition"))
        assert direct.n_scored == condition.n_scored > 0
        assert len(condition.ids) == 80

    @pytest.mark.parametrize(
        ("row", "max_length", "status", "nulls"),
        [
            (("Why?", "", "Because."), 2048, "ok", set()),
            (("Why?", "", ""), 2048, "empty_output", {"A_direct", "A_condition"}),
            (("", "", "Because."), 2048, "empty_instruction", {"Q_direct", "Q_condition"}),
            (("", "", ""), 2048, "empty_output", set(LOSS_KEYS)),
            (("Why? " * 200, "", "Because."), 100, "target_lost", {"A_direct", "A_condition"}),
            (("Why?", "", "Because it is so. " * 50), 90, "target_lost", {"Q_direct", "Q_condition"}),
            (("Why? " * 20, "", "Because."), 90, "target_truncated", set()),
        ],
    )
    @pytest.mark.parametrize("span", ["published", "aligned"])
    def test_what_cannot_be_scored_is_null_with_a_reason(
        self, student, make_scorer, row, max_length, status, nulls, span
    ):
        scorer = make_scorer(student, "none", max_length, span=span, keep_token_losses=True)
        found = score_batch(batch_of([row]), scorer)
        assert found["score_status"] == [status]
        assert {key for key in LOSS_KEYS if found[f"loss_{key}"][0] is None} == nulls
        assert {key for key in LOSS_KEYS if found[f"token_losses_{key}"][0] is None} == nulls
        for ratio in ("ppl", "loss"):
            assert (found[f"ifd_{ratio}"][0] is None) == ("A_direct" in nulls)
            assert (found[f"rifd_{ratio}"][0] is None) == ("Q_direct" in nulls)

    def test_without_bos_a_one_token_answer_has_no_direct_loss(self, random_student, make_scorer):
        _, tokenizer = random_student
        answer = "y"
        ids = tokenizer(answer)["input_ids"]
        own = tokenizer(answer, add_special_tokens=False)["input_ids"]
        found = score_batch(batch_of([("Letter after x?", "", answer)]), make_scorer(random_student, "none"))
        has_prediction = len(ids) > 1
        assert found["score_status"] == ["ok" if has_prediction else "target_lost"]
        assert (found["loss_A_direct"][0] is not None) == has_prediction
        assert found["loss_A_condition"][0] is not None
        assert found["n_tokens_A"] == [len(own)]

    def test_lengths_count_the_texts_own_tokens(self, random_student, make_scorer):
        _, tokenizer = random_student
        found = score_batch(batch_of([("Add up:", "1 2 3", "It is six.")]), make_scorer(random_student, max_length=60))
        for side, text in (("Q", "Add up:1 2 3"), ("A", "It is six.")):
            assert found[f"n_tokens_{side}"] == [len(tokenizer(text, add_special_tokens=False)["input_ids"])]


def test_a_model_that_gives_nan_is_an_error_and_not_a_number(student, make_scorer):
    _, tokenizer = student
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    scorer = make_scorer((model, tokenizer), keep_token_losses=True)
    found = score_batch(batch_of([("Why?", "", "Because.")]), scorer)
    assert found["score_status"] == ["error"]
    numbers = [name for name in found if name.startswith(("loss", "ppl", "ifd", "rifd", "token_losses"))]
    assert len(numbers) == 16
    assert all(found[name] == [None] for name in numbers)


def test_rows_of_which_nothing_can_be_scored(student, make_scorer):
    """A whole batch without a target: nulls and reasons, no error."""
    found = score_batch(batch_of([("", "", ""), ("", "", "")]), make_scorer(student))
    assert found["score_status"] == ["empty_output"] * 2
    assert found["ifd_ppl"] == [None, None]
    assert score_batch(batch_of([("Why? " * 99, "", "No.")]), make_scorer(student, "none", 8))["score_status"] == [
        "target_lost"
    ]


def test_padding_side_and_limit_of_the_tokenizer_do_not_matter(student, make_scorer):
    _, tokenizer = student
    batch = batch_of(HOSTILE)
    wanted = score_batch(batch, make_scorer(student))
    before = {name: getattr(tokenizer, name) for name in ("padding_side", "truncation_side", "model_max_length")}
    try:
        for side in ("left", "right"):
            tokenizer.padding_side = tokenizer.truncation_side = side
            tokenizer.model_max_length = 5
            tokenizer.backend_tokenizer.enable_truncation(5)
            assert score_batch(batch, make_scorer(student)) == wanted
    finally:
        for name, value in before.items():
            setattr(tokenizer, name, value)
        tokenizer.backend_tokenizer.no_truncation()


@pytest.mark.parametrize("rows", [{}, {"input": [None, None]}])
def test_a_missing_input_is_an_empty_one(student, make_scorer, rows):
    batch = batch_of([("Why?", "", "Because."), ("Who?", "", "He.")])
    scorer = make_scorer(student)
    wanted = score_batch(batch, scorer)
    assert score_batch({"instruction": batch["instruction"], "output": batch["output"], **rows}, scorer) == wanted


class TestColumns:
    @pytest.mark.parametrize("keep", [False, True])
    def test_are_those_of_the_contract(self, student, make_scorer, keep):
        scorer = make_scorer(student, keep_token_losses=keep)
        wanted = [*SCORE_COLUMNS, *(TOKEN_LOSS_COLUMNS if keep else ())]
        assert list(scorer.columns) == wanted
        assert list(score_batch(batch_of(HOSTILE[:1]), scorer)) == [column.name for column in wanted]

    @pytest.mark.parametrize("span", ["published", "aligned"])
    def test_token_losses_give_the_same_numbers_again(self, random_student, make_scorer, span):
        scorer = make_scorer(random_student, "none", 120, keep_token_losses=True, span=span)
        batch = batch_of(HOSTILE)
        found, encoded = score_batch(batch, scorer), encode_rows(batch, scorer)
        for number in range(len(HOSTILE)):
            row = {f"token_losses_{key}": found[f"token_losses_{key}"][number] for key in LOSS_KEYS}
            for key in LOSS_KEYS:
                losses = row[f"token_losses_{key}"]
                assert (0 if losses is None else len(losses)) == encoded.spans(key)[number].n_scored
            again = columns_of_token_losses(row)
            assert again == {name: found[name][number] for name in again}  # to the bit


class TestAligned:
    def test_both_losses_are_over_the_same_tokens(self, random_student, make_scorer, alone, real_rows):
        """A mean over tokens that were tokenized apart, one text at a time."""
        model, tokenizer = random_student
        rows = {name: values[:5] for name, values in real_rows.items()}
        scorer = make_scorer(random_student, "none", 300, span=ALIGNED)
        found = score_batch(rows, scorer)
        bos = tokenizer("")["input_ids"][:1]
        for number in range(5):
            prompt = get_template("none").prompt(rows["instruction"][number], rows["input"][number])
            head, own = (
                tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, rows["output"][number])
            )
            own = own[: 300 - len(bos) - len(head)]
            first = 0 if bos else 1
            encoded = encode_rows(rows, scorer)
            for key, before in (("A_condition", bos + head), ("A_direct", bos)):
                span = type(encoded.spans(key)[0])((*before, *own), len(before) + first, truncated=False)
                assert found[f"loss_{key}"][number] == pytest.approx(alone(model, span).mean(), rel=1e-5)

    def test_changes_scores_where_the_tokenizer_adds_a_space_and_only_there(self, model_of, tokenizer_of, make_scorer):
        batch = batch_of([("Say hello.", "", "Hello there"), ("Name the sea.", "", "The North Sea")])
        for kind, changes in (("byte-level, BOS", False), ("SentencePiece-like, BOS", True)):
            student = (model_of("llama"), tokenizer_of(kind))
            published, aligned = (
                score_batch(batch, make_scorer(student, "none", span=span)) for span in ("published", ALIGNED)
            )
            assert (published != aligned) == changes


def test_the_student_is_trained_and_hears_the_instruction(student, real_rows, make_scorer):
    """The shipped student: far better than chance on rows it never saw, and real pairs have lower IFD than shuffled."""
    model, tokenizer = student
    rows = {name: values[:24] for name, values in real_rows.items()}
    real = score_batch(rows, make_scorer(student, max_length=2048))
    torch.manual_seed(0)
    untrained = (LlamaForCausalLM(model.config).eval(), tokenizer)
    chance = score_batch({name: values[:10] for name, values in rows.items()}, make_scorer(untrained, max_length=2048))
    answers = rows["output"]
    shuffled = score_batch({**rows, "output": answers[1:] + answers[:1]}, make_scorer(student, max_length=2048))

    def mean(values):
        return sum(values) / len(values)

    for key in LOSS_KEYS:
        assert mean(real[f"loss_{key}"]) < 0.7 * mean(chance[f"loss_{key}"]), key
    for score in ("ifd_ppl", "rifd_ppl"):
        assert mean(real[score]) < mean(shuffled[score]) - 0.01, score
