import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from hub_cards.errors import BadInputError
from hub_cards.storage import save_result
from scoring.selection.apply import select_rows
from scoring.selection.selective import select_selective


def variant(name, scores):
    ids = list(scores)
    return Dataset.from_dict(
        {
            "row_id": ids,
            "variant": [name] * len(ids),
            "output": [f"{name} of {identity}" for identity in ids],
            "ifd_ppl": [scores[identity][0] for identity in ids],
            "rifd_ppl": [scores[identity][1] for identity in ids],
        }
    )


def scored(reverse_second=False):
    original = {"a": (0.8, 0.9), "b": (0.8, 0.2), "c": (None, None), "d": (0.3, 0.9)}
    response = {"a": (0.5, 0.5), "b": (0.5, 0.5), "c": (None, None), "d": (0.5, 0.1)}
    if reverse_second:
        response = dict(reversed(response.items()))
    return DatasetDict(original=variant("original", original), reflect_response=variant("reflect_response", response))


@pytest.mark.parametrize("reverse_second", [False, True])
def test_rows_are_joined_by_row_id_and_keep_their_order(reverse_second):
    result, counts = select_rows(scored(reverse_second), select_selective)
    assert result["selected"]["row_id"][:] == ["a", "d"]
    assert result["selected"]["output"][:] == ["reflect_response of a", "reflect_response of d"]
    assert result["selected"]["select_reason"][:] == ["kept", "kept"]
    assert result["decisions"].to_list() == [
        {"row_id": "a", "selected": True, "selected_variant": "reflect_response", "select_reason": "kept"},
        {"row_id": "b", "selected": False, "selected_variant": "original", "select_reason": "response_not_reflected"},
        {"row_id": "c", "selected": False, "selected_variant": None, "select_reason": "unscored"},
        {"row_id": "d", "selected": True, "selected_variant": "reflect_response", "select_reason": "kept"},
    ]
    assert counts["selected"] == 2 and counts["rows"] == 4
    assert counts["branches"] == {
        "original": {"won": 1, "kept": 0},
        "reflect_response": {"won": 2, "kept": 2},
        "none": {"won": 1, "kept": 0},
    }


def test_a_selection_of_nothing_is_an_empty_data_set_with_its_columns(tmp_path):
    only_bad = DatasetDict(original=variant("original", {"a": (1.5, 0.2)}))
    result, _ = select_rows(only_bad, select_selective)
    save_result(tmp_path / "nothing", result, [])
    selected = load_from_disk(tmp_path / "nothing")["selected"]
    assert len(selected) == 0
    assert "select_reason" in selected.column_names


def test_unscored_or_unequal_variants_are_refused():
    without = scored()
    without["original"] = without["original"].remove_columns("rifd_ppl")
    with pytest.raises(BadInputError, match="original has no column rifd_ppl; run score first"):
        select_rows(without, select_selective)
    unequal = scored()
    unequal["reflect_response"] = unequal["reflect_response"].select(range(3))
    with pytest.raises(BadInputError, match="different rows: only one has row_id d"):
        select_rows(unequal, select_selective)
    repeated = scored()
    repeated["original"] = repeated["original"].select([0, 0, 1, 2])
    with pytest.raises(BadInputError, match="repeats a row_id"):
        select_rows(repeated, select_selective)
