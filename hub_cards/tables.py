"""The tables that the cards and the summary of a run share, taken from step records alone."""

from __future__ import annotations

from hub_cards.provenance import StepRecord
from hub_cards.schema import VARIANTS

# Row of the table of arXiv 2310.11716, Table 3, and its label.
STATISTICS = {
    "instruction_tokens": "instruction length (tokens)",
    "response_tokens": "response length (tokens)",
    "instruction_ppl": "instruction ppl",
    "response_ppl": "response ppl",
    "response_ppl_given_instruction": "response ppl, given instruction",
    "ifd_ppl": "IFD",
    "rifd_ppl": "r-IFD",
}
Table = list[list[str]]


def statistics_table(score: StepRecord) -> Table:
    """Header and one line a statistic, one column a variant; a dash where no row has the number."""
    statistics = score.counts["statistics"]
    names = [name for name in VARIANTS if name in statistics]
    return [
        ["mean over the rows", *names],
        *([label, *(_number(statistics[name][key]) for name in names)] for key, label in STATISTICS.items()),
    ]


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


def _number(value: float | None) -> str:
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
