import pytest

COLUMNS = {
    "selectit_token": [3.0, None, 1.0, 2.0],
    "selectit_sentence": [1.0, 3.0, float("nan"), 2.0],
    "selectit_model": [1.0, 2.0, 3.0, None],
}


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        ("", {"b": 1, "d": 2, "a": 3}),
        ("level=sentence", {"b": 1, "d": 2, "a": 3}),
        ("level=token", {"a": 1, "d": 2, "c": 3}),
        ("level=model", {"c": 1, "b": 2, "a": 3}),
    ],
)
def test_keeps_the_best_rated(decide, options, ranks):
    found = decide(f"selectit count=2 {options}", **COLUMNS)
    assert found.ranks == ranks
    assert found.kept == sorted(row for row, rank in ranks.items() if rank <= 2)
    assert found.by_id("select_reason") == {
        row: {1: "kept", 2: "kept", 3: "below_the_cut"}.get(ranks.get(row), "unscored") for row in "abcd"
    }


def test_ratings_are_not_gated_by_ifd_but_need_one_where_there_is_ifd(decide):
    found = decide("selectit count=2", selectit_sentence=[1.0, 2.0, 3.0], ifd_ppl=[0.5, 1.5, None])
    assert found.reasons == {"a": "kept", "b": "kept", "c": "unscored"}
