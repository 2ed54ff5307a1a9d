"""The charts of a report: small data, words and tables of what 52,002 rows and their variants are like.

The page's script draws them; every number that it draws also stands in a table, and what it shows in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hub_cards.report.charts.flows import changes, extraction, selection_flow
from hub_cards.report.charts.histograms import Quantity, distribution
from hub_cards.report.charts.scatters import Cloud, panels
from hub_cards.report.charts.words import counted, of, percent, rows_link, short, table
from hub_cards.report.charts.words import rows as rows_text

IFD, RIFD = "ifd_ppl", "rifd_ppl"
RATIOS = (
    Quantity(IFD, "IFD", "ratio of perplexities"),
    Quantity(RIFD, "r-IFD", "ratio of perplexities"),
)
# The student's tokens or, where nothing was scored, characters.
LENGTHS = (
    (
        Quantity("n_tokens_Q", "Instruction length", "tokens of the student", whole=True),
        Quantity("n_characters_Q", "Instruction length", "characters", whole=True, listed=False),
    ),
    (
        Quantity("n_tokens_A", "Response length", "tokens of the student", whole=True),
        Quantity("n_characters_A", "Response length", "characters", whole=True, listed=False),
    ),
)
SELECTED = "selected"
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class OtherRows:
    """The same N rows by another selection or another student, as the attributes of `ChartRows` of these names."""

    variants: Mapping[str, Columns] = field(default_factory=dict)
    selected: np.ndarray | None = None
    selected_variant: Sequence[str | None] | None = None


@dataclass(frozen=True)
class ChartRows:
    """What the charts are made of: N rows, in the same order everywhere.

    Attributes:
        variants: by variant and name float64 arrays of N, NaN for null; the first variant is what the others are
            compared with. Of the columns `ifd_ppl`, `rifd_ppl`, `n_tokens_Q`, `n_tokens_A` and, for rows without token
            counts, `n_characters_Q`, `n_characters_A` each may be absent.
        reflect_status: rows by variant and status.
        selected: array of N, 1 or True where a row was kept, 0 or False where it was dropped, anything else where
            nothing was decided; None without a selection.
        selected_variant, select_reason, select_step: of N each; None where there is no such column.
        gate: whether IFD and r-IFD below 1 decided, or could have where there is no selection.
    """

    row_ids: Sequence[str]
    variants: Mapping[str, Columns]
    reflect_status: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    selected: np.ndarray | None = None
    selected_variant: Sequence[str | None] | None = None
    select_reason: Sequence[str | None] | None = None
    select_step: Sequence[str | None] | None = None
    gate: bool = True
    other: OtherRows | None = None


def charts_of(rows: ChartRows) -> dict[str, Any]:
    """All charts as JSON takes them.

    Returns:
        `distributions` (a list), `ratios`, `flow`, `outcomes`, and of a comparison `scores` and `changes`; a chart
        without data is None, and `absent` says in a sentence why. Each chart has a `finding` in words, `notes` and
        `tables`.
    """
    charts: dict[str, Any] = {
        "distributions": _distributions(rows),
        "ratios": _ratios(rows),
        "flow": _flow(rows),
        "outcomes": extraction(rows.reflect_status),
        "scores": _scores(rows),
        "changes": _changes(rows),
    }
    why = {
        "distributions": "No row has a score or a length, so there are no distributions.",
        "ratios": "No row has both IFD and r-IFD, so they are not drawn against each other.",
        "flow": "Nothing was selected from these rows yet.",
        "outcomes": "These rows do not say what became of an oracle's completions.",
        "scores": "Both sides have the same IFD, or only one of them has any, so there is nothing to draw.",
        "changes": "Only one of the two has a selection.",
    }
    return {**charts, "absent": {name: sentence for name, sentence in why.items() if not charts[name]}}


def _distributions(rows: ChartRows) -> list[dict[str, Any]]:
    lengths = [tokens if _has(rows, tokens.key) else characters for tokens, characters in LENGTHS]
    found = (distribution(quantity, _groups(rows, quantity.key)) for quantity in (*RATIOS, *lengths))
    return [chart for chart in found if chart is not None]


def _has(rows: ChartRows, key: str) -> bool:
    return any(key in columns and np.isfinite(columns[key]).any() for columns in rows.variants.values())


def _groups(rows: ChartRows, key: str) -> dict[str, np.ndarray]:
    """The numbers of each variant that has the column, and of the kept rows those of the variants that won."""
    groups = {name: columns[key] for name, columns in rows.variants.items() if key in columns}
    if rows.selected is None or rows.selected_variant is None:
        return groups
    kept = {name: _kept_as(rows, name) for name in rows.variants}
    none = np.full(len(rows.row_ids), np.nan)
    groups[SELECTED] = np.concatenate([groups.get(name, none)[chosen] for name, chosen in kept.items()])
    return groups


def _kept_as(rows: ChartRows, variant: str) -> np.ndarray:
    """Which rows were kept in this variant."""
    return (rows.selected == 1) & (np.array(rows.selected_variant, object) == variant)


def _ratios(rows: ChartRows) -> dict[str, Any] | None:
    decided = rows.selected is not None and rows.selected_variant is not None
    clouds = {
        name: Cloud(columns[IFD], columns[RIFD], _kept_as(rows, name) if decided else None)
        for name, columns in rows.variants.items()
        if IFD in columns and RIFD in columns
    }
    found = panels(clouds, rows.row_ids)
    if found is None:
        return None
    quadrants = {panel["name"]: _quadrants(clouds[panel["name"]]) for panel in found["panels"]}
    for panel in found["panels"]:
        panel["finding"] = _ratio_finding(panel, quadrants[panel["name"]])
        panel["title"] = _panel_title(panel)
    inside = ", ".join(f"{sides[0]:,} of {sum(sides):,} in {name}" for name, sides in quadrants.items())
    return {
        **found,
        "gate": rows.gate,
        "x_label": "IFD",
        "y_label": "r-IFD",
        "finding": f"Rows with IFD and r-IFD below 1: {inside}.",
        "notes": _panel_notes(found["panels"], "both scores"),
        "tables": [_ratio_table(found["panels"], quadrants)],
    }


def _quadrants(cloud: Cloud) -> tuple[int, int, int, int]:
    """Rows with both numbers below 1, only x below, only y below, none below."""
    x, y = cloud.x[cloud.scored] < 1, cloud.y[cloud.scored] < 1
    return int((x & y).sum()), int((x & ~y).sum()), int((~x & y).sum()), int((~x & ~y).sum())


def _ratio_finding(panel: Mapping[str, Any], sides: tuple[int, int, int, int]) -> str:
    kept = f" {panel['kept']:,} of its rows were kept." if panel["kept"] is not None else ""
    return f"{panel['name']}, IFD against r-IFD: both are below 1 in {of(sides[0], panel['numbers'])}.{kept}"


def _panel_title(panel: Mapping[str, Any]) -> str:
    parts = [rows_text(panel["numbers"])]
    parts += [f"{panel['kept']:,} kept"] if panel["kept"] is not None else []
    return ", ".join(parts)


def _panel_notes(found: Sequence[Mapping[str, Any]], what: str) -> list[str]:
    without = [f"{rows_text(n)} of {panel['name']}" for panel in found if (n := panel["rows"] - panel["numbers"])]
    outside = [f"{panel['outside']:,} of {panel['name']}" for panel in found if panel["outside"]]
    notes = [f"Without {what}: {', '.join(without)}."] if without else []
    return [*notes, *([f"Outside the axes: {', '.join(outside)}."] if outside else [])]


def _ratio_table(found: Sequence[Mapping[str, Any]], quadrants: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    names = [panel["name"] for panel in found]
    places = ("both below 1", "r-IFD 1 or more", "IFD 1 or more", "both 1 or more")
    lines = [
        ["with both scores", *(panel["numbers"] for panel in found)],
        *([place, *(quadrants[name][number] for name in names)] for number, place in enumerate(places)),
        ["outside the axes", *(panel["outside"] for panel in found)],
    ]
    if found[0]["kept"] is not None:
        links = {name: rows_link(branch=name, kept="1") for name in names}
        lines.append(["kept", *(counted(panel["kept"], links[panel["name"]]) for panel in found)])
    return table(["rows", *names], lines)


def _flow(rows: ChartRows) -> dict[str, Any] | None:
    if rows.selected is None:
        return None
    return selection_flow(
        np.asarray(rows.selected).astype(int),
        *(rows.selected_variant, rows.select_reason, rows.select_step),
        list(rows.variants),
    )


def _scores(rows: ChartRows) -> dict[str, Any] | None:
    """IFD here against that of the other side; None where they are the same numbers."""
    if rows.other is None:
        return None
    clouds = {
        name: Cloud(columns[IFD], rows.other.variants[name][IFD])
        for name, columns in rows.variants.items()
        if IFD in columns and IFD in rows.other.variants.get(name, {})
    }
    if all(np.array_equal(cloud.x[cloud.scored], cloud.y[cloud.scored]) for cloud in clouds.values()):
        return None
    found = panels(clouds, rows.row_ids, square=True)
    if found is None:
        return None
    greater = {name: _greater(cloud) for name, cloud in clouds.items()}
    for panel in found["panels"]:
        above = of(greater[panel["name"]], panel["numbers"])
        panel["finding"] = f"{panel['name']}: IFD of the other side is the greater one in {above}."
        panel["title"] = _panel_title(panel)
    shares = [f"{percent(greater[p['name']], p['numbers'])} in {p['name']}" for p in found["panels"]]
    return {
        **found,
        "x_label": "IFD here",
        "y_label": "IFD of the other",
        "finding": f"Rows whose IFD is greater on the other side: {', '.join(shares)}.",
        "notes": _panel_notes(found["panels"], "IFD on both sides"),
        "tables": [_scores_table(found["panels"], clouds, greater)],
    }


def _greater(cloud: Cloud) -> int:
    return int((cloud.y[cloud.scored] > cloud.x[cloud.scored]).sum())


def _scores_table(found: Sequence[Mapping[str, Any]], clouds: Mapping[str, Cloud], greater: Mapping[str, int]) -> Any:
    shown = {panel["name"]: clouds[panel["name"]] for panel in found}
    lines = [
        ["with IFD on both sides", *(panel["numbers"] for panel in found)],
        ["median here", *(short(float(np.median(cloud.x[cloud.scored]))) for cloud in shown.values())],
        ["median of the other", *(short(float(np.median(cloud.y[cloud.scored]))) for cloud in shown.values())],
        ["greater on the other side", *(greater[name] for name in shown)],
        ["outside the axes", *(panel["outside"] for panel in found)],
    ]
    return table(["rows", *shown], lines)


def _changes(rows: ChartRows) -> dict[str, Any] | None:
    other = rows.other
    if rows.selected is None or other is None or other.selected is None:
        return None
    none: list[str | None] = [None] * len(rows.row_ids)
    here, there = rows.selected_variant or none, other.selected_variant or none
    return changes(np.asarray(rows.selected).astype(int), here, np.asarray(other.selected).astype(int), there)
