"""The tables that the cards, the summary of a run and the reports share, taken from step records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
        f"Made from {usage['completions']:,} completions of `{reflect.config['oracle_model']}`: "
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
    return ", ".join(
        f"{key} `{', '.join(value) if isinstance(value, list) else value}`" for key, value in settings.items()
    )


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
        f"`{column}` is null in {missing:,}"
        for column, by_variant in score.counts.get("missing", {}).items()
        if (missing := sum(by_variant.values()))
    ]
    return f"Of {rows:,} rows, all variants counted, {', '.join(parts)}." if parts else ""


def number_text(value: float | None) -> str:
    """A number as the tables show it; a dash where there is none."""
    if value is None:
        return "–"
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


def as_markdown(table: Table) -> str:
    """A Markdown table, numbers to the right."""
    header, *lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    return "\n".join([header, "|" + " --- |" + " ---: |" * (len(table[0]) - 1), *lines])
