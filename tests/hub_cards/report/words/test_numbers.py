import math

import pytest

from hub_cards.report.words.numbers import apart, beside_one, counted, number, share, shown


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (0.81, 0.84, ("0.81", "0.84")),
        (0.8412, 0.8414, ("0.8412", "0.8414")),
        (0.8449, 0.8451, ("0.84", "0.85")),
        (0.84, 0.84, ("0.84", "0.84")),
        (12345.678, 2.0, ("12,345.68", "2.00")),
        (1.0, math.nextafter(1.0, 2), ("1.0000000000000000", "1.0000000000000002")),
        (1e-20, 2e-20, ("1e-20", "2e-20")),
    ],
)
def test_as_many_decimals_as_tell_two_numbers_apart(one, other, texts):
    assert apart(one, other) == texts
    assert apart(other, one) == texts[::-1]


@pytest.mark.parametrize(("value", "text"), [(0.79, "0.79"), (1.0, "1.00"), (0.9997, "0.9997"), (1.004, "1.004")])
def test_a_number_beside_1_shows_its_side(value, text):
    assert beside_one(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.005, "0.01"), (0.0049, "0.0049"), (3e-7, "3e-07"), (-1234.5, "-1,234.50")]
)
def test_two_decimals_or_two_digits(value, text):
    assert shown(value) == text


@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, [1]])
def test_what_is_no_number(value):
    assert number(value) is None


def test_counts_and_shares():
    assert (counted(1, "row"), counted(1000.0, "row")) == ("1 row", "1,000 rows")
    assert share({"fraction": 0.05, "count": None}) == "the 5 %"
    assert share({"count": 1000}) == "the 1,000 rows"
    assert share({"fraction": "much"}) == "those"
