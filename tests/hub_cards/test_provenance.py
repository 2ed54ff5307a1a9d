"""Records of steps and their fingerprint."""

import json
from dataclasses import replace

import pytest
from datasets import Dataset, concatenate_datasets

from hub_cards.provenance import (
    StepRecord,
    digest_of,
    fingerprint_of,
    library_versions,
    read_records,
    write_records,
)
from hub_cards.sources import Source

RECORD = StepRecord(
    "score",
    1,
    {"template": "vicuna", "limit": 5},
    {"model": Source("hub", "user/model", "bbb", "bbb"), "dataset": Source("file", "rows.jsonl", "aaa")},
)


class TestFingerprint:
    def test_is_the_sha256_of_step_version_config_and_inputs(self):
        # printf '["score", 1, {"limit": 5, "template": "vicuna"}, {"dataset": "aaa", "model": "bbb"}]' | sha256sum
        assert RECORD.fingerprint == "d292690344eb65678759cc822e914d52"

    @pytest.mark.parametrize(
        "change",
        [
            {"step": "select"},
            {"version": 2},
            {"config": {"template": "alpaca", "limit": 5}},
            {"config": {"template": "vicuna"}},
            {"config": {"template": "vicuna", "limit": "5"}},
            {"config": {"template": "vicuna", "limit": 5, "more": None}},
            {"inputs": {**RECORD.inputs, "dataset": Source("file", "rows.jsonl", "ccc")}},
            {"inputs": {"dataset": RECORD.inputs["dataset"]}},
            {"inputs": {"model": RECORD.inputs["dataset"], "dataset": RECORD.inputs["model"]}},
        ],
        ids=[
            "step",
            "version",
            "value",
            "key gone",
            "type",
            "new key",
            "input's content",
            "input gone",
            "roles swapped",
        ],
    )
    def test_changes_with_what_decides_the_result(self, change):
        assert replace(RECORD, **change).fingerprint != RECORD.fingerprint

    @pytest.mark.parametrize(
        "change",
        [
            {"counts": {"rows": 5}},
            {"seconds": 12.5},
            {"libraries": {"torch": "9"}},
            {"config": {"limit": 5, "template": "vicuna"}},
            {"inputs": {"dataset": Source("folder", "moved/elsewhere", "aaa"), "model": RECORD.inputs["model"]}},
        ],
        ids=["counts", "seconds", "libraries", "order of keys", "place of an input"],
    )
    def test_changes_with_nothing_else(self, change):
        assert replace(RECORD, **change).fingerprint == RECORD.fingerprint

    def test_tells_values_apart_that_print_alike(self):
        values = [1, "1", True, "True", None, "None", [], {}, [1], [[1]], {"1": 1}]
        assert len({fingerprint_of(value) for value in values}) == len(values)


class TestResult:
    def test_fingerprint_of_the_result_is_the_steps_until_it_has_one(self):
        assert RECORD.result_fingerprint == RECORD.fingerprint
        done = RECORD.finished({}, 1.0, result="abc", unfinished=3)
        assert (done.result, done.unfinished, done.fingerprint) == ("abc", 3, RECORD.fingerprint)
        # printf '["d292690344eb65678759cc822e914d52", "abc"]' | sha256sum
        assert done.result_fingerprint == "b320bbaa9b63f10e1e82e0803d067625"
        assert done.result_fingerprint != replace(done, result="abd").result_fingerprint

    def test_is_written_and_read(self, tmp_path):
        done = RECORD.finished({"rows": 1}, 1.0, result="abc", unfinished=3)
        write_records(tmp_path, [done, RECORD])
        assert read_records(tmp_path) == [done, RECORD]

    def test_record_of_an_earlier_release_without_one_is_read(self, tmp_path):
        entry = {"step": "score", "version": 1, "config": {}, "inputs": {}}
        (tmp_path / "provenance.json").write_text(json.dumps([entry]))
        (record,) = read_records(tmp_path)
        assert (record.result, record.unfinished) == (None, 0)


class TestDigest:
    ROWS = tuple({"a": f"text {n}", "b": n / 3 if n % 7 else None} for n in range(2500))

    def test_is_that_of_all_values_whatever_shards_they_lie_in(self, tmp_path):
        whole = Dataset.from_list(list(self.ROWS))
        parts = [whole.select(range(start, min(start + 900, 2500))) for start in range(0, 2500, 900)]
        whole.save_to_disk(tmp_path / "whole", num_shards=7)
        shuffled = whole.select(reversed(range(2500))).select(reversed(range(2500)))
        same = [concatenate_datasets(parts), Dataset.load_from_disk(tmp_path / "whole"), shuffled]
        assert [digest_of(other) for other in same] == [digest_of(whole)] * 3
        assert len(digest_of(whole)) == 32

    @pytest.mark.parametrize("position", [0, 999, 1000, 2499])
    def test_changes_with_every_value(self, position):
        rows = [dict(row) for row in self.ROWS]
        before = digest_of(Dataset.from_list(rows))
        rows[position]["a"] += " "
        assert digest_of(Dataset.from_list(rows)) != before

    def test_changes_with_order_length_and_names(self):
        rows = Dataset.from_list(list(self.ROWS))
        others = [
            rows,
            rows.select(range(2499)),
            rows.select([1, 0, *range(2, 2500)]),
            rows.rename_column("a", "c"),
            rows.select([]),
            rows.remove_columns("b"),
        ]
        assert len({digest_of(other) for other in others}) == len(others)


class TestRecords:
    def test_come_back_as_they_were_written(self, tmp_path):
        records = [
            RECORD.finished({"rows": 3, "status": {"ok": 3}, "mean": 0.5, "none": None, "who": "Größe 🦜"}, 1.26),
            StepRecord("select", 2, {"strategy": "selective"}, {"dataset": Source("folder", "run/score", "ddd")}),
        ]
        write_records(tmp_path, records)
        assert read_records(tmp_path) == records

    def test_file_holds_the_fingerprint_too(self, tmp_path):
        write_records(tmp_path, [RECORD])
        (entry,) = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
        assert entry["fingerprint"] == "d292690344eb65678759cc822e914d52"
        assert entry["inputs"]["dataset"] == {
            "kind": "file",
            "location": "rows.jsonl",
            "fingerprint": "aaa",
            "revision": None,
        }

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "not JSON",
            "[",
            "null",
            "7",
            '"text"',
            "{}",
            '{"step": "score"}',
            "[1]",
            '["text"]',
            "[{}]",
            '[{"step": "score"}]',
            '[{"step": "score", "version": 1, "config": {}, "inputs": []}]',
            '[{"step": "score", "version": 1, "config": {}, "inputs": {"dataset": "rows.jsonl"}}]',
            '[{"step": "score", "version": 1, "config": {}, "inputs": {}, "author": "somebody"}]',
            b"\xff\xfe",
        ],
    )
    def test_somebody_elses_file_is_none_of_ours(self, content, tmp_path):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "provenance.json").write_bytes(data)
        assert read_records(tmp_path) == []

    def test_of_no_folder_a_file_or_a_folder_of_that_name_are_none(self, tmp_path):
        (tmp_path / "file").write_text("x")
        (tmp_path / "odd" / "provenance.json").mkdir(parents=True)
        assert [read_records(tmp_path / name) for name in ("nothing", "file", "odd")] == [[], [], []]

    def test_finished_adds_what_came_out_and_keeps_the_key(self):
        done = RECORD.finished({"rows": 3}, 1.2345)
        assert (done.counts, done.seconds, done.libraries) == ({"rows": 3}, 1.2, library_versions())
        assert done.fingerprint == RECORD.fingerprint
        assert (RECORD.counts, RECORD.seconds) == ({}, None)

    def test_library_versions_are_the_installed_ones(self):
        import datasets
        import transformers

        found = library_versions()
        assert (found["datasets"], found["transformers"]) == (datasets.__version__, transformers.__version__)
