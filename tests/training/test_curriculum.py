import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_cards.errors import BadInputError
from training.curriculum import Order, in_order, parse_order

NAN = float("nan")


def rows_of(scores, ids="abcdefgh"):
    columns = {"row_id": list(ids[: len(scores)]), "ifd_ppl": scores, "output": ["x"] * len(scores)}
    return Dataset.from_dict(columns)


def test_a_column_the_lowest_or_the_highest_first():
    assert parse_order("ifd_ppl") == parse_order(" ifd_ppl asc") == Order("ifd_ppl")
    assert parse_order("ifd_ppl desc") == Order("ifd_ppl", descending=True)
    for text in ("", "-ifd_ppl", "ifd_ppl down", "ifd_ppl desc, loss"):
        with pytest.raises(BadInputError, match="write a column, as in ifd_ppl"):
            parse_order(text)


def test_nulls_come_last_and_equal_ones_by_their_row_id():
    rows = rows_of([0.5, None, 0.1, 0.5, NAN, 0.9], ids="edcbaf")
    ordered, missing = in_order(rows, Order("ifd_ppl"))
    assert ordered["row_id"][:] == ["c", "b", "e", "f", "a", "d"] and missing == 2
    ordered, missing = in_order(rows, Order("ifd_ppl", descending=True))
    assert ordered["row_id"][:] == ["f", "b", "e", "c", "a", "d"] and missing == 2


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.none(), st.floats(0, 2), st.sampled_from([0.5, 1.0])), min_size=1, max_size=7))
def test_the_order_does_not_depend_on_the_rows_order(scores):
    rows = rows_of([*scores, 0.5])
    ordered, missing = in_order(rows, Order("ifd_ppl"))
    turned, _ = in_order(rows.select(range(len(rows))[::-1]), Order("ifd_ppl"))
    assert ordered["row_id"][:] == turned["row_id"][:]
    values = ordered["ifd_ppl"][:]
    known = len(values) - missing
    assert values[:known] == sorted(values[:known]) and values[known:] == [None] * missing


def test_a_column_that_is_not_there_or_holds_no_numbers_is_refused():
    with pytest.raises(BadInputError) as refused:
        in_order(rows_of([0.5]), Order("ifd"))
    assert str(refused.value) == (
        "--curriculum ifd: the rows carry no such score; its columns of numbers are ifd_ppl. "
        "Scores come from recipes/score.py and stay with its rows; other columns of a file are not carried along"
    )
    with pytest.raises(BadInputError, match="its columns of numbers are ifd_ppl"):
        in_order(rows_of([0.5]), Order("output"))
    with pytest.raises(BadInputError, match="it has no column of numbers"):
        in_order(rows_of([0.5]).remove_columns("ifd_ppl"), Order("ifd_ppl"))
