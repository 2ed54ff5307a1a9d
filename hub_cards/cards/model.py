"""The card of a trained model: its data come from step records, its prose stands in a Jinja template."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from hub_cards.cards.about import About
from hub_cards.cards.licences import stated_by_source
from hub_cards.cards.limits import licence_lines, model_limits
from hub_cards.cards.lineage import ROW_STEPS, selection_of
from hub_cards.cards.metadata import model_data
from hub_cards.cards.parts import literal, shared, steps_of_rows, write_card
from hub_cards.parts import ALIASES
from hub_cards.provenance import StepRecord
from hub_cards.schema import REFLECTED_VARIANTS
from hub_cards.stages import find_record
from hub_cards.tables import (
    as_markdown,
    benchmark_table,
    cell_text,
    judge_line,
    judge_table,
    questions_text,
    status_table,
    training_line,
    training_table,
)

# What the example of a model's use asks.
EXAMPLE_QUESTION = "Give three tips for staying healthy."
EVALUATION = "evaluation"  # folder of the report and the chart, beside a model's card
REPORT, CHART = "report.md", "chart.svg"
ADAPTER = "adapter"  # folder of an adapter by itself, beside the weights that it is merged into
HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"
# Of a comparison, what goes into the metadata, and what it is.
JUDGED = {
    "win_score": "win score, 0 to 2",
    "win_rate": "win rate, a tie half a win",
    "length_controlled_win_rate": "length-controlled win rate",
}
BASE_TERMS = "The terms of the model that it was trained from apply as well."


def write_model_card(
    folder: Path,
    records: list[StepRecord],
    about: About | None = None,
    evaluation: StepRecord | None = None,
    prompt: str | list[dict[str, str]] | None = None,
) -> None:
    """Write the trained model's `README.md`; a local base model is not named as if it were on the Hub.

    Args:
        about: without it the licence and language that the data's own card states are passed on, if it states any.
        evaluation: the record of the step that measured this model; its results stand in the text and, as
            `model-index`, in the metadata. Its report and chart, where they are in `folder`/evaluation, are linked.
        prompt: `EXAMPLE_QUESTION` in the training's template, for the example of use; for a chat template its messages.
    """
    sft = find_record(records, "sft")
    base, about = sft.inputs["model"], about or _passed_on(records)
    data = model_data(records, base, about, [] if evaluation is None else evaluation_results(evaluation))
    variant = ALIASES.get(sft.config.get("dataset_config"))
    if variant:  # of a published set, whose lineage ends with a selection that these rows did not go through
        records = [record for record in records if record.step != "select"]
    revision, rewritten = about.places.revision("model"), _is_rewritten(records, variant)
    measured = [evaluation] if evaluation and evaluation not in records else []
    content = {
        **shared([*records, *measured], about, rewritten),
        "sft": sft,
        "base": base,
        "training_data": sft.inputs["dataset"] if sft.inputs["dataset"].kind == "hub" else None,
        "data_records": [record for record in records if record.step in ROW_STEPS],
        "has_adapter": (folder / ADAPTER).is_dir(),
        "training_table": as_markdown(training_table(sft)),
        "training_line": training_line(sft),
        "example": _example(sft, prompt),
        "place": literal(about.places.model or "."),
        "revision": revision and literal(revision),
        "limits": model_limits(steps_of_rows(records, rewritten)),
        "licence_notes": [*licence_lines(steps_of_rows(records, rewritten)), BASE_TERMS],
        **_measured(evaluation, folder),
    }
    write_card(folder, "model_card.md.jinja", data, content)


def _is_rewritten(records: list[StepRecord], variant: str | None) -> bool:
    """Whether rows of the oracle's may be among those that the model learned from.

    Args:
        variant: the only one that it learned from; None where no such is named.
    """
    if variant:
        return variant in REFLECTED_VARIANTS
    select = selection_of(records)
    if select is None:
        return True
    return any(select.counts["branches"].get(name, {}).get("kept") for name in REFLECTED_VARIANTS)


def _passed_on(records: list[StepRecord]) -> About:
    stated = stated_by_source(records)
    return About(
        title="Fine-tuned student",
        license=stated.license,
        source_licence=stated.license,
        license_name=stated.license_name,
        license_link=stated.license_link,
        language=stated.language,
    )


def _example(sft: StepRecord, prompt: str | list[dict[str, str]] | None) -> str:
    """The prompt of the example as Python writes it."""
    if prompt is None and sft.config["template"] == "chat_template":
        prompt = [{"role": "user", "content": EXAMPLE_QUESTION}]
    return repr(prompt or f"<a question in the template {sft.config['template']}>")


def _measured(evaluation: StepRecord | None, folder: Path) -> dict[str, Any]:
    """What the model card's template says of an evaluation."""
    counts = {} if evaluation is None else evaluation.counts
    judge, benchmarks, answers = (counts.get(name) for name in ("judge", "benchmarks", "answers"))
    return {
        "evaluation": evaluation,
        "judge_line": judge_line(evaluation) if judge else "",
        "judge_table": as_markdown(judge_table(judge)) if judge else "",
        "benchmark_table": as_markdown(benchmark_table(benchmarks)) if benchmarks else "",
        "answer_table": as_markdown(status_table(evaluation, "answers", "test set")) if answers else "",
        **{
            name: (folder / EVALUATION / file).is_file()
            for name, file in (("has_chart", CHART), ("has_report", REPORT))
        },
    }


def copy_report(stage: Path, folder: Path) -> None:
    """Put an evaluation's report and chart, where there are any, into `folder`/evaluation, for the card to show."""
    for path in (stage / REPORT, stage / CHART):
        if path.is_file():
            (folder / EVALUATION).mkdir(exist_ok=True)
            shutil.copy2(path, folder / EVALUATION)


def evaluation_results(evaluation: StepRecord) -> list[EvalResult]:
    """The numbers of an evaluation as the Hub's `model-index` takes them; what is null has no entry.

    Benchmarks are named by the Hub id of their questions, judge sets by their own names. All values are as in the
    record: fractions, but for the win score.
    """
    found: dict[tuple[Any, ...], EvalResult] = {}
    for result in evaluation.counts.get("benchmarks") or []:
        questions = result.get("dataset") or result["task"]
        shots = "" if result.get("shots") is None else f", {result['shots']}-shot"
        part = "" if result.get("n_all") in (None, result.get("n")) else f", on {questions_text(result)} questions"
        name = f"{result['task']}, {result['metric']}{shots}{part}"
        if result["value"] is not None:  # a task of two suites is measured once
            found[result["task"], result["metric"], result.get("shots")] = _result(
                questions,
                result["metric"],
                result["value"],
                name,
                source_name="lm-evaluation-harness",
                source_url=HARNESS,
            )
    for set_name, comparison in (evaluation.counts.get("judge") or {}).items():
        baseline, judge = evaluation.inputs["baseline"].location, evaluation.config["judge"]
        for metric, meaning in JUDGED.items():
            if comparison.get(metric) is not None:
                name = f"{meaning}, against {baseline}, judged by {judge}, {comparison['n']} pairs"
                found[set_name, metric] = _result(set_name, metric, comparison[metric], name)
    return list(found.values())


def _result(questions: str, metric: str, value: float, name: str, **source: str) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=questions,
        dataset_name=questions,
        metric_type=metric,
        metric_value=round(value, 4),
        metric_name=cell_text(name),
        **source,
    )
