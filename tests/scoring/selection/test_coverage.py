"""Facility location against a plain greedy choice on the whole matrix, against all subsets, and by hand."""

import math
from itertools import combinations

import numpy as np
import pytest

from scoring.selection import coverage
from scoring.selection.coverage import pick_by_coverage


def similarities(vectors_ND: np.ndarray) -> np.ndarray:
    """Cosines of all pairs, 0 where negative."""
    lengths = np.sqrt((vectors_ND.astype(np.float64) ** 2).sum(1))
    cosine_NN = vectors_ND.astype(np.float64) @ vectors_ND.astype(np.float64).T
    return np.where(cosine_NN > 0, cosine_NN / np.outer(lengths, lengths), 0.0)


def dense_greedy(vectors_ND: np.ndarray, count: int) -> list[int]:
    """The definition: of all rows not yet picked the one with the largest f, the first of those equal to 9 digits."""
    similarity_NN = similarities(vectors_ND)
    nearest_N = np.zeros(len(vectors_ND))
    picks: list[int] = []
    for _ in range(count):
        values_N = np.maximum(similarity_NN, nearest_N).sum(axis=1).round(9)
        values_N[picks] = -1
        picks.append(int(values_N.argmax()))
        nearest_N = np.maximum(nearest_N, similarity_NN[picks[-1]])
    return picks


def objective(vectors_ND: np.ndarray, picks: list[int]) -> float:
    return float(similarities(vectors_ND)[:, picks].max(axis=1).sum())


def isotropic(rows: int, dimensions: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


def clustered(rows: int, dimensions: int = 24) -> np.ndarray:
    """Clusters whose sizes differ widely, around a common direction."""
    numbers = np.random.default_rng(1)
    centres = numbers.normal(size=(40, dimensions)) + 1
    of = (40 * numbers.random(rows) ** 3).astype(int)
    return (centres[of] + 0.3 * numbers.normal(size=(rows, dimensions))).astype(np.float32)


def with_duplicates() -> np.ndarray:
    """Every row three times, in a random order."""
    rows = np.tile(isotropic(60), (3, 1))
    return rows[np.random.default_rng(2).permutation(len(rows))]


def pairs_apart() -> np.ndarray:
    """Twenty pairs of rows, each in a plane of its own, turned at random: the two of a pair tie but for rounding."""
    rows = np.zeros((40, 40))
    for pair in range(20):
        angle = 0.3 + 0.04 * pair
        rows[2 * pair, 2 * pair] = 1
        rows[2 * pair + 1, 2 * pair : 2 * pair + 2] = math.cos(angle), math.sin(angle)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(40, 40)))
    return rows @ turn


def polygon() -> np.ndarray:
    """Twelve directions of a plane at equal angles: every first pick is as good."""
    angles = 2 * math.pi * np.arange(12) / 12
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


DATA = {
    "isotropic": (isotropic(300), 60),
    "clustered": (clustered(300), 60),
    "every row": (isotropic(60), 60),
    "duplicates": (with_duplicates(), 180),
    "pairs": (pairs_apart(), 40),
    "polygon": (polygon(), 12),
    "one dimension": (np.array([[3.0], [-1.0], [2.0], [-5.0], [1.0]]), 5),
    "one row": (np.ones((1, 3)), 1),
}


class TestPicks:
    @pytest.mark.parametrize("make", [isotropic, clustered])
    def test_are_those_of_the_dense_greedy_on_2000_rows(self, make):
        vectors_ND = make(2000)
        assert pick_by_coverage(vectors_ND, 60).picks == dense_greedy(vectors_ND, 60)

    @pytest.mark.parametrize("name", DATA)
    def test_are_those_of_the_dense_greedy(self, name):
        vectors_ND, count = DATA[name]
        assert pick_by_coverage(vectors_ND, count).picks == dense_greedy(vectors_ND, count)

    @pytest.mark.parametrize("name", DATA)
    def test_do_not_depend_on_the_blocks(self, name, monkeypatch):
        vectors_ND, count = DATA[name]
        whole = pick_by_coverage(vectors_ND, count)
        monkeypatch.setattr(coverage, "CANDIDATES", 37)
        monkeypatch.setattr(coverage, "ROWS", 11)
        in_blocks = pick_by_coverage(vectors_ND, count)
        assert in_blocks.picks == whole.picks
        assert in_blocks.gains == pytest.approx(whole.gains, rel=1e-9, abs=1e-9)

    def test_by_hand(self):
        angles = np.radians([0, 60, 90])
        found = pick_by_coverage(np.stack([np.cos(angles), np.sin(angles)], axis=1), 2)
        # First picks cover 1 + cos 60, cos 60 + 1 + cos 30, cos 30 + 1.
        assert found.picks == [1, 0]
        assert found.gains == pytest.approx([0.5 + 1 + math.sqrt(3) / 2, 0.5])
        assert found.objective == pytest.approx(2 + math.sqrt(3) / 2)
        assert found.mean_similarity == pytest.approx((2 + math.sqrt(3) / 2) / 3)
        assert found.upper_bound == pytest.approx(found.objective + 1 - math.sqrt(3) / 2)

    def test_equal_rows_stand_for_one_another_and_ties_go_to_the_lower_number(self):
        # Of directions that are at right angles: 0 twice, 1 four times, 2 once, 3 four times; turned, so that rounding
        # makes the similarities of equal rows differ from 1 and those of others from 0.
        directions = np.array([2, 1, 3, 0, 1, 3, 0, 3, 1, 3, 1])
        turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(384, 384)))
        found = pick_by_coverage(turn[directions].astype(np.float32), 11)
        assert found.picks == [1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10]
        assert found.gains == pytest.approx([4, 4, 2, 1, *[0] * 7], abs=1e-6)

    def test_the_length_of_a_vector_does_not_matter(self):
        vectors_ND = clustered(100).astype(np.float64)
        scales = 10.0 ** np.linspace(-200, 200, 100)[:, None]
        assert pick_by_coverage(vectors_ND * scales, 30).picks == pick_by_coverage(vectors_ND, 30).picks

    def test_a_row_that_points_away_counts_as_uncovered(self):
        found = pick_by_coverage(np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), 1)
        assert (found.picks, found.objective) == ([0], 2.0)

    def test_the_vectors_stay_as_they_were(self):
        vectors_ND = clustered(50).astype(np.float64)
        before = vectors_ND.copy()
        pick_by_coverage(vectors_ND, 5)
        np.testing.assert_array_equal(vectors_ND, before)


class TestValues:
    @pytest.mark.parametrize("name", DATA)
    def test_the_objective_is_that_of_the_picks_and_the_sum_of_the_gains(self, name):
        vectors_ND, count = DATA[name]
        found = pick_by_coverage(vectors_ND, count)
        assert found.objective == pytest.approx(objective(vectors_ND, found.picks), rel=1e-9)
        assert found.objective == pytest.approx(sum(found.gains), rel=1e-9)
        assert found.mean_similarity == pytest.approx(found.objective / len(vectors_ND))
        assert all(after <= before + 1e-9 for before, after in zip(found.gains, found.gains[1:], strict=False))

    @pytest.mark.parametrize("seed", range(5))
    def test_against_the_best_of_all_subsets(self, seed):
        vectors_ND = isotropic(11, 3, seed)
        best = max(objective(vectors_ND, list(picks)) for picks in combinations(range(11), 3))
        found = pick_by_coverage(vectors_ND, 3)
        assert (1 - 1 / math.e) * best <= found.objective <= best + 1e-9 <= found.upper_bound + 2e-9

    def test_every_row_picked_covers_all(self):
        found = pick_by_coverage(isotropic(30), 30)
        assert found.objective == pytest.approx(30)
        assert found.upper_bound == pytest.approx(30)

    def test_no_pick_covers_nothing(self):
        found = pick_by_coverage(isotropic(10), 0)
        assert (found.picks, found.gains, found.objective, found.mean_similarity) == ([], [], 0.0, 0.0)
        assert found.upper_bound == 0.0

    def test_of_no_rows(self):
        assert pick_by_coverage(np.empty((0, 4)), 0).mean_similarity is None


class TestRefuses:
    @pytest.mark.parametrize("count", [-1, 6])
    def test_a_count_that_cannot_be(self, count):
        with pytest.raises(ValueError, match=f"count {count}: there are 5 rows"):
            pick_by_coverage(isotropic(5), count)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none(self, value):
        vectors_ND = isotropic(5)
        vectors_ND[3, 2] = value
        with pytest.raises(ValueError, match="1 vectors are zero, NaN or infinite, row 3"):
            pick_by_coverage(vectors_ND, 2)

    def test_a_vector_without_direction(self):
        vectors_ND = isotropic(5)
        vectors_ND[1:3] = 0
        with pytest.raises(ValueError, match="2 vectors are zero, NaN or infinite, row 1"):
            pick_by_coverage(vectors_ND, 2)

    def test_what_is_no_matrix(self):
        with pytest.raises(ValueError, match="shape"):
            pick_by_coverage(np.ones(4), 1)
