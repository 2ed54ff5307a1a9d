"""Texts of many records at once: the same as one by one, or none at all."""

import pyarrow as pa
import pytest

from hub_cards.texts import FLAT, NESTED, texts_of_batch, texts_of_records

RECORDS = [
    {"id": 7, "instruction": "a", "input": None, "output": "Größe 🦜"},
    {"id": None, "instruction": "", "input": "n", "output": ""},
]
EXPECTED = {"instruction": ["a", ""], "input": ["", "n"], "output": ["Größe 🦜", ""], "source_id": ["7", None]}


def both(name: str, records: list[dict]) -> list[dict | None]:
    batch = pa.RecordBatch.from_pylist(records)
    found = [texts_of_records(name, records), texts_of_batch(name, batch)]
    return [texts and {key: values.to_pylist() for key, values in texts.items()} for texts in found]


def test_flat_records():
    assert both(FLAT, RECORDS) == [EXPECTED, EXPECTED]


def test_nested_records():
    nested = [{"id": record["id"], "data": record} for record in RECORDS]
    assert both(NESTED, nested) == [EXPECTED, EXPECTED]


def test_without_input_and_id():
    records = [{"instruction": "a", "output": "b"}]
    expected = {"instruction": ["a"], "output": ["b"], "input": [""], "source_id": [None]}
    assert both(FLAT, records) == [expected, expected]
    assert both(NESTED, [{"data": record} for record in records]) == [expected, expected]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        (FLAT, {"instruction": None, "output": "b"}),
        (FLAT, {"instruction": "a", "output": 5}),
        (FLAT, {"instruction": "a", "output": "b", "input": ["c"]}),
        (NESTED, {"data": None}),
        (NESTED, {"data": "a"}),
        ("chat messages", {"instruction": "a", "output": "b"}),
    ],
)
def test_what_does_not_fit_must_be_looked_at(name, record):
    assert both(name, [record]) == [None, None]


def test_large_strings_and_half_a_surrogate_pair():
    batch = pa.RecordBatch.from_pydict({"instruction": ["a"], "output": pa.array(["b"], pa.large_string())})
    assert texts_of_batch(FLAT, batch)["output"].type == pa.string()
    assert texts_of_records(FLAT, [{"instruction": "a\ud83e", "output": "b"}]) is None
    assert texts_of_records(FLAT, [{"id": "\ud83e", "instruction": "a", "output": "b"}]) is None
