"""Rows by chance: the same for the same seed whatever stands beside them, and of the lengths of another selection."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from scoring.selection.random_rows import draws, length_bins

IDS = [f"row{number}" for number in range(400)]


class TestDraws:
    def test_are_of_the_id_and_the_seed(self):
        expected = int(hashlib.sha256(b"3 row7").hexdigest()[:12], 16) / 16**12
        assert draws(np.array(["row7"]), 3).tolist() == [expected]

    def test_are_spread_evenly(self):
        found = np.sort(draws(np.array([f"{number}" for number in range(5000)]), 0))
        assert np.abs(found - np.linspace(0, 1, 5000)).max() < 0.03  # Kolmogorov-Smirnov at 0.03: p < 1e-3

    def test_of_two_seeds_have_nothing_to_do_with_each_other(self):
        ids = np.array(IDS)
        assert abs(np.corrcoef(draws(ids, 0), draws(ids, 1))[0, 1]) < 0.15


class TestRandomRows:
    def test_the_smallest_draws_are_kept(self, decide):
        found = decide("random count=100 seed=5", row_id=IDS)
        numbers = dict(zip(IDS, draws(np.array(IDS), 5), strict=True))
        assert set(found.kept) == set(sorted(IDS, key=numbers.get)[:100])
        assert found.scores == numbers
        assert Counter(found.reasons.values()) == {"kept": 100, "not_drawn": 300}

    def test_of_fewer_rows_the_ones_that_are_left_come_in_the_same_order(self, decide):
        of_all = decide("random count=400", row_id=IDS).ranks
        some = IDS[::3]
        of_some = decide("random count=50", row_id=some).ranks
        assert sorted(some, key=of_some.get) == sorted(some, key=of_all.get)

    def test_another_seed_takes_other_rows(self, decide):
        kept = [set(decide(f"random count=100 seed={seed}", row_id=IDS).kept) for seed in range(2)]
        assert 10 < len(kept[0] & kept[1]) < 45  # 25 are expected by chance

    def test_rows_that_could_not_be_scored_are_not_drawn(self, decide):
        found = decide("random count=2", ifd_ppl=[0.5, None, 1.5])
        assert found.reasons == {"a": "kept", "b": "unscored", "c": "kept"}


def as_selection(lengths):
    kept = Dataset.from_dict({"output": ["x" * length for length in lengths]})
    return lambda _: DatasetDict(selected=kept)


class TestLengthMatchedRandom:
    @pytest.fixture
    def match(self, select):
        def run(lengths, like, seed=0, **columns):
            ids = [f"r{number:04}" for number in range(len(lengths))]
            original = {"row_id": ids, "output": ["y" * length for length in lengths], **columns}
            words = f"length_matched_random like=x seed={seed}"
            return select(words, load_selection=as_selection(like), original=original)

        return run

    def test_by_hand(self, match):
        found = match([1, 9, 1, 9, 1, 9], like=[1, 9, 9])
        assert sorted(len(text) for text in found.selected["output"]) == [1, 9, 9]
        assert Counter(found.reasons.values()) == {"kept": 3, "not_drawn": 3}
        assert found.ranks == {}

    def test_the_smallest_draws_of_each_length_are_kept(self, match):
        found = match([5] * 50 + [90] * 50, like=[5] * 10 + [90] * 20, seed=2)
        ids = found.decisions["row_id"][:]
        numbers = dict(zip(ids, draws(np.array(ids), 2), strict=True))
        expected = sorted(ids[:50], key=numbers.get)[:10] + sorted(ids[50:], key=numbers.get)[:20]
        assert found.kept == sorted(expected)

    def test_has_as_many_rows_of_every_bin_as_the_other_selection(self, match):
        numbers = np.random.default_rng(0)
        like = numbers.lognormal(3, 0.7, 100).astype(int).tolist()
        lengths = numbers.lognormal(3.2, 1, 2000).astype(int).tolist()
        found = match(lengths, like)
        edges = [-1, *np.unique(np.quantile(like, np.linspace(0.05, 0.95, 19))), 10**9]

        def histogram(values):
            return [sum(low <= value < high for value in values) for low, high in itertools.pairwise(edges)]

        drawn = [len(text) for text in found.selected["output"]]
        assert histogram(drawn) == histogram(like) and len(drawn) == 100
        assert max(histogram(like)) <= 12  # the bins are of about equally many rows
        assert set(match(lengths, like, seed=1).kept) != set(found.kept)

    def test_rows_that_could_not_be_scored_are_not_drawn(self, match):
        found = match([5, 5, 5], like=[5, 5], ifd_ppl=[0.5, None, 0.5])
        assert found.reasons == {"r0000": "kept", "r0001": "unscored", "r0002": "kept"}

    @pytest.mark.parametrize(
        ("lengths", "like", "message"),
        [
            ([5], [], "like x: that selection kept no row"),
            ([5, 3], [5, 5], "like x: has 2 responses of 5 to 6 characters, the rows here only 1"),
            (
                [5, 95],
                [5, 90],
                "like x: has 2 responses of 5 to 91 characters, the rows here only 1: their lengths cannot",
            ),
        ],
    )
    def test_lengths_that_cannot_be_matched_are_refused(self, match, lengths, like, message):
        with pytest.raises(BadInputError, match=message):
            match(lengths, like)


class TestLengthBins:
    def test_hold_all_rows(self):
        for lengths in ([3], [3, 3, 3], [0, 0, 1], list(range(100)), [0] * 50 + [10**6]):
            bins = length_bins(np.array(lengths))
            assert sum(count for *_, count in bins) == len(lengths)
            for low, high, count in bins:
                assert sum(low <= length < high for length in lengths) == count > 0

    def test_are_twenty_of_equally_many(self):
        assert [count for *_, count in length_bins(np.arange(100))] == [5] * 20
