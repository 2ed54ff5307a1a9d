"""The tables of a sweep: what every arm was trained on, and how it did. From step records; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hub_cards.provenance import StepRecord
from hub_cards.tables import TOTAL, Table, as_markdown, as_text, number_text
from training.evaluation_report import comparisons_of
from training.sweep import SweepConfig
from training.win_rate import LEGEND, Comparison, win_rate_table
from training.win_rate_chart import SVG, draw_win_rates

NOTHING = "–"
# By stage (`select`, `sft`, `evaluate`) the record of what is finished.
Records = Mapping[str, StepRecord]


def write_comparison(config: SweepConfig) -> str:
    """Write `comparison.md`, and its chart where a judge was asked, into the sweep's folder.

    Returns:
        The tables as a terminal shows them.
    """
    arms = {arm.name: config.records(arm) for arm in config.all_arms}
    selections = {arm.name: "; ".join(arm.steps) for arm in config.all_arms}
    baseline, folder = config.arm("baseline").name, Path(config.output_dir)
    tables = [training_table(selections, arms)]
    parts = [f"# {len(arms)} models on `{config.dataset}`", as_markdown(tables[0])]
    judged = {name: comparisons_of(records["evaluate"]) for name, records in arms.items() if "evaluate" in records}
    totals = {name: found[TOTAL] for name, found in judged.items() if found}
    if totals:
        tables.append(win_rate_table(totals, "arm"))
        parts += [f"## Against `{baseline}`", as_markdown(tables[-1]), LEGEND]
        by_set = sets_table({name: judged[name] for name in totals})
        if len(by_set[0]) > 2:  # the total of one set is that set
            tables.append(by_set)
            parts.append(as_markdown(by_set))
        draw_win_rates(folder, totals, baseline=baseline)
        parts.append(f"![wins, ties and losses]({SVG})")
    (folder / "comparison.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    against = [f"against {baseline}:"] if totals else []
    shown = [as_text(tables[0]), *against, *map(as_text, tables[1:])]
    return "\n\n".join([*shown, f"all of it is in {folder / 'comparison.md'}"])


def training_table(selections: Mapping[str, str], arms: Mapping[str, Records]) -> Table:
    """Header and one line an arm: what it was trained on, and its benchmarks with their standard errors.

    Args:
        selections: by arm what it is trained on, in words.
    """
    numbers = {name: _benchmarks(records.get("evaluate")) for name, records in arms.items()}
    tasks = list(dict.fromkeys(task for found in numbers.values() for task in found))
    table = [["arm", "selection", "rows", "steps", "train loss", *tasks]]
    for name, records in arms.items():
        results = [numbers[name].get(task, NOTHING) for task in tasks]
        table.append([name, selections[name], *_training(records.get("sft")), *results])
    return table


def _training(sft: StepRecord | None) -> list[str]:
    if sft is None:
        return [NOTHING] * 3
    return [f"{sft.counts['rows']:,}", f"{sft.counts['steps']:,}", number_text(sft.counts["train_loss"])]


def _benchmarks(evaluation: StepRecord | None) -> dict[str, str]:
    results = evaluation.counts.get("benchmarks", []) if evaluation else []
    return {
        result["task"]: number_text(result["value"])
        + (f" ± {result['stderr']:.3f}" if result["stderr"] is not None else "")
        for result in results
    }


def sets_table(judged: Mapping[str, Mapping[str, Comparison]]) -> Table:
    """Header and one line an arm: wins, ties and losses in every judge set."""
    sets = list(dict.fromkeys(name for found in judged.values() for name in found if name != TOTAL))
    lines = [[arm, *(_wins(found.get(name)) for name in sets)] for arm, found in judged.items()]
    return [["win / tie / lose", *sets], *lines]


def _wins(found: Comparison | None) -> str:
    return NOTHING if found is None else f"{found.wins} / {found.ties} / {found.losses}"
