"""Which file is of which part, by its name."""

from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_cards.parts import find_parts, part_name, read_batches, read_parquet


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/origin-00000-of-00001-0a1b2c3d.parquet", "original"),
        ("data/original-00000-of-00001.parquet", "original"),
        ("origin.jsonl", "original"),
        ("reflect_both/train-00000-of-00001-0a1b.parquet", "reflect_both"),
        ("default/reflect_response/0000.parquet", "reflect_response"),
        ("reflect_instruction/data/train.json", "reflect_instruction"),
        ("selected/train-00000-of-00002-0a1b.parquet", "selected"),
        ("data/train-00000-of-00001.parquet", "train"),
        ("default/train/0000.parquet", "train"),
        ("alpaca_data.json", "alpaca_data"),
        ("aboriginal.json", "aboriginal"),
    ],
)
def test_name_is_the_variant_else_the_config_else_the_split(path, name):
    assert part_name(PurePosixPath(path)) == name


def test_parts_are_the_variants_in_order_and_then_the_rest():
    names = ["z.json", "reflect_both.json", "a.json", "origin/1.json", "origin/0.json"]
    parts = find_parts(Path("/d"), sorted(Path("/d") / name for name in names))
    assert list(parts) == ["original", "reflect_both", "a", "z"]
    assert [path.name for path in parts["original"]] == ["0.json", "1.json"]


class TestReading:
    @pytest.fixture
    def paths(self, tmp_path) -> list[Path]:
        paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
        for number, path in enumerate(paths):
            pq.write_table(pa.table({"a": [number * 2, number * 2 + 1], "b": ["x", "y"]}), path)
        return paths

    def test_files_follow_each_other(self, paths):
        assert read_parquet(paths, ["a"]).to_pydict() == {"a": [0, 1, 2, 3]}

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, None])
    def test_batches_end_at_the_limit(self, limit, paths):
        batches = list(read_batches(paths, limit))
        assert [value for batch in batches for value in batch.to_pydict()["a"]] == [0, 1, 2, 3][:limit]
        assert all(len(batch) for batch in batches)

    def test_different_columns_are_refused(self, paths, complaint):
        pq.write_table(pa.table({"a": ["text"], "b": ["x"]}), paths[1])
        assert "its files have different columns" in complaint(read_parquet, paths)

    def test_a_damaged_file_is_refused(self, paths, complaint):
        paths[1].write_bytes(b"PAR1")
        assert "1.parquet cannot be read as parquet" in complaint(read_parquet, paths)
        assert "1.parquet cannot be read as parquet" in complaint(list, read_batches(paths))
