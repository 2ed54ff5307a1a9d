"""What an evaluation leaves: answers, verdicts, a report, a chart, and the files that AlpacaEval takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from datasets import Dataset

from hub_cards.provenance import StepRecord
from hub_cards.storage import save_parts
from hub_cards.tables import as_markdown, as_text, benchmark_table, judge_line, judge_table, status_table
from training.alpaca_eval import SCRIPT, write_alpaca_eval
from training.evaluation import Evaluation
from training.given_answers import FOLDER as ANSWERS
from training.win_rate import Comparison, win_rate_section
from training.win_rate_chart import SVG, draw_win_rates
from training.win_rates_config import VERDICTS

ALPACA_EVAL, BENCHMARKS = "alpaca_eval", "benchmarks"


def write_evaluation(folder: Path, found: Evaluation, record: StepRecord, benchmarks: Path) -> None:
    """Write everything but the record into an empty folder.

    Args:
        benchmarks: where their results were kept while they ran; they go along, so that no task is run again.
    """
    model = record.inputs["model"].location
    save_parts(folder / ANSWERS, found.answers)
    if found.verdicts is not None:
        save_parts(folder / VERDICTS, found.verdicts)
        draw_win_rates(folder, comparisons_of(record), Path(model).name, record.inputs["baseline"].location)
    for name, answers in found.answers.items():
        references = _baseline_of(found.verdicts[name]) if found.verdicts is not None else None
        write_alpaca_eval(folder / ALPACA_EVAL / name, answers, model, references, name)
    if benchmarks.is_dir():
        shutil.copytree(benchmarks, folder / BENCHMARKS)
    (folder / "results.json").write_text(json.dumps(record.counts, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(report(record) + "\n", encoding="utf-8")


def _baseline_of(verdicts: Dataset) -> Dataset:
    """The other side's answers, as `write_alpaca_eval` takes them."""
    wanted = verdicts.select_columns(["row_id", "baseline_answer", "baseline_generator"])
    return wanted.rename_columns({"baseline_answer": "answer", "baseline_generator": "generator"})


def comparisons_of(record: StepRecord) -> dict[str, Comparison]:
    """The comparisons of an evaluation's record by judge set and in total; empty where nothing was judged."""
    return {name: Comparison(**counts) for name, counts in record.counts.get("judge", {}).items()}


def report(record: StepRecord) -> str:
    """The report as Markdown."""
    counts, model = record.counts, Path(record.inputs["model"].location)
    # The report is published: of a folder somewhere on this machine no more than its name.
    title = model.name if model.is_absolute() else str(model)
    parts = [f"# {title}", "## Answers", as_markdown(status_table(record, "answers", "test set"))]
    if "judge" in counts:
        parts += [
            "## Judged",
            judge_line(record),
            win_rate_section(comparisons_of(record), counts["invalid_reasons"]),
            f"![wins, ties and losses]({SVG})",
        ]
    if counts.get("benchmarks"):
        parts += ["## Benchmarks", as_markdown(benchmark_table(counts["benchmarks"]))]
        if record.config["benchmark_limit"]:
            parts.append(f"Only the first {record.config['benchmark_limit']} questions of each task: no result.")
    scripts = ", ".join(f"`sh {ALPACA_EVAL}/{name}/{SCRIPT}`" for name in counts["answers"])
    parts += ["## AlpacaEval", f"The same answers, judged by AlpacaEval in an environment of its own: {scripts}."]
    return "\n\n".join(parts)


def printed(record: StepRecord) -> str:
    """The tables as a terminal shows them."""
    tables = [status_table(record, "answers", "test set")]
    if "judge" in record.counts:
        tables.append(judge_table(record.counts["judge"]))
    if record.counts.get("benchmarks"):
        tables.append(benchmark_table(record.counts["benchmarks"]))
    return "\n\n".join(map(as_text, tables))
