"""The summary of a run."""

import pytest

from hub_cards.provenance import write_records
from hub_cards.summary import summarize


@pytest.fixture
def run_folder(tmp_path, lineage, sft_record):
    """A run whose stages each have their record; publish is not finished."""
    records = [*lineage, sft_record]
    for number, record in enumerate(records):
        (tmp_path / record.step).mkdir()
        write_records(tmp_path / record.step, records[: number + 1])
    (tmp_path / "publish").mkdir()
    return tmp_path


STAGES = ["reflect", "score", "select", "sft", "publish"]


def test_tells_of_every_finished_stage_in_order(run_folder):
    sections = summarize(run_folder, STAGES).split("\n\n")
    assert [section.splitlines()[0] for section in sections] == [
        "Reflection: 4 rows, pairs extracted from the oracle's completions",
        "Scores: status of the rows",
        "mean over the rows               original  reflect_response",
        "Selection by selective (require_reflected_response false): 3 of 4 rows kept",
        "reason    rows",
        "Training: 3 rows, 12 steps, mean loss 5.25 nats a token",
        "Where everything is",
    ]


def test_shows_the_numbers_of_the_records(run_folder):
    lines = [line.split() for line in summarize(run_folder, STAGES).splitlines()]
    assert ["variant", "ok", "refusal"] in lines
    assert ["reflect_response", "3", "1"] in lines
    assert ["original", "2", "2", "0"] in lines
    assert ["response", "ppl", "–", "20.0"] in lines
    assert ["total", "4", "3"] in lines


def test_ends_with_the_places_of_what_is_finished(run_folder):
    assert summarize(run_folder, STAGES).split("Where everything is\n")[1].splitlines() == [
        f"reflect {run_folder}/reflect",
        f"score   {run_folder}/score",
        f"select  {run_folder}/select",
        f"sft     {run_folder}/sft",
    ]


def test_tells_only_of_the_stages_that_were_asked_for(run_folder):
    text = summarize(run_folder, ["score", "publish"])
    assert text.startswith("Scores: ")
    assert "Reflection" not in text
    assert "Training" not in text


def test_published_run_is_named_by_its_place(run_folder, lineage):
    write_records(run_folder / "publish", [lineage[0].__class__("publish", 1, {}, {})])
    assert summarize(run_folder, ["publish"]) == f"Where everything is\npublish {run_folder}/publish"
