import numpy as np
import pyarrow as pa
import pytest

from hub_cards.errors import BadInputError

IFD_LOSS = [0.9, 1.0, 0.5, None, 0.7, 1.3]


def test_keeps_the_highest_ifd_below_1(decide):
    found = decide("cherry count=2", ifd_loss=IFD_LOSS)
    assert found.reasons == {
        "a": "kept",
        "b": "ifd_not_below_1",
        "c": "below_the_cut",
        "d": "unscored",
        "e": "kept",
        "f": "ifd_not_below_1",
    }
    assert found.ranks == {"a": 1, "e": 2, "c": 3}
    assert found.scores["a"] == 0.9


def test_a_fraction_counts_the_rows_that_the_gate_drops(decide):
    assert decide("cherry fraction=0.5", ifd_loss=IFD_LOSS).kept == ["a", "c", "e"]
    with pytest.raises(BadInputError, match=r"fraction 0.6 of 6 rows is 4, but of the 6 rows only 3 can be kept"):
        decide("cherry fraction=0.6", ifd_loss=IFD_LOSS)


def test_takes_the_ratio_that_is_asked_for(decide):
    columns = {"ifd_loss": [0.1, 0.9, 0.2], "ifd_ppl": [0.3, 1.1, 0.2]}
    assert decide("cherry count=1", **columns).kept == ["b"]
    assert decide("cherry count=1 ratio=ppl", **columns).kept == ["a"]


def test_gives_every_group_its_part_of_the_places(decide):
    columns = {"ifd_loss": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 1.1], "kind": ["x"] * 5 + ["y"] * 2 + ["y"]}
    found = decide("cherry count=4 group_by=kind", **columns)  # 5 and 3 rows: of 4 places 2.5 and 1.5, so 3 and 1
    assert found.kept == ["a", "b", "c", "f"]
    assert found.ranks == {row: rank for rank, row in enumerate("abcdefg", start=1)}  # among all, not by group
    assert found.reasons["d"] == "below_the_cut"


def test_groups_may_be_numbers_or_nulls(decide):
    columns = {"ifd_loss": [0.9, 0.8, 0.7, 0.6], "turns": [1, 1, None, None]}
    assert decide("cherry count=2 group_by=turns", **columns).kept == ["a", "c"]


def test_groups_are_of_a_column_that_there_is(decide):
    with pytest.raises(BadInputError, match="original has no column kind"):
        decide("cherry count=1 group_by=kind", ifd_loss=[0.5])


def test_is_the_head_of_the_sorted_rows(decide):
    numbers = np.random.default_rng(0)
    ids = [f"{number:03}" for number in numbers.permutation(200)]
    values = numbers.choice([None, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2], 200)
    in_order = sorted((-value, row) for row, value in zip(ids, values, strict=True) if value is not None and value < 1)
    found = decide("cherry count=70", row_id=ids, ifd_loss=pa.array(values, pa.float64()))
    assert set(found.kept) == {row for _, row in in_order[:70]}
    assert found.kept == [row for row in ids if row in set(found.kept)]
    assert found.ranks == {row: rank for rank, (_, row) in enumerate(in_order, start=1)}
