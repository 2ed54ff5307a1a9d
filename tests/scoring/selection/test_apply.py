"""Steps one after the other: what is kept, what the ledger says, and which rows `selected` holds."""

import math

import pyarrow as pa
import pytest
from datasets import load_from_disk

from hub_cards.errors import BadInputError
from hub_cards.schema import SELECT_COLUMNS
from hub_cards.storage import save_result
from scoring.selection.apply import select_rows
from scoring.selection.steps import parse_steps


def variant(name, scores):
    ids = list(scores)
    return {
        "row_id": ids,
        "variant": [name] * len(ids),
        "output": [f"{name} of {identity}" for identity in ids],
        "ifd_ppl": [scores[identity][0] for identity in ids],
        "rifd_ppl": [scores[identity][1] for identity in ids],
    }


ORIGINAL = {"a": (0.8, 0.9), "b": (0.8, 0.2), "c": (None, None), "d": (0.3, 0.9)}
RESPONSE = {"d": (0.5, 0.1), "c": (None, None), "a": (0.5, 0.5), "b": (0.5, 0.5)}


def scored(response=RESPONSE):
    return {
        "original": variant("original", ORIGINAL),
        "reflect_response": variant("reflect_response", response),
    }


LINE = {"select_step": "selective", "select_rank": None, "select_score": None}
SCORES = ("ifd_ppl_original", "ifd_ppl_reflect_response", "rifd_ppl_original", "rifd_ppl_reflect_response")


@pytest.mark.parametrize("response", [RESPONSE, dict(sorted(RESPONSE.items()))])
def test_rows_are_joined_by_row_id_and_keep_their_order(select, response):
    found = select("selective", **scored(response))
    assert found.kept == ["a", "d"]
    assert found.selected["output"][:] == ["reflect_response of a", "reflect_response of d"]
    assert found.selected["select_reason"][:] == ["kept", "kept"]
    outcomes = {
        "a": (True, "reflect_response", "kept"),
        "b": (False, "original", "response_not_reflected"),
        "c": (False, None, "unscored"),
        "d": (True, "reflect_response", "kept"),
    }
    assert found.decisions.to_list() == [
        {
            "row_id": row,
            "selected": selected,
            "selected_variant": name,
            "select_reason": reason,
            **LINE,
            **dict(zip(SCORES, (x[row][i] for i in (0, 1) for x in (ORIGINAL, RESPONSE)), strict=True)),
        }
        for row, (selected, name, reason) in outcomes.items()
    ]
    assert found.counts["selected"] == 2 and found.counts["rows"] == 4
    assert found.counts["variants"] == ["original", "reflect_response"]
    assert found.counts["select_reason"] == {"kept": 2, "response_not_reflected": 1, "unscored": 1}
    assert found.counts["steps"] == [{"step": "selective", "rows": 4, "kept": 2}]
    assert found.counts["branches"] == {
        "original": {"won": 1, "kept": 0},
        "reflect_response": {"won": 2, "kept": 2},
        "none": {"won": 1, "kept": 0},
    }


def test_selected_holds_whole_rows_of_the_winners_in_the_order_of_the_table(select):
    ids = ["e", "b", "d", "a", "c"]
    original = {"row_id": ids, "loss_A_condition": [1.0, 2.0, 1.0, 2.0, 1.0], "text": [f"old {i}" for i in ids]}
    other = {"row_id": sorted(ids), "loss_A_condition": [1.5] * 5, "text": [f"new {i}" for i in sorted(ids)]}
    found = select("grape", original=original, reflect_both=other)
    assert found.kept == ids
    assert found.selected["text"][:] == ["old e", "new b", "old d", "new a", "old c"]
    assert found.selected["selected_variant"][:] == [
        {"old": "original", "new": "reflect_both"}[text.split()[0]] for text in found.selected["text"][:]
    ]
    assert found.selected.column_names == ["row_id", "loss_A_condition", "text", *(c.name for c in SELECT_COLUMNS)]


def test_select_columns_of_an_earlier_selection_give_way(select):
    found = select("grape", original={"loss_A_condition": [1.0], "select_reason": ["old"], "selected": ["no"]})
    assert found.selected["select_reason"][:] == ["kept"]
    assert found.selected["selected"][:] == [True]


COLUMNS = {
    "output": ["yes", "I'm sorry, but I can't assist with that.", "no", "", "maybe", "so", "oh", "never"],
    "ifd_ppl": [0.9, 0.95, 0.8, None, 0.7, 0.6, 1.2, 0.5],
    # Of the four that the last step sees a, c and f are alike, f is the nearest to e.
    "embedding": [[1, 0], [0, 1], [1, 0.1], [0, 1], [0, 1], [1, 0.2], [0, 1], [0, 1]],
}
STEPS = ("refusals", "superfilter count=4", "facility_location fraction=0.5")


class TestSteps:
    """Filter, rank, diversify."""

    @pytest.fixture(scope="class")
    def found(self, decide):
        return decide(*STEPS, **COLUMNS)

    def test_each_sees_what_the_one_before_has_left(self, found):
        assert found.reasons == {
            "a": "not_picked",
            "b": "refusal",
            "c": "not_picked",
            "d": "unscored",
            "e": "kept",
            "f": "kept",
            "g": "ifd_not_below_1",
            "h": "below_the_cut",
        }
        assert found.by_id("select_step") == {
            **dict.fromkeys("acef", "facility_location"),
            **dict.fromkeys("bd", "refusals"),
            **dict.fromkeys("gh", "superfilter"),
        }
        assert found.kept == ["e", "f"]
        assert found.by_id("selected") == {row: row in "ef" for row in "abcdefgh"}

    def test_ranks_and_scores_are_those_of_the_last_step_that_ranked(self, found):
        assert found.ranks["h"] == 5 and found.scores["h"] == 0.5  # of superfilter, which dropped it
        assert "b" not in found.ranks and "d" not in found.ranks and "g" not in found.ranks
        assert (found.ranks["f"], found.ranks["e"]) == (1, 2)  # of facility_location, not 4 and 3
        cosine = math.cos(math.atan(0.2))
        assert found.scores["e"] == pytest.approx(1 - math.sin(math.atan(0.2)), abs=1e-6)
        assert found.scores["f"] == pytest.approx(
            2 - found.scores["e"] + cosine + math.cos(math.atan(0.2) - math.atan(0.1)), abs=1e-6
        )
        assert found.scores["e"] + found.scores["f"] == pytest.approx(found.counts["steps"][2]["objective"])

    def test_a_step_that_does_not_rank_leaves_the_ranks(self, decide):
        found = decide("superfilter count=4", "refusals", **COLUMNS)
        assert found.ranks == {"b": 1, "a": 2, "c": 3, "e": 4, "f": 5, "h": 6}
        assert found.reasons["b"] == "refusal" and found.kept == ["a", "c", "e"]

    def test_are_counted(self, found):
        assert [(step["step"], step["rows"], step["kept"]) for step in found.counts["steps"]] == [
            ("refusals", 8, 6),
            ("superfilter", 6, 4),
            ("facility_location", 4, 2),
        ]
        assert found.counts["select_reason"]["not_picked"] == 2

    def test_fractions_are_of_the_rows_that_came_in(self, decide):
        found = decide(
            "random fraction=0.5", "longest fraction=0.5 unit=characters", "random fraction=0.5", output=["a"] * 8
        )
        assert [(step["rows"], step["kept"]) for step in found.counts["steps"]] == [(8, 4), (4, 2), (2, 1)]

    def test_the_variant_that_a_step_chose_is_the_one_that_the_next_looks_at(self, select):
        variants = {
            "original": {"loss_A_condition": [1.0, 3.0, 1.0], "ifd_ppl": [0.9, 0.1, 0.3], "output": ["x", "x", "x"]},
            "reflect_both": {"loss_A_condition": [2.0, 2.0, 2.0], "ifd_ppl": [0.1, 0.6, 0.1], "output": ["y"] * 3},
        }
        found = select("grape", "superfilter count=2", **variants)
        assert found.scores == {"a": 0.9, "b": 0.6, "c": 0.3}
        assert found.selected["output"][:] == ["x", "y"]
        assert found.variants == {"a": "original", "b": "reflect_both", "c": "original"}

    def test_nothing_left_is_no_trouble_for_a_step_that_asks_for_nothing(self, decide):
        found = decide(
            "refusals", "selective", "refusals", output=["As a language model"], ifd_ppl=[0.5], rifd_ppl=[0.5]
        )
        assert found.kept == [] and found.reasons == {"a": "speaks_as_ai"}
        assert [(step["rows"], step["kept"]) for step in found.counts["steps"]] == [(1, 0), (0, 0), (0, 0)]

    def test_nothing_left_is_said_to_a_step_that_asks_for_rows(self, decide):
        with pytest.raises(BadInputError, match=r"step random: .*of the 0 rows only 0 can be kept"):
            decide("refusals", "random count=1", output=["As a language model"])


class TestLedgerColumns:
    def test_are_the_scores_that_were_decided_by_and_ifd_of_every_variant(self, select):
        columns = {"ifd_ppl": [0.5], "selectit_sentence": [2.0], "n_tokens_A": [3], "rifd_ppl": [0.25], "output": ["x"]}
        found = select("selectit count=1", "longest count=1", original=columns, reflect_both=columns)
        fixed = ["row_id", *(column.name for column in SELECT_COLUMNS)]
        expected = [
            f"{column}_{name}"
            for column in ("selectit_sentence", "n_tokens_A", "ifd_ppl")
            for name in ("original", "reflect_both")
        ]
        assert found.decisions.column_names == [*fixed, *expected]

    def test_keep_nulls_as_nulls(self, decide):
        found = decide("random count=1", ifd_ppl=[0.5, None, float("nan")])
        assert found.decisions["ifd_ppl_original"][:] == [0.5, None, None]

    def test_are_none_where_nothing_was_scored(self, decide):
        found = decide("random count=1", output=["x", "y"])
        assert found.decisions.column_names == ["row_id", *(column.name for column in SELECT_COLUMNS)]


class TestEmptySelections:
    def test_are_empty_data_sets_with_their_columns(self, table_of, tmp_path):
        table = table_of(original=variant("original", {"a": (1.5, 0.2)}))
        result, _ = select_rows(table, parse_steps(["selective"], {}))
        save_result(tmp_path / "nothing", result, [])
        loaded = load_from_disk(tmp_path / "nothing")
        assert len(loaded["selected"]) == 0 and len(loaded["decisions"]) == 1
        assert loaded["selected"].column_names == [
            *table.parts["original"].column_names,
            *(c.name for c in SELECT_COLUMNS),
        ]
        assert loaded["selected"].features["select_rank"].dtype == "int64"

    def test_of_no_rows_at_all(self, table_of):
        table = table_of(original=pa.table(variant("original", {"a": (0.5, 0.2)})).slice(0, 0))
        result, counts = select_rows(table, parse_steps(["refusals", "selective"], {}))
        assert (len(result["selected"]), len(result["decisions"]), counts["rows"]) == (0, 0, 0)


class TestBadInput:
    def test_unscored_variants(self, select):
        without = scored()
        del without["original"]["rifd_ppl"]
        with pytest.raises(BadInputError, match="original has no column rifd_ppl: score it first"):
            select("selective", **without)

    def test_variants_of_different_rows(self, select):
        unequal = scored()
        unequal["reflect_response"] = {name: column[:3] for name, column in unequal["reflect_response"].items()}
        with pytest.raises(BadInputError, match="different rows: only one has row_id b"):
            select("selective", **unequal)

    def test_a_row_id_that_is_repeated(self, select):
        repeated = scored()
        repeated["original"] = {name: [column[0], *column[:3]] for name, column in repeated["original"].items()}
        with pytest.raises(BadInputError, match="repeats a row_id"):
            select("selective", **repeated)
