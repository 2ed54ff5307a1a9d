"""Answers as AlpacaEval takes them, and the script that runs it: its package needs an environment of its own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from datasets import Dataset

OUTPUTS, REFERENCES, SCRIPT = "model_outputs.json", "reference_outputs.json", "alpaca_eval.sh"
# 0.6.6 imports pkg_resources, which setuptools 81 no longer has, and cannot read its own cache with pandas 3.
REQUIREMENTS = ("alpaca-eval==0.6.6", "setuptools<81", "pandas<3")
ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
Outputs = list[dict[str, str]]


def write_alpaca_eval(
    folder: Path, answers: Dataset, generator: str, baseline: Dataset | None = None, dataset: str | None = None
) -> dict[str, int]:
    """Write `model_outputs.json`, with a baseline `reference_outputs.json`, and `alpaca_eval.sh`, which judges them.

    Run the script from anywhere, with `OPENAI_API_KEY` set. Against a baseline it asks for the win rate alone and
    downloads nothing; the length-controlled one is known only for AlpacaEval's own questions and references.

    Args:
        answers: question and answer columns. Null answers are left out: an empty text would be judged as an answer.
        generator: the name of the model in AlpacaEval's leaderboard.
        baseline: the other model's answers, joined by `row_id`; without one, AlpacaEval's own references are taken.
        dataset: the name of the questions' set, if it is to stand in the file.

    Returns:
        `written` answers and, left out: `without_answer`, `without_baseline_answer` (0 without a baseline), and
        `repeated`: questions that were there already, for AlpacaEval joins by their text and would pair each with each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    references = None if baseline is None else {row["row_id"]: row for row in baseline}
    counts = dict.fromkeys(("written", "without_answer", "without_baseline_answer", "repeated"), 0)
    outputs: Outputs = []
    reference_outputs: Outputs = []
    seen = set()
    for row in answers:
        question = _question(row["instruction"], row["input"])
        reference = None if references is None else references.get(row["row_id"])
        if row["answer"] is None:
            counts["without_answer"] += 1
        elif references is not None and (reference is None or reference["answer"] is None):
            counts["without_baseline_answer"] += 1
        elif question in seen:
            counts["repeated"] += 1
        else:
            seen.add(question)
            counts["written"] += 1
            outputs.append(_output(question, row["answer"], generator, dataset))
            if reference is not None:
                reference_outputs.append(_output(question, reference["answer"], reference["generator"], dataset))
    _write(folder / OUTPUTS, outputs)
    if references is not None:
        _write(folder / REFERENCES, reference_outputs)
    (folder / SCRIPT).write_text(_script(references is not None), encoding="utf-8")
    return counts


def _question(instruction: str, input: str) -> str:
    """One text: AlpacaEval knows questions by their instruction and merged the inputs into its own."""
    return f"{instruction}\n\n{input}" if input else instruction


def _output(question: str, answer: str, generator: str, dataset: str | None) -> dict[str, str]:
    output = {"instruction": question, "output": answer, "generator": generator}
    return output if dataset is None else {**output, "dataset": dataset}


def _write(path: Path, outputs: Outputs) -> None:
    path.write_text(json.dumps(outputs, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _script(has_baseline: bool) -> str:
    """Paths are relative to the script, so that the folder may be moved."""
    options = ["--model_outputs", OUTPUTS]
    if has_baseline:
        options += ["--reference_outputs", REFERENCES, "--fn_metric", "get_winrate", "--sort_by", "win_rate"]
    else:
        options += ["--is_overwrite_leaderboard", "True"]  # it skips a model whose name is in its own leaderboard
    # By default the judge's answers would be kept inside the environment.
    options += ["--annotators_config", ANNOTATOR, "--caching_path", "annotations.json", "--output_path", "results"]
    return "\n".join(
        [
            "#!/bin/sh",
            "# Judges model_outputs.json by AlpacaEval, in an environment of its own. Set OPENAI_API_KEY.",
            "set -e",
            'cd "$(dirname "$0")"',
            "[ -x environment/bin/alpaca_eval ] || {",
            "    python3 -m venv environment",
            f"    environment/bin/pip install {shlex.join(REQUIREMENTS)}",
            "}",
            "mkdir -p results",
            f"environment/bin/alpaca_eval {shlex.join(options)}",
            "",
        ]
    )
