"""Records of steps, their fingerprint, and `apply_step`: computed once, resumed after a crash, shared by ranks."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value, concatenate_datasets

from hub_cards.provenance import (
    StepRecord,
    apply_step,
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


ROWS = Dataset.from_dict(
    {"row_id": [f"r{n}" for n in range(10)], "text": ["ab" * n for n in range(10)], "extra": [0] * 10}
)
LENGTHS = Features({"row_id": Value("string"), "length": Value("float64")})
# What the step must give: empty text has no length.
EXPECTED = [{"row_id": f"r{n}", "length": 2.0 * n if n else None} for n in range(10)]


class Measure:
    """A step that counts its calls and can fail on one of them."""

    def __init__(self, fails_on: str | None = None):
        self.calls: list[list[str]] = []
        self.fails_on = fails_on

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        if self.fails_on in batch["row_id"]:
            raise RuntimeError("power cut")
        self.calls.append(list(batch["row_id"]))
        return {"row_id": batch["row_id"], "length": [float(len(text)) if text else None for text in batch["text"]]}


def measure(work_dir: Path, function: Measure, rows: Dataset = ROWS, key: str = "key", **options) -> list[dict]:
    options = {"features": LENGTHS, "shard_rows": 3, **options}
    mapped = apply_step(rows, function, key=key, work_dir=work_dir, **options)
    assert mapped.features == LENGTHS
    return mapped.to_list()


SHARDS = [["r0", "r1", "r2"], ["r3", "r4", "r5"], ["r6", "r7", "r8"], ["r9"]]


class TestApplyStep:
    def test_gives_what_a_plain_loop_gives(self, tmp_path):
        assert measure(tmp_path, Measure()) == EXPECTED

    @pytest.mark.parametrize("shard_rows", [1, 3, 10, 512])
    def test_result_does_not_depend_on_the_size_of_shards(self, shard_rows, tmp_path):
        assert measure(tmp_path, Measure(), shard_rows=shard_rows) == EXPECTED

    def test_function_sees_one_whole_shard_a_call(self, tmp_path):
        function = Measure()
        measure(tmp_path, function)
        assert function.calls == SHARDS

    def test_same_key_reads_what_is_there(self, tmp_path):
        measure(tmp_path, Measure())
        again = Measure()
        assert measure(tmp_path, again) == EXPECTED
        assert again.calls == []

    def test_another_function_under_the_same_key_is_not_called(self, tmp_path):
        measure(tmp_path, Measure())
        again = measure(tmp_path, lambda batch: {"row_id": batch["row_id"], "length": [0.0] * len(batch["row_id"])})
        assert again == EXPECTED  # the key alone decides, not the function's code

    @pytest.mark.parametrize("change", [{"key": "other"}, {"shard_rows": 4}, {"rows": ROWS.select(range(9))}])
    def test_another_key_size_of_shards_or_number_of_rows_computes_anew(self, change, tmp_path):
        measure(tmp_path, Measure())
        again = Measure()
        rows = change.get("rows", ROWS)
        assert measure(tmp_path, again, **change) == EXPECTED[: len(rows)]
        assert list(chain(*again.calls)) == rows["row_id"][:]

    def test_crash_keeps_the_finished_shards(self, tmp_path):
        first = Measure(fails_on="r8")
        with pytest.raises(RuntimeError, match="power cut"):
            measure(tmp_path, first)
        assert first.calls == SHARDS[:2]
        again = Measure()
        assert measure(tmp_path, again) == EXPECTED
        assert again.calls == SHARDS[2:]

    def test_column_whose_first_shard_is_all_null_keeps_its_type(self, tmp_path):
        rows = Dataset.from_dict({"row_id": list("abcd"), "text": ["", "", "xyz", ""]})
        assert [row["length"] for row in measure(tmp_path, Measure(), rows, shard_rows=2)] == [None, None, 3.0, None]

    def test_column_that_is_null_in_every_row_keeps_its_type(self, tmp_path):
        rows = Dataset.from_dict({"row_id": list("abc"), "text": [""] * 3})
        assert [row["length"] for row in measure(tmp_path, Measure(), rows, shard_rows=2)] == [None] * 3

    def test_no_rows_give_no_rows_with_the_columns(self, tmp_path):
        function = Measure()
        assert measure(tmp_path / "work", function, ROWS.select([])) == []
        assert function.calls == []

    def test_columns_that_the_result_has_not_are_dropped_and_the_others_stay(self, tmp_path):
        features = Features({**ROWS.features, "length": Value("float64")})
        del features["extra"]
        mapped = apply_step(ROWS, Measure(), key="k", features=features, work_dir=tmp_path)
        assert mapped.column_names == ["row_id", "text", "length"]
        assert mapped["text"][:] == ROWS["text"][:]


class TestRanks:
    @pytest.mark.parametrize("world_size", [2, 3, 4])
    def test_partition_the_rows_and_one_process_then_joins_them(self, world_size, tmp_path):
        functions = [Measure() for _ in range(world_size)]
        parts = [
            measure(tmp_path, function, rank=rank, world_size=world_size) for rank, function in enumerate(functions)
        ]
        for rank, function in enumerate(functions):
            assert function.calls == SHARDS[rank::world_size]
        assert sorted(chain(*parts), key=lambda row: row["row_id"]) == EXPECTED
        joining = Measure()
        assert measure(tmp_path, joining) == EXPECTED
        assert joining.calls == []

    def test_rank_without_a_shard_gets_no_rows_with_the_columns(self, tmp_path):
        function = Measure()
        assert measure(tmp_path, function, rank=5, world_size=6) == []
        assert function.calls == []
