"""Columns of all variants as arrays, in one order."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.storage import save_result
from scoring.selection.table import Rows, ScoreTable, load_selection

ORIGINAL = {"row_id": ["b", "a", "c"], "ifd_ppl": [0.5, None, 0.25], "output": ["ob", "oa", None], "n": [1, 2, 3]}
BOTH = {"row_id": ["c", "b", "a"], "ifd_ppl": [1.0, float("inf"), 2.0], "output": ["rc", "rb", "ra"], "n": [4, 5, 6]}


@pytest.fixture
def table(table_of):
    return table_of(reflect_both=BOTH, original=ORIGINAL)


def rows(table, positions, variants):
    return Rows(table, np.array(positions, dtype=np.int64), np.array(variants, dtype=np.int64))


class TestScoreTable:
    def test_has_the_rows_of_the_first_variant_of_the_list(self, table):
        assert table.variants == ("original", "reflect_both")
        assert len(table) == 3
        assert table.ids.tolist() == table.row_ids.to_pylist() == ["b", "a", "c"]

    def test_joins_by_row_id(self, table):
        assert table.column("output", "reflect_both").to_pylist() == ["rb", "ra", "rc"]
        assert table.column("output", "original").to_pylist() == ["ob", "oa", None]

    def test_gives_numbers_and_nan_for_what_is_none(self, table):
        np.testing.assert_array_equal(table.numbers("ifd_ppl", "original"), [0.5, np.nan, 0.25])
        np.testing.assert_array_equal(table.numbers("ifd_ppl", "reflect_both"), [np.nan, 2.0, 1.0])
        assert table.numbers("n", "original").dtype == np.float64

    def test_reads_a_column_of_nulls_alone(self, table_of):
        assert np.isnan(table_of(original={"ifd_ppl": [None, None]}).numbers("ifd_ppl", "original")).all()

    def test_reads_rows_that_were_picked_from_a_larger_set(self):
        part = Dataset.from_dict({"row_id": list("abcd"), "x": [1.0, 2.0, 3.0, 4.0]}).select([3, 1])
        table = ScoreTable(DatasetDict(original=part))
        assert table.ids.tolist() == ["d", "b"] and table.numbers("x", "original").tolist() == [4.0, 2.0]

    def test_knows_which_columns_every_variant_has(self, table_of):
        table = table_of(original=ORIGINAL, reflect_both={**BOTH, "more": [1, 2, 3]})
        assert table.has("output") and not table.has("more") and not table.has("none")

    def test_ignores_what_is_no_variant(self, variants_of):
        table = ScoreTable(variants_of(original=ORIGINAL, decisions={"x": [1]}))
        assert table.variants == ("original",)

    @pytest.mark.parametrize(
        ("variants", "message"),
        [
            ({"selected": {"x": [1]}}, "holds selected and none of original, reflect_instruction"),
            ({"original": {"row_id": ["a", "b", "a"]}}, "variant original repeats a row_id: 3 rows, 2 different ids"),
            ({"original": ORIGINAL, "reflect_both": {"row_id": list("cbad")}}, "different rows: only one has row_id d"),
            ({"original": ORIGINAL, "reflect_both": {"row_id": list("cbx")}}, "different rows: only one has row_id a"),
            ({"original": ORIGINAL, "reflect_both": {"row_id": list("cb")}}, "different rows: only one has row_id a"),
        ],
    )
    def test_refuses(self, table_of, variants, message):
        with pytest.raises(BadInputError, match=message):
            table_of(**variants)

    def test_refuses_a_variant_without_row_id(self):
        with pytest.raises(BadInputError, match="variant original has no column row_id"):
            ScoreTable(DatasetDict(original=Dataset.from_dict({"output": ["x"]})))

    def test_refuses_a_column_that_is_not_there(self, table):
        with pytest.raises(BadInputError, match="variant original has no column rifd_ppl: score it first"):
            table.numbers("rifd_ppl", "original")

    def test_refuses_text_as_numbers(self, table):
        with pytest.raises(BadInputError, match="column output of variant original holds string, not numbers"):
            table.numbers("output", "original")


class TestRows:
    def test_are_those_at_their_positions_of_the_variant_of_each(self, table):
        some = rows(table, [2, 0, 1], [3, 0, 3])
        assert len(some) == 3 and some.ids.tolist() == ["c", "b", "a"]
        assert some.numbers("ifd_ppl").tolist() == [1.0, 0.5, 2.0]
        assert some.column("output").to_pylist() == ["rc", "ob", "ra"]
        assert some.column("n").to_pylist() == [4, 1, 6]
        assert rows(table, [2, 0, 1], [3, 3, 0]).column("n").to_pylist() == [4, 5, 2]

    def test_have_the_numbers_of_all_variants_too(self, table):
        found = rows(table, [1, 2], [0, 0]).all_numbers("ifd_ppl")
        np.testing.assert_array_equal(found, [[np.nan, 0.25], [np.nan] * 2, [np.nan] * 2, [2.0, 1.0]])

    def test_without_a_variant_have_no_number(self, table):
        np.testing.assert_array_equal(rows(table, [0, 1], [-1, 3]).numbers("ifd_ppl"), [np.nan, 2.0])

    def test_have_an_empty_text_for_a_null(self, table):
        assert rows(table, [2, 0], [0, 0]).texts("output") == ["", "ob"]

    def test_are_unscored_where_ifd_was_taken_and_is_null(self, table, table_of):
        assert rows(table, [0, 1, 2], [0, 0, 3]).unscored().tolist() == [False, True, False]
        assert rows(table_of(original={"output": ["x"]}), [0], [0]).unscored().tolist() == [False]

    def test_may_be_none(self, table):
        none = rows(table, [], [])
        assert none.texts("output") == [] and none.numbers("n").tolist() == [] and none.ids.tolist() == []
        assert none.column("n").type == pa.int64()

    def test_give_an_earlier_selection(self, table_of, tmp_path):
        kept = Dataset.from_dict({"output": ["x"]})
        save_result(tmp_path / "earlier", DatasetDict(selected=kept, decisions=kept), [])
        table = table_of(original=ORIGINAL, load_selection=load_selection)
        assert rows(table, [0], [0]).selection(str(tmp_path / "earlier"))["output"][:] == ["x"]
        with pytest.raises(BadInputError, match="holds no data set saved by a stage"):
            rows(table, [0], [0]).selection(str(tmp_path / "nothing"))


class TestVectors:
    @pytest.fixture
    def make(self, rows_of):
        return lambda lists: rows_of(embedding=pa.array(lists, pa.list_(pa.float32())))

    def test_are_a_matrix_of_the_rows_that_have_one(self, make):
        nothing = [None, [], [1.0, None], [float("nan"), 1.0], [1.0, float("inf")]]
        vectors_MD, has_N = make([[1.0, 2.0], *nothing, [3.0, 4.0]]).vectors("embedding")
        assert vectors_MD.tolist() == [[1.0, 2.0], [3.0, 4.0]] and vectors_MD.dtype == np.float32
        assert has_N.tolist() == [True, *[False] * len(nothing), True]

    def test_follow_the_variants(self, table_of):
        table = table_of(
            original={"row_id": ["a", "b"], "embedding": [[1.0], [2.0]]},
            reflect_both={"row_id": ["b", "a"], "embedding": [[3.0], [4.0]]},
        )
        assert rows(table, [1, 0], [3, 0]).vectors("embedding")[0].tolist() == [[3.0], [1.0]]

    @pytest.mark.parametrize("lists", [[], [None, []]])
    def test_may_be_none(self, make, lists):
        vectors_MD, has_N = make(lists).vectors("embedding")
        assert len(vectors_MD) == 0 and has_N.tolist() == [False] * len(lists)

    def test_must_be_of_one_length(self, make):
        with pytest.raises(BadInputError, match=r"embedding holds lists of different lengths \(2 and 1\)"):
            make([[1.0, 2.0], [1.0]]).vectors("embedding")
