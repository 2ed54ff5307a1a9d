"""The rows as the charts take them."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hub_cards.report.charts.series import chart_rows
from hub_cards.report.joined import NONE, JoinedRows


def rows_of(decisions=None, **variants) -> JoinedRows:
    ids = pa.chunked_array([["a", "b", "c"]])
    tables = {name: Dataset(pa.table(columns)) for name, columns in variants.items()}
    return JoinedRows(ids, tables, None if decisions is None else Dataset(pa.table(decisions)))


def columns(found) -> dict:
    return {name: values.tolist() for name, values in found.items()}


TEXTS = {"row_id": ["c", "a"], "instruction": ["no", "yes"], "input": ["1234", None], "output": ["", "é\u2028x"]}


def test_scores_in_the_order_of_the_rows_and_characters_where_nothing_was_counted():
    scored = {
        "row_id": ["b", "c", "a"],
        "ifd_ppl": [0.5, None, 0.25],
        "n_tokens_A": [7, 8, 9],
        "instruction": ["x"] * 3,
    }
    found = chart_rows(rows_of(original=scored, reflect_both=TEXTS), None, ())
    assert found.row_ids == ["a", "b", "c"]
    numbers = columns(found.variants["original"])
    assert list(numbers) == ["ifd_ppl", "n_tokens_A", "n_characters_Q"]
    np.testing.assert_array_equal(numbers["ifd_ppl"], [0.25, 0.5, np.nan])
    assert numbers["n_tokens_A"] == [9, 7, 8] and numbers["n_characters_Q"] == [1, 1, 1]
    lengths = columns(found.variants["reflect_both"])
    np.testing.assert_array_equal(lengths["n_characters_Q"], [3, np.nan, 6])
    np.testing.assert_array_equal(lengths["n_characters_A"], [3, np.nan, 0])


def test_without_a_selection():
    found = chart_rows(rows_of(original=TEXTS), None, ())
    assert found.selected is found.selected_variant is found.select_reason is found.select_step is found.other is None
    assert found.gate and found.reflect_status == {}


def test_decisions_and_outcomes():
    decisions = {"row_id": ["b", "a"], "selected": [True, False], "selected_variant": ["original", None]}
    statuses = {"row_id": ["a", "b", "c", "d"], "reflect_status": ["ok", None, "ok", "refusal"]}
    found = chart_rows(rows_of(decisions, original=TEXTS, reflect_both=statuses), None, ())
    assert found.selected.tolist() == [0, 1, NONE]
    assert found.selected_variant == [None, "original", None]
    assert found.select_reason is None and found.select_step is None
    assert found.reflect_status == {"reflect_both": {"ok": 2}}  # d is not among the rows


@pytest.mark.parametrize(
    ("steps", "gate"),
    [([], True), ([{"name": "random"}], False), ([{"name": "refusals"}, {"name": "selective"}], True)],
)
def test_the_gate_is_drawn_where_it_decided_or_could_have(steps, gate):
    assert chart_rows(rows_of(original=TEXTS), None, steps).gate is gate


def test_the_other_side():
    decisions = {"row_id": ["c"], "selected": [True], "selected_variant": ["original"]}
    mine = rows_of(original=TEXTS)
    other = chart_rows(mine, rows_of(decisions, original={"row_id": ["c"], "ifd_ppl": [0.5]}), ()).other
    np.testing.assert_array_equal(other.variants["original"]["ifd_ppl"], [np.nan, np.nan, 0.5])
    assert other.selected.tolist() == [NONE, NONE, 1] and other.selected_variant == [None, None, "original"]
    assert chart_rows(mine, rows_of(original=TEXTS), ()).other.selected is None
