"""How many rows are kept, which, and how places are shared."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from hub_cards.errors import BadInputError
from scoring.selection.share import Share, keep_best, quotas

NAN = float("nan")


class TestShare:
    @pytest.mark.parametrize(
        ("share", "n_rows", "wanted"),
        [
            (Share(fraction=0.1), 52_002, 5_200),
            (Share(fraction=0.5), 3, 2),  # halves up
            (Share(fraction=0.5), 1, 1),
            (Share(fraction=0.29), 100, 29),
            (Share(fraction=1.0), 7, 7),
            (Share(count=3), 7, 3),
            (Share(count=7), 7, 7),
        ],
    )
    def test_is_so_many_rows(self, share, n_rows, wanted):
        assert share.of(n_rows, n_rows) == wanted

    def test_a_fraction_is_of_what_came_in_whatever_is_left(self):
        assert Share(fraction=0.5).of(10, 5) == 5

    @pytest.mark.parametrize(
        ("share", "n_rows", "n_left", "message"),
        [
            (Share(fraction=0.5), 10, 4, "fraction 0.5 of 10 rows is 5, but of the 10 rows only 4 can be kept; ask"),
            (Share(count=5), 10, 4, "count 5, but of the 10 rows only 4 can be kept; ask for less"),
            (Share(fraction=0.1), 4, 4, "fraction 0.1 of 4 rows is not even one row"),
            (Share(fraction=1.0), 0, 0, "fraction 1 of 0 rows is not even one row"),
        ],
    )
    def test_that_cannot_be_had_is_refused(self, share, n_rows, n_left, message):
        with pytest.raises(BadInputError, match=message):
            share.of(n_rows, n_left)

    @pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, NAN, float("inf")])
    def test_no_such_fraction(self, fraction):
        with pytest.raises(BadInputError, match=r"fraction .*: must be above 0 and at most 1"):
            Share(fraction=fraction)

    @pytest.mark.parametrize("count", [0, -1])
    def test_no_such_count(self, count):
        with pytest.raises(BadInputError, match=f"count {count}: must be at least 1"):
            Share(count=count)

    @pytest.mark.parametrize("share", [Share(), Share(fraction=0.5, count=3)])
    def test_is_one_of_the_two(self, share):
        with pytest.raises(BadInputError, match="strategy x: give either fraction or count"):
            share.check("x")


class TestKeepBest:
    def test_keeps_the_highest_and_of_equal_ones_the_smallest_ids(self, rows_of):
        rows = rows_of(row_id=["r9", "r10", "r2", "r1", "r3"], output=[""] * 5)
        outcome = keep_best(rows, np.array([1.0, 2.0, 1.0, NAN, 1.0]), Share(count=3))
        assert outcome.kept_N.tolist() == [False, True, True, False, True]
        assert outcome.ranks_N.tolist() == [4, 1, 2, 0, 3]
        assert outcome.reasons_N.tolist() == ["below_the_cut", "kept", "kept", "unscored", "kept"]

    def test_keeps_the_lowest(self, rows_of):
        rows = rows_of(output=[""] * 4)
        outcome = keep_best(rows, np.array([3.0, NAN, 1.0, 2.0]), Share(count=2), smallest=True)
        assert outcome.ranks_N.tolist() == [3, 0, 1, 2]
        assert outcome.kept_N.tolist() == [False, False, True, True]

    def test_keeps_out_what_is_barred_or_was_not_scored(self, rows_of):
        rows = rows_of(ifd_ppl=[None, 0.5, 0.5, 0.5, 0.5])
        barred = (("one", np.array([1, 1, 0, 0, 0], bool)), ("two", np.array([1, 1, 1, 0, 0], bool)))
        outcome = keep_best(rows, np.arange(5.0), Share(count=2), barred=barred)
        assert outcome.reasons_N.tolist() == ["unscored", "one", "two", "kept", "kept"]
        assert outcome.ranks_N.tolist() == [0, 0, 0, 2, 1]

    def test_fills_the_places_of_every_group_with_its_best(self, rows_of):
        rows = rows_of(output=[""] * 8)
        groups = ["x", "x", "y", "x", "x", "y", "x", "x"]  # 6 and 2 rows: of 4 places 3 and 1
        outcome = keep_best(rows, np.array([1, 2, 3, 4, 5, 6, 7, 8.0]), Share(count=4), groups=groups)
        assert np.flatnonzero(outcome.kept_N).tolist() == [4, 5, 6, 7]
        outcome = keep_best(rows, -np.array([1, 2, 3, 4, 5, 6, 7, 8.0]), Share(fraction=0.5), groups=groups)
        assert np.flatnonzero(outcome.kept_N).tolist() == [0, 1, 2, 3]

    def test_a_group_that_cannot_fill_its_places_is_refused(self, rows_of):
        rows = rows_of(output=[""] * 4)
        with pytest.raises(BadInputError, match="group 'y' has a quota of 1 rows, but only 0 of it can be kept"):
            keep_best(rows, np.array([1, 2, NAN, NAN]), Share(count=2), groups=["x", "x", "y", "y"])


class TestQuotas:
    @pytest.mark.parametrize(
        ("sizes", "wanted", "places"),
        [
            ([6, 2], 4, [3, 1]),
            ([5, 3, 2], 5, [3, 1, 1]),  # 2.5, 1.5, 1: the first of equal remainders
            ([10, 10, 10], 10, [4, 3, 3]),
            ([70, 20, 10], 7, [5, 1, 1]),  # 4.9, 1.4, 0.7
            ([1, 99], 10, [0, 10]),
            ([3], 2, [2]),
            ([2, 3], 5, [2, 3]),
        ],
    )
    def test_by_hand(self, sizes, wanted, places):
        assert quotas(np.array(sizes), wanted).tolist() == places

    def test_are_largest_remainders_and_never_more_than_a_group_has(self):
        for sizes in itertools.product(range(1, 6), repeat=3):
            for wanted in range(1, sum(sizes) + 1):
                exact = [Fraction(size * wanted, sum(sizes)) for size in sizes]
                places = [int(share) for share in exact]
                while sum(places) < wanted:
                    lacking = [share - place for share, place in zip(exact, places, strict=True)]
                    places[lacking.index(max(lacking))] += 1
                found = quotas(np.array(sizes), wanted).tolist()
                assert found == places
                assert all(place <= size for place, size in zip(found, sizes, strict=True))
