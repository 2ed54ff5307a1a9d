"""What a run did, in one screen: read from the records of its stages, so it costs nothing."""

from __future__ import annotations

from pathlib import Path

from hub_cards.provenance import StepRecord, read_records
from hub_cards.report.identity import REPORT_PAGE
from hub_cards.tables import (
    as_text,
    benchmark_table,
    branch_table,
    judge_line,
    judge_table,
    missing_line,
    reason_table,
    statistics_table,
    status_table,
    steps_table,
    strategy_line,
    training_line,
    usage_line,
)


def summarize(run_folder: Path, stages: list[str]) -> str:
    """The summary of the stages that are finished in `run_folder`."""
    records = {name: found[-1] for name in stages if (found := read_records(run_folder / name))}
    parts = [_titled(name, record) for name, record in records.items()]
    width = max(8, *(len(name) + 1 for name in records)) if records else 8
    places, page = "\n".join(f"{name:{width}}{run_folder / name}" for name in records), run_folder / REPORT_PAGE
    parts += [f"Where everything is\n{places}"]
    parts += [f"See it row by row: open {page} in a browser"] if page.is_file() else []
    return "\n\n".join(part for part in parts if part)


def _titled(name: str, record: StepRecord) -> str:
    """The section of a stage; one that prepares another of its kind is called by its name."""
    section = _section(record.step, record)
    return f"{name}: {section}" if section and name != record.step else section


def _section(name: str, record: StepRecord) -> str:
    if name == "reflect":
        table = status_table(record, "reflect_status", "variant")
        title = f"Reflection: {record.counts['rows']} rows, pairs extracted from the oracle's completions"
        cost = [usage_line(record).replace("`", "")] if record.counts.get("usage") else []
        return "\n".join([title, as_text(table), *cost])
    if name == "score":
        parts = [f"Scores: {', '.join(record.config['scores'])}"]
        if "score_status" in record.counts:
            parts = [f"Scores: status of the rows\n{as_text(status_table(record, 'score_status', 'variant'))}"]
        table = statistics_table(record)
        parts += [as_text(table)] if len(table) > 1 else []
        return "\n\n".join([*parts, *filter(None, [missing_line(record)])])
    if name == "select":
        kept = f"{record.counts['selected']} of {record.counts['rows']} rows kept"
        tables = [as_text(branch_table(record)), as_text(reason_table(record))]
        if len(record.counts["steps"]) > 1:
            tables.insert(0, as_text(steps_table(record)))
        return f"Selection by {strategy_line(record)}: {kept}\n" + "\n\n".join(tables)
    if name == "sft":
        return _training(record)
    if name == "evaluate":
        return _evaluation(record)
    return ""


def _training(record: StepRecord) -> str:
    counts = record.counts
    settings = [f"template {record.config['template']}"] if "template" in record.config else []
    settings += [f"global batch {counts['global_batch_size']}"] if counts.get("global_batch_size") else []
    lines = [
        f"Training: {counts['rows']} rows, {counts['steps']} steps, mean loss {counts['train_loss']} nats a token",
        ", ".join(settings),
        training_line(record),
    ]
    return "\n".join(filter(None, lines))


def _evaluation(record: StepRecord) -> str:
    answers = sum(sum(statuses.values()) for statuses in record.counts.get("answers", {}).values())
    parts = [f"Evaluation: {answers} answers, template {record.config.get('template')}"]
    if record.counts.get("answers"):
        parts[0] += "\n" + as_text(status_table(record, "answers", "test set"))
    if record.counts.get("judge"):
        parts.append(f"{judge_line(record)}\n{as_text(judge_table(record.counts['judge']))}".replace("`", ""))
    if record.counts.get("benchmarks"):
        parts.append(as_text(benchmark_table(record.counts["benchmarks"])))
    return "\n\n".join(parts)
