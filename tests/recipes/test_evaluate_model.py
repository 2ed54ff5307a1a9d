"""Evaluation by the real script, judged by a real local server; it is killed, and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_from_disk

from hub_cards.provenance import read_records
from training.judge_sets import load_judge_sets

QUESTIONS = 6


@pytest.fixture
def command(root, quickstart, fault_server, tmp_path) -> list[str]:
    """The student against a file of answers, of which the judge server decides by the answers' text alone."""
    questions = load_judge_sets(["vicuna"], QUESTIONS)["vicuna"]
    baseline = [{"instruction": row["instruction"], "output": f"Answer #{n}"} for n, row in enumerate(questions)]
    (tmp_path / "baseline.json").write_text(json.dumps(baseline))
    settings = {
        "model_name_or_path": quickstart / "student",
        "limit": QUESTIONS,
        "max_new_tokens": 8,
        "baseline": tmp_path / "baseline.json",
        "judge": "oracle-1",
        "base_url": fault_server.url,
        "concurrency": 2,
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return [sys.executable, str(root / "recipes/evaluate_model.py"), *flags]


def start(command: list[str], folder: Path, *flags: str) -> subprocess.Popen:
    places = ["--output_dir", str(folder / "out"), "--store", str(folder / "store.sqlite")]
    variables = {**os.environ, "OPENAI_API_KEY": "sk-planted-0123456789"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *places, *flags], env=variables, **pipes)


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out, err


def verdicts(folder: Path) -> list[dict]:
    return load_from_disk(folder / "out/verdicts")["vicuna"].to_list()


def marks(review: str) -> tuple[float, float]:
    first, second = review.splitlines()[0].split()
    return float(first), float(second)


def test_a_killed_evaluation_goes_on_and_nothing_is_paid_twice(command, fault_server, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    out, err = finish(start(command, undisturbed))
    paid = fault_server.everything()["paid"]
    assert len(paid) == 2 * QUESTIONS and set(paid.values()) == {1}

    # Killed in the middle of the judging, when the student's answers are made.
    fault_server.configure(latency_ms=300, sigma=0.0)
    process = start(command, tmp_path / "killed")
    while fault_server.counts()["requests"] < QUESTIONS:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while fault_server.counts()["in_flight"]:
        time.sleep(0.01)
    assert not (tmp_path / "killed/out").exists()
    before = fault_server.everything()["paid"]
    assert 0 < len(before) < 2 * QUESTIONS
    fault_server.change(latency_ms=0)
    again, _ = finish(start(command, tmp_path / "killed"))
    after = fault_server.everything()["paid"]
    # Only what was in flight when the process died can have been paid twice: the two requests of two workers.
    assert len(after) == 2 * QUESTIONS and sum(after.values()) <= 2 * QUESTIONS + 2
    assert verdicts(tmp_path / "killed") == verdicts(undisturbed)
    assert "generated" not in again

    check_result(undisturbed / "out", out)
    assert "sk-planted" not in out + err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"sk-planted" in path.read_bytes()]
    # A third run has nothing to do.
    shown, _ = finish(start(command, undisturbed))
    assert shown.splitlines()[0] == f"[evaluate] up to date: {undisturbed / 'out'}"
    assert shown.split("\n\n", 1)[1] == out.split("\n\n", 1)[1]


def check_result(folder: Path, out: str) -> None:
    """The counts are those of the reviews, counted here in another way."""
    rows = verdicts(folder.parent)
    found = Counter()
    for row in rows:
        (mine, other), (other_again, mine_again) = marks(row["review"]), marks(row["review_reverse"])
        assert (row["mark"], row["baseline_mark"]) == (mine, other)
        sign = (mine > other) - (mine < other) + (mine_again > other_again) - (mine_again < other_again)
        found["win" if sign > 0 else "lose" if sign < 0 else "tie"] += 1
    counts = read_records(folder)[-1].counts
    total = counts["judge"]["total"]
    assert (total["wins"], total["ties"], total["losses"]) == (found["win"], found["tie"], found["lose"])
    assert total["invalid"] == 0 and sum(found.values()) == QUESTIONS
    assert counts["usage"]["completions"] == 2 * QUESTIONS
    assert counts["answers"] == {"vicuna": {"truncated": QUESTIONS}}
    *_, line = (line for line in out.splitlines() if line.startswith("vicuna"))
    assert line.split()[1:6] == [str(n) for n in (QUESTIONS, found["win"], found["tie"], found["lose"], 0)]
    report = (folder / "report.md").read_text()
    assert "| vicuna |" in report and "![wins, ties and losses](chart.svg)" in report
    assert (folder / "chart.svg").read_text().startswith("<?xml") and (folder / "chart.png").stat().st_size > 5_000
    assert json.loads((folder / "results.json").read_text())["judge"]["total"] == total
    outputs = json.loads((folder / "alpaca_eval/vicuna/model_outputs.json").read_text())
    assert [entry["instruction"] for entry in outputs] == [row["instruction"] for row in rows]


def test_what_the_judging_lacks_is_said_before_the_model_answers(script, quickstart, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "other.json").write_text(json.dumps([{"instruction": "Another question?", "output": "No."}]))
    store = tmp_path / "store.sqlite"
    flags = ["--model_name_or_path", quickstart / "student", "--store", store, "--output_dir", tmp_path / "out"]
    done = script("evaluate_model.py", *flags, "--judge", "gpt", "--baseline", quickstart / "student")
    assert done.returncode == 2 and "set the environment variable OPENAI_API_KEY" in done.stderr
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    done = script("evaluate_model.py", *flags, "--judge", "gpt", "--baseline", tmp_path / "other.json")
    assert done.returncode == 2 and "answers none of the 80 questions" in done.stderr
    assert "truncated" not in done.stdout and not store.exists()
    few = ("--limit", "1", "--max_new_tokens", "2", "--baseline", tmp_path / "other.json")
    assert "other.json: is compared by nobody; name a --judge" in script("evaluate_model.py", *flags, *few).stdout


def test_mistakes_are_one_line_before_the_model_is_loaded(script, quickstart, tmp_path):
    model = ("--model_name_or_path", quickstart / "student", "--output_dir", tmp_path / "out")
    done = script("evaluate_model.py", *model, "--judge", "gpt", "--baseline", tmp_path / "nowhere.json")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nowhere.json" in done.stderr
