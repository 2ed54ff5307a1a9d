import math
import sys
from subprocess import run

import numpy as np
import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hub_cards.errors import BadInputError
from hub_cards.schema import COLUMNS_BY_NAME
from scoring.likelihood import LikelihoodEngine
from scoring.selectit import (
    ENDING,
    DigitTokens,
    Rater,
    RatingPrompts,
    combine_raters,
    find_digits,
    load_rating_prompts,
    model_score,
    sentence_score,
    token_score,
)

E = math.e
# Short, and different in their beginnings as well as in their ends.
PROMPTS = RatingPrompts(
    (
        f"Q: {{instruction}}{{input}}\nA: {{output}}\nRate 1 to 5. {ENDING}",
        f"Q: {{instruction}}{{input}}\nA: {{output}}\nHow good? {ENDING}",
        f"Is this good?\n{{instruction}}{{input}}\n{{output}}\n{ENDING}",
    ),
    "\nI: {input}",
    5,
)


def scores_as_written(probabilities: list[float]) -> float:
    """The token level, from the paper, number by number."""
    total = sum(math.exp(p) for p in probabilities)
    shares = [math.exp(p) / total for p in probabilities]
    base = 1
    for k in range(1, len(shares) + 1):
        if shares[k - 1] > shares[base - 1]:
            base = k
    return base * sum(abs(share - shares[base - 1]) for share in shares) / (len(shares) - 1)


def sentence_as_written(scores: list[float], alpha: float = 0.2) -> float:
    mean = sum(scores) / len(scores)
    return mean / (1 + alpha * math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores)))


class TestFormulas:
    @pytest.mark.parametrize(
        ("probabilities", "score"),
        [
            ([0.2, 0.7], 2 * math.tanh(0.25)),  # of two, the softmax differs by tanh of half the difference
            ([0.7, 0.2], math.tanh(0.25)),
            ([0, 0, 1, 0, 0], 3 * (E - 1) / (E + 4)),
            ([0, 0, 0, 0, 1], 5 * (E - 1) / (E + 4)),
            ([0.2] * 5, 0),
            ([0] * 5, 0),
            ([0.5, 0, 0.5], (math.exp(0.5) - 1) / (2 * math.exp(0.5) + 1) / 2),  # a tie: the lowest, 1
            ([0, 0.5, 0.5], 2 * (math.exp(0.5) - 1) / (2 * math.exp(0.5) + 1) / 2),
        ],
    )
    def test_token_level_by_hand(self, probabilities, score):
        assert token_score(np.array(probabilities)) == pytest.approx(score, abs=1e-12)

    def test_token_level_as_written(self):
        numbers = np.random.default_rng(0)
        for size in range(2, 10):
            for probabilities in numbers.dirichlet(np.full(size + 1, 0.3), 20)[:, :size]:
                wanted = scores_as_written(probabilities.tolist())
                assert token_score(probabilities) == pytest.approx(wanted, rel=1e-9, abs=1e-12)

    def test_surer_is_higher_and_never_beyond_the_score(self):
        scores = [token_score(np.array([0, 0, 0, p, 0])) for p in (0.1, 0.5, 0.9, 1.0)]
        assert scores == sorted(scores) and scores[0] > 0 and scores[-1] < 4

    @pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
    def test_no_number_is_no_score(self, broken):
        assert token_score(np.array([0.1, broken, 0.2])) is None

    @pytest.mark.parametrize(
        ("scores", "score"),
        [
            ([1.0, 3.0], 2 / 1.2),  # standard deviation 1
            ([0.0, 0.0, 3.0, 3.0], 1.5 / 1.3),
            ([2.0, 2.0, 2.0], 2.0),
            ([1.7], 1.7),
            ([0.0, 0.0], 0.0),
            ([1.0, None], None),
            ([], None),
        ],
    )
    def test_sentence_level_by_hand(self, scores, score):
        assert sentence_score(scores) == (None if score is None else pytest.approx(score))

    def test_sentence_level_as_written(self):
        for scores in np.random.default_rng(1).uniform(0, 5, (20, 5)).tolist():
            assert sentence_score(scores) == pytest.approx(sentence_as_written(scores))

    def test_model_level_weighs_by_parameters(self):
        assert model_score([1.0, 4.0], [1_000_000_000, 3_000_000_000]) == pytest.approx(3.25)
        assert model_score([1.0, 2.0, 3.0], [7, 13, 70]) == pytest.approx((7 + 26 + 210) / 90)
        assert model_score([1.5], [7]) == 1.5
        assert model_score([1.0, None], [1, 3]) is None

    def test_raters_are_combined_row_by_row(self):
        assert combine_raters([[1.0, None, 2.0], [3.0, 1.0, 4.0]], [1, 1]) == [2.0, None, 3.0]
        with pytest.raises(ValueError, match="shorter"):
            combine_raters([[1.0, 2.0], [1.0]], [1, 1])


class TestPrompts:
    def test_ours_are_five_of_one_beginning(self):
        prompts = load_rating_prompts()
        assert len(set(prompts.prompts)) == 5 and prompts.scale == 5
        texts = prompts.texts("Add 2 and 3.", "", "5")
        assert all(text.startswith("Instruction:\nAdd 2 and 3.\n\nResponse:\n5\n\n") for text in texts)
        assert all(text.endswith(f"\n{ENDING}") for text in texts)

    def test_an_input_stands_below_the_instruction(self):
        first = load_rating_prompts().texts("Translate.", "chat", "cat")[0]
        assert first.startswith("Instruction:\nTranslate.\n\nInput:\nchat\n\nResponse:\ncat\n\n")

    def test_braces_are_text(self):
        """In a row they are never filled in, in a prompt only where they hold a name."""
        prompts = RatingPrompts(('{{"a": {instruction}{input}}} {} {output}',), "|{input}", 5)
        (text,) = prompts.texts("{output} {0}", "{instruction}", r"{input} \1 {")
        assert text == r'{{"a": {output} {0}|{instruction}}} {} {input} \1 {'

    def test_a_file_of_ones_own(self, tmp_path):
        path = tmp_path / "mine.yaml"
        prompts = [f"{{instruction}}{{input}} -> {{output}} 1, 2 or 3? {ENDING}\n \n"]
        path.write_text(yaml.safe_dump({"scale": 3, "input": " ({input})", "prompts": prompts}))
        loaded = load_rating_prompts(str(path))
        assert loaded == RatingPrompts((prompts[0].rstrip(),), " ({input})", 3)
        assert loaded.texts("a", "b", "c") == [f"a (b) -> c 1, 2 or 3? {ENDING}"]

    GOOD = f"{{instruction}}{{input}}{{output}} {ENDING}"

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"prompts": [GOOD, GOOD.replace("{output}", "")]}, r"prompt 2 has no \{output\}; write it where"),
            ({"prompts": [GOOD.replace("{input}", "")]}, r"prompt 1 has no \{input\}"),
            ({"prompts": [GOOD.replace("{instruction}", "")]}, r"prompt 1 has no \{instruction\}"),
            (
                {"prompts": ["{question}" + GOOD]},
                r"prompt 1 holds \{question\}, which is unknown; known are \{instruct",
            ),
            ({"prompts": [GOOD + " x"]}, "prompt 1 ends with 'e answer is: x'; it must end with 'The answer is:'"),
            ({"prompts": [7]}, "prompt 1 is 7; it must be a text"),
            ({"prompts": []}, "`prompts` must be a list of 1 text or more"),
            ({"prompts": GOOD}, "`prompts` must be a list of 1 text or more"),
            ({"input": "none"}, r"`input` has no \{input\}"),
            ({"input": "{input}{output}"}, r"`input` holds \{output\}, which is unknown; known are \{input\}"),
            ({"input": None}, "`input` is None; it must be a text"),
            *(({"scale": scale}, "a whole number from 2 to 9") for scale in (1, 10, "5", 5.0, True, None)),
            ({"mode": "x"}, "and nothing else; it holds scale, input, prompts, mode"),
        ],
    )
    def test_a_bad_file_is_refused(self, tmp_path, changed, message):
        path = tmp_path / "bad.yaml"
        content = {"scale": 5, "input": "{input}", "prompts": [self.GOOD], **changed}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        with pytest.raises(BadInputError, match=message) as refused:
            load_rating_prompts(str(path))
        assert str(refused.value).startswith(f"--rating_prompts {path}: ") and "\n" not in str(refused.value)

    @pytest.mark.parametrize("content", ["- a", "scale: 5", "{}", "a: b: c"])
    def test_a_file_of_another_shape_is_refused(self, tmp_path, content):
        path = tmp_path / "bad.yaml"
        path.write_text(content)
        with pytest.raises(BadInputError, match=rf"^--rating_prompts {path}: "):
            load_rating_prompts(str(path))

    def test_a_file_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(BadInputError, match=r"^--rating_prompts .*none\.yaml: cannot be read"):
            load_rating_prompts(str(tmp_path / "none.yaml"))


def words(*vocabulary: str) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


class TestDigits:
    @pytest.mark.parametrize(
        ("kind", "before", "digits"),
        [
            ("byte-level", ["Ġ"], ["1", "2", "3", "4", "5"]),
            ("byte-level, BOS", ["Ġ"], ["1", "2", "3", "4", "5"]),
            ("byte-level, BOS and EOS", ["Ġ"], ["1", "2", "3", "4", "5"]),
            # It holds `▁1` and has to write `▁ 3`: the digits are taken without a space.
            ("SentencePiece-like, BOS", [], ["1", "2", "3", "4", "5"]),
        ],
    )
    def test_of_tokenizers_that_write_a_space_apart(self, tokenizer_of, kind, before, digits):
        tokenizer = tokenizer_of(kind)
        found = find_digits(tokenizer, PROMPTS, "m")
        assert tokenizer.convert_ids_to_tokens(list(found.before)) == before
        assert tokenizer.convert_ids_to_tokens(list(found.ids)) == digits

    def test_of_one_that_writes_space_and_digit_as_one(self, student):
        _, tokenizer = student
        found = find_digits(tokenizer, load_rating_prompts(), "m")
        assert found.before == ()
        assert tokenizer.convert_ids_to_tokens(list(found.ids)) == ["Ġ1", "Ġ2", "Ġ3", "Ġ4", "Ġ5"]

    def test_of_one_that_writes_a_space_token_and_a_digit_token(self):
        """As Llama 2's, whose digits are always tokens of their own."""
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)]
        )
        texts = [*PROMPTS.texts("Say it.", "", "It."), "1 2 3 4 5"]
        trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        found = find_digits(PreTrainedTokenizerFast(tokenizer_object=tokenizer), PROMPTS, "m")
        assert [tokenizer.id_to_token(token) for token in (*found.before, *found.ids)] == ["▁", *"12345"]

    @pytest.mark.parametrize(
        "vocabulary",
        [
            ("<unk>", "The", "answer", "is", ":"),  # no digit
            ("<unk>", "The", "answer", "is", ":", "1", "2", "3", "4"),  # all but the last
        ],
    )
    def test_missing_digits_are_refused(self, vocabulary):
        with pytest.raises(BadInputError, match=r"^a/model: its tokenizer has no .* 1 to 5 .* : <unk>; rate with"):
            find_digits(words(*vocabulary), PROMPTS, "a/model")

    def test_as_many_digits_as_the_scale_has(self):
        tokenizer = words("<unk>", "1", "2", "3")
        three = RatingPrompts(PROMPTS.prompts, PROMPTS.input, 3)
        assert find_digits(tokenizer, three, "m") == DigitTokens((), (1, 2, 3))


def rater_of(student, prompts=PROMPTS, max_length=512, max_batch_tokens=None, pack=True) -> Rater:
    model, tokenizer = student
    engine = LikelihoodEngine(model, max_length, max_batch_tokens, pack)
    return Rater(engine, tokenizer, prompts, max_length, "a/model", model.num_parameters())


@torch.no_grad()
def naive_scores(model, tokenizer, before: list[int], digits: list[int], prompts: RatingPrompts, row) -> list[float]:
    """One text at a time, full logits, the softmax in float64."""
    instruction, input, output = row
    scores = []
    for prompt in prompts.prompts:
        parts = {"instruction": instruction, "input": prompts.input.format(input=input) if input else ""}
        ids = tokenizer(prompt.format(**parts, output=output))["input_ids"]
        ids = [*(ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids), *before]
        last = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        scores.append(scores_as_written(last.softmax(-1)[digits].tolist()))
    return scores


ROWS = {
    "instruction": ["Name a fruit.", "Translate to French.", "Name a fruit.", "Fill in {output}."],
    "input": ["", "cat", None, "{x}"],
    "output": ["An apple, for example.", "chat", "Stone", "{instruction} }{"],
}


def assert_close(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        assert values == pytest.approx(wanted[name], rel=1e-4, abs=1e-9), name


class TestRater:
    def test_scores_are_those_of_a_text_alone(self, random_student):
        """The digits of these tokenizers are single characters, after a space of its own or none."""
        model, tokenizer = random_student
        digits = tokenizer.convert_tokens_to_ids(list("12345"))
        before = [] if tokenizer.convert_tokens_to_ids("▁1") else tokenizer.convert_tokens_to_ids(["Ġ"])
        rater = rater_of(random_student)
        found = rater.compute(ROWS)
        assert [column.name for column in rater.columns] == list(found) == ["selectit_token", "selectit_sentence"]
        for number, row in enumerate(zip(*ROWS.values(), strict=True)):
            alone = naive_scores(model, tokenizer, before, digits, PROMPTS, row)
            assert found["selectit_token"][number] == pytest.approx(alone[0], rel=1e-4, abs=1e-9)
            assert found["selectit_sentence"][number] == pytest.approx(sentence_as_written(alone), rel=1e-4, abs=1e-9)
        assert len(set(found["selectit_sentence"])) == 4 and min(found["selectit_sentence"]) > 0

    def test_scores_of_the_shipped_student(self, student, real_rows):
        model, tokenizer = student
        rows = {name: values[:6] for name, values in real_rows.items()}
        prompts = load_rating_prompts()
        digits = tokenizer.convert_tokens_to_ids(["Ġ1", "Ġ2", "Ġ3", "Ġ4", "Ġ5"])
        found = rater_of(student, prompts).compute(rows)
        alone = [
            naive_scores(model, tokenizer, [], digits, prompts, row)
            for row in zip(rows["instruction"], rows["input"], rows["output"], strict=True)
        ]
        wanted = {
            "selectit_token": [scores[0] for scores in alone],
            "selectit_sentence": [sentence_as_written(scores) for scores in alone],
        }
        assert_close(found, wanted)

    def test_neighbours_layout_and_batches_do_not_matter(self, random_student):
        wanted = rater_of(random_student).compute(ROWS)
        for settings in ({"pack": False}, {"max_batch_tokens": 1}, {"max_batch_tokens": 100}):
            assert_close(rater_of(random_student, **settings).compute(ROWS), wanted)
        rater = rater_of(random_student)
        backward = rater.compute({name: values[::-1] for name, values in ROWS.items()})
        assert_close({name: values[::-1] for name, values in backward.items()}, wanted)
        alone = [rater.compute({name: [values[row]] for name, values in ROWS.items()}) for row in range(4)]
        assert_close({name: [one[name][0] for one in alone] for name in wanted}, wanted)

    def test_what_prepare_made_is_used(self, random_student):
        rater = rater_of(random_student)
        prepared = rater.prepare(ROWS)
        assert rater.engine.tokens_run == 0
        assert rater.compute(ROWS, prepared) == rater.compute(ROWS)

    def test_a_row_goes_through_the_model_once_for_all_prompts(self, student, real_rows):
        """Our prompts begin with the row."""
        rows = {name: values[:4] for name, values in real_rows.items()}
        run_of = {}
        for pack in (True, False):
            rater = rater_of(student, load_rating_prompts(), pack=pack)
            rater.compute(rows)
            run_of[pack] = rater.engine.tokens_run
        lengths = [len(span.ids) - 1 for span in rater.prepare(rows).spans]
        assert run_of[False] >= sum(lengths) > 1.5 * run_of[True]

    def test_without_an_input_column(self, random_student):
        rows = {"instruction": ROWS["instruction"][:1], "output": ROWS["output"][:1]}
        rater = rater_of(random_student)
        assert rater.compute(rows) == rater.compute({**rows, "input": [""]})

    def test_rows_that_cannot_be_rated_are_null(self, random_student):
        rows = {
            "instruction": ["Say it.", "Say it.", "Say it."],
            "input": ["", "", ""],
            "output": ["It.", "", "It. " * 100],
        }
        found = rater_of(random_student, max_length=90).compute(rows)
        for name, values in found.items():
            assert values[0] == pytest.approx(rater_of(random_student).compute(rows)[name][0], rel=1e-4)
            assert values[1:] == [None, None]

    def test_the_longest_text_that_is_rated(self, random_student):
        rows = {name: values[:1] for name, values in ROWS.items()}
        (first, *_) = rater_of(random_student, RatingPrompts(PROMPTS.prompts[:1], "{input}", 5)).prepare(rows).spans
        length = len(first.ids) - 1
        for max_length, rated in ((length, True), (length - 1, False)):
            prompts = RatingPrompts(PROMPTS.prompts[:1], "{input}", 5)
            (score,) = rater_of(random_student, prompts, max_length).compute(rows)["selectit_token"]
            assert (score is not None) == rated

    def test_one_prompt_that_is_too_long_leaves_the_first_score(self, random_student):
        """The token level is that of the first prompt, the sentence level wants all of them."""
        prompts = RatingPrompts((PROMPTS.prompts[0], "Well? " * 100 + PROMPTS.prompts[1]), PROMPTS.input, 5)
        rows = {name: values[:1] for name, values in ROWS.items()}
        found = rater_of(random_student, prompts, 150).compute(rows)
        assert found["selectit_token"][0] > 0 and found["selectit_sentence"] == [None]

    def test_a_model_that_gives_nan_gives_null(self, make_model, tokenizer_of):
        model, tokenizer = make_model("llama"), tokenizer_of("byte-level, BOS")
        rater = rater_of((model, tokenizer))
        with torch.no_grad():
            model.lm_head.weight[7] = torch.nan
        assert rater.compute(ROWS) == {"selectit_token": [None] * 4, "selectit_sentence": [None] * 4}

    def test_a_tokenizer_without_digits_is_refused(self, model_of):
        with pytest.raises(BadInputError, match=r"^a/model: its tokenizer"):
            rater_of((model_of("llama"), words("<unk>", "The")))

    def test_columns_are_those_of_the_contract(self, random_student):
        for column in rater_of(random_student).columns:
            assert column is COLUMNS_BY_NAME[column.name]


def test_reading_prompts_needs_no_torch(root):
    code = "import sys, scoring.selectit as s; s.load_rating_prompts(); assert 'torch' not in sys.modules"
    assert run([sys.executable, "-c", code], cwd=root, timeout=120, check=False).returncode == 0
