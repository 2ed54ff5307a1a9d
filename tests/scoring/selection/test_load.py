"""The rows of a selection: a scored folder, or text with statistics beside it."""

import json
import shutil

import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.rows import row_id
from hub_cards.sources import Source
from hub_cards.storage import save_result
from scoring.config import SelectConfig
from scoring.selection.load import joined_lines, load_scored, settings_of

ROWS = [{"instruction": f"ask {n}", "input": "", "output": f"answer {n}", "topic": "ab"[n % 2]} for n in range(6)]
IDS = [row_id(row["instruction"], "", row["output"]) for row in ROWS]


@pytest.fixture
def data(tmp_path):
    """A file of rows with a column of the user's own."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def statistics(tmp_path):
    """Scores of four of the rows, in another order, by `row_id`."""
    path = tmp_path / "statistics.parquet"
    scores = {"row_id": IDS[3::-1], "ifd_loss": [0.3, 0.2, 0.1, None], "ppl_A_direct": [2.0] * 4, "ifd_ppl": [0.9] * 4}
    Dataset.from_dict(scores).to_parquet(path)
    return path


def load(data, *strategy, **settings):
    config = SelectConfig(dataset=str(data), strategy=list(strategy), **settings)
    return load_scored(config, config.steps())


def test_statistics_come_beside_the_rows_and_only_what_is_read(data, statistics):
    variants, joined = load(data, "cherry count=1", statistics=str(statistics))
    rows = variants["original"]
    assert rows["ifd_loss"][:] == [None, 0.1, 0.2, 0.3, None, None]
    assert "ppl_A_direct" not in rows.column_names
    assert joined_lines(joined) == [
        "statistics of original: joined by row_id, 6 rows, 2 of them without statistics",
    ]


def test_a_limit_takes_of_what_was_joined(data, tmp_path):
    path = tmp_path / "by_position.jsonl"
    path.write_text("".join(json.dumps({"ppl": [2.0] * 4, "loss": [0.6931] * 4}) + "\n" for _ in ROWS))
    variants, joined = load(data, "grape", statistics=str(path), limit=2)
    assert variants["original"]["row_id"][:] == IDS[:2]
    assert joined["original"]["aligned_by"] == "position"
    assert joined_lines(joined)[0].endswith("6 rows, their order not checked (it takes 200 rows)")


def test_a_files_own_columns_can_be_asked_for(data, statistics):
    variants, _ = load(data, "cherry count=2 group_by=topic", statistics=str(statistics))
    assert variants["original"]["topic"][:] == list("ababab")
    variants, _ = load(data, "random count=2")
    assert "topic" not in variants["original"].column_names


def test_selective_needs_variants_to_choose_among(data, statistics):
    with pytest.raises(BadInputError, match=r"rows\.jsonl has original only; to select rows as they are take another"):
        load(data, "selective", statistics=str(statistics))


def test_a_scored_folder_needs_nothing_beside_it(tmp_path):
    rows = Dataset.from_dict({"row_id": ["a"], "variant": ["original"], "ifd_loss": [0.5]})
    record = StepRecord("score", 1, {}, {"dataset": Source("file", "x", "y")})
    save_result(tmp_path / "score", DatasetDict(original=rows), [record.finished({}, 0)])
    variants, joined = load(tmp_path / "score", "cherry count=1")
    assert variants["original"]["ifd_loss"][:] == [0.5]
    assert joined == {} and joined_lines(joined) == []


class TestSettingsOf:
    @pytest.fixture
    def record(self, data, statistics, tmp_path):
        config = SelectConfig(
            dataset=str(data), strategy=["cherry count=1"], statistics=str(statistics), limit=3, output_dir="x"
        )
        nothing = DatasetDict(decisions=Dataset.from_dict({"row_id": ["a"]}))
        save_result(tmp_path / "select", nothing, [config.planned_record().finished({}, 0)])
        return read_records(tmp_path / "select")[-1]

    def test_are_those_of_the_record(self, record, data, statistics):
        config = settings_of(record)
        assert (config.dataset, config.statistics, config.limit) == (str(data), str(statistics), 3)

    @pytest.mark.parametrize("which", ["data", "statistics"])
    def test_other_content_is_refused(self, record, which, request):
        path = request.getfixturevalue(which)
        if which == "data":
            path.write_text(path.read_text() + path.read_text())
        else:
            Dataset.from_dict({"row_id": IDS[:1], "ifd_ppl": [0.5]}).to_parquet(path)
        with pytest.raises(BadInputError, match=f"{path.name} is not what the selection was made from"):
            settings_of(record)

    def test_what_is_gone_is_refused(self, record, data):
        shutil.move(data, data.with_suffix(".old"))
        with pytest.raises(BadInputError, match="there is no such file"):
            settings_of(record)
