"""What became of every row, counted and explained: the tables of a card that hide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub_cards.cards.text import code, plain
from hub_cards.provenance import StepRecord
from hub_cards.tables import Table

ADOPTED = ("ok", "ok_prompt_cut")  # the oracle's pair stands in the row
SCORE_STATUSES = {
    "ok": "all four losses were taken of whole texts",
    "target_truncated": "scored on what the length limit left of a text",
    "empty_output": "the response is empty: its losses are null",
    "empty_instruction": "the instruction is empty: its losses are null",
    "target_lost": "the length limit left nothing of a text: its losses are null",
    "error": "the model gave no finite number: the losses concerned are null",
}


def outcome_table(by_variant: Mapping[str, Mapping[str, int]], meanings: Mapping[str, str]) -> Table:
    """Header and one line an outcome, the most frequent first: how often in each variant, and what it means.

    The last line is the total. Without any meaning there is no column for it.
    """
    statuses = sorted(
        dict.fromkeys(status for counts in by_variant.values() for status in counts),
        key=lambda status: -sum(counts.get(status, 0) for counts in by_variant.values()),
    )
    lines = [[status, *(f"{counts.get(status, 0):,}" for counts in by_variant.values())] for status in statuses]
    total = ["total", *(f"{sum(counts.values()):,}" for counts in by_variant.values())]
    table = [["outcome", *by_variant], *lines, total]
    if not any(status in meanings for status in statuses):
        return table
    words = ["meaning", *(plain(meanings.get(status, "")) for status in statuses), ""]
    return [[*line, word] for line, word in zip(table, words, strict=True)]


def fallen_back(reflect: StepRecord) -> tuple[int, int, dict[str, int]]:
    """How many pairs the oracle was to rewrite, how many of them stand as their parent row, and for which reasons."""
    counts = reflect.counts["reflect_status"].values()
    reasons: dict[str, int] = {}
    for status, number in (item for by_status in counts for item in by_status.items()):
        if status not in ADOPTED:
            reasons[status] = reasons.get(status, 0) + number
    ordered = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    return sum(sum(by_status.values()) for by_status in counts), sum(reasons.values()), ordered


def fallback_line(reflect: StepRecord) -> str:
    """How many pairs stand as the oracle wrote them, and how many fell back to their parent row, in two sentences."""
    pairs, back, reasons = fallen_back(reflect)
    if not back:
        return f"All {pairs:,} pairs stand as the oracle wrote them: none fell back to its parent row."
    listed = ", ".join(f"{number:,} {code(reason)}" for reason, number in reasons.items())
    return (
        f"Of {pairs:,} pairs, {pairs - back:,} stand as the oracle wrote them. {back:,} fell back to their parent row, "
        f"unchanged: {listed}."
    )


def joined_lines(select: StepRecord) -> list[str]:
    """How statistics that were published came to the rows, a line a variant; empty where none were."""
    lines = []
    for variant, notes in (select.counts.get("joined") or {}).items():
        numbers = [(key, value) for key, value in notes.items() if isinstance(value, int) and value and key != "rows"]
        odd = "".join(f"; {key.replace('_', ' ')}: {value:,}" for key, value in numbers)
        warned = "".join(f"; {plain(warning)}" for warning in notes.get("warnings", []))
        lines.append(f"{code(variant)}: {notes['rows']:,} rows, joined by {plain(notes['aligned_by'])}{odd}{warned}")
    return lines


def cost_table(records: list[StepRecord]) -> Table:
    """Header and one line a step: how long its last run took."""
    lines = [[record.step, time_text(record.seconds)] for record in records if record.seconds is not None]
    return [["step", "time"], *lines]


def time_text(seconds: float) -> str:
    """`1.4 s`, `12 min`, `3 h 25 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def total_of(counts: Mapping[str, Any], status: str) -> int:
    """How often a status occurs in all variants."""
    return sum(by_status.get(status, 0) for by_status in counts.values())
