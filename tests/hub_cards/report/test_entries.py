"""What the blocks hold of a row: texts, notes, tokens."""

import pyarrow as pa
import pytest
from datasets import Dataset

from hub_cards.report import entries
from hub_cards.report.entries import Selection, note_entries, text_entries, token_entries
from hub_cards.report.joined import JoinedRows

SUPERFILTER = {"name": "superfilter", "fraction": 0.1, "count": None}
STEPS = [{"name": "selective", "require_reflected_response": False}]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(entries, "CHUNK_ROWS", 2)


def rows_of(letters="abc", decisions=None, **variants) -> JoinedRows:
    ids = pa.chunked_array([pa.array(list(letters), pa.string())])
    tables = {name: Dataset(pa.table(columns)) for name, columns in variants.items()}
    return JoinedRows(ids, tables, None if decisions is None else Dataset(pa.table(decisions)))


def test_words_are_of_the_numbers_that_the_ledger_kept():
    """Rows may have been scored again since the selection, by another student."""
    rows = rows_of(
        "a",
        {
            "row_id": ["a"],
            "selected": [True],
            "selected_variant": ["original"],
            "select_reason": ["kept"],
            "select_step": ["cherry"],
            "select_rank": [1],
            "ifd_ppl_original": [0.75],
        },
        original={"row_id": ["a"], "ifd_ppl": [0.31], "output": ["A"]},
    )
    (entry,) = note_entries(rows, Selection([{"name": "cherry", "fraction": 0.5}], ["original"]), None, None)
    assert "0.75" in " ".join(entry["decision"]) and "0.31" not in " ".join(entry["decision"])


class TestTexts:
    def test_equal_ones_stand_once(self):
        rows = rows_of(
            original={
                "row_id": ["a", "b"],
                "instruction": ["Q", "same"],
                "input": ["", "same"],
                "output": ["A", "same"],
            },
            reflect_both={"row_id": ["b", "a"], "instruction": ["x", "Q"], "input": ["", ""], "output": ["y", "A+"]},
            letters="ab",
        )
        assert list(text_entries(rows)) == [
            {"texts": ["Q", "", "A", "A+"], "variants": [[0, 1, 2], [0, 1, 3]]},
            {"texts": ["same", "x", "", "y"], "variants": [[0, 0, 0], [1, 2, 3]]},
        ]

    def test_what_is_missing(self):
        rows = rows_of(
            original={"row_id": ["a", "b"], "output": pa.array([None, "B"])},  # no column of instructions
            reflect_both={
                "row_id": ["c"],
                "instruction": ["Q"],
                "input": pa.array([None], pa.string()),
                "output": ["A"],
            },
        )
        assert list(text_entries(rows)) == [
            {"texts": [], "variants": [None, None]},
            {"texts": ["", "B"], "variants": [[0, 0, 1], None]},
            {"texts": ["Q", "", "A"], "variants": [None, [0, 1, 2]]},
        ]

    def test_no_rows(self):
        rows = rows_of("", original={"row_id": pa.array([], pa.string()), "output": pa.array([], pa.string())})
        assert list(text_entries(rows)) == []


class TestNotes:
    def test_completions_only_where_no_pair_was_taken_from_them(self):
        statuses = ["ok", "refusal", "ok_prompt_cut", None]
        rows = rows_of(
            "abcd",
            original={"row_id": list("abcd"), "source_id": ["1", None, "3", "4"]},
            reflect_both={
                "row_id": list("abcd"),
                "source_id": ["1", "2", None, None],
                "reflect_status": statuses,
                "reflection": [f"completion {letter}" for letter in "abcd"],
                "critique": ["too short", None, "", None],
                "oracle_model": ["oracle", "oracle", None, None],
            },
        )
        found = list(note_entries(rows, Selection()))
        assert [list(note["completions"]) for note in found] == [
            [None, None],
            [None, "completion b"],
            [None, None],
            [None, None],
        ]
        assert [list(note["critiques"]) for note in found] == [[None, c] for c in ("too short", None, "", None)]
        assert [list(note["oracle"]) for note in found] == [[None, o] for o in ("oracle", "oracle", None, None)]
        assert [note["source_id"] for note in found] == ["1", "2", "3", "4"]
        assert all(note["decision"] == [] and "other_decision" not in note for note in found)

    def decided(self, letters="abc", shown="abc", **columns) -> JoinedRows:
        """Rows of two variants, the reflected one in another order; the row c lacks a number."""
        decisions = {
            "row_id": list("ca"),
            "selected": [False, True],
            "selected_variant": ["original", "reflect_instruction"],
            "select_reason": ["winner_unscored", "kept"],
            "select_step": ["selective", "selective"],
        }
        reflected = {"row_id": list(letters)[::-1], "ifd_ppl": [None, 0.75, 0.9][-len(letters) :]}
        return rows_of(
            shown,
            {**decisions, **columns},
            original={"row_id": list("abc"), "ifd_ppl": [0.8, 0.5, None], "rifd_ppl": [0.4, 0.5, 0.6]},
            reflect_instruction={**reflected, "rifd_ppl": [0.1] * len(letters)},
        )

    def test_decisions_in_words_by_the_scores_of_each_row(self):
        selection = Selection(STEPS, ["original", "reflect_instruction"])
        found = [note["decision"] for note in note_entries(self.decided(), selection)]
        assert found[0][0] == "Instruction reflected: IFD 0.90 is above 0.80."
        assert found[0][-1] == "Passes the gate: IFD 0.90 and r-IFD 0.10 are both below 1."
        assert found[1] == []  # nothing was decided of it
        assert found[2][0].startswith("Dropped") or found[2][-1].startswith("Dropped")

    @pytest.mark.parametrize("case", ["all are there", "a variant that is not shown", "a row that a variant lacks"])
    def test_scores_are_spoken_of_where_all_of_them_are_there(self, case):
        """Else the words would say of a variant that it was never made."""
        more = ["reflect_both"] if case == "a variant that is not shown" else []
        selection = Selection([SUPERFILTER], ["original", "reflect_instruction", *more])
        letters = "bc" if case == "a row that a variant lacks" else "abc"
        rows = self.decided(letters, select_step=["superfilter"] * 2, selected_variant=["original"] * 2)
        words = "ept, among the 10 % with the highest IFD."
        assert next(note_entries(rows, selection))["decision"] == [
            f"IFD 0.80: k{words}" if case == "all are there" else f"K{words}"
        ]

    def test_rank_and_score_of_the_ledger(self):
        rows = self.decided(select_step=["superfilter"] * 2, select_rank=[None, 12], select_score=[None, 0.25])
        selection = Selection([SUPERFILTER])
        assert next(note_entries(rows, selection))["decision"] == [
            "IFD 0.25, place 12: kept, among the 10 % with the highest IFD."
        ]

    def test_without_a_record_the_ledger_alone(self):
        assert [note["decision"] for note in note_entries(self.decided(), Selection())] == [
            ["Kept by selective."],
            [],
            ["Dropped by selective: winner_unscored."],
        ]

    def test_the_decision_of_the_other_selection_beside_it(self):
        other = self.decided(selected=[True, False], select_reason=["kept", "gone"])
        found = list(note_entries(self.decided(), Selection(), other, Selection()))
        assert [note["other_decision"] for note in found] == [
            ["Dropped by selective: gone."],
            [],
            ["Kept by selective."],
        ]
        assert found[0]["decision"] == ["Kept by selective."]

    def test_another_student_without_a_selection_decided_nothing(self):
        other = rows_of(original={"row_id": list("abc")})
        assert all("other_decision" not in note for note in note_entries(self.decided(), Selection(), other))


class TestTokens:
    def test_by_variant_with_three_digits(self):
        tokens = {
            "reflect_both": iter([[("The", None, 1.23456), (" end", 0.0004, 2)], None]),
            "original": iter([None, []]),
        }
        assert list(token_entries(tokens, ["original", "reflect_response", "reflect_both"])) == [
            [None, None, [["The", None, 1.235], [" end", 0.0, 2]]],
            [[], None, None],
        ]

    def test_none(self):
        assert list(token_entries({}, ["original"])) == []

    def test_tokens_of_fewer_rows_are_no_tokens_of_these(self):
        with pytest.raises(ValueError, match="shorter"):
            list(token_entries({"original": iter([[], []]), "reflect_both": iter([[]])}, ["original"]))
