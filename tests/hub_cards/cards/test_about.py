"""Where a run is published, as its cards say it."""

import pytest

from hub_cards.cards.about import Places, licence_text


@pytest.mark.parametrize(
    ("place", "hub_id"),
    [("me/rows", "me/rows"), ("./out", None), ("./me/rows", None), ("/data/rows", None), (None, None), ("a/b/c", None)],
)
def test_what_is_on_the_hub_is_told_from_a_path(place, hub_id):
    places = Places(dataset=place, tag="run-1")
    assert places.hub_id("dataset") == hub_id
    assert places.revision("dataset") == ("run-1" if hub_id else None)
    assert places.hub_id("model") is None


def test_licences_are_one_line():
    assert licence_text(["mit", "gpl-3.0"]) == "mit, gpl-3.0"
    assert licence_text("mit") == "mit"
    assert licence_text(None) == licence_text([]) == ""
