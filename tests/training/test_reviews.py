"""Old judge logs: the published ones give the published counts, and all others are read strictly or refused."""

import json
from collections import Counter
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from hub_cards.rows import row_id
from training.reviews import FEATURES, read_reviews
from training.verdicts import Marks, outcome

LOGS = Path(__file__).parent / "judge_logs"
PUBLISHED = {
    "vicuna_reviews_gpt4": (44, 15, 21),
    "wizardlm_reviews_gpt4": (102, 54, 62),
    "vicuna_reviews_gpt3.5": (16, 58, 6),
    "wizardlm_reviews_gpt3.5": (50, 135, 33),
}
RECORD = {
    "text": "Why?",
    "Answer1": "Because.",
    "Answer2": "",
    "review": "9 3\nGood.",
    "scores": "[9.0, 3.0]",
    "review_reverse": "2 8.5\nBad.",
    "scores_reverse": "[2.0, 8.5]",
}


@pytest.fixture
def log(tmp_path: Path):
    """Writes a log of these records and gives its path."""

    def write(*records: object, content: str | None = None) -> Path:
        path = tmp_path / "log.json"
        text = json.dumps({"Meta_Info": {}, "data": list(records)}, indent=4) if content is None else content
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.items())
class TestPublishedLogs:
    def test_give_exactly_the_published_counts(self, name, counts):
        found = read_reviews(LOGS / f"{name}.json")
        assert Counter(found.verdicts["outcome"]) == dict(zip(("win", "tie", "lose"), counts, strict=True))
        assert found.disagreements == []

    def test_hold_scores_in_the_order_shown(self, name, counts):
        """Were `scores_reverse` swapped back already, the log's own numbers would give other counts."""
        records = json.loads((LOGS / f"{name}.json").read_text(encoding="utf-8"))["data"]
        scores = [[Marks(*json.loads(record[key])) for key in ("scores", "scores_reverse")] for record in records]
        found = Counter(outcome(*pair) for pair in scores)
        swapped = Counter(outcome(one, Marks(*reversed(other))) for one, other in scores)
        assert tuple(found[key] for key in ("win", "tie", "lose")) == counts
        assert tuple(swapped[key] for key in ("win", "tie", "lose")) != counts

    def test_are_rows_of_the_contract_each_with_its_own_id(self, name, counts):
        rows = read_reviews(LOGS / f"{name}.json").verdicts
        assert rows.features == FEATURES
        assert len(set(rows["row_id"])) == len(rows) == sum(counts)

    def test_are_described_beside_them(self, name, counts):
        line = f"| `{name}.json` | {sum(counts)} | {' | '.join(map(str, counts))} |"
        assert line in (LOGS / "README.md").read_text(encoding="utf-8")


class TestRecords:
    def test_become_rows(self, log):
        (row,) = read_reviews(log(RECORD)).verdicts.to_list()
        assert row == {
            **dict.fromkeys(FEATURES),
            "row_id": row_id("Why?", "", ""),
            "instruction": "Why?",
            "input": "",
            "answer": "Because.",
            "answer_status": "ok",
            "baseline_answer": "",
            "review": "9 3\nGood.",
            "review_reverse": "2 8.5\nBad.",
            "mark": 9.0,
            "baseline_mark": 3.0,
            "mark_reverse": 8.5,
            "baseline_mark_reverse": 2.0,
            "outcome": "win",
        }

    @pytest.mark.parametrize("name", ["text", "Instruction", "prompt", "instruction", "conversations"])
    def test_hold_their_question_under_the_name_of_their_test_set(self, log, name):
        record = {name: "Why?", **{key: value for key, value in RECORD.items() if key != "text"}}
        assert read_reviews(log(record)).verdicts["instruction"][0] == "Why?"

    def test_with_the_same_question_are_rows_of_their_own(self, log):
        first, second = read_reviews(log(RECORD, RECORD)).verdicts["row_id"]
        assert second == f"{first}-2"

    def test_whose_review_has_no_marks_or_is_missing_are_invalid(self, log):
        rows = read_reviews(log({**RECORD, "review": "Assistant 1: 9"}, {**RECORD, "review_reverse": None})).verdicts
        assert list(rows["outcome"]) == ["invalid", "invalid"]
        assert list(rows["invalid_reason"]) == ["no_marks", "no_review"]
        assert list(rows["mark"]) == [None, 9.0]

    @pytest.mark.parametrize("scores", ["[3.0, 9.0]", "[9.0]", "9 3", [9.0, 4.0], None, "[-1, -1]"])
    def test_whose_scores_are_not_their_marks_are_told_and_the_review_counts(self, log, scores):
        found = read_reviews(log(RECORD, {**RECORD, "scores": scores}))
        assert found.disagreements == [f"record 1: scores is {scores!r}, the review says 9 3"]
        assert list(found.verdicts["outcome"]) == ["win", "win"]

    def test_that_were_scored_although_nothing_can_be_read_are_told(self, log):
        found = read_reviews(log({**RECORD, "review_reverse": "Both are good.", "scores_reverse": "[8, 8]"}))
        assert found.disagreements == ["record 0: scores_reverse is '[8, 8]', the review says no marks"]
        assert list(found.verdicts["outcome"]) == ["invalid"]

    def test_need_no_scores(self, log):
        found = read_reviews(log({key: value for key, value in RECORD.items() if "scores" not in key}))
        assert (found.disagreements, list(found.verdicts["outcome"])) == ([], ["win"])


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"Answer2": None}, "record 1: field 'Answer2' is null, not a text"),
            ({"review": 8}, "record 1: field 'review' is 8, not a text"),
            (
                {"text": None},
                r"record 1: has no question as a text in instruction, .*; it has text, Answer1",
            ),
        ],
    )
    def test_in_a_field(self, log, change, said):
        with pytest.raises(BadInputError, match=said):
            read_reviews(log(RECORD, {**RECORD, **change}))

    def test_a_missing_field_or_no_object(self, log):
        with pytest.raises(BadInputError, match="record 0: field 'review_reverse' is missing"):
            read_reviews(log({key: value for key, value in RECORD.items() if key != "review_reverse"}))
        with pytest.raises(BadInputError, match=r'--reviews .*log.json: record 0 is "8 7", not an object'):
            read_reviews(log("8 7"))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("{", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("[]", "is no judge log"),
            ('{"data": []}', "is no judge log"),
            ('{"data": {}}', "is no judge log"),
        ],
    )
    def test_in_the_file(self, log, content, said):
        with pytest.raises(BadInputError, match=f"--reviews .*log.json: {said}"):
            read_reviews(log(content=content))

    def test_no_file_or_no_text(self, log, tmp_path):
        with pytest.raises(BadInputError, match=r"nowhere.json: cannot be read \(No such file"):
            read_reviews(tmp_path / "nowhere.json")
        log().write_bytes(b'{"data": "\xff"}')
        with pytest.raises(BadInputError, match="cannot be read"):
            read_reviews(tmp_path / "log.json")
