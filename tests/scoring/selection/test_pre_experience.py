"""Rows to begin with, from the columns of a table; the choice itself has its own tests."""

import pyarrow as pa
import pytest

from hub_cards.errors import BadInputError


def columns(vectors, ppl):
    return {
        "prompt_embedding": pa.array(vectors, pa.list_(pa.float32())),
        "ppl_prompt": pa.array(ppl, pa.float64()),
    }


# Two clusters far apart; their perplexities are not in order.
LEFT, RIGHT = [[0.0, 0.1 * number] for number in range(5)], [[9.0, 0.1 * number] for number in range(5)]
TWO = columns([*LEFT, *RIGHT], [30, 10, 50, 20, 40, 3, 1, 5, 2, 4])


def test_takes_rows_of_middling_perplexity_of_every_cluster(decide):
    found = decide("pre_experience clusters=2 per_cluster=3", **TWO)
    # From the 25th to the 75th percentile: 20 30 40 and 2 3 4.
    assert found.kept == ["a", "d", "e", "f", "i", "j"]
    assert found.reasons == {row: "kept" if row in found.kept else "not_picked" for row in "abcdefghij"}
    assert found.counts["steps"][0]["clusters"] == 2
    assert found.ranks == {} and found.scores == {}


def test_takes_them_evenly_spaced(decide):
    found = decide("pre_experience clusters=2 per_cluster=2 low=0 high=100", **TWO)
    assert found.kept == ["b", "c", "g", "h"]  # the lowest and the highest
    assert decide("pre_experience clusters=2 per_cluster=1", **TWO).kept == ["a", "f"]  # the middle


def test_rows_that_lack_a_number_take_no_part(decide):
    vectors = [[0.0, 0.0], None, [], [0.0, float("nan")], *[[0.0, 1.0]] * 3, [0.0, 2.0]]
    ppl = [2.0, 2.0, 2.0, 2.0, None, float("inf"), 3.0, 4.0]
    ifd = [0.5] * 7 + [None]
    found = decide("pre_experience clusters=1 low=0 high=100", **columns(vectors, ppl), ifd_ppl=ifd)
    assert found.kept == ["a", "g"]
    assert {found.reasons[row] for row in "bcdefh"} == {"unscored"}


def test_more_clusters_than_rows_are_refused(decide):
    with pytest.raises(BadInputError, match="11 clusters cannot be made of 10 rows: ask for fewer clusters"):
        decide("pre_experience clusters=11", **TWO)


def test_needs_both_columns(decide):
    with pytest.raises(BadInputError, match="original has no column prompt_embedding"):
        decide("pre_experience clusters=1", ppl_prompt=[1.0])
