"""The overview of a report: what ran and what came of it, as texts and tables, from the records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub_cards.cards.limits import data_limits, score_of
from hub_cards.cards.lineage import ROW_STEPS, selection_of, source_of, steps_that_made
from hub_cards.cards.outcomes import SCORE_STATUSES, cost_table, fallback_line, joined_lines, outcome_table, time_text
from hub_cards.cards.parts import RECORDED
from hub_cards.cards.rules import rule_lines
from hub_cards.cards.text import code, hub_address, origin
from hub_cards.provenance import StepRecord
from hub_cards.stages import find_record
from hub_cards.tables import (
    Table,
    benchmark_table,
    branch_table,
    judge_line,
    judge_table,
    missing_line,
    span_line,
    steps_table,
    strategy_line,
    training_line,
    training_table,
    usage_line,
)


@dataclass(frozen=True)
class Shown:
    """A table with what it is called and says; its texts are Markdown of a line.

    Attributes:
        words: whether the last column holds words and not numbers.
        folded: whether it is opened only when somebody asks.
    """

    title: str
    lines: Sequence[str] = ()
    table: Table | None = None
    words: bool = False
    folded: bool = False


def facts_of(records: list[StepRecord], rows: int, part: str = "") -> list[tuple[str, str]]:
    """What ran, as pairs of a name and a line of Markdown: source, oracle, student, selection, cost, time.

    Args:
        part: why these are not all rows, in words; the records count all of them.
    """
    made = steps_that_made(records)
    reflect, score, select = find_record(made, "reflect"), score_of(made), selection_of(made)
    sft, evaluate, publish = (find_record(records, name) for name in ("sft", "evaluate", "publish"))
    source = source_of(made)
    facts = [("Rows", f"{rows:,}")]
    facts += [("Not all of it", f"{part}; what the records count, here and below, is of all rows")] if part else []
    facts += [("Source", origin(source))] if source else []
    facts += [("Oracle", _oracle(reflect))] if reflect else []
    facts += [("Student", _student(score))] if score else []
    facts += [("Selection", _selection(select))] if select else []
    facts += [("Training", _training(sft))] if sft else []
    facts += [("Evaluation", judge_line(evaluate))] if evaluate and evaluate.counts.get("judge") else []
    facts += [("Cost", usage_line(reflect))] if reflect and reflect.counts.get("usage") else []
    facts += [("Time", _time(made))] if any(record.seconds is not None for record in made) else []
    facts += [("Published", _published(publish))] if publish and publish.config.get("hub") else []
    return facts


def _oracle(reflect: StepRecord) -> str:
    if reflect.config.get("oracle") == "recorded":
        return RECORDED
    model = reflect.inputs.get("oracle")
    return origin(model, "oracle") if model else code(reflect.config.get("oracle_model"))


def _student(score: StepRecord) -> str:
    model = score.inputs.get("model") or score.inputs.get("embedding_model")
    named = [origin(model, "model")] if model else []
    told = {name: score.config[name] for name in ("template", "max_length", "dtype") if score.config.get(name)}
    return ", ".join([*named, *(f"{name.replace('_', ' ')} {code(value)}" for name, value in told.items())])


def _selection(select: StepRecord) -> str:
    kept, rows = select.counts["selected"], select.counts["rows"]
    share = f" ({kept / rows:.1%})" if rows else ""
    return f"{strategy_line(select)}: {kept:,} of {rows:,} rows kept{share}"


def _training(sft: StepRecord) -> str:
    model = sft.inputs.get("model")
    of = f" of {origin(model, 'model')}" if model else ""
    loss = sft.counts.get("train_loss")
    told = f", mean loss {loss} nats a token" if loss is not None else ""
    return f"{sft.counts['rows']:,} rows, {sft.counts['steps']:,} steps{of}{told}"


def _time(records: list[StepRecord]) -> str:
    lines = cost_table(records)[1:]
    total = sum(record.seconds for record in records if record.seconds is not None)
    return f"{time_text(total)} ({', '.join(f'{step} {time}' for step, time in lines)}; of a resumed step its last run)"


def _published(publish: StepRecord) -> str:
    links = {kind: hub_address(name, "model" if kind == "model" else "dataset") for kind, name in _hub(publish).items()}
    return ", ".join(f"[{code(_hub(publish)[kind])}]({address})" for kind, address in links.items())


def _hub(publish: StepRecord) -> Mapping[str, str]:
    return publish.config["hub"]


def sections_of(records: list[StepRecord]) -> dict[str, list[Shown]]:
    """The tables of the overview, by the section that they stand in: `oracle`, `scores`, `selection`, `training`."""
    made = steps_that_made(records)
    reflect, score, select = find_record(made, "reflect"), score_of(made), selection_of(made)
    sft, evaluate = find_record(records, "sft"), find_record(records, "evaluate")
    return {
        "oracle": _of_reflect(reflect) if reflect else [],
        "scores": _of_score(score) if score else [],
        "selection": _of_select(select) if select else [],
        "training": [*(_of_training(sft) if sft else []), *(_of_evaluation(evaluate) if evaluate else [])],
        "limits": [Shown("What to know before using them", limits)] if (limits := _limits(made)) else [],
    }


def _limits(records: list[StepRecord]) -> list[str]:
    """Those of the rows, and not of what was trained on them."""
    of_rows = [record for record in records if record.step in ROW_STEPS]
    return data_limits(of_rows) if of_rows else []


def _of_reflect(reflect: StepRecord) -> list[Shown]:
    table = outcome_table(reflect.counts["reflect_status"], reflect.counts.get("meanings", {}))
    return [Shown("What became of the oracle's answers", [fallback_line(reflect)], table, table[0][-1] == "meaning")]


def _of_score(score: StepRecord) -> list[Shown]:
    lines = [missing_line(score)] if score.counts.get("statistics") else []
    lines += [span_line(score)] if "depends_on_span" in score.counts else []
    statuses = score.counts.get("score_status")
    table = outcome_table(statuses, SCORE_STATUSES) if statuses else None
    return [Shown("What could be scored", [*filter(None, lines)], table, words=table is not None, folded=True)]


def _of_select(select: StepRecord) -> list[Shown]:
    meanings = select.counts.get("meanings", {})
    reasons = outcome_table({"rows": select.counts["select_reason"]}, meanings)
    shown = [Shown("The rule", [*rule_lines(select), *joined_lines(select)])]
    if len(select.counts.get("steps", [])) > 1:
        shown.append(Shown("Step by step", table=steps_table(select), words=True))
    shown.append(Shown("Which variant won", table=branch_table(select)))
    return [*shown, Shown("Kept or dropped, and why", table=reasons, words=reasons[0][-1] == "meaning")]


def _of_training(sft: StepRecord) -> list[Shown]:
    return [Shown("Training", [*filter(None, [training_line(sft)])], training_table(sft), words=True, folded=True)]


def _of_evaluation(evaluate: StepRecord) -> list[Shown]:
    judged, measured = evaluate.counts.get("judge"), evaluate.counts.get("benchmarks")
    shown = [Shown("Against the baseline", [judge_line(evaluate)], judge_table(judged))] if judged else []
    return [*shown, *([Shown("Benchmarks", table=benchmark_table(measured))] if measured else [])]
