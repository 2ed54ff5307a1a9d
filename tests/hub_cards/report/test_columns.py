"""The packed columns, decoded by themselves and held against the data that they were made of."""

import base64
import gzip
import json
import math
from array import array

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from hub_cards.report.columns import CHANGES, columns_of
from hub_cards.report.joined import JoinedRows
from hub_cards.schema import SELECT_COLUMNS, VARIANTS, features

FORMATS = {"f64": "d", "code": "B"}


def decoded(page) -> dict:
    """By key and variant the values; codes as names where they stand for some, null as None."""
    found = {}
    for column in page.columns:
        content = gzip.decompress(base64.b64decode(column.content))
        if column.type == "json":
            values = json.loads(content)
        else:
            is_code = column.type == "code"
            values = array(FORMATS[column.type], content).tolist()
            values = [None if (value == 255 if is_code else math.isnan(value)) else value for value in values]
            if column.key in page.categories:
                names = [entry["name"] for entry in page.categories[column.key]]
                values = [None if value is None else names[value] for value in values]
        found[column.key, column.variant] = values
    assert len(found) == len(page.columns)  # each once
    return found


def made(seed: int, n_rows: int = 40) -> tuple[dict[str, dict], dict]:
    """Rows of all variants by id, and decisions by id; some of each are missing, some values null."""
    numbers = np.random.default_rng(seed)
    ids = [f"row-{number}" for number in range(n_rows)]
    maybe = lambda value: None if numbers.random() < 0.2 else value  # noqa: E731
    variants = {
        name: {
            identity: {
                "instruction": f"{name}\n question\t {identity} Übung",
                "ifd_ppl": maybe(round(float(numbers.random()), 6)),
                "n_tokens_A": int(numbers.integers(0, 999)),
                "reflect_status": None if name == "original" else maybe(str(numbers.choice(["ok", "refusal"]))),
            }
            for identity in ids
            if name == "original" or numbers.random() < 0.8
        }
        for name in VARIANTS
    }
    decisions = {
        identity: {
            "selected": bool(numbers.random() < 0.5),
            "selected_variant": maybe(str(numbers.choice(VARIANTS))),
            "select_reason": str(numbers.choice(["kept", "low", "unscored"])),
            "select_step": "selective",
            "select_rank": maybe(int(numbers.integers(1, 99))),
            "select_score": maybe(float(numbers.random())),
        }
        for identity in ids
        if numbers.random() < 0.9
    }
    return variants, decisions


def dataset(rows: dict, order=None) -> Dataset:
    ids = list(rows) if order is None else [list(rows)[place] for place in order.permutation(len(rows))]
    columns = list(next(iter(rows.values())))
    schema = features(SELECT_COLUMNS).arrow_schema
    types = {name: schema.field(name).type for name in columns if name in schema.names}
    values = {name: pa.array([rows[i][name] for i in ids], types.get(name)) for name in columns}
    return Dataset(pa.table({"row_id": pa.array(ids, pa.string()), **values}))


def joined(variants, decisions, order=None) -> JoinedRows:
    ids = pa.chunked_array([pa.array(list(variants["original"]), pa.string())])
    tables = {name: dataset(rows, order) for name, rows in variants.items()}
    return JoinedRows(ids, tables, None if decisions is None else dataset(decisions, order))


@pytest.mark.parametrize("seed", range(3))
def test_every_value_arrives_at_its_row(seed):
    variants, decisions = made(seed)
    found = decoded(columns_of(joined(variants, decisions), {}))
    ids = list(variants["original"])
    assert found["row_id", None] == ids
    assert found["title", None] == [f"original question {identity} Übung" for identity in ids]
    for name, rows in variants.items():
        for column in ("ifd_ppl", "n_tokens_A", "reflect_status"):
            expected = [rows[identity][column] if identity in rows else None for identity in ids]
            assert found.get((column, name), [None] * len(ids)) == expected
    for column in ("selected", "selected_variant", "select_reason", "select_step", "select_rank", "select_score"):
        expected = [decisions[identity][column] if identity in decisions else None for identity in ids]
        if column == "selected_variant":
            expected = [None if value is None else VARIANTS.index(value) for value in expected]
        assert found[column, None] == expected


def test_the_order_that_things_are_stored_in_does_not_show():
    variants, decisions = made(5)
    orders = [None, np.random.default_rng(1)]
    one, two = (
        columns_of(joined(variants, decisions, order), {}, joined(variants, decisions, order)) for order in orders
    )
    assert one == two


class TestLeftOut:
    def test_columns_that_are_all_null_or_not_there(self):
        rows = {"a": {"output": "x", "ifd_ppl": None, "score_status": None, "loss_Q_direct": 0.5}}
        page = columns_of(joined({"original": rows}, None), {})
        assert [(column.key, column.variant) for column in page.columns] == [
            ("row_id", None),
            ("title", None),
            ("loss_Q_direct", "original"),
        ]
        assert page.categories == {"reflect_status": [], "score_status": []}
        assert decoded(page)["title", None] == [""]

    def test_no_rows(self):
        empty = Dataset(pa.table({name: pa.array([], pa.string()) for name in ("row_id", "instruction")}))
        rows = JoinedRows(pa.chunked_array([pa.array([], pa.string())]), {"original": empty}, None)
        assert decoded(columns_of(rows, {})) == {("row_id", None): [], ("title", None): []}


class TestDescribed:
    def test_by_the_contract(self):
        rows = {"a": {"ifd_ppl": 0.5, "coherence": 0.25, "selectit_token": 3.0}}
        page = columns_of(joined({"original": rows}, None), {})
        *_, ifd, rating, coherence = (column.described() for column in page.columns)
        assert ifd == {
            "key": "ifd_ppl",
            "variant": "original",
            "type": "f64",
            "label": "IFD",
            "unit": "ratio",
            "meaning": "instruction-following difficulty, ppl_A_condition / ppl_A_direct",
        }
        assert (rating["label"], coherence["label"]) == ("selectit token", "coherence")

    def test_codes_have_their_meaning(self):
        variants, decisions = made(0)
        meanings = {"select_reason": {"low": "below the cut"}, "reflect_status": {"ok": "adopted"}}
        categories = columns_of(joined(variants, decisions), meanings).categories
        assert {"name": "low", "meaning": "below the cut"} in categories["select_reason"]
        assert {"name": "kept", "meaning": ""} in categories["select_reason"]
        assert {"name": "ok", "meaning": "adopted"} in categories["reflect_status"]

    def test_more_reasons_than_there_are_codes(self):
        rows = {f"row-{n}": {"output": "x"} for n in range(300)}
        decisions = {
            identity: {"selected": False, "selected_variant": "original", "select_reason": f"reason {identity}"}
            for identity in rows
        }
        found = decoded(columns_of(joined({"original": rows}, decisions), {}))["select_reason", None]
        assert found[:254] == [f"reason row-{n}" for n in range(254)]
        assert found[254:] == ["(others)"] * 46


class TestTitle:
    def test_one_line_of_160_characters(self):
        rows = {
            "a": {"instruction": "  \n\n one\r\n\ttwo  \u2028 three "},
            "b": {"instruction": "\n" * 400 + "é" * 999},
            "c": {"instruction": None},
        }
        titles = decoded(columns_of(joined({"original": rows}, None), {}))["title", None]
        assert titles == ["one two \u2028 three", "é" * 160, ""]

    def test_of_the_first_variant_that_has_the_row(self):
        kept = {"a": {"instruction": "old"}}, {"a": {"instruction": "new"}, "b": {"instruction": "reflected"}}
        ids = pa.chunked_array([["a", "b"]])
        rows = JoinedRows(ids, {"original": dataset(kept[0]), "reflect_both": dataset(kept[1])}, None)
        assert decoded(columns_of(rows, {}))["title", None] == ["old", "reflected"]


def ledger(**rows) -> dict:
    """By row (selected, variant)."""
    return {
        name: {"selected": kept, "selected_variant": variant, "select_reason": "kept" if kept else "low"}
        for name, (kept, variant) in rows.items()
    }


class TestCompared:
    ONE, TWO = "original", "reflect_both"

    @pytest.fixture
    def page(self):
        rows = {letter: {"ifd_ppl": 0.5} for letter in "abcdefghi"}
        keep, drop = (True, self.ONE), (False, self.ONE)
        here = ledger(a=keep, b=keep, c=drop, d=keep, e=drop, f=keep, g=drop, i=drop)
        there = ledger(h=keep, a=keep, b=drop, c=keep, d=(True, self.TWO), e=(False, self.TWO), g=(False, None))
        other = {
            "original": {"a": {"ifd_ppl": 0.75}},
            "reflect_both": {"b": {"ifd_ppl": 1.5}},
            "more": {"a": {"ifd_ppl": 9.0}},
        }
        mine = joined({"original": rows, "reflect_both": rows, "reflect_response": rows}, here)
        tables = {name: dataset(found) for name, found in other.items()}
        return columns_of(mine, {}, JoinedRows(mine.row_ids, tables, dataset(there)))

    def test_what_changed_of_each_row(self, page):
        expected = {
            "a": "alike",
            "b": "kept_only_here",
            "c": "kept_only_there",
            "d": "other_variant",
            "e": "alike",
            "f": "not_there",  # not decided there
            "g": "alike",
            "h": "not_there",  # not decided here
            "i": "not_there",
        }
        assert decoded(page)["change", None] == list(expected.values())
        counts = {name: list(expected.values()).count(name) for name, _ in CHANGES}
        assert {name: count for name, _, count in page.changes} == counts

    def test_the_columns_of_the_other_side(self, page):
        found = decoded(page)
        assert found["other_selected", None] == [1, 0, 1, 1, 0, None, 0, 1, None]
        assert found["other_selected_variant", None] == [0, 0, 0, 1, 1, None, None, 0, None]
        assert found["other_ifd_ppl", "original"] == [0.75, *[None] * 8]
        assert found["other_ifd_ppl", "reflect_both"] == [None, 1.5, *[None] * 7]
        # Neither a variant that the page does not have, nor one that the other side does not have.
        assert {variant for key, variant in found if key == "other_ifd_ppl"} == {"original", "reflect_both"}
        labels = {column.key: column.label for column in page.columns}
        assert labels["other_ifd_ppl"] == "IFD (other)"

    def test_of_another_student_there_are_scores_alone(self):
        rows = {"a": {"ifd_ppl": 0.5}}
        page = columns_of(joined({"original": rows}, None), {}, joined({"original": {"a": {"ifd_ppl": 0.25}}}, None))
        assert [column.key for column in page.columns] == ["row_id", "title", "ifd_ppl", "other_ifd_ppl"]
        assert page.changes == [] and "change" not in page.categories
