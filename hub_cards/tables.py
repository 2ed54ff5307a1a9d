"""The tables that the cards, the summary of a run and the reports share, taken from step records alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub_cards.cards.text import code, one_line, without_html
from hub_cards.provenance import StepRecord
from hub_cards.schema import VARIANTS

# Row of the table of arXiv 2310.11716, Table 3, and its label.
STATISTICS = {
    "instruction_tokens": "instruction length (tokens)",
    "response_tokens": "response length (tokens)",
    "instruction_ppl": "instruction ppl",
    "response_ppl": "response ppl",
    "response_ppl_given_instruction": "response ppl, given instruction",
    "coherence": "coherence (cosine)",
    "ifd_ppl": "IFD",
    "rifd_ppl": "r-IFD",
}
# One statistic of one group of rows: `n`, `mean`, `q1`, `median`, `q3`.
Described = Mapping[str, Any]
Table = list[list[str]]
NOTHING = "–"
TOTAL = "total"


def statistics_table(score: StepRecord) -> Table:
    """Header and one line a statistic, one column a variant, means; a dash where no row of the variant has a number."""
    statistics = score.counts["statistics"]
    return means_table({name: statistics[name] for name in VARIANTS if name in statistics}, STATISTICS)


def means_table(groups: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    """Header and one line a statistic, one column a group of rows; statistics that no group has are left out."""
    return _table("mean over the rows", groups, labels, lambda entry: number_text(_mean(entry)))


def quartiles_table(groups: Mapping[str, Mapping[str, Described]], labels: Mapping[str, str]) -> Table:
    """The same with medians and, in brackets, the quartiles around them."""
    return _table("median [q1, q3]", groups, labels, _quartiles)


def _table(
    title: str, groups: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], cell: Callable[[Any], str]
) -> Table:
    lines = [
        [label, *(cell(statistics.get(key)) for statistics in groups.values())]
        for key, label in labels.items()
        if any(_mean(statistics.get(key)) is not None for statistics in groups.values())
    ]
    return [[title, *groups], *lines]


def _mean(entry: Described | float | None) -> float | None:
    """The mean; records of before the quartiles hold it alone."""
    return entry["mean"] if isinstance(entry, Mapping) else entry


def _quartiles(entry: Described | None) -> str:
    if entry is None or entry["median"] is None:
        return number_text(None)
    return f"{number_text(entry['median'])} [{number_text(entry['q1'])}, {number_text(entry['q3'])}]"


def status_table(record: StepRecord, column: str, label: str) -> Table:
    """Header and one line a variant: how many rows had which status."""
    by_variant = record.counts[column]
    statuses = list(dict.fromkeys(status for counts in by_variant.values() for status in counts))
    return [
        [label, *statuses],
        *([name, *(str(by_variant[name].get(status, 0)) for status in statuses)] for name in by_variant),
    ]


SPAN_MEANINGS = {
    "published": "context and target tokenized as one text, as in the published statistics",
    "aligned": "context and target tokenized apart, the same target tokens with and without the context",
}


def span_line(score: StepRecord) -> str:
    """Which tokens count as the target's, and in how many rows that matters, in one sentence."""
    span, counts = score.config["span"], score.counts
    differ, merged = (sum(counts[name].values()) for name in ("depends_on_span", "boundary_merged"))
    rows = sum(statistics["rows"] for statistics in counts["statistics"].values())
    other = next(name for name in SPAN_MEANINGS if name != span)
    return (
        f"Target tokens: `{span}` ({SPAN_MEANINGS[span]}). `{other}` would score other tokens in {differ:,} of "
        f"{rows:,} rows, all variants counted; in {merged:,} the tokenizer joins the end of the context and the start "
        "of the target."
    )


def usage_line(reflect: StepRecord) -> str:
    """What the oracle's answers took, in one sentence: completions, tokens and, where a price is known, dollars."""
    usage = reflect.counts["usage"]
    line = (
        f"Made from {usage['completions']:,} completions of {code(reflect.config['oracle_model'])}: "
        f"{usage['prompt_tokens']:,} tokens in, {usage['completion_tokens']:,} tokens out"
    )
    if usage["without_usage"]:
        line += f" ({usage['without_usage']:,} completions came without a count)"
    if "cost_usd" not in usage:
        return f"{line}."
    price = usage["usd_per_million_tokens"]
    return (
        f"{line}, ${usage['cost_usd']:,.2f} at ${price['input']:g} in and ${price['output']:g} out per million tokens "
        f"({price['source']}; answers of the batch service at its price)."
    )


def branch_table(select: StepRecord) -> Table:
    """Header and one line a branch: how many rows it won, how many of them were kept."""
    branches = select.counts["branches"]
    total = ["total", select.counts["rows"], select.counts["selected"]]
    lines = [[name, counts["won"], counts["kept"]] for name, counts in branches.items()]
    return [["branch", "won", "kept"], *([str(cell) for cell in line] for line in [*lines, total])]


def reason_table(select: StepRecord) -> Table:
    """Header and one line a reason: how many rows were kept or dropped for it."""
    return [["reason", "rows"], *([reason, str(count)] for reason, count in select.counts["select_reason"].items())]


def strategy_line(select: StepRecord) -> str:
    """The steps of a selection and their options: `superfilter (fraction 0.2), then facility_location (count 5)`."""
    return ", then ".join(_step_text(step) for step in select.config["strategy"])


def _step_text(step: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {_option(value)}" for key, value in step.items() if key != "name" and value is not None)
    return f"{step['name']} ({options})" if options else step["name"]


def _option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_line(record: StepRecord) -> str:
    """What was set for a step, in one line: ``template `vicuna`, max_length `512` ``."""
    settings = {key: value for key, value in record.config.items() if value is not None}
    if record.step == "select":
        settings["strategy"] = strategy_line(record)
    return ", ".join(f"{key} {code(_setting_text(value))}" for key, value in settings.items())


def _setting_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else _option(value)


def steps_table(select: StepRecord) -> Table:
    """Header and one line a step of a selection: the rows it was given and kept, and what else it has to say."""
    return [
        ["step", "rows", "kept", "notes"],
        *([step["step"], str(step["rows"]), str(step["kept"]), _notes(step)] for step in select.counts["steps"]),
    ]


def _notes(step: Mapping[str, Any]) -> str:
    own = {key: value for key, value in step.items() if key not in ("step", "rows", "kept")}
    return ", ".join(
        f"{key} {value:,.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in own.items()
    )


def missing_line(score: StepRecord) -> str:
    """How many rows have no number in a column that has no status of its own; empty where all have one."""
    rows = sum(statistics["rows"] for statistics in score.counts["statistics"].values())
    parts = [
        f"{code(column)} is null in {missing:,}"
        for column, by_variant in score.counts.get("missing", {}).items()
        if (missing := sum(by_variant.values()))
    ]
    return f"Of {rows:,} rows, all variants counted, {', '.join(parts)}." if parts else ""


# What a training counted, and its label; other counts are shown under their own names.
TRAINING = {
    "rows": "rows",
    "steps": "steps",
    "epochs": "epochs",
    "train_loss": "mean training loss (nats a token)",
    "rows_cut": "rows cut to fit",
    "rows_without_room_for_a_completion": "rows without room for a completion",
}


def training_table(sft: StepRecord) -> Table:
    """Header and one line a setting and a count of a training; what is null was not set, or could not be told."""
    lines = [[code(key), _value_text(value)] for key, value in sft.config.items() if value is not None]
    order = {**TRAINING, **sft.counts}
    counts = [[TRAINING.get(key, key.replace("_", " ")), sft.counts.get(key)] for key in order]
    return [
        ["setting", "value"],
        *lines,
        *([label, _value_text(value)] for label, value in counts if value is not None),
    ]


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value_text(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value_text, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _option(value)


def training_line(sft: StepRecord) -> str:
    """What happened to the rows of a training that could not be used as they are; empty where nothing did."""
    cut, lost = (sft.counts.get(name) for name in ("rows_cut", "rows_without_room_for_a_completion"))
    parts = [f"Rows cut to fit the length limit: {cut:,}."] if cut else []
    if lost:
        parts.append(f"Rows without room for their completion, which took no part: {lost:,}.")
    return " ".join(parts)


def without_repeated_total(comparisons: Mapping[str, Any]) -> Mapping[str, Any]:
    """Comparisons as they are shown: the total of one set is that set, and is left out."""
    if len(comparisons) == 2 and TOTAL in comparisons:
        return {name: found for name, found in comparisons.items() if name != TOTAL}
    return comparisons


def judge_table(comparisons: Mapping[str, Mapping[str, Any]], title: str = "test set") -> Table:
    """Header and one line a comparison with the baseline, as an evaluation's record counts them (`judge`)."""
    comparisons = without_repeated_total(comparisons)
    header = [title, "n", "win", "tie", "lose", "invalid", "win score", "95 % interval", "sign test p", "win rate"]
    header += ["length-controlled", "mean length", "baseline's"]
    return [header, *(_judge_line(name, found) for name, found in comparisons.items())]


def _judge_line(name: str, found: Mapping[str, Any]) -> list[str]:
    low, high, p = (found.get(key) for key in ("win_score_low", "win_score_high", "p_value"))
    return [
        name,
        *(f"{found[count]:,}" for count in ("n", "wins", "ties", "losses", "invalid")),
        number_text(found["win_score"]),
        NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}",
        "<0.001" if p is not None and p < 0.001 else number_text(p),
        *(percent_text(found.get(rate)) for rate in ("win_rate", "length_controlled_win_rate")),
        *(_length_text(found.get(length)) for length in ("mean_length", "baseline_mean_length")),
    ]


def _length_text(characters: float | None) -> str:
    return NOTHING if characters is None else f"{characters:,.0f}"


def percent_text(fraction: float | None) -> str:
    """A fraction as the tables show it, in percent; a dash where there is none."""
    return NOTHING if fraction is None else f"{100 * fraction:.1f} %"


def judge_line(evaluate: StepRecord) -> str:
    """Whom the answers were compared with and by which judge, in one sentence."""
    baseline, judge = evaluate.inputs["baseline"].location, evaluate.config["judge"]
    return f"Compared with the answers of {code(baseline)} by the judge {code(judge)}, asked twice, in both orders."


def benchmark_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """Header and one line a benchmark's result, as an evaluation's record lists them (`benchmarks`)."""
    return [
        ["benchmark", "suite", "metric", "value", "stderr", "shots", "version", "questions"],
        *(
            [
                result["task"],
                result.get("suite") or NOTHING,
                result["metric"],
                number_text(result["value"]),
                number_text(result.get("stderr")),
                *(NOTHING if result.get(key) is None else str(result[key]) for key in ("shots", "version")),
                questions_text(result),
            ]
            for result in results
        ),
    ]


def questions_text(result: Mapping[str, Any]) -> str:
    """How many questions of a benchmark were asked: `1,172`, or `20 of 1,172`; a dash for a mean of several."""
    asked, there = result.get("n"), result.get("n_all")
    if asked is None:
        return NOTHING
    return f"{asked:,}" if there in (None, asked) else f"{asked:,} of {there:,}"


def number_text(value: float | None) -> str:
    """A number as the tables show it; a dash where there is none."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def as_text(table: Table) -> str:
    """Aligned columns for a terminal."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = []
    for line in table:
        first, *rest = (
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table, words: bool = False) -> str:
    """A Markdown table, numbers to the right.

    Args:
        words: whether the last column holds words; they stand to the left, as the first column does.
    """
    header, *lines = ["| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in table]
    columns = len(table[0]) - 1
    rule = [" --- |", *[" ---: |"] * (columns - words), *[" --- |"] * words]
    return "\n".join([header, f"|{''.join(rule)}", *lines])


def _markdown_cell(text: str) -> str:
    """A cell in which nothing opens HTML; in code nothing does, and an escape would be seen."""
    is_code = len(text) > 1 and text.startswith("`") and text.endswith("`")
    return cell_text(text if is_code else without_html(text))


def cell_text(value: Any) -> str:
    """A value as it may stand in a cell of a Markdown table: one line, no bar that would end the cell."""
    line = one_line(value)
    # A backslash before a bar would escape our own backslash instead of the bar.
    return re.sub(r"(\\*)\|", lambda bar: f"{bar[1] * 2}\\|", line)
