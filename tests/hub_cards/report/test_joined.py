"""Variants and decisions beside the rows of a report, whatever order they come in and whatever they lack."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hub_cards.report.joined import NONE, JoinedRows, codes_of


def ids(letters) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(letters), pa.string())])


def dataset(letters, **columns) -> Dataset:
    return Dataset(pa.table({"row_id": pa.array(list(letters), pa.string()), **columns}))


def joined(shown, letters, decisions=None, **columns) -> JoinedRows:
    return JoinedRows(ids(shown), {"original": dataset(letters, **columns)}, decisions)


class TestJoin:
    def test_what_a_variant_lacks_is_null_and_what_nobody_asked_for_is_left_out(self):
        rows = joined("abcd", "xdab", n_tokens_A=[9, 4, 1, None], output=["x", "D", None, "BB"])
        np.testing.assert_array_equal(rows.numbers("original", "n_tokens_A"), [1, np.nan, np.nan, 4])
        assert rows.words("original", "output").to_pylist() == [None, "BB", None, "D"]
        np.testing.assert_array_equal(rows.lengths("original", "output"), [np.nan, 2, np.nan, 1])
        assert rows.is_there("original").tolist() == [True, True, False, True]
        assert list(rows.texts("original", ["output", "critique"], 3)) == [
            {"output": [None, "BB", None], "critique": [None] * 3},
            {"output": ["D"], "critique": [None]},
        ]

    @pytest.mark.parametrize("size", [1, 2, 5, 40, 100])
    def test_texts_come_in_the_order_of_the_rows_however_they_are_stored(self, size):
        numbers = np.random.default_rng(size)
        shown, stored = ([f"row-{n}" for n in numbers.permutation(60)[:40]] for _ in range(2))
        whole = dataset(stored, output=[f"of {name}" for name in stored])
        parts = {"whole": whole, "parts": whole.select(numbers.permutation(40)), "same": dataset(shown, output=shown)}
        rows = JoinedRows(ids(shown), parts, None)
        expected = [f"of {name}" if name in stored else None for name in shown]
        for name in ("whole", "parts"):
            chunks = list(rows.texts(name, ["output"], size))
            assert all(len(chunk["output"]) == size for chunk in chunks[:-1])
            assert [text for chunk in chunks for text in chunk["output"]] == expected
        assert [text for chunk in rows.texts("same", ["output"], size) for text in chunk["output"]] == shown

    def test_texts_between_two_that_are_in_their_places(self):
        rows = joined("abcd", "acbd", output=list("ACBD"))
        assert list(rows.texts("original", ["output"], 9)) == [{"output": list("ABCD")}]

    def test_a_column_that_is_not_there(self):
        rows = joined("ab", "ab")
        assert rows.words("original", "critique") is None and not rows.has("original", "critique")
        assert np.isnan(rows.numbers("original", "ifd_ppl")).all()
        assert list(rows.texts("original", ["output"], 9)) == [{"output": [None, None]}]

    def test_no_rows(self):
        rows = joined(
            "", "", decisions=dataset("", selected=pa.array([], pa.bool_())), output=pa.array([], pa.string())
        )
        assert len(rows) == 0 and rows.ids == [] and rows.selected().tolist() == []
        assert list(rows.texts("original", ["output"], 9)) == []

    def test_numbers_that_are_none(self):
        rows = joined("abcd", "abcd", ifd_ppl=[0.5, float("nan"), float("inf"), None], loss_Q_direct=pa.nulls(4))
        np.testing.assert_array_equal(rows.numbers("original", "ifd_ppl"), [0.5, np.nan, np.nan, np.nan])
        assert np.isnan(rows.numbers("original", "loss_Q_direct")).all()

    def test_large_texts_of_another_program(self):
        stored = Dataset(pa.table({name: pa.array(["b", "a"], pa.large_string()) for name in ("row_id", "output")}))
        rows = JoinedRows(ids("ab"), {"original": stored}, None)
        assert rows.words("original", "output").to_pylist() == ["a", "b"]
        assert codes_of([rows.words("original", "output")])[1][0].tolist() == [0, 1]


class TestDecisions:
    def test_by_row_id_and_unknown_where_there_is_none(self):
        decisions = dataset("cab", selected=[True, False, None], select_rank=[1, 7, None], select_step=["s", "t", None])
        rows = joined("abcd", "abcd", decisions)
        assert rows.selected().tolist() == [0, NONE, 1, NONE]
        assert rows.decision_words("select_step").to_pylist() == ["t", None, "s", None]
        np.testing.assert_array_equal(rows.decision_numbers("select_rank"), [7, np.nan, 1, np.nan])

    @pytest.mark.parametrize("decisions", [None, dataset("", selected=pa.array([], pa.bool_()))])
    def test_none(self, decisions):
        rows = joined("ab", "ab", decisions)
        assert rows.selected().tolist() == [NONE, NONE]
        assert rows.decision_words("select_reason") is None
        assert np.isnan(rows.decision_numbers("select_rank")).all()


class TestScoreColumns:
    def test_those_of_the_contract_that_any_variant_has_in_its_order(self):
        one = dataset("a", ifd_ppl=[0.5], coherence=[0.1], my_own=[1.0], select_rank=[1], reflection=["x"])
        two = dataset("a", loss_A_direct=[1.0], ppl_A_direct=[2.7], ppl_Q_direct=[3.0], n_tokens_A=[3])
        rows = JoinedRows(ids("a"), {"original": one, "reflect_both": two}, None)
        assert rows.score_columns() == ["loss_A_direct", "ppl_Q_direct", "ifd_ppl", "n_tokens_A", "coherence"]


class TestRefused:
    @pytest.mark.parametrize(
        ("letters", "message"),
        [
            (["a", "b", "a"], "variant original: a row_id is there twice (3 rows, 2 different ids)"),
            (["a", None], "variant original: 1 of 2 rows have no row_id"),
        ],
    )
    def test_ids_that_name_no_row(self, complaint, letters, message):
        assert complaint(joined, "ab", letters) == message

    def test_decisions_that_repeat_a_row(self, complaint):
        decisions = dataset("aa", selected=[True, False])
        assert (
            complaint(joined, "a", "a", decisions) == "the decisions: a row_id is there twice (2 rows, 1 different ids)"
        )

    @pytest.mark.parametrize(
        ("column", "values", "read", "kind"),
        [
            ("ifd_ppl", ["high"], lambda rows: rows.numbers("original", "ifd_ppl"), "string, not numbers"),
            ("ifd_ppl", [True], lambda rows: rows.numbers("original", "ifd_ppl"), "bool, not numbers"),
            ("output", [["a"]], lambda rows: rows.words("original", "output"), "list<item: string>, not texts"),
            ("output", [5], lambda rows: list(rows.texts("original", ["output"], 1)), "int64, not texts"),
            ("output", [5], lambda rows: rows.lengths("original", "output"), "int64, not texts"),
        ],
    )
    def test_a_column_of_another_kind(self, complaint, column, values, read, kind):
        message = complaint(read, joined("a", "a", **{column: pa.array(values)}))
        assert message == f"column {column} of variant original holds {kind}"

    def test_decisions_of_another_kind(self, complaint):
        rows = joined("a", "a", dataset("a", selected=["yes"]))
        assert complaint(rows.selected) == "column selected of the decisions holds string, not true or false"


class TestCodes:
    def test_names_by_how_often_they_occur(self):
        columns = [pa.chunked_array([["b", "a", None], ["b"]]), pa.chunked_array([["c", "c", "c", "a"]])]
        names, (one, two) = codes_of(columns)
        assert names == ["c", "b", "a"]  # three, and two each: the one that is met first
        assert one.dtype == np.uint8 and one.tolist() == [1, 2, NONE, 1]
        assert two.tolist() == [0, 0, 0, 2]

    def test_more_names_than_there_are_codes(self):
        texts = [f"r{number}" for number in range(300) for _ in range(300 - number)]
        names, (codes,) = codes_of([pa.chunked_array([texts])])
        assert names == [*(f"r{number}" for number in range(254)), "(others)"]
        assert [names[code] for code in codes] == [text if int(text[1:]) < 254 else "(others)" for text in texts]

    def test_as_many_names_as_there_are_codes(self):
        texts = [f"r{number}" for number in range(254)]
        names, (codes,) = codes_of([pa.chunked_array([texts])])
        assert names == texts and codes.tolist() == list(range(254))

    @pytest.mark.parametrize("column", [pa.array([None, None], pa.string()), pa.array([], pa.string())])
    def test_nothing(self, column):
        names, (codes,) = codes_of([pa.chunked_array([column])])
        assert names == [] and codes.tolist() == [NONE] * len(column)
