"""Dataset and model cards: the data for them comes from step records, the prose stands in Jinja templates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData

from hub_cards.layout import DEFAULT_CONFIG
from hub_cards.licences import find_licence
from hub_cards.provenance import StepRecord
from hub_cards.schema import COLUMNS_BY_NAME
from hub_cards.stages import find_record
from hub_cards.tables import (
    as_markdown,
    benchmark_table,
    branch_table,
    cell_text,
    judge_line,
    judge_table,
    missing_line,
    questions_text,
    reason_table,
    settings_line,
    span_line,
    statistics_table,
    status_table,
    steps_table,
    strategy_line,
    training_line,
    training_table,
    usage_line,
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
TEMPLATES = Path(__file__).parent / "templates"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_dataset_card(
    folder: Path,
    configs: dict[str, Dataset],
    patterns: dict[str, str],
    records: list[StepRecord],
    license: str,
    title: str,
    notes: str,
) -> None:
    """Write `README.md` with the metadata by which `load_dataset(folder, config)` finds its files.

    Args:
        patterns: for each config the glob pattern of its files, as `write_configs` returns them.
    """
    tags = ["reflection-tuning", "instruction-tuning", "data-recycling"]
    card = DatasetCard.from_template(
        _data_of(configs, patterns, license, title, tags),
        template_path=str(TEMPLATES / "dataset_card.md.jinja"),
        title=title,
        notes=notes,
        **_sizes_and_columns(configs),
        **_shared(records),
    )
    card.save(folder / "README.md")


def write_statistics_card(
    folder: Path,
    configs: dict[str, Dataset],
    patterns: dict[str, str],
    records: list[StepRecord],
    license: str,
    title: str,
) -> None:
    """Write the `README.md` of the scores by themselves: whose they are, of which rows, and how to select by them.

    Args:
        patterns: for each config the glob pattern of its files, as `write_configs` returns them.
        records: the lineage up to the step that scored.
    """
    inputs = _score_of(records).inputs
    scorer = inputs.get("model") or inputs["embedding_model"]
    title = f"{title}: scores by {Path(scorer.location).name}"
    tags = ["reflection-tuning", "instruction-tuning", "data-selection", "ifd"]
    card = DatasetCard.from_template(
        _data_of(configs, patterns, license, title, tags),
        template_path=str(TEMPLATES / "statistics_card.md.jinja"),
        title=title,
        **_sizes_and_columns(configs),
        **_shared(records),
    )
    card.save(folder / "README.md")


def _data_of(
    configs: dict[str, Dataset], patterns: dict[str, str], license: str, title: str, tags: list[str]
) -> DatasetCardData:
    rows = max(len(part) for part in configs.values())
    return DatasetCardData(
        license=license,
        pretty_name=title,
        task_categories=["text-generation"],
        tags=tags,
        size_categories=[next((name for limit, name in SIZES if rows < limit), "n>1M")],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": patterns[name]}],
                **({"default": True} if name == DEFAULT_CONFIG else {}),
            }
            for name in configs
        ],
    )


def _sizes_and_columns(configs: dict[str, Dataset]) -> dict[str, Any]:
    names = dict.fromkeys(column for part in configs.values() for column in part.column_names)
    return {
        "sizes": {name: len(part) for name, part in configs.items()},
        "columns": [COLUMNS_BY_NAME[name] for name in names if name in COLUMNS_BY_NAME],
    }


def write_model_card(
    folder: Path,
    records: list[StepRecord],
    license: str | None = None,
    title: str = "Fine-tuned student",
    notes: str = "",
    evaluation: StepRecord | None = None,
    prompt: str | list[dict[str, str]] | None = None,
) -> None:
    """Write the trained model's `README.md`; a local base model is not named as if it were on the Hub.

    Args:
        license: of the data; without it the one that the data's own card states is passed on, if there is one.
        evaluation: the record of the step that measured this model; its results stand in the text and, as
            `model-index`, in the metadata. Its report and chart, where they are in `folder`/evaluation, are linked.
        prompt: `EXAMPLE_QUESTION` in the training's template, for the example of use; for a chat template its messages.
    """
    sft = find_record(records, "sft")
    base, data_source = sft.inputs["model"], records[0].inputs["dataset"]
    license = license or find_licence(records)
    results = [] if evaluation is None else evaluation_results(evaluation)
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reflection-tuning", "sft", "trl"],
        base_model=base.location if base.kind == "hub" else None,
        datasets=[data_source.location] if data_source.kind == "hub" else None,
        **({"model_name": title, "eval_results": results} if results else {}),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATES / "model_card.md.jinja"),
        title=title,
        notes=notes,
        sft=sft,
        has_adapter=(folder / ADAPTER).is_dir(),
        licence=", ".join(license) if isinstance(license, list) else license,
        training_table=as_markdown(training_table(sft)),
        training_line=training_line(sft),
        example=_example(sft, prompt),
        **_measured(evaluation, folder),
        **_shared(records),
    )
    card.save(folder / "README.md")


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


def _score_of(records: list[StepRecord]) -> StepRecord | None:
    """The step that took IFD, for embeddings and the like may have been added after it; else the last that scored."""
    return find_record(records, "score", counted="score_status") or find_record(records, "score")


def _shared(records: list[StepRecord]) -> dict[str, Any]:
    """What both templates say of the steps."""
    reflect, select = (find_record(records, step) for step in ("reflect", "select"))
    score = _score_of(records)
    has_status = score is not None and "score_status" in score.counts
    steps = select.counts.get("steps", []) if select else []
    return {
        "settings": settings_line,
        "line": cell_text,
        "is_selective": "selective" in [step["step"] for step in steps],
        "strategy_line": strategy_line(select) if select else "",
        "steps_table": as_markdown(steps_table(select)) if len(steps) > 1 else "",
        "missing_line": missing_line(score) if score else "",
        "records": records,
        "reflect": reflect,
        "score": score,
        "select": select,
        "reflect_table": as_markdown(status_table(reflect, "reflect_status", "variant")) if reflect else "",
        "usage_line": usage_line(reflect) if reflect and reflect.counts.get("usage") else "",
        "span_line": span_line(score) if has_status else "",
        "score_table": as_markdown(status_table(score, "score_status", "variant")) if has_status else "",
        "statistics_table": as_markdown(statistics_table(score)) if score else "",
        "branch_table": as_markdown(branch_table(select)) if select else "",
        "reason_table": as_markdown(reason_table(select)) if select else "",
    }
