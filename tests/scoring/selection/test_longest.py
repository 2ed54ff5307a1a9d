import pyarrow as pa
import pytest

from hub_cards.errors import BadInputError

TOKENS = pa.array([5, None, 7, 7, 1], pa.int64())
OUTPUT = ["ééé", "e" * 9, "eeee", None, "日本語です"]


def test_counts_the_scorers_tokens(decide):
    found = decide("longest count=2", n_tokens_A=TOKENS, output=OUTPUT)
    assert found.ranks == {"c": 1, "d": 2, "a": 3, "e": 4}
    assert found.reasons == {"a": "below_the_cut", "b": "unscored", "c": "kept", "d": "kept", "e": "below_the_cut"}
    assert found.scores == {"a": 5.0, "c": 7.0, "d": 7.0, "e": 1.0}


def test_counts_characters_not_bytes(decide):
    found = decide("longest count=2 unit=characters", n_tokens_A=TOKENS, output=OUTPUT)
    assert found.scores == {"a": 3.0, "b": 9.0, "c": 4.0, "d": 0.0, "e": 5.0}
    assert found.kept == ["b", "e"]


def test_keeps_no_row_that_could_not_be_scored(decide):
    found = decide("longest count=1 unit=characters", output=["long", "short"[:2]], ifd_ppl=[None, 0.5])
    assert found.reasons == {"a": "unscored", "b": "kept"}


def test_says_what_to_do_where_there_are_no_tokens(decide):
    with pytest.raises(BadInputError, match="the rows have no n_tokens_A: score them, or add unit=characters"):
        decide("longest count=1", output=["x"])
