"""Conditions on rows: which positions pass, in which order, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_cards.where import rows_that_pass

NAN = float("nan")


def passing(values: list, *conditions: str, **more: list) -> list[int]:
    columns = {"x": values, **more}
    return rows_that_pass(conditions, columns.__getitem__, len(values))


class TestComparisons:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("x < 2", [0]),
            ("x <= 2", [0, 1, 3]),
            ("x > 2", [2]),
            ("x >= 2", [1, 2, 3]),
            ("x == 2", [1, 3]),
            ("x != 2", [0, 2]),
            ("x<2.5", [0, 1, 3]),
            ("  x  >  -1e0  ", [0, 1, 2, 3]),
            ("x < inf", [0, 1, 2, 3]),
        ],
    )
    def test_of_numbers(self, condition, expected):
        assert passing([1, 2.0, 3, 2], condition) == expected

    @pytest.mark.parametrize("sign", ["<", "<=", ">", ">=", "==", "!="])
    def test_a_null_and_a_nan_never_pass(self, sign):
        assert 1 not in passing([0, None, NAN, 1, 2], f"x {sign} 1")
        assert 2 not in passing([0, None, NAN, 1, 2], f"x {sign} 1")
        assert passing([0, None, NAN, 1, 2], f"x {sign} 1")

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [("x == good", [0, 3]), ("x == 'good'", [0, 3]), ('x != "good"', [1]), ("x == very bad", [1])],
    )
    def test_of_texts(self, condition, expected):
        assert passing(["good", "very bad", None, "good"], condition) == expected

    def test_true_and_false_are_texts_and_numbers(self):
        assert passing([True, False, True], "x == True") == passing([True, False, True], "x == 1") == [0, 2]

    def test_of_a_whole_number_larger_than_any_float(self):
        assert passing([1, 10**400, -(10**400)], "x > 5") == [1]
        assert passing([1, 10**400, -(10**400)], "x lowest 2") == [0, 2]


class TestRankings:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("x highest 1", [2]),
            ("x highest 3", [1, 2, 4]),
            ("x lowest 2", [0, 3]),
            ("x lowest 1", [0]),  # of equal values the first
            ("x highest 99", [0, 1, 2, 3, 4]),
            ("x highest 40%", [2, 4]),
            ("x lowest 60 %", [0, 1, 3]),
            ("x highest 50.1%", [1, 2, 4]),
            ("x lowest 100%", [0, 1, 2, 3, 4]),
            ("x highest 10%", [2]),  # half a row
            ("x highest 29.9%", [2]),
        ],
    )
    def test_keep_the_order_of_the_rows(self, condition, expected):
        assert passing([1, 5, 9, 1, 7], condition) == expected

    def test_ties_count_in_the_order_of_the_rows(self):
        assert passing([4, 4, 4, 4], "x highest 2") == passing([4, 4, 4, 4], "x lowest 50%") == [0, 1]

    def test_a_share_is_of_all_rows_and_a_null_or_nan_is_never_among_them(self):
        assert passing([None, 3, NAN, 1], "x lowest 50%") == [1, 3]
        assert passing([None, 3, NAN, 1], "x highest 100%") == [1, 3]
        assert passing([None, 3, NAN, 1, 2, None], "x highest 17%") == [1]

    @given(st.lists(st.none() | st.floats(allow_infinity=True) | st.integers(-3, 3), min_size=1), st.integers(1, 9))
    def test_are_those_of_a_naive_sort(self, values, count):
        known = [n for n, value in enumerate(values) if value is not None and not math.isnan(value)]
        if not known:
            return
        assert passing(values, f"x lowest {count}") == sorted(sorted(known, key=lambda n: (values[n], n))[:count])
        assert passing(values, f"x highest {count}") == sorted(sorted(known, key=lambda n: (-values[n], n))[:count])


class TestChains:
    def test_each_condition_sees_what_the_one_before_left(self):
        values, other = [9, 8, 7, 6], [1, 2, 3, 4]
        assert passing(values, "x highest 50%", "y highest 1", y=other) == [1]
        assert passing(values, "y highest 1", "x highest 50%", y=other) == [3]
        assert passing(values, "x < 9", "x highest 1") == [1]

    def test_without_conditions_every_row_passes(self):
        assert passing([1, None, NAN]) == [0, 1, 2]

    def test_a_column_is_not_looked_at_beyond_the_rows_that_are_left(self):
        assert passing([1, "two", 3], "y > 0", "x > 1", y=[1, None, 1]) == [2]


class TestErrors:
    @pytest.mark.parametrize(
        ("condition", "said"),
        [
            ("", "is no condition"),
            ("x", "is no condition"),
            ("x less than 3", "is no condition"),
            ("x = 3", "is no condition"),
            ("< 3", "is no condition"),
            ("x highest", "is no condition"),
            ("x highest -1", "is no condition"),
            ("x highest many", "is no condition"),
            ("x > three", "'three' is no number"),
            ("x <> 3", "'> 3' is no number"),
            ("x highest 2.5", "2.5 is no number of rows; for a share write 2.5%"),
            ("x > 100", "no row passes it"),
            ("x highest 0", "no row passes it"),
            ("x < nan", "no row passes it"),
            ("x > 1\nor not", "is no condition"),
        ],
    )
    def test_name_the_condition_in_one_line(self, complaint, condition, said):
        message = complaint(passing, [1, 2, 3], condition)
        assert message.startswith(f"--where {condition!r}: ")
        assert said in message

    @pytest.mark.parametrize("condition", ["x < 3", "x == 3", "x highest 3"])
    @pytest.mark.parametrize("value", ["high", [1], {"a": 1}])
    def test_a_column_that_holds_no_numbers_cannot_be_compared_with_one(self, complaint, condition, value):
        assert f"column x holds {value!r}, which is no number" in complaint(passing, [1, value], condition)
