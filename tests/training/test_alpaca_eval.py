"""The files for AlpacaEval: its format, nothing that was not answered, and a script that runs it as pinned."""

import json
import os
import subprocess

import pytest
from datasets import Dataset, Features, Value

from training.alpaca_eval import write_alpaca_eval

COLUMNS = ("row_id", "instruction", "input", "answer", "generator")


def answers(*rows: tuple[str, str, str, str | None], generator: str = "ours") -> Dataset:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS[:4])}
    return Dataset.from_dict(
        {**columns, "generator": [generator] * len(rows)},
        features=Features({name: Value("string") for name in COLUMNS}),
    )


OURS = answers(
    ("1", "Name a bird.", "", "A wren."),
    ("2", "Translate.", "Guten Tag", 'Good "day" \u2013 hello\n'),
    ("3", "Say nothing.", "", None),
    ("4", "Never answered by the other.", "", "Here."),
    ("1-2", "Name a bird.", "", "A robin."),
    ("5", "Not asked of the other.", "", "Yes."),
    ("6", "Say an empty text.", "", ""),
)
THEIRS = answers(
    ("6", "Say an empty text.", "", "..."),
    ("4", "Never answered by the other.", "", None),
    ("2", "Translate.", "Guten Tag", "Good morning"),
    ("1", "Name a bird.", "", "An owl."),
    ("1-2", "Name a bird.", "", "A gull."),
    ("3", "Say nothing.", "", "Fine."),
    generator="theirs",
)


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_outputs_are_a_list_of_questions_with_their_input_and_answers(tmp_path):
    counts = write_alpaca_eval(tmp_path / "new", OURS, "our model", dataset="vicuna")
    assert counts == {"written": 5, "without_answer": 1, "without_baseline_answer": 0, "repeated": 1}
    outputs = read(tmp_path / "new", "model_outputs.json")
    assert outputs[1] == {
        "instruction": "Translate.\n\nGuten Tag",
        "output": 'Good "day" \u2013 hello\n',
        "generator": "our model",
        "dataset": "vicuna",
    }
    assert [output["output"] for output in outputs] == ["A wren.", outputs[1]["output"], "Here.", "Yes.", ""]
    assert not (tmp_path / "new/reference_outputs.json").exists()


def test_references_are_the_same_questions_joined_by_row_id(tmp_path):
    counts = write_alpaca_eval(tmp_path, OURS, "ours", THEIRS)
    assert counts == {"written": 3, "without_answer": 1, "without_baseline_answer": 2, "repeated": 1}
    outputs, references = read(tmp_path, "model_outputs.json"), read(tmp_path, "reference_outputs.json")
    assert [one["instruction"] for one in outputs] == [one["instruction"] for one in references]
    assert [one["output"] for one in references] == ["An owl.", "Good morning", "..."]
    assert {one["generator"] for one in references} == {"theirs"}
    assert all("dataset" not in one for one in outputs)


def test_no_answers_give_an_empty_list(tmp_path):
    assert write_alpaca_eval(tmp_path, OURS.select([2]), "ours")["written"] == 0
    assert read(tmp_path, "model_outputs.json") == []


STUB = '#!/bin/sh\necho "$0" "$@" >> "$LOG"\n'


@pytest.fixture
def called(tmp_path, monkeypatch):
    """Run the script from elsewhere, with stubs for what it installs; what it called."""

    def run(folder, has_environment: bool) -> list[str]:
        log, stubs = tmp_path / "log", tmp_path / "stubs"
        stubs.mkdir()
        (stubs / "python3").write_text(f'{STUB}mkdir -p "$3/bin" && cp {stubs}/tool "$3/bin/pip"\n')
        (stubs / "tool").write_text(f'{STUB}cp {stubs}/tool "$(dirname "$0")/alpaca_eval"\n')
        for path in stubs.iterdir():
            path.chmod(0o755)
        if has_environment:
            (folder / "environment/bin").mkdir(parents=True)
            (folder / "environment/bin/alpaca_eval").write_text(STUB)
            (folder / "environment/bin/alpaca_eval").chmod(0o755)
        environment = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "LOG": str(log)}
        subprocess.run(["sh", folder / "alpaca_eval.sh"], cwd="/", env=environment, check=True, timeout=60)
        return log.read_text().splitlines()

    return run


def test_script_makes_the_pinned_environment_and_judges_against_the_references(tmp_path, called):
    write_alpaca_eval(tmp_path / "a b", OURS, "ours", THEIRS)
    made, installed, judged = called((tmp_path / "a b").rename(tmp_path / "moved here"), has_environment=False)
    assert made.endswith("python3 -m venv environment")
    assert installed.endswith("bin/pip install alpaca-eval==0.6.6 setuptools<81 pandas<3")
    command, *options = judged.split()
    assert command.endswith("environment/bin/alpaca_eval")
    flags = dict(zip(options[::2], options[1::2], strict=True))
    assert flags == {
        "--model_outputs": "model_outputs.json",
        "--reference_outputs": "reference_outputs.json",
        "--fn_metric": "get_winrate",  # the default downloads, and knows only AlpacaEval's own questions
        "--sort_by": "win_rate",
        "--annotators_config": "weighted_alpaca_eval_gpt4_turbo",
        "--caching_path": "annotations.json",
        "--output_path": "results",
    }


def test_without_a_baseline_the_packages_own_references_and_metric_stay(tmp_path, called):
    write_alpaca_eval(tmp_path / "run", OURS, "ours")
    (judged,) = called(tmp_path / "run", has_environment=True)
    assert "--model_outputs model_outputs.json" in judged
    assert not any(flag in judged for flag in ("--reference_outputs", "--fn_metric", "--sort_by"))
