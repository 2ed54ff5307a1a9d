import pytest

from hub_cards.errors import BadInputError


def test_takes_the_oracles_pair_of_every_row_in_the_order_of_the_first_variant(select):
    original = {"row_id": ["b", "a", "c"], "output": ["1", "2", "3"]}
    both = {"row_id": ["a", "c", "b"], "output": ["4", "5", "6"]}
    found = select("recycled", original=original, reflect_both=both)
    assert found.kept == ["b", "a", "c"] and found.selected["output"][:] == ["6", "4", "5"]
    assert set(found.reasons.values()) == {"kept"} and set(found.variants.values()) == {"reflect_both"}
    assert found.ranks == {} and found.scores == {}


def test_drops_pairs_that_were_scored_and_have_no_ifd_whatever_the_original_has(select):
    found = select("recycled", original={"ifd_ppl": [None, 0.5, 0.5]}, reflect_both={"ifd_ppl": [1.5, None, 0.1]})
    assert found.reasons == {"a": "kept", "b": "unscored", "c": "kept"}
    assert found.kept == ["a", "c"]


def test_keeps_what_was_never_scored_in_every_variant(select):
    found = select("recycled", original={"x": [1, 2]}, reflect_both={"ifd_ppl": [None, 1.0]})
    assert found.kept == ["a", "b"]


def test_needs_the_variant(select):
    with pytest.raises(BadInputError, match="recycled takes the variant reflect_both; --dataset has original"):
        select("recycled", original={"x": [1]})
