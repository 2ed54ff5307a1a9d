import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_cards.errors import BadInputError
from hub_cards.rows import row_id
from hub_cards.schema import QUESTION_COLUMNS
from hub_cards.sources import Source
from training import judge_sets
from training.judge_sets import find_judge_sets, load_judge_sets

# One record as each published set has it, and what it becomes: source_id, instruction, input, category.
PUBLISHED = {
    "vicuna": ({"question_id": 7, "text": "Why?", "category": "generic"}, ("7", "Why?", "", "generic")),
    "koala": ({"id": "koala_0", "prompt": "Why?"}, ("koala_0", "Why?", "", None)),
    "wizardlm": ({"idx": 3, "Skill": "Math", "Difficulty": 1, "Instruction": "1+1"}, ("3", "1+1", "", "Math")),
    "lima": ({"conversations": "Plan a day."}, (None, "Plan a day.", "", None)),
    "sinstruct": (
        {"id": "t_0", "motivation_app": "X", "instruction": "Cut.", "instances": [{"input": "ab", "output": "a"}]},
        ("t_0", "Cut.", "ab", None),
    ),
    "mine": ({"instruction": "Cut.", "input": None}, (None, "Cut.", "", None)),
}


def write(path: Path, *records: dict) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


class TestPublishedForms:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_are_read(self, tmp_path, name):
        record, (source_id, instruction, input, category) = PUBLISHED[name]
        loaded = load_judge_sets([write(tmp_path / f"{name}_test_set.jsonl", record)])
        assert list(loaded) == [name]
        assert loaded[name].column_names == [column.name for column in QUESTION_COLUMNS]
        assert loaded[name][0] == {
            "row_id": row_id(instruction, input, ""),
            "source_id": source_id,
            "instruction": instruction,
            "input": input,
            "category": category,
        }

    def test_json_and_parquet_are_read_as_well(self, tmp_path):
        records = [record for record, _ in list(PUBLISHED.values())[:1]]
        (tmp_path / "a.json").write_text(json.dumps(records))
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "b_test_set.parquet")
        loaded = load_judge_sets([str(tmp_path / "a.json"), str(tmp_path / "b_test_set.parquet")])
        assert list(loaded) == ["a", "b"]
        assert loaded["a"].to_list() == loaded["b"].to_list()

    def test_equal_questions_have_ids_of_their_own(self, tmp_path):
        place = write(tmp_path / "a.jsonl", {"prompt": "x"}, {"prompt": "y"}, {"prompt": "x"})
        one, other = row_id("x", "", ""), row_id("y", "", "")
        assert load_judge_sets([place])["a"]["row_id"][:] == [one, other, f"{one}-2"]

    def test_a_limit_holds_for_each_set(self, tmp_path):
        place = write(tmp_path / "a.jsonl", {"prompt": "x"}, {"prompt": "y"})
        loaded = load_judge_sets(["vicuna", place], limit=3)
        assert {name: len(rows) for name, rows in loaded.items()} == {"vicuna": 3, "a": 2}


class TestBundled:
    def test_vicuna_has_its_80_questions(self):
        rows = load_judge_sets(["vicuna"])["vicuna"]
        assert len(rows) == len(set(rows["row_id"][:])) == 80
        assert rows[0]["instruction"] == "How can I improve my time management skills?"
        assert rows["source_id"][:] == [str(number) for number in range(1, 81)]
        assert len(set(rows["category"][:])) == 9

    def test_says_where_it_is_from(self, root):
        assert "Apache License 2.0" in (root / "training/data/README.md").read_text()
        assert find_judge_sets(["vicuna"])["vicuna"].kind == "package"


def pretend_to_download(monkeypatch, folder: Path) -> None:
    monkeypatch.setattr(judge_sets, "find_source", lambda location, **_: Source("hub", location, "x@1", "1"))
    monkeypatch.setattr(judge_sets, "download", lambda *_: folder)


class TestSources:
    def test_change_with_the_content(self, tmp_path):
        place = write(tmp_path / "a.jsonl", {"prompt": "x"})
        before = find_judge_sets([place])["a"]
        write(tmp_path / "a.jsonl", {"prompt": "y"})
        after = find_judge_sets([place])["a"]
        assert (before.kind, before.location) == ("file", place)
        assert before.fingerprint != after.fingerprint

    def test_two_sets_of_one_name_are_refused(self, tmp_path):
        places = [write(tmp_path / name, {"prompt": "x"}) for name in ("a.jsonl", "a_test_set.jsonl")]
        with pytest.raises(BadInputError, match=r"--judge_sets .*a_test_set.jsonl: .*a.jsonl is called 'a' too"):
            find_judge_sets(places)

    @pytest.mark.parametrize("location", ["koala", "nowhere.jsonl", "a/b/c", "."])
    def test_what_is_nowhere_is_refused_with_advice(self, location):
        with pytest.raises(BadInputError, match="there is no such file; give vicuna, which is in the package"):
            find_judge_sets([location])

    @pytest.mark.parametrize(
        ("files", "questions"),
        [
            (["data/train-00000-of-00001.jsonl"], ["data/train-00000-of-00001.jsonl"]),
            (["data/train.jsonl", "data/test.jsonl"], ["data/test.jsonl"]),
        ],
    )
    def test_a_hub_id_is_downloaded(self, tmp_path, monkeypatch, files, questions):
        for name in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write(tmp_path / name, {"prompt": name})
        pretend_to_download(monkeypatch, tmp_path)
        assert load_judge_sets(["user/koala_test_set"])["koala"]["instruction"][:] == questions

    def test_a_hub_data_set_of_several_parts_must_be_told_apart(self, tmp_path, monkeypatch):
        for name in ("one", "other"):
            write(tmp_path / f"{name}.jsonl", {"prompt": name})
        pretend_to_download(monkeypatch, tmp_path)
        with pytest.raises(BadInputError, match=r"user/sets: holds one, other, so it is not clear"):
            load_judge_sets(["user/sets"])


class TestBadRecords:
    @pytest.mark.parametrize(
        ("record", "said"),
        [
            ({"question": "x"}, "has none of the fields instruction, Instruction, text"),
            ({"prompt": None}, "prompt is 'None', not a string"),
            ({"prompt": ["x"]}, "not a string"),
            ({"prompt": " \n"}, "prompt is blank; remove the row"),
            ({"instruction": "x", "input": 3}, "input is '3', not a string"),
            ({"instruction": "x", "instances": []}, "instances is no list of one instance"),
            ({"instruction": "x", "instances": [{"input": "a"}, {"input": "b"}]}, "write a row for each"),
            ({"prompt": "a\ud83d"}, "prompt holds half a surrogate pair"),
        ],
    )
    def test_are_named(self, tmp_path, record, said):
        place = write(tmp_path / "a.jsonl", {"prompt": "good"}, record)
        with pytest.raises(BadInputError, match=rf"^--judge_sets {place}, row 1: .*{said}"):
            load_judge_sets([place])

    def test_no_questions(self, tmp_path):
        with pytest.raises(BadInputError, match=r"holds no questions"):
            load_judge_sets([write(tmp_path / "a.jsonl")])
