"""Diversity, from the columns of a table; the choice itself has its own tests."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from hub_cards.errors import BadInputError


def embeddings(vectors):
    return pa.array([None if vector is None else list(vector) for vector in vectors], pa.list_(pa.float32()))


def unit(degrees):
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def value(vectors_ND, picks):
    """Sum over all rows of the cosine to the nearest pick, 0 where that is negative."""
    unit_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return float((unit_ND @ unit_ND[list(picks)].T).max(axis=1).clip(0).sum())


def test_by_hand(decide):
    angles = (0, 10, 20, 110, None)  # the one at 10 is near to three, the one at 110 points away from all of them
    vectors = embeddings([None if angle is None else unit(angle) for angle in angles])
    found = decide("facility_location count=2", embedding=vectors)
    assert found.reasons == {"a": "not_picked", "b": "kept", "c": "not_picked", "d": "kept", "e": "unscored"}
    assert found.ranks == {"b": 1, "d": 2}
    assert found.scores == pytest.approx({"b": 1 + 2 * math.cos(math.radians(10)), "d": 1}, abs=1e-6)
    (step,) = found.counts["steps"]
    assert step["objective"] == pytest.approx(sum(found.scores.values()))
    assert step["mean_similarity"] == pytest.approx(step["objective"] / 4)


def test_rows_whose_ifd_is_null_are_neither_picked_nor_stood_for(decide):
    vectors = embeddings([unit(0), unit(0), unit(0), unit(90)])
    found = decide("facility_location count=1", embedding=vectors, ifd_ppl=[None, None, None, 0.5])
    assert found.kept == ["d"] and found.scores == {"d": 1.0}


def test_of_equal_rows_the_smallest_id_is_picked(decide):
    found = decide("facility_location count=3", row_id=["c", "b", "a"], embedding=embeddings([unit(5)] * 3))
    assert found.ranks == {"a": 1, "b": 2, "c": 3}


def test_a_vector_of_zeros_is_no_embedding(decide):
    found = decide("facility_location count=1", embedding=embeddings([(0, 0), unit(3)]))
    assert found.reasons == {"a": "unscored", "b": "kept"}


def test_more_than_have_an_embedding_is_refused(decide):
    with pytest.raises(BadInputError, match="count 2, but of the 2 rows only 1 can be kept"):
        decide("facility_location count=2", embedding=embeddings([unit(0), None]))


def test_needs_embeddings(decide):
    with pytest.raises(BadInputError, match="original has no column embedding"):
        decide("facility_location count=1", ifd_ppl=[0.5])


@pytest.mark.parametrize("seed", range(3))
def test_is_the_greedy_choice_and_near_the_best_of_all(decide, seed):
    vectors_ND = np.random.default_rng(seed).normal(size=(9, 4)).astype(np.float32)
    found = decide("facility_location count=3", embedding=embeddings(vectors_ND))
    picks = []
    for _ in range(3):
        picks.append(max(set(range(9)) - set(picks), key=lambda row: value(vectors_ND, [*picks, row])))
    assert [found.ranks["abcdefghi"[row]] for row in picks] == [1, 2, 3]
    best = max(value(vectors_ND, subset) for subset in itertools.combinations(range(9), 3))
    assert (1 - 1 / math.e) * best <= found.counts["steps"][0]["objective"] <= best * (1 + 1e-6)
    assert found.counts["steps"][0]["objective"] == pytest.approx(value(vectors_ND, picks), rel=1e-6)
