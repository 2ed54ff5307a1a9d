"""Steps shard by shard: computed once, resumed after a crash, shared by ranks, prepared ahead."""

from itertools import chain
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value

from hub_cards.errors import StoppedError
from hub_cards.shards import ShardedStep, apply_step, even_shards

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
    def step(self, work_dir: Path, function: Measure, **options) -> ShardedStep:
        return ShardedStep(
            ROWS, lambda batch, _: function(batch), "key", LENGTHS, work_dir, even_shards(10, 3), **options
        )

    @pytest.mark.parametrize("world_size", [2, 3, 4, 6])
    def test_partition_the_shards_and_one_process_then_joins_them(self, world_size, tmp_path):
        for rank in range(world_size):
            function = Measure()
            self.step(tmp_path, function).compute(range(rank, 4, world_size))
            assert function.calls == SHARDS[rank::world_size]
        assert self.step(tmp_path, Measure()).result().to_list() == EXPECTED

    def test_the_order_of_computing_changes_nothing(self, tmp_path):
        function, shown = Measure(), []
        step = self.step(tmp_path, function)
        step.compute([2, 0, 3, 1], lambda shard: shown.append(shard["row_id"][:]))
        assert function.calls == shown == [SHARDS[number] for number in (2, 0, 3, 1)]
        assert step.result().to_list() == EXPECTED

    def test_a_shard_that_no_process_left_is_said_and_not_made_up(self, tmp_path):
        step = self.step(tmp_path, Measure())
        step.compute([0, 1, 3])
        with pytest.raises(StoppedError, match=f"1 of 4 parts are not in {tmp_path}"):
            step.result()
        assert step.missing(range(4)) == [2]

    @pytest.mark.parametrize("damage", ["cut", "empty", "other rows"])
    def test_a_damaged_shard_is_computed_again(self, damage, tmp_path):
        """A power cut can leave a file that was renamed and never reached the disk."""
        self.step(tmp_path, Measure()).compute(range(4))
        path = self.step(tmp_path, Measure()).path(1)
        if damage == "other rows":
            path.write_bytes(self.step(tmp_path, Measure()).path(3).read_bytes())
        else:
            path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 2] if damage == "cut" else b"")
        again = Measure()
        step = self.step(tmp_path, again)
        assert step.missing(range(4)) == [1]
        step.compute(range(4))
        assert again.calls == [SHARDS[1]] and step.result().to_list() == EXPECTED

    def test_what_is_prepared_is_that_of_the_shard_and_only_of_missing_ones(self, tmp_path):
        self.step(tmp_path, Measure()).compute([1])
        prepared, taken = [], []

        def prepare(batch):
            prepared.append(batch["row_id"])
            return batch["row_id"]

        def function(batch, ahead):
            taken.append(ahead)
            return Measure()(batch)

        shards = even_shards(10, 3)
        ShardedStep(ROWS, function, "key", LENGTHS, tmp_path, shards, prepare).compute(range(4))
        assert prepared == taken == [SHARDS[0], SHARDS[2], SHARDS[3]]

    def test_an_error_while_preparing_reaches_the_caller(self, tmp_path):
        def prepare(batch):
            raise ValueError("no such token")

        with pytest.raises(ValueError, match="no such token"):
            self.step(tmp_path, Measure(), prepare=prepare).compute(range(4))
