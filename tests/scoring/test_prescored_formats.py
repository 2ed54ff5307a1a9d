"""Every format of published statistics, from small files with nulls, zeros and NaN in them."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_cards.errors import BadInputError
from hub_cards.rows import row_id
from scoring.prescored_formats import derive, read_part
from scoring.ratios import LOSS_KEYS, loss_columns

LOSSES = [[2.0, 1.0, 1.5, 0.5], [1.0, 2.0, 2.5, 3.0]]
PPLS = [[math.exp(loss) for loss in row] for row in LOSSES]
# A good row, then one for everything that can be wrong, then a good row.
RECORDS = [
    {"loss": LOSSES[0], "ppl": PPLS[0]},
    {"loss": None, "ppl": None},
    {"loss": [0.0] * 4, "ppl": [0.0] * 4},
    {"loss": LOSSES[0][:3], "ppl": PPLS[0][:3]},
    {"loss": [2.0, None, 1.5, 0.5], "ppl": [math.exp(2), None, math.exp(1.5), math.exp(0.5)]},
    {"loss": [2.0, float("nan"), 1.5, 0.5], "ppl": [math.exp(2), float("nan"), math.exp(1.5), math.exp(0.5)]},
    {"loss": [], "ppl": []},
    {"loss": LOSSES[1], "ppl": PPLS[1]},
]
EXPECTED = {
    "loss_Q_direct": [2.0, None, None, None, 2.0, 2.0, None, 1.0],
    "loss_A_direct": [1.0, None, None, None, None, None, None, 2.0],
    "loss_A_condition": [0.5, None, None, None, 0.5, 0.5, None, 3.0],
    "ifd_loss": [0.5, None, None, None, None, None, None, 1.5],
    "rifd_loss": [0.75, None, None, None, 0.75, 0.75, None, 2.5],
    "ifd_ppl": [math.exp(-0.5), None, None, None, None, None, None, math.exp(1)],
}


@pytest.fixture
def complaint():
    """The one line by which a part is refused."""

    def call(paths) -> str:
        with pytest.raises(BadInputError) as caught:
            read_part(paths)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


def column(part, name) -> list:
    return part.scores[name].to_pylist()


def assert_expected(part):
    for name, values in EXPECTED.items():
        for found, value in zip(column(part, name), values, strict=True):
            assert found == (value if value is None else pytest.approx(value, rel=1e-12)), name
    assert part.rows == 8 and part.row_ids is None and part.aligned_by == "position"
    assert {str(kind) for kind in part.scores.schema.types} == {"double"}


class TestLists:
    def test_struct_of_lists_in_parquet(self, tmp_path):
        data = pa.array(RECORDS, pa.struct({"loss": pa.list_(pa.float64()), "ppl": pa.list_(pa.float64())}))
        pq.write_table(pa.table({"data": data}), tmp_path / "d.parquet")
        part = read_part([tmp_path / "d.parquet"])
        assert_expected(part)
        assert part.notes == {"missing_lists": 3, "zeros_as_null": 1}

    def test_a_struct_that_is_null_itself(self, tmp_path):
        kind = pa.struct({"loss": pa.list_(pa.float64()), "ppl": pa.list_(pa.float64())})
        pq.write_table(pa.table({"data": pa.array([None, RECORDS[0]], kind)}), tmp_path / "d.parquet")
        part = read_part([tmp_path / "d.parquet"])
        assert column(part, "loss_A_direct") == [None, 1.0] and part.notes["missing_lists"] == 1

    @pytest.mark.parametrize("nested", [False, True])
    def test_json_lines_with_and_without_nan(self, nested, tmp_path):
        lines = [{} if record["loss"] is None else record for record in RECORDS]
        text = "".join(json.dumps({"data": line} if nested else line) + "\n" for line in lines)
        (tmp_path / "d.jsonl").write_text(text)
        assert_expected(read_part([tmp_path / "d.jsonl"]))
        (tmp_path / "n.jsonl").write_text(text.replace("NaN", "null"))  # then Arrow reads it
        assert_expected(read_part([tmp_path / "n.jsonl"]))

    def test_json_array(self, tmp_path):
        (tmp_path / "d.json").write_text(json.dumps(RECORDS))
        assert_expected(read_part([tmp_path / "d.json"]))

    def test_shards_follow_each_other(self, tmp_path):
        for number, records in enumerate((RECORDS[:3], RECORDS[3:])):
            pq.write_table(pa.Table.from_pylist([{"data": r} for r in records]), tmp_path / f"{number}.parquet")
        assert_expected(read_part([tmp_path / "0.parquet", tmp_path / "1.parquet"]))

    def test_one_of_loss_and_ppl_gives_the_other(self, tmp_path):
        for unit in ("loss", "ppl"):
            (tmp_path / f"{unit}.jsonl").write_text("".join(json.dumps({unit: r[unit] or []}) + "\n" for r in RECORDS))
            assert_expected(read_part([tmp_path / f"{unit}.jsonl"]))

    def test_a_loss_of_0_with_a_perplexity_of_1_is_a_number(self, tmp_path):
        (tmp_path / "d.jsonl").write_text(json.dumps({"loss": [0.0, 1.0, 0.0, 1.0], "ppl": [1.0, math.e, 0.0, math.e]}))
        part = read_part([tmp_path / "d.jsonl"])
        assert column(part, "loss_Q_direct") == [0.0] and column(part, "loss_Q_condition") == [None]
        assert column(part, "ppl_Q_condition") == [None] and column(part, "rifd_loss") == [None]

    def test_only_what_is_wanted(self, tmp_path):
        (tmp_path / "d.json").write_text(json.dumps(RECORDS))
        part = read_part([tmp_path / "d.json"], ["ifd_ppl", "output", "no_such"])
        assert part.scores.column_names == ["ifd_ppl"] and part.rows == 8

    def test_lists_that_all_have_another_length_are_refused(self, tmp_path, complaint):
        path = tmp_path / "d.jsonl"
        path.write_text("".join(json.dumps({"loss": [1.0, 2.0], "ppl": [math.e]}) + "\n" for _ in range(3)))
        assert "the lists of loss and ppl are of 1, 2 numbers; statistics have lists of exactly 4" in complaint([path])

    def test_what_no_model_can_give_is_null(self, tmp_path):
        path = tmp_path / "d.jsonl"
        path.write_text(json.dumps({"loss": [-1.0, 1.0, 0.5, 0.5], "ppl": [0.4, math.e, math.exp(0.5), -3.0]}))
        part = read_part([path])
        assert column(part, "loss_Q_direct") == column(part, "ppl_A_condition") == [None]
        assert column(part, "loss_A_direct") == [1.0] and part.notes["zeros_as_null"] == 1


PAIRS = [{"instruction": "a", "input": "", "output": "b"}, {"instruction": "Größe 🦜", "input": "", "output": "ok"}]


class TestRecords:
    """JSON that holds texts: rows are known by what they say."""

    def test_superfiltering(self, tmp_path):
        records = [
            {**PAIRS[0], "ppl_A_direct": 4.0, "ppl_A_condition": 2.0, "ifd_ppl": 0.5},
            {**PAIRS[1], "ppl_A_direct": float("nan"), "ppl_A_condition": float("nan"), "ifd_ppl": float("nan")},
            {**PAIRS[0], "ppl_A_direct": 0, "ppl_A_condition": 3.0, "ifd_ppl": 0},
        ]
        text = json.dumps(records, indent=1)
        assert text.count(" NaN") == 3
        (tmp_path / "d.json").write_text(text)
        part = read_part([tmp_path / "d.json"])
        first, second = row_id("a", "", "b"), row_id("Größe 🦜", "", "ok")
        assert part.aligned_by == "text" and part.row_ids.to_pylist() == [first, second, f"{first}-2"]
        assert column(part, "ppl_A_direct") == [4.0, None, None] and column(part, "ifd_ppl") == [0.5, None, None]
        assert column(part, "loss_A_condition") == [math.log(2), None, math.log(3)]
        assert column(part, "ifd_loss") == [pytest.approx(0.5), None, None]
        assert part.notes == {"zeros_as_null": 1}
        assert "loss_Q_direct" not in part.scores.column_names

    @pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.parquet"])
    def test_reflection_tunings_own(self, name, tmp_path):
        records = []
        for pair, losses in zip(PAIRS, LOSSES, strict=True):
            numbers = loss_columns(dict(zip(LOSS_KEYS, losses, strict=True)))
            records.append({"id": "x", **pair, **numbers, "other": {"a": 1}})
        path = tmp_path / name
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(records), path)
        else:
            path.write_text(json.dumps(records) if name == "d.json" else "\n".join(map(json.dumps, records)))
        part = read_part([path])
        for key, values in numbers.items():
            assert column(part, key) == [records[0][key], pytest.approx(values, rel=1e-15)]
        assert part.row_ids.to_pylist() == [row_id(pair["instruction"], "", pair["output"]) for pair in PAIRS]

    def test_a_published_ratio_stays_as_it_is(self, tmp_path):
        (tmp_path / "d.json").write_text(
            json.dumps([{**PAIRS[0], "ppl_A_direct": 3.0, "ppl_A_condition": 1.0, "ifd_ppl": 0.3333}])
        )
        assert column(read_part([tmp_path / "d.json"]), "ifd_ppl") == [0.3333]


class TestOwn:
    def test_columns_with_row_id_are_taken_as_they_are(self, tmp_path):
        """A null is a null there, and a 0 a 0."""
        table = {"row_id": ["a", "b"], "instruction": ["x", "y"], "loss_A_direct": [0.0, None], "ifd_ppl": [None, 0.5]}
        pq.write_table(
            pa.table({**table, "score_status": ["ok", "error"], "n_tokens_A": [3, 4]}), tmp_path / "d.parquet"
        )
        part = read_part([tmp_path / "d.parquet"])
        assert part.aligned_by == "row_id" and part.row_ids.to_pylist() == ["a", "b"]
        assert part.scores.to_pydict() == {
            "loss_A_direct": [0.0, None],
            "ifd_ppl": [None, 0.5],
            "n_tokens_A": [3, 4],
            "score_status": ["ok", "error"],
        }

    def test_types_are_the_contracts(self, tmp_path):
        table = {"row_id": ["a"], "ifd_ppl": pa.array([0.5], pa.float32()), "embedding": [[1.0, 2.0]]}
        pq.write_table(pa.table(table), tmp_path / "d.parquet")
        schema = read_part([tmp_path / "d.parquet"]).scores.schema
        assert schema.field("ifd_ppl").type == pa.float64()
        assert schema.field("embedding").type == pa.list_(pa.float32())

    def test_a_column_of_another_type_is_refused(self, tmp_path, complaint):
        pq.write_table(pa.table({"row_id": ["a"], "ifd_ppl": ["high"]}), tmp_path / "d.parquet")
        assert "a score column has another type" in complaint([tmp_path / "d.parquet"])


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": "a", "output": "b"},
        {"row_id": "a", "instruction": "a"},
        {"data": {"instruction": "a", "output": "b"}},
        {"score": 1},
        {},
    ],
)
def test_what_is_no_statistics_is_refused_with_its_columns(record, tmp_path, complaint):
    (tmp_path / "d.json").write_text(json.dumps([record]))
    message = complaint([tmp_path / "d.json"])
    assert "holds no statistics that are known; its columns are " in message
    assert all(name in message for name in record)


def test_mixed_types_are_refused(tmp_path, complaint):
    (tmp_path / "d.json").write_text('[{"loss": [1.0, 2.0, 3.0, 4.0]}, {"loss": "x"}]')
    assert "field 'loss' holds values of different types" in complaint([tmp_path / "d.json"])


def test_what_is_derived_is_what_the_formulas_of_one_row_give():
    numbers = np.random.default_rng(0)
    losses = numbers.uniform(0.01, 12, (50, 4))
    losses[numbers.random((50, 4)) < 0.2] = np.nan
    done = derive({f"loss_{key}": losses[:, number] for number, key in enumerate(LOSS_KEYS)})
    for row, values in enumerate(losses):
        naive = loss_columns({k: None if np.isnan(v) else v for k, v in zip(LOSS_KEYS, values, strict=True)})
        assert set(naive) == set(done)
        for name, value in naive.items():
            found = done[name][row]
            assert np.isnan(found) if value is None else found == pytest.approx(value, rel=1e-14)


def test_a_loss_without_a_perplexity_is_null():
    done = derive({"loss_A_direct": np.array([800.0, 1.0])})
    assert np.isnan(done["loss_A_direct"][0]) and np.isnan(done["ppl_A_direct"][0]) and done["loss_A_direct"][1] == 1
