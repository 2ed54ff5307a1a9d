"""The report on a recycled set: tables side by side, the published numbers beside them, and the plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasets import Dataset

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.stages import find_record
from hub_cards.tables import STATISTICS, Table, as_markdown, as_text, means_table, quartiles_table
from scoring.flow_plot import draw_flow
from scoring.plots import draw_distributions, draw_ratios
from scoring.statistics import TABLE_COLUMNS, Outcome, as_dataset, describe, from_dataset, locate

# Everything that is described, in the order of the paper's table.
LABELS = {
    name: {**STATISTICS, "instruction_ppl_given_response": "instruction ppl, given response"}[name]
    for name in TABLE_COLUMNS
}
# Alpaca as it is and recycled (arXiv 2310.11716, Table 3).
PUBLISHED = {
    "instruction_tokens": (20.7, 37.9),
    "response_tokens": (65.5, 377.2),
    "instruction_ppl": (34.3, 13.6),
    "response_ppl": (82.6, 4.5),
    "response_ppl_given_instruction": (49.2, 2.9),
    "coherence": (0.53, 0.67),
    "ifd_ppl": (0.72, 0.83),
}
DISTRIBUTIONS, RATIOS, FLOW = "distributions.png", "ifd_against_rifd.png", "selection_flow.png"


@dataclass(frozen=True)
class Description:
    """What there is to say of some variants and of a selection from them.

    Attributes:
        groups: rows by variant and, of a selection, `selected` and `dropped`.
        described: for each group what `scoring.statistics.describe` gives.
        outcome, ledger: where the rows of the selection stand, and its decisions; None without one.
    """

    variants: Mapping[str, Dataset]
    groups: dict[str, Dataset]
    described: dict[str, dict[str, Any]]
    outcome: Outcome | None
    ledger: Dataset | None

    @property
    def statistics(self) -> Dataset:
        """One row a group and statistic."""
        return as_dataset(self.described)

    @property
    def counts(self) -> dict[str, Any]:
        """For the step's record: the rows of each group."""
        return {"rows": {name: len(rows) for name, rows in self.groups.items()}}

    def draw(self, folder: Path) -> None:
        """Write the plots; raises `BadInputError` where matplotlib is not installed."""
        before_and_after = (next(iter(self.variants)), "selected") if self.outcome else tuple(self.variants)
        shown = {name: rows for name, rows in self.groups.items() if name in before_and_after}
        draw_distributions(folder / DISTRIBUTIONS, shown)
        gate = self.ledger is None or _knows_the_gate(self.ledger)
        draw_ratios(folder / RATIOS, self.variants, self.outcome.kept if self.outcome else None, gate)
        if self.ledger is not None:
            draw_flow(folder / FLOW, self.ledger)


def _knows_the_gate(ledger: Dataset) -> bool:
    """Whether rows were decided by `selective`, the one step that looks at r-IFD; older ledgers do not say."""
    return "select_step" in ledger.column_names and "selective" in ledger.unique("select_step")


def describe_set(variants: Mapping[str, Dataset], ledger: Dataset | None = None) -> Description:
    """Describe scored variants and, where there is one, the selection from them.

    Raises:
        BadInputError: no variant has a score column, or the ledger is of other rows.
    """
    if not are_scored(variants):
        raise BadInputError(f"--dataset has none of the columns {', '.join(TABLE_COLUMNS.values())}; run score first")
    outcome = locate(variants, ledger) if ledger is not None else None
    groups = {**variants, **(dict(outcome.groups(variants)) if outcome else {})}
    described = {name: describe(rows) for name, rows in groups.items()}
    return Description(variants, groups, described, outcome, ledger)


def are_scored(variants: Mapping[str, Dataset]) -> bool:
    """Whether there is anything to describe."""
    return any(column in rows.column_names for rows in variants.values() for column in TABLE_COLUMNS.values())


def draw_set(variants: Mapping[str, Dataset], ledger: Dataset, folder: Path) -> bool:
    """Draw what `describe_set` describes into a new folder, for a card to show.

    Returns:
        False where nothing is drawn: matplotlib is not installed, or no variant has a score that there is a plot of.
    """
    if not are_scored(variants) or find_spec("matplotlib") is None:
        return False
    folder.mkdir()
    describe_set(variants, ledger).draw(folder)
    return True


def tables(statistics: Dataset, rows: Mapping[str, int]) -> tuple[Table, Table]:
    """The table of means and that of medians and quartiles, groups side by side, from the saved statistics.

    Args:
        rows: how many rows each group has.
    """
    described = from_dataset(statistics)
    groups = {name: described.get(name, {}) for name in rows}
    line = ["rows", *(f"{count:,}" for count in rows.values())]
    means, quartiles = means_table(groups, LABELS), quartiles_table(groups, LABELS)
    return [means[0], line, *means[1:]], [quartiles[0], line, *quartiles[1:]]


def published_line() -> str:
    """The paper's own numbers, for context."""
    numbers = "; ".join(f"{LABELS[name]} {before:g} → {after:g}" for name, (before, after) in PUBLISHED.items())
    return (
        f"Published for Alpaca → recycled Alpaca (arXiv 2310.11716, Table 3, means): {numbers}. Another student counts "
        "other tokens and has other perplexities: compare directions, not levels."
    )


def as_terminal(statistics: Dataset, rows: Mapping[str, int]) -> str:
    """The table of means as text, and the published line."""
    return f"{as_text(tables(statistics, rows)[0])}\n\n{published_line()}"


def as_markdown_report(description: Description, dataset: list[StepRecord], selection: list[StepRecord]) -> str:
    """`statistics.md`: where the numbers are from, both tables, the published line, the plots.

    Args:
        dataset, selection: the lineages of the two folders; the latter is empty where there is no selection.
    """
    means, quartiles = tables(description.statistics, description.counts["rows"])
    plots = [DISTRIBUTIONS, RATIOS, *([FLOW] if description.ledger is not None else [])]
    parts = [
        "# Statistics of a recycled set",
        *_sources(dataset, selection),
        "Every number is over those rows of its column that have it.",
        "## Means",
        as_markdown(means),
        published_line(),
        "## Medians and quartiles",
        as_markdown(quartiles),
        "## Plots",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots),
    ]
    return "\n\n".join(parts) + "\n"


def _sources(dataset: list[StepRecord], selection: list[StepRecord]) -> list[str]:
    lines = []
    score, select = find_record(dataset, "score", counted="score_status"), find_record(selection, "select")
    if score:
        lines.append(
            f"Scored by `{score.inputs['model'].location}`, template `{score.config.get('template')}`. Lengths are in "
            "its tokens, perplexities are its own."
        )
    if select:
        counts = select.counts
        lines.append(
            f"Selected: {counts['selected']:,} of {counts['rows']:,} rows. `selected` and `dropped` hold the rows as "
            "they stood at the end: in the variant that had won, or in the first one where none had."
        )
    return lines
