"""Every strategy in words: sentence by sentence, and on random rows that it has decided itself."""

import re
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.report.words.decision import decision_words
from hub_cards.report.words.steps import KNOWN, UNRANKED, WORDS
from hub_cards.schema import VARIANTS
from scoring.selection import STRATEGIES
from scoring.selection.apply import select_rows
from scoring.selection.share import Share
from scoring.selection.steps import parse_steps
from scoring.selection.table import ScoreTable

FIVE = {"fraction": 0.05, "count": None}
THOUSAND = {"fraction": None, "count": 1000}


def say(step, reason, scores=None, **decision):
    kept = reason == "kept"
    given = {"selected": kept, "selected_variant": "original", "select_reason": reason, "select_step": step["name"]}
    (words,) = decision_words([step], {"original": scores or {}}, {**given, **decision})
    return words


@pytest.mark.parametrize(
    ("step", "reason", "given", "words"),
    [
        (
            {"name": "superfilter", **FIVE},
            "kept",
            {"select_score": 0.93, "select_rank": 1204.0},
            "IFD 0.93, place 1,204: kept, among the 5 % with the highest IFD.",
        ),
        ({"name": "superfilter", **FIVE}, "ifd_not_below_1", {"select_score": 1.07}, "IFD 1.07 is 1 or more: dropped."),
        ({"name": "superfilter", **FIVE}, "unscored", {}, "It has no IFD: dropped."),
        (
            {"name": "cherry", **THOUSAND, "ratio": "loss", "group_by": "category"},
            "below_the_cut",
            {"select_score": 0.99996, "select_rank": 1204},
            "IFD (by losses) 0.99996, place 1,204: dropped, not among the 1,000 rows with the highest IFD, in "
            "proportion to the rows of each category.",
        ),
        (
            {"name": "selectit", **FIVE, "level": "sentence"},
            "below_the_cut",
            {"select_score": 3.251, "select_rank": 9},
            "Rating 3.25, place 9: dropped, not among the 5 % with the highest rating.",
        ),
        (
            {"name": "longest", **THOUSAND, "unit": "characters"},
            "kept",
            {"select_score": 2048.0, "select_rank": 1},
            "A response of 2,048 characters, place 1: kept, among the 1,000 rows with the longest responses.",
        ),
        (
            {"name": "random", **FIVE, "seed": 3},
            "not_drawn",
            {"select_score": 0.4, "select_rank": 31},
            "Place 31 in the random order (seed 3): dropped, not among the 5 % drawn.",
        ),
        (
            {"name": "length_matched_random", "like": "runs/one", "seed": 0},
            "kept",
            {},
            "Drawn by chance (seed 0) from the responses as long as those of runs/one: kept.",
        ),
        (
            {"name": "facility_location", **FIVE},
            "kept",
            {"select_score": 3.414, "select_rank": 12},
            "Pick 12, which adds 3.41 to the summed similarity of all rows: kept.",
        ),
        ({"name": "facility_location", **FIVE}, "not_picked", {}, "Not picked: dropped, rows like it were picked."),
        (
            {"name": "iterit", **FIVE, "decay": 0.1},
            "kept",
            {"select_score": 0.531, "select_rank": 2},
            "Pick 2, worth 0.53 (IFD times what its response adds): kept.",
        ),
        (
            {"name": "iterit", **FIVE, "decay": 0.1},
            "not_picked",
            {"scores": {"ifd_ppl": 0.71}},
            "IFD 0.71, not picked: dropped, others were more difficult or said more that is new.",
        ),
        (
            {"name": "sifd", **FIVE, "informative": 0.5},
            "ifd_not_below_1",
            {"scores": {"ifd_ppl": 1.25}, "select_score": 0.9},
            "IFD 1.25 is 1 or more: dropped.",
        ),
        (
            {"name": "pre_experience", "clusters": 2},
            "not_picked",
            {"scores": {"loss_prompt": 2.0}},
            "Perplexity 7.39 of the prompt, not picked: dropped, outside its cluster's band of perplexity, or between "
            "two rows that were picked.",
        ),
        ({"name": "refusals"}, "refusal", {}, "The response begins with a refusal: dropped."),
        ({"name": "refusals"}, "unscored", {}, "It was scored and has no IFD: dropped."),
        (
            {"name": "recycled"},
            "kept",
            {"selected_variant": "reflect_both"},
            "The oracle's pair, instruction and response rewritten (its parent's where that was not adopted): kept.",
        ),
    ],
)
def test_by_hand(step, reason, given, words):
    assert say(step, reason, **given) == words


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((1.3, 1.2, None, 1.4), "reflect_instruction has the lowest {}, 1.20 (next: 1.30, original): kept."),
        ((1.201, 1.2, None, 1.4), "reflect_instruction has the lowest {}, 1.200 (next: 1.201, original): kept."),
        (
            (1.3, 1.2, 1.2, 1.4),
            "reflect_instruction has the lowest {}, 1.20, as has reflect_response, which comes after it: kept.",
        ),
        ((None, 1.2, None, None), "Only reflect_instruction has a {} (1.20): kept."),
        ((1.1, 1.2, None, 1.4), "reflect_instruction has the lowest {}: kept."),  # not by these numbers
        ((None, None, None, None), "reflect_instruction has the lowest {}: kept."),
    ],
)
def test_grape_names_the_next_best(losses, words):
    scores = {name: {"loss_A_condition": loss} for name, loss in zip(VARIANTS, losses, strict=True)}
    decision = {"selected": True, "selected_variant": "reflect_instruction", "select_reason": "kept"}
    found = decision_words([{"name": "grape"}], scores, {**decision, "select_step": "grape"})
    assert found == [words.format("loss of the response given its instruction")]


class TestOtherNumbers:
    """The ledger's go first, and what contradicts it is not spoken of."""

    STEP: ClassVar[dict] = {"name": "superfilter", **FIVE}

    def test_the_ledgers_own_go_first(self):
        words = say(self.STEP, "kept", {"ifd_ppl": 0.5}, select_score=0.9, select_rank=1)
        assert words.startswith("IFD 0.90, place 1: kept")

    def test_where_there_is_none_the_score_stands_in(self):
        assert say(self.STEP, "kept", {"ifd_ppl": 0.5}).startswith("IFD 0.50: kept")

    def test_one_on_the_other_side_of_1_is_left_out(self):
        assert say(self.STEP, "kept", {"ifd_ppl": 1.5}) == "Kept, among the 5 % with the highest IFD."
        assert say(self.STEP, "ifd_not_below_1", {"ifd_ppl": 0.5}) == "IFD is 1 or more: dropped."

    def test_a_rating_of_a_row_that_has_no_ifd(self):
        step = {"name": "selectit", **FIVE, "level": "token"}
        assert say(step, "unscored", select_score=3.0) == "It was scored and has no IFD: dropped."
        assert say(step, "unscored") == "It has no rating: dropped."


class TestOtherVersions:
    @pytest.mark.parametrize("name", list(WORDS))
    def test_of_a_step_without_its_options_something_is_said(self, name):
        for reason in STRATEGIES[name].reasons:
            words = say({"name": name}, reason)
            assert ("ept" in words) == (reason == "kept") and ("ropped" in words) == (reason != "kept"), words

    @pytest.mark.parametrize("name", list(WORDS))
    def test_an_unknown_reason_is_the_ledgers(self, name):
        assert say({"name": name}, "too_long") == f"Dropped by {name}: too_long."
        assert say({"name": name}, "too_long", selected=True) == f"Kept by {name}: too_long."


def test_every_strategy_is_known():
    assert set(KNOWN) == set(STRATEGIES)
    ranked = {name for name, strategy in STRATEGIES.items() if issubclass(strategy, Share)}
    assert set(KNOWN) - set(UNRANKED) == ranked


# What the sentence of a reason holds, whatever the strategy.
NEEDLES = {
    "kept": "kept",
    "below_the_cut": "dropped, not among the .* with",
    "ifd_not_below_1": "is 1 or more: dropped",
    "unscored": "has no |No variant has",
    "not_drawn": "not among the .* drawn|Not drawn",
    "not_picked": "[nN]ot picked",
    "refusal": "begins with a refusal",
    "speaks_as_ai": "speaks of itself",
}
CALLS = (
    *("cherry count=4", "cherry count=4 ratio=ppl group_by=kind", "superfilter fraction=0.1", "selectit count=4"),
    *("sifd count=4", "iterit count=4", "facility_location count=4", "pre_experience clusters=2 per_cluster=2"),
    *("refusals", "random count=4", "length_matched_random like=earlier", "longest count=4"),
    *("longest count=4 unit=characters", "recycled", "grape"),
)
PATHS = [
    *([call] for call in CALLS),
    *(["selective require_reflected_response=false", call] for call in CALLS[1:9]),
    ["random count=60", "recycled", "selectit count=30 level=model", "refusals", "facility_location count=5"],
]


def some(numbers, values, size, missing=None):
    picked = numbers.integers(0, len(values) + 1, size)
    return [missing if number == len(values) else values[number] for number in picked]


def random_table(seed, size=80):
    numbers = np.random.default_rng(seed)
    parts = {}
    for name in VARIANTS:
        ratios = [0.25, 0.5, 0.75, 0.8412, 0.8414, 0.9996, 1.0, 1.25]
        vectors = [[float(x) for x in vector] for vector in numbers.integers(1, 4, (4, 3))]
        losses = [numbers.integers(1, 9, length).tolist() for length in (2, 3, 4)]
        texts = ["I'm sorry, but I cannot do that.", "As an AI language model, red.", "red green", "blue one two"]
        columns = {
            **{name: some(numbers, ratios, size) for name in ("ifd_ppl", "rifd_ppl", "ifd_loss", "loss_A_condition")},
            **{f"selectit_{level}": some(numbers, [1.5, 2.0], size) for level in ("token", "sentence", "model")},
            "ppl_prompt": some(numbers, [2.0, 3.0], size),
            "n_tokens_A": pa.array(some(numbers, [1, 2, 3], size), pa.int64()),
            **{name: some(numbers, vectors, size) for name in ("embedding", "prompt_embedding")},
            **{f"token_losses_A_{kind}": some(numbers, losses, size) for kind in ("condition", "direct")},
            "output": some(numbers, texts, size, "green"),
            "kind": some(numbers, ["a"], size, "b"),
        }
        ids = [f"row{number:03}" for number in range(size)]
        parts[name] = Dataset(pa.table({"row_id": ids, **columns}), fingerprint=f"{name} {seed}")
    earlier = DatasetDict(selected=Dataset(pa.table({"output": ["red green"]}), fingerprint="earlier"))
    return ScoreTable(DatasetDict(parts), lambda _: earlier)


@pytest.fixture(scope="module")
def table():
    return random_table(0)


@pytest.fixture(scope="module")
def scores(table):
    """Of every row, by variant and column."""
    parts = {name: part.remove_columns(["row_id", "output", "kind"]).to_list() for name, part in table.parts.items()}
    return [{name: part[row] for name, part in parts.items()} for row in range(len(table))]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("path", PATHS, ids=" | ".join)
def test_random_rows_say_outcome_rank_and_reason_of_the_ledger(table, scores, path):
    steps = parse_steps(path, {})
    views, names = [step.view() for step in steps], [step.name for step in steps]
    reasons = set()
    for row, decision in zip(scores, select_rows(table, steps)[0]["decisions"].to_list(), strict=True):
        words = decision_words(views, row, decision)
        sentences, reason = iter(words), decision["select_reason"]
        for name in names[: names.index(decision["select_step"])]:
            if name == "selective":
                assert any(sentence.startswith("Passes the gate: ") for sentence in sentences)
            else:
                assert re.search(rf"\b[kK]ept\b.* \({name}\)\.$", next(sentences))
        if decision["select_step"] == "selective":
            continue  # read back in full in its own tests
        (sentence,) = sentences
        reasons.add(reason)
        assert re.search(NEEDLES[reason], sentence), (decision, sentence)
        assert ("kept" in sentence) == decision["selected"] and ("dropped" in sentence) != decision["selected"]
        ranks = [int(number) for number in re.findall(r"(?:[Pp]lace|Pick) (\d+)", " ".join(words))]
        assert ranks == ([] if decision["select_rank"] is None else [decision["select_rank"]]), words
        if decision["select_step"] in ("cherry", "superfilter") and reason != "unscored":
            text = re.match(r"IFD (?:\(by losses\) )?([\d.]+)", sentence)[1]
            assert abs(float(text) - decision["select_score"]) <= 0.005
            assert (float(text) >= 1) == (decision["select_score"] >= 1)
    assert len(reasons) > 1 or steps[-1].name == "grape"
