"""The measurement as a user loads it: `evaluate` copies it into its cache and calls it from there."""

import math
from pathlib import Path

import evaluate
import pytest
import yaml
from datasets import Dataset

from hub_cards.errors import BadInputError
from scoring.ifd import score_batch
from scoring.student import load_scorer
from scoring.templates import get_template

COLUMNS = (
    *("ifd_ppl", "rifd_ppl", "ifd_loss", "rifd_loss", "score_status"),
    *("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition"),
)
ROWS = 8


@pytest.fixture
def ifd(root: Path, caches: Path):
    folder = root / "scoring/measurements/ifd"
    return evaluate.load(str(folder), module_type="measurement", cache_dir=str(caches / "rows"))


@pytest.fixture(scope="module")
def model_id(quickstart) -> str:
    return str(quickstart / "student")


@pytest.fixture(scope="module")
def rows(real_rows):
    return {name: values[:ROWS] for name, values in real_rows.items()}


def columns(rows) -> dict[str, list[str]]:
    return {"instructions": rows["instruction"], "inputs": rows["input"], "responses": rows["output"]}


def one_row(**settings):
    return {"instructions": ["Why?"], "responses": ["Because."], **settings}


class TestNumbers:
    @pytest.mark.parametrize("span", ["published", "aligned"])
    def test_are_those_of_score_batch(self, ifd, rows, model_id, span):
        found = ifd.compute(**columns(rows), model_id=model_id, template="alpaca", span=span)
        wanted = score_batch(rows, load_scorer(model_id, template="alpaca", span=span))
        assert {name: found[name] for name in COLUMNS} == {name: wanted[name] for name in COLUMNS}
        for name in ("ifd_ppl", "rifd_ppl"):
            assert found[f"mean_{name}"] == pytest.approx(math.fsum(wanted[name]) / ROWS)

    def test_equal_the_naive_ones(self, ifd, rows, student, naive, model_id):
        found = ifd.compute(**columns(rows), model_id=model_id)
        for number, row in enumerate(zip(rows["instruction"], rows["input"], rows["output"], strict=True)):
            losses = naive(*student, get_template("vicuna"), row, 2048)
            for key, loss in losses.items():
                assert found[f"loss_{key}"][number] == pytest.approx(loss, rel=1e-5)
            for name, side in (("ifd", "A"), ("rifd", "Q")):
                above, below = losses[f"{side}_condition"], losses[f"{side}_direct"]
                assert found[f"{name}_ppl"][number] == pytest.approx(math.exp(above - below), rel=2e-5)
                assert found[f"{name}_loss"][number] == pytest.approx(above / below, rel=2e-5)

    def test_of_a_row_do_not_depend_on_how_it_came(self, ifd, rows, model_id):
        at_once = ifd.compute(**columns(rows), model_id=model_id)
        data = Dataset.from_dict(columns(rows))
        assert ifd.compute(**{name: data[name] for name in data.column_names}, model_id=model_id) == at_once
        for instruction, response in zip(rows["instruction"], rows["output"], strict=True):
            ifd.add(instructions=instruction, responses=response)
        assert ifd.compute(inputs=rows["input"], model_id=model_id) == at_once

    def test_inputs_may_be_missing(self, ifd, model_id):
        plain = ifd.compute(**one_row(model_id=model_id))
        assert plain == ifd.compute(**one_row(model_id=model_id, inputs=[""]))
        assert plain == ifd.compute(**one_row(model_id=model_id, inputs=[None]))
        assert plain != ifd.compute(**one_row(model_id=model_id, inputs=["Tell me."]))

    def test_are_none_where_there_are_none_and_the_means_leave_them_out(self, ifd, model_id):
        found = ifd.compute(instructions=["Why?", "", ""], responses=["", "Because.", ""], model_id=model_id)
        assert found["score_status"] == ["empty_output", "empty_instruction", "empty_output"]
        assert [value is None for value in found["ifd_ppl"]] == [True, False, True]
        assert [value is None for value in found["rifd_ppl"]] == [False, True, True]
        assert (found["mean_ifd_ppl"], found["mean_rifd_ppl"]) == (found["ifd_ppl"][1], found["rifd_ppl"][0])

    def test_are_all_none_where_no_row_has_anything_to_score(self, ifd, model_id):
        nothing = ifd.compute(instructions=[""], responses=[""], model_id=model_id)
        assert {name for name, value in nothing.items() if value not in (None, [None])} == {"score_status"}

    def test_cut_rows_say_so(self, ifd, rows, model_id):
        found = ifd.compute(**columns(rows), model_id=model_id, max_length=100)
        assert {"target_truncated", "target_lost"} & set(found["score_status"])
        assert not any(isinstance(value, float) and math.isnan(value) for value in found["rifd_ppl"])


class TestModel:
    def test_is_loaded_once_for_all_calls(self, ifd, model_id):
        for settings in ({}, {"template": "none"}, {"span": "aligned"}, {}):
            ifd.compute(**one_row(model_id=model_id, **settings))
        assert len(ifd._loaded) == 1
        ifd.compute(**one_row(model_id=model_id, dtype="bfloat16"))
        assert len(ifd._loaded) == 2

    def test_template_and_span_of_one_call_do_not_stay_for_the_next(self, ifd, model_id):
        before = ifd.compute(**one_row(model_id=model_id))
        assert ifd.compute(**one_row(model_id=model_id, template="none")) != before
        assert ifd.compute(**one_row(model_id=model_id)) == before


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"instructions": ["a", "b"], "responses": ["c"]}, "2 instructions, 1 responses"),
            ({"instructions": ["a"], "responses": ["b"], "inputs": ["c", "d"]}, "1 responses, 2 inputs"),
            ({"instructions": ["a", None], "responses": ["c", "d"]}, "instructions: row 1 is None"),
            ({"instructions": ["a"], "responses": [3]}, "responses: row 0 is 3"),
            ({"instructions": ["a"], "responses": ["b"], "inputs": [3]}, "inputs: row 0 is 3"),
            ({"instructions": "ab", "responses": "cd"}, "instructions: must be a list of texts, not one text"),
            ({"instructions": ["a"]}, "responses: must be a list of texts, not missing"),
            ({"instructions": [], "responses": []}, "no rows"),
            (one_row(span="both"), "published, aligned"),
            (one_row(dtype="int8"), "float32, bfloat16"),
            (one_row(max_length=1), "at least 2"),
            (one_row(model_id=None), "model_id: name the model"),
        ],
    )
    def test_is_said_in_one_line_and_the_next_call_works(self, ifd, model_id, arguments, message):
        with pytest.raises(ValueError, match=message):
            ifd.compute(**{"model_id": model_id, **arguments})
        assert ifd.compute(**one_row(model_id=model_id))["score_status"] == ["ok"]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"template": "no_such"}, "the templates are"),
            ({"max_length": 10**6}, "positions"),
            ({"model_id": "./no_such_folder"}, "no such folder"),
        ],
    )
    def test_of_the_model_is_what_scoring_says(self, ifd, model_id, settings, message):
        with pytest.raises(BadInputError, match=message):
            ifd.compute(**one_row(**{"model_id": model_id, **settings}))


class TestSpace:
    def test_front_matter_is_a_measurement_space(self, root):
        _, front, _ = (root / "scoring/measurements/ifd/README.md").read_text(encoding="utf-8").split("---\n", 2)
        found = yaml.safe_load(front)
        assert found["sdk"] == "gradio" and found["license"] == "apache-2.0"
        assert (root / "scoring/measurements/ifd" / found["app_file"]).is_file()
        assert found["tags"] == ["evaluate", "measurement"]

    def test_card_names_every_output(self, ifd, root, model_id):
        text = (root / "scoring/measurements/ifd/README.md").read_text(encoding="utf-8")
        assert [name for name in ifd.compute(**one_row(model_id=model_id)) if f"**{name}**" not in text] == []
