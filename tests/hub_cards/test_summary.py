"""The summary of a run."""

from dataclasses import replace

import pytest

from hub_cards.provenance import StepRecord, write_records
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


def test_names_the_page_on_the_run_last(run_folder):
    (run_folder / "report.html").touch()
    assert summarize(run_folder, STAGES).endswith(f"\n\nSee it row by row: open {run_folder}/report.html in a browser")


def test_tells_only_of_the_stages_that_were_asked_for(run_folder):
    text = summarize(run_folder, ["score", "publish"])
    assert text.startswith("Scores: ")
    assert "Reflection" not in text
    assert "Training" not in text


def test_published_run_is_named_by_its_place(run_folder, lineage):
    write_records(run_folder / "publish", [StepRecord("publish", 1, {}, {})])
    assert summarize(run_folder, ["publish"]) == f"Where everything is\npublish {run_folder}/publish"


def test_a_training_says_how_and_what_became_of_its_rows(run_folder, sft_record):
    section = summarize(run_folder, ["sft"]).split("\n\n")[0]
    assert section.splitlines()[1:] == [
        "template vicuna",
        "Rows without room for their completion, which took no part: 1.",
    ]
    counts = {**sft_record.counts, "rows_cut": 1200, "global_batch_size": 128, "rows_without_room_for_a_completion": 0}
    write_records(run_folder / "sft", [replace(sft_record, counts=counts)])
    section = summarize(run_folder, ["sft"]).split("\n\n")[0]
    assert section.splitlines()[1:] == [
        "template vicuna, global batch 128",
        "Rows cut to fit the length limit: 1,200.",
    ]


def test_a_training_that_prepares_another_stage_is_called_by_its_name(run_folder):
    (run_folder / "sft").rename(run_folder / "experience_sft")
    assert summarize(run_folder, ["experience_sft"]).startswith("experience_sft: Training: 3 rows")


def test_an_evaluation_shows_its_tables(tmp_path, evaluate_record):
    (tmp_path / "evaluate").mkdir()
    write_records(tmp_path / "evaluate", [evaluate_record])
    text = summarize(tmp_path, ["evaluate"])
    sections = text.split("\n\n")
    assert sections[0].splitlines()[0] == "Evaluation: 332 answers, template vicuna"
    lines = [line.split() for line in text.splitlines()]
    assert ["test", "set", "ok", "truncated", "empty"] in lines
    assert ["koala", "180", "40", "32"] in lines
    said = "Compared with the answers of runs/random/sft by the judge gpt-4, asked twice, in both orders."
    assert sections[1].splitlines()[0] == said
    assert ["vicuna", "78", "40", "8", "30", "2", "1.128", "0.910", "to", "1.340", "0.282", "56.4", "%"] in (
        line[:13] for line in lines
    )
    assert any(line[:4] == ["arc_challenge", "open_llm_leaderboard_v1", "acc_norm", "0.531"] for line in lines)


def test_an_evaluation_without_judge_or_benchmarks_is_its_answers(tmp_path, evaluate_record):
    (tmp_path / "evaluate").mkdir()
    counts = {"answers": {"vicuna": {"ok": 80}}}
    write_records(tmp_path / "evaluate", [replace(evaluate_record, counts=counts)])
    sections = summarize(tmp_path, ["evaluate"]).split("\n\n")
    assert [section.splitlines()[0] for section in sections] == [
        "Evaluation: 80 answers, template vicuna",
        "Where everything is",
    ]
