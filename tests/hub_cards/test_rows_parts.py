"""Data whose variants are splits or configs: a folder of files, a Hub snapshot, what we publish ourselves."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from hub_cards import rows
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, write_records
from hub_cards.publishing.contents import write_configs
from hub_cards.rows import DataArguments, load_rows, load_variants, row_id
from hub_cards.schema import VARIANTS
from hub_cards.sources import find_source

SPLITS = ("origin", "reflect_instruction", "reflect_response", "reflect_both")
N = 4


def records_of(split: str, with_input: bool = True) -> list[dict]:
    texts = [{"instruction": f"{split} question {n}", "output": f"{split} answer {n}"} for n in range(N - 1)]
    texts.append(dict(texts[0]))  # an exact duplicate
    return [{**text, "input": ""} if with_input else text for text in texts]


def write_published(folder: Path, splits=SPLITS, with_input: bool = True) -> str:
    (folder / "data").mkdir(parents=True)
    for split in splits:
        table = pa.table({"data": records_of(split, with_input)})
        pq.write_table(table, folder / f"data/{split}-00000-of-00001-8f1c7e.parquet")
    return str(folder)


def assert_by_position(variants, splits=SPLITS):
    first = row_id("origin question 0", "", "origin answer 0")
    ids = [first, *(row_id(f"origin question {n}", "", f"origin answer {n}") for n in (1, 2)), f"{first}-2"]
    names = [VARIANTS[SPLITS.index(split)] for split in splits]
    assert list(variants) == names
    for split, name in zip(splits, names, strict=True):
        expected = {text: [record.get(text, "") for record in records_of(split)] for text in ("instruction", "output")}
        found = variants[name][:]
        assert {text: found[text] for text in expected} == expected
        assert found["row_id"] == ids
        assert (found["variant"], found["input"], found["source_id"]) == ([name] * N, [""] * N, [None] * N)
    assert len({part._fingerprint for part in variants.values()}) == len(splits)


class TestByPosition:
    def test_rows_have_the_id_of_the_original_row(self, tmp_path):
        assert_by_position(load_variants(DataArguments(write_published(tmp_path / "d"))))

    def test_three_variants_without_input(self, tmp_path):
        splits = ("origin", "reflect_instruction", "reflect_both")
        assert_by_position(load_variants(DataArguments(write_published(tmp_path / "d", splits, False))), splits)

    @pytest.mark.parametrize("suffix", [".json", ".jsonl"])
    def test_json_files(self, suffix, tmp_path, monkeypatch):
        monkeypatch.setattr(rows, "CHUNK_ROWS", 3)
        for split in SPLITS:
            records = records_of(split)
            lines = "\n".join(json.dumps(record) for record in records)
            (tmp_path / f"{split}{suffix}").write_text(json.dumps(records) if suffix == ".json" else lines)
        assert_by_position(load_variants(DataArguments(str(tmp_path))))

    def test_shards_of_a_config_folder(self, tmp_path):
        for split in SPLITS:
            (tmp_path / split).mkdir()
            for number, records in enumerate((records_of(split)[:1], records_of(split)[1:])):
                pq.write_table(pa.Table.from_pylist(records), tmp_path / split / f"train-0000{number}-of-00002.parquet")
        assert_by_position(load_variants(DataArguments(str(tmp_path))))

    @pytest.mark.parametrize("asked", [{"dataset_config": "reflect_both"}, {"dataset_config": "origin"}])
    def test_one_variant(self, asked, tmp_path):
        folder = write_published(tmp_path / "d")
        name = "original" if asked["dataset_config"] == "origin" else "reflect_both"
        alone = load_variants(DataArguments(folder, **asked))
        assert list(alone) == [name]
        assert alone[name].to_list() == load_variants(DataArguments(folder))[name].to_list()
        assert load_rows(DataArguments(folder, **asked)).dataset.to_list() == alone[name].to_list()

    def test_limit(self, tmp_path):
        variants = load_variants(DataArguments(write_published(tmp_path / "d"), limit=2))
        assert {len(part) for part in variants.values()} == {2}

    def test_base_rows_are_the_original(self, tmp_path):
        loaded = load_rows(DataArguments(write_published(tmp_path / "d"))).dataset
        assert loaded["variant"][:] == ["original"] * N and loaded["output"][0] == "origin answer 0"

    def test_different_numbers_of_rows(self, tmp_path, complaint):
        folder = write_published(tmp_path / "d")
        pq.write_table(pa.table({"data": records_of("x")[:3]}), next((tmp_path / "d/data").glob("reflect_both*")))
        message = complaint(load_variants, DataArguments(folder))
        assert "(reflect_both) has 3 rows and original has 4: without row_id" in message

    def test_a_text_that_is_null(self, tmp_path, complaint):
        folder = write_published(tmp_path / "d")
        records = [*records_of("origin")[:2], {"instruction": "a", "output": None, "input": ""}]
        pq.write_table(pa.table({"data": records}), next((tmp_path / "d/data").glob("origin*")))
        assert "row 2: field 'output' is missing or null, not a string" in complaint(
            load_variants, DataArguments(folder)
        )


class TestByRowId:
    @pytest.fixture
    def published(self, tmp_path) -> str:
        """As `publish` lays it out: with provenance, and `selected` beside the variants."""
        configs = {
            name: Dataset.from_dict(
                {
                    "row_id": ["b", "a"],
                    "instruction": ["x", "y"],
                    "input": ["", ""],
                    "output": [name, name],
                    "kept": [1, 2],
                }
            )
            for name in ("selected", "original", "reflect_both")
        }
        write_configs(tmp_path, configs)
        write_records(tmp_path, [StepRecord("select", 1, {}, {})])
        return str(tmp_path)

    def test_rows_stay_as_they_are(self, published):
        variants = load_variants(DataArguments(published))
        assert list(variants) == ["original", "reflect_both"]
        assert variants["reflect_both"].to_dict() == {
            "row_id": ["b", "a"],
            "instruction": ["x", "y"],
            "input": ["", ""],
            "output": ["reflect_both"] * 2,
            "kept": [1, 2],
        }

    def test_selected_is_the_default_of_base_rows(self, published):
        assert load_rows(DataArguments(published)).dataset["output"][:] == ["selected"] * 2
        for limit in (None, 1):  # it counts the rows that pass
            assert load_rows(DataArguments(published, limit=limit), ["kept > 1"]).dataset["row_id"][:] == ["a"]
        with pytest.raises(BadInputError, match="name all steps in one --strategy"):
            load_variants(DataArguments(published, dataset_config="selected"))

    def test_is_identified_by_its_files_and_not_by_the_step(self, published):
        before = find_source(published)
        assert before.fingerprint != StepRecord("select", 1, {}, {}).fingerprint
        path = next(Path(published).glob("original/*"))
        path.rename(path.with_name("train-00000-of-00001-x.parquet"))
        assert find_source(published).fingerprint != before.fingerprint


class TestOtherFolders:
    def test_one_part_of_another_name_is_the_original(self, tmp_path):
        (tmp_path / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(records_of("origin")), tmp_path / "data/train-00000-of-00001.parquet")
        variants = load_variants(DataArguments(str(tmp_path)))
        assert_by_position(variants, ["origin"])

    def test_the_split_asked_for_of_several(self, tmp_path, complaint):
        for split in ("train", "test"):
            (tmp_path / f"{split}.jsonl").write_text(json.dumps({"instruction": split, "output": ""}))
        read = lambda **asked: load_variants(DataArguments(str(tmp_path), **asked))["original"]["instruction"][:]  # noqa: E731
        assert read() == ["train"] and read(dataset_split="test") == ["test"]
        for asked in ({"dataset_split": "validation"}, {"dataset_config": "best"}):
            ((name, value),) = asked.items()
            assert complaint(read, **asked) == (
                f"--{name} {value}: --dataset {tmp_path} has no part of this name; it holds the parts test, train; "
                "choose one with --dataset_config"
            )
        (tmp_path / "train.jsonl").rename(tmp_path / "dev.jsonl")
        assert complaint(read).startswith(f"--dataset {tmp_path}: holds the parts dev, test; choose one")

    def test_conversations(self, tmp_path):
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
        pq.write_table(pa.table({"messages": [turns]}), tmp_path / "train.parquet")
        assert load_rows(DataArguments(str(tmp_path))).dataset["output"][:] == ["Yo"]


class TestHub:
    """A snapshot in the cache, as huggingface_hub lays it out; the tests have no network."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    @pytest.fixture
    def cached(self, tmp_path, monkeypatch) -> str:
        from huggingface_hub import constants

        repo = tmp_path / "datasets--user--texts"
        write_published(repo / "snapshots" / self.COMMIT)
        (repo / "snapshots" / self.COMMIT / "README.md").write_text("---\n---\n")
        (repo / "refs").mkdir()
        (repo / "refs/main").write_text(self.COMMIT)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(
            rows, "find_source", lambda *_: rows.Source("hub", "user/texts", f"user/texts@{self.COMMIT}", self.COMMIT)
        )
        return "user/texts"

    def test_variants_are_its_splits(self, cached):
        assert_by_position(load_variants(DataArguments(cached)))
