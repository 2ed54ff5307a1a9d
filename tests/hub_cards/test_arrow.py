import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hub_cards import arrow
from hub_cards.arrow import arrow_column, numbers, positions_in


def chunked(values, kind):
    """In two chunks."""
    return pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])


class TestArrowColumn:
    def test_is_in_the_order_of_the_rows(self):
        rows = Dataset.from_dict({"x": [1, 2, None, 4], "y": list("abcd")})
        assert arrow_column(rows, "x").to_pylist() == [1, 2, None, 4]
        assert arrow_column(rows.select([3, 0, 0]), "x").to_pylist() == [4, 1, 1]
        assert arrow_column(rows.select([]), "y").to_pylist() == []

    def test_does_not_care_how_the_rows_are_shown(self):
        rows = Dataset.from_dict({"x": [1.5, None]}).with_format("numpy")
        assert arrow_column(rows, "x").to_pylist() == [1.5, None]


class TestNumbers:
    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            ([1, None, 3], pa.int64(), [1.0, np.nan, 3.0]),
            ([0.1, None], pa.float32(), [float(np.float32(0.1)), np.nan]),
            ([0.1, float("nan"), float("inf"), -float("inf")], pa.float64(), [0.1, np.nan, np.nan, np.nan]),
            ([None, None], pa.null(), [np.nan, np.nan]),
            ([], pa.float64(), []),
        ],
    )
    def test_are_float64_and_nan_for_what_is_none(self, values, kind, expected):
        found = numbers(chunked(values, kind))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


class TestPositionsIn:
    def test_are_those_of_the_known_or_minus_1(self):
        found = positions_in(chunked(["c", "x", "a"], pa.string()), chunked(["a", "b", "c"], pa.string()))
        assert found.tolist() == [2, -1, 0]

    def test_of_nobody(self):
        nobody = chunked([], pa.string())
        assert positions_in(nobody, chunked(["a"], pa.string())).tolist() == []
        assert positions_in(chunked(["a"], pa.string()), nobody).tolist() == [-1]


@pytest.mark.parametrize("held", [0, 10**9])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_tables_follow_each_other_in_memory_or_in_a_mapped_file(monkeypatch, held, count):
    monkeypatch.setattr(arrow, "HELD_BYTES", held)
    schema = pa.schema({"x": pa.int64()})
    tables = [pa.table({"x": [number, None]}, schema=schema) for number in range(count)]
    found = arrow.mapped(iter(tables), schema)
    assert found.schema == schema
    assert found["x"].to_pylist() == [value for number in range(count) for value in (number, None)]
