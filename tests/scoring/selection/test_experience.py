"""Pre-experience rows: by hand on clear clusters, and against a naive transcription given the clusters."""

import statistics
from fractions import Fraction

import numpy as np
import pytest

from hub_cards.errors import BadInputError
from scoring.selection.experience import evenly_spaced, pick_experience


def blobs(rows: int = 300, kinds: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Clusters far apart: vectors, the true cluster, perplexities (some equal), and ids in no order."""
    numbers = np.random.default_rng(0)
    of = numbers.integers(0, kinds, rows)
    vectors_ND = 10 * np.eye(kinds, 16)[of] + numbers.normal(size=(rows, 16))
    ppl_N = np.exp(numbers.normal(2, 1, rows)).round(1)
    return vectors_ND.astype(np.float32), of, ppl_N, [f"{number:08x}" for number in numbers.permutation(rows)]


def naive_picks(ids: list[str], ppl_N: np.ndarray, cluster_N: np.ndarray, per_cluster: int) -> set[str]:
    """The middle half of each cluster by the quartiles of the standard library, evenly spaced by exact fractions."""
    picked = set()
    for cluster in set(cluster_N.tolist()):
        rows = [(float(ppl_N[row]), ids[row]) for row in range(len(ids)) if cluster_N[row] == cluster]
        values = [ppl for ppl, _ in rows]
        least, _, most = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        middle = sorted(row for row in rows if least - 1e-9 <= row[0] <= most + 1e-9)
        places = range(len(middle))
        if len(middle) > per_cluster:
            step = Fraction(len(middle) - 1, per_cluster - 1)
            places = [int(number * step + Fraction(1, 2)) for number in range(per_cluster)]
        picked |= {middle[place][1] for place in places}
    return picked


class TestPicks:
    def test_by_hand(self):
        # Left 1..9: percentiles 25 and 75 are 3 and 7, so 3 4 5 6 7, of which three evenly: 3 5 7.
        # Right 10 20: 12.5 and 17.5, none between. Far 5: itself.
        places = [[-10.0, 0]] * 9 + [[10.0, 0]] * 2 + [[0, 50.0]]
        ppl = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 5]
        ids = [f"row{number:02d}" for number in range(12)]
        noise = np.random.default_rng(0).normal(scale=0.1, size=(12, 2))
        picked_N, cluster_N = pick_experience(places + noise, ppl, ids=ids, clusters=3, per_cluster=3)
        assert [ppl[row] for row in np.flatnonzero(picked_N)] == [3, 5, 7, 5]
        assert picked_N[-1]
        assert [len(set(cluster_N[part].tolist())) for part in (slice(9), slice(9, 11), slice(11, 12))] == [1, 1, 1]
        assert len(set(cluster_N.tolist())) == 3

    @pytest.mark.parametrize("per_cluster", [2, 5, 10, 1000])
    def test_are_the_naive_ones(self, per_cluster):
        vectors_ND, of, ppl_N, ids = blobs()
        picked_N, cluster_N = pick_experience(vectors_ND, ppl_N, ids=ids, clusters=6, per_cluster=per_cluster)
        assert len(set(zip(of.tolist(), cluster_N.tolist(), strict=True))) == 6  # the clusters are the true ones
        assert {ids[row] for row in np.flatnonzero(picked_N)} == naive_picks(ids, ppl_N, of, per_cluster)

    def test_are_the_naive_ones_where_clusters_are_not_clear(self):
        _, _, ppl_N, ids = blobs()
        vectors_ND = np.random.default_rng(1).normal(size=(300, 8))
        picked_N, cluster_N = pick_experience(vectors_ND, ppl_N, ids=ids, clusters=40, per_cluster=3)
        assert set(cluster_N.tolist()) == set(range(40))
        assert {ids[row] for row in np.flatnonzero(picked_N)} == naive_picks(ids, ppl_N, cluster_N, 3)

    def test_do_not_depend_on_the_order_of_the_rows(self):
        _, _, ppl_N, ids = blobs()
        vectors_ND = np.random.default_rng(1).normal(size=(300, 8))
        order = np.random.default_rng(2).permutation(300)
        picked_N, cluster_N = pick_experience(vectors_ND, ppl_N, ids=ids, clusters=20)
        picked_M, cluster_M = pick_experience(
            vectors_ND[order], ppl_N[order], ids=[ids[row] for row in order], clusters=20
        )
        np.testing.assert_array_equal(picked_M, picked_N[order])
        np.testing.assert_array_equal(cluster_M, cluster_N[order])

    def test_of_equal_perplexities_the_ids_decide(self):
        ids = list("hgfedcba")
        picked_N, _ = pick_experience(np.zeros((8, 2)), np.ones(8), ids=ids, clusters=1, per_cluster=2)
        assert {ids[row] for row in np.flatnonzero(picked_N)} == {"a", "h"}
        picked_N, _ = pick_experience(np.zeros((8, 2)), np.ones(8), ids=ids, clusters=1, per_cluster=1)
        assert {ids[row] for row in np.flatnonzero(picked_N)} == {"d"}

    def test_another_band(self):
        ppl = np.arange(11.0)
        picked_N, _ = pick_experience(
            np.zeros((11, 2)), ppl, ids=list("abcdefghijk"), clusters=1, per_cluster=9, low=0, high=20
        )
        assert ppl[picked_N].tolist() == [0, 1, 2]

    @pytest.mark.filterwarnings("ignore:Number of distinct clusters")
    def test_fewer_different_rows_than_clusters(self):
        vectors_ND = np.repeat([[0.0, 5.0], [5.0, 0.0]], 4, axis=0)
        picked_N, cluster_N = pick_experience(vectors_ND, np.arange(8.0), ids=list("abcdefgh"), clusters=4)
        assert len(set(cluster_N.tolist())) == 2
        assert picked_N.tolist() == [False, True, True, False] * 2

    def test_the_vectors_stay_as_they_were(self):
        vectors_ND, _, ppl_N, ids = blobs()
        before = vectors_ND.copy()
        pick_experience(vectors_ND, ppl_N, ids=ids, clusters=6)
        np.testing.assert_array_equal(vectors_ND, before)


class TestEvenlySpaced:
    @pytest.mark.parametrize(
        ("length", "count", "places"),
        [
            (5, 3, [0, 2, 4]),
            (6, 3, [0, 3, 5]),  # 2.5 is rounded up
            (10, 4, [0, 3, 6, 9]),
            (7, 7, [0, 1, 2, 3, 4, 5, 6]),
            (3, 10, [0, 1, 2]),
            (5, 1, [2]),
            (4, 1, [1]),
            (0, 3, []),
        ],
    )
    def test_by_hand(self, length, count, places):
        assert evenly_spaced(length, count) == places

    def test_places_differ_and_hold_both_ends(self):
        for length in range(2, 60):
            for count in range(2, length):
                places = evenly_spaced(length, count)
                assert (places[0], places[-1], len(set(places))) == (0, length - 1, count)
                gaps = np.diff(places)
                assert gaps.max() - gaps.min() <= 1


class TestRefuses:
    def test_more_clusters_than_rows(self):
        with pytest.raises(BadInputError, match="5 clusters cannot be made of 4 rows"):
            pick_experience(np.ones((4, 2)), np.ones(4), ids=list("abcd"), clusters=5)

    def test_lengths_that_differ(self):
        with pytest.raises(ValueError, match="4 ids, 4 vectors, 3 perplexities"):
            pick_experience(np.ones((4, 2)), np.ones(3), ids=list("abcd"), clusters=1)

    def test_an_id_that_repeats(self):
        with pytest.raises(ValueError, match="4 rows, but 3 different ids"):
            pick_experience(np.ones((4, 2)), np.ones(4), ids=list("abca"), clusters=1)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_numbers_that_are_none(self, value):
        with pytest.raises(ValueError, match="perplexity of 1 rows"):
            pick_experience(np.ones((2, 2)), [1.0, value], ids=["a", "b"], clusters=1)
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            pick_experience(np.array([[1.0], [value]]), np.ones(2), ids=["a", "b"], clusters=1)
