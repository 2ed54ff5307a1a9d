import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.rows import number_duplicates, row_id
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, features
from training.given_answers import find_answers, read_answers

FEATURES = features((*QUESTION_COLUMNS, *ANSWER_COLUMNS))


def questions_of(**pairs: list[tuple[str, str]]) -> DatasetDict:
    sets = DatasetDict()
    for name, texts in pairs.items():
        ids = number_duplicates(row_id(*pair, "") for pair in texts)
        rows = [
            {"row_id": identity, "source_id": None, "instruction": pair[0], "input": pair[1], "category": None}
            for identity, pair in zip(ids, texts, strict=True)
        ]
        sets[name] = Dataset.from_list(rows, features=features(QUESTION_COLUMNS))
    return sets


QUESTIONS = questions_of(vicuna=[("Why?", ""), ("How?", ""), ("Why?", "")], mine=[("Cut.", "abc"), ("Why?", "")])


def write(path: Path, *rows: dict) -> str:
    path.write_text(json.dumps(list(rows)))
    return str(path)


def alpaca_eval(instruction: str, output: str, **changes) -> dict:
    return {"dataset": "vicuna", "instruction": instruction, "output": output, "generator": "gpt-x", **changes}


class TestFile:
    def test_of_alpaca_evals_outputs_is_joined_by_content(self, tmp_path):
        rows = [alpaca_eval("How?", "So."), alpaca_eval("Why?", " Because.\n"), alpaca_eval("Cut.\nabc", "ab")]
        found = read_answers(write(tmp_path / "outputs.json", *rows), QUESTIONS)
        assert found["vicuna"]["answer"][:] == ["Because.", "So.", "Because."]
        assert found["mine"]["answer"][:] == ["ab", "Because."]
        assert found["mine"].features == FEATURES
        assert found["mine"][0] == {
            **QUESTIONS["mine"][0],
            "answer": "ab",
            "answer_status": "ok",
            "answer_tokens": None,
            "generator": "gpt-x",
        }

    def test_may_have_inputs_and_name_nobody(self, tmp_path):
        rows = [{"instruction": "Cut.", "input": "abc", "output": "ab"}, {"instruction": "Why?", "output": " "}]
        questions = questions_of(mine=[("Cut.", "abc"), ("Why?", "")])
        found = read_answers(write(tmp_path / "old-model.json", *rows), questions)
        assert found["mine"]["answer"][:] == ["ab", ""]
        assert found["mine"]["answer_status"][:] == ["ok", "empty"]
        assert found["mine"]["generator"][:] == ["old-model"] * 2

    def test_says_how_many_questions_have_no_answer(self, tmp_path, capsys):
        place = write(tmp_path / "outputs.json", alpaca_eval("How?", "So."))
        found = read_answers(place, QUESTIONS)
        assert found["vicuna"]["answer_status"][:] == ["not_given", "ok", "not_given"]
        assert found["vicuna"]["answer"][0] is None and found["vicuna"]["generator"][0] is None
        said = f"--baseline {place}: 4 of 5 questions have no answer there (vicuna 2, mine 2)"
        assert said in capsys.readouterr().out

    def test_that_answer_a_question_twice_say_so(self, tmp_path, capsys):
        place = write(tmp_path / "outputs.json", alpaca_eval("How?", "So."), alpaca_eval("How?", "Not so."))
        found = read_answers(place, QUESTIONS)
        assert found["vicuna"]["answer"][1] == "So."
        assert "1 row(s) answer a question anew; the first answer counts" in capsys.readouterr().out

    def test_for_other_questions_is_refused(self, tmp_path):
        place = write(tmp_path / "outputs.json", alpaca_eval("Who?", "Me."))
        with pytest.raises(BadInputError, match="answers none of the 5 questions of vicuna, mine"):
            read_answers(place, QUESTIONS)

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ({"instruction": "Why?"}, "field 'output' is missing"),
            ({"output": "So."}, "field 'instruction' is missing"),
            ({"instruction": "Why?", "output": ["So."]}, "output is .*, not a string"),
        ],
    )
    def test_of_other_rows_is_refused(self, tmp_path, row, said):
        place = write(tmp_path / "outputs.json", alpaca_eval("How?", "So."), row)
        with pytest.raises(BadInputError, match=rf"^--baseline {place}, row 1: {said}"):
            read_answers(place, QUESTIONS)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        answers = [f"answer {number}" for number in range(3)]
        rows = [
            {**row, "answer": answer, "answer_status": "truncated", "answer_tokens": 7, "generator": "earlier"}
            for row, answer in zip(QUESTIONS["vicuna"], answers, strict=True)
        ]
        DatasetDict(vicuna=Dataset.from_list(rows, features=FEATURES)).save_to_disk(tmp_path / "eval/answers")
        return str(tmp_path / "eval")

    def test_of_an_earlier_evaluation(self, folder):
        found = read_answers(folder, QUESTIONS)
        assert found["vicuna"]["answer"][:] == ["answer 0", "answer 1", "answer 2"]
        assert found["vicuna"]["answer_status"][:] == ["truncated"] * 3
        assert found["vicuna"]["answer_tokens"][:] == [7] * 3
        assert found["mine"]["answer"][:] == [None, "answer 0"], "the same question in another set"

    def test_is_known_by_its_answers(self, folder):
        before = find_answers(folder)
        assert (before.kind, before.location, before) == ("folder", folder, find_answers(folder))
        (Path(folder) / "report.md").write_text("changed")
        assert find_answers(folder) == before
        file = next((Path(folder) / "answers").rglob("*.arrow"))
        file.write_bytes(file.read_bytes() + b" ")
        assert find_answers(folder).fingerprint != before.fingerprint


class TestFindAnswers:
    def test_a_model_has_none(self, quickstart):
        assert find_answers(str(quickstart / "student")) is None
        assert find_answers("user/model") is None

    def test_a_file_is_known_by_its_content(self, tmp_path):
        place = write(tmp_path / "outputs.json", alpaca_eval("Why?", "So."))
        assert (find_answers(place).kind, len(find_answers(place).fingerprint)) == ("file", 64)

    def test_anything_else_is_refused(self, tmp_path):
        with pytest.raises(BadInputError, match="holds neither a model"):
            find_answers(str(tmp_path))
        (tmp_path / "answers.txt").write_text("x")
        with pytest.raises(BadInputError, match=r"unknown file type '.txt'"):
            find_answers(str(tmp_path / "answers.txt"))
