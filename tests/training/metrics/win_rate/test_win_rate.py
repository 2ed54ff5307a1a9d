"""The metric as a user loads it: `evaluate` copies it into its cache and calls it from there."""

import json
from pathlib import Path

import evaluate
import pytest
import yaml
from datasets import Dataset

from training.win_rate import compare

FOLDER = "training/metrics/win_rate"
LOGS = Path(__file__).parents[2] / "judge_logs"
REVIEWS = ["8 7\nThe first.", "6 6", "9 4", "3 8", None]
REVERSE = ["7 7", "6 6", "The second.", "8 7", "8 7"]
OUTCOMES = ["win", "tie", "invalid", "lose", "invalid"]


@pytest.fixture
def win_rate(root: Path, caches: Path):
    return evaluate.load(str(root / FOLDER), cache_dir=str(caches / "rows"))


class TestNumbers:
    def test_of_a_published_log_are_the_published_ones(self, win_rate):
        records = json.loads((LOGS / "vicuna_reviews_gpt4.json").read_text(encoding="utf-8"))["data"]
        names = {
            "reviews": "review",
            "reviews_reverse": "review_reverse",
            "answers": "Answer1",
            "baseline_answers": "Answer2",
        }
        found = win_rate.compute(**{name: [record[key] for record in records] for name, key in names.items()})
        assert (found["wins"], found["ties"], found["losses"], found["invalid"]) == (44, 15, 21, 0)
        assert found["win_score"] == pytest.approx(1 + 23 / 80)
        mean = sum(len(record["Answer1"]) for record in records) / 80
        assert found["mean_length"] == pytest.approx(mean)
        lengths = ([len(record[key]) for record in records] for key in ("Answer1", "Answer2"))
        assert {**compare(found["outcomes"], *lengths).as_dict(), "outcomes": found["outcomes"]} == found

    def test_without_answers_there_are_no_lengths(self, win_rate):
        found = win_rate.compute(reviews=REVIEWS, reviews_reverse=REVERSE)
        assert found["outcomes"] == OUTCOMES
        assert found == {**compare(OUTCOMES).as_dict(), "outcomes": OUTCOMES}
        assert (found["mean_length"], found["length_controlled_win_rate"]) == (None, None)

    def test_do_not_depend_on_how_the_pairs_came(self, win_rate):
        at_once = win_rate.compute(reviews=REVIEWS, reviews_reverse=REVERSE)
        data = Dataset.from_dict({"reviews": REVIEWS, "reviews_reverse": REVERSE})
        assert win_rate.compute(**{name: data[name] for name in data.column_names}) == at_once
        for review, reverse in zip(REVIEWS, REVERSE, strict=True):
            win_rate.add(reviews=review, reviews_reverse=reverse)
        assert win_rate.compute() == at_once

    def test_answer_may_be_missing_where_the_verdict_is_invalid(self, win_rate):
        texts = {"answers": ["a", "b", None, "d", None], "baseline_answers": ["aa", "bb", "cc", "dd", None]}
        found = win_rate.compute(reviews=REVIEWS, reviews_reverse=REVERSE, **texts)
        assert (found["mean_length"], found["baseline_mean_length"]) == (1, 2)

    def test_where_no_verdict_is_valid_are_none(self, win_rate):
        found = win_rate.compute(reviews=[None], reviews_reverse=["8 7"])
        counts = {"n": 0, "wins": 0, "ties": 0, "losses": 0, "invalid": 1, "outcomes": ["invalid"]}
        assert {name: value for name, value in found.items() if value is not None} == counts


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"reviews": ["8 7"], "reviews_reverse": ["8 7", "7 8"]}, "1 reviews, 2 reviews_reverse"),
            ({"reviews": ["8 7"]}, "reviews_reverse: must be a list of texts, not missing"),
            ({"reviews": "8 7", "reviews_reverse": "7 8"}, "reviews: must be a list of texts, not one text"),
            ({"reviews": [[8, 7]], "reviews_reverse": ["7 8"]}, r"reviews: row 0 is \[8, 7\], which is no text"),
            ({"reviews": [], "reviews_reverse": []}, "there are no reviews"),
            ({"reviews": ["8 7"], "reviews_reverse": ["7 8"], "answers": ["a"]}, "give both or none"),
            (
                {"reviews": ["8 7"], "reviews_reverse": ["7 8"], "answers": ["a"], "baseline_answers": ["b", "c"]},
                "1 reviews, 1 answers, 2 baseline_answers",
            ),
            (
                {"reviews": ["8 7"], "reviews_reverse": ["7 8"], "answers": ["a"], "baseline_answers": [None]},
                "pair 0 has a valid verdict",
            ),
        ],
    )
    def test_is_said_in_one_line_and_the_next_call_works(self, win_rate, arguments, message):
        with pytest.raises(ValueError, match=message):
            win_rate.compute(**arguments)
        assert win_rate.compute(reviews=["8 7"], reviews_reverse=["7 8"])["outcomes"] == ["win"]


class TestSpace:
    def test_front_matter_is_a_metric_space(self, root):
        _, front, _ = (root / FOLDER / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        found = yaml.safe_load(front)
        assert found["sdk"] == "gradio" and found["license"] == "apache-2.0"
        assert (root / FOLDER / found["app_file"]).is_file()
        assert found["tags"] == ["evaluate", "metric"]

    def test_card_names_every_output(self, win_rate, root):
        text = (root / FOLDER / "README.md").read_text(encoding="utf-8")
        found = win_rate.compute(reviews=REVIEWS, reviews_reverse=REVERSE)
        assert [name for name in found if f"**{name}**" not in text] == []

    def test_example_of_the_card_gives_what_it_says(self, win_rate):
        reviews = ["8 7\nThe first answer is clearer.", "6 6\nBoth are short.", "9 4\nThe second one is wrong."]
        reverse = ["7 7\nBoth are fine.", "6 6\nBoth are short.", "The second answer is better."]
        found = win_rate.compute(reviews=reviews, reviews_reverse=reverse)
        assert (found["outcomes"], found["win_score"]) == (["win", "tie", "invalid"], 1.5)
