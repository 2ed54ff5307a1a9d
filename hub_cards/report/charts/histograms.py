"""Distributions of scores and lengths: the variants and the selection in the same bins, before over after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hub_cards.report.charts.axes import Axis, as_json, axis_for
from hub_cards.report.charts.words import rows as rows_text
from hub_cards.report.charts.words import short, table

BINS = (16, 60)  # few rows, many rows
Groups = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Quantity:
    """What a chart is of.

    Attributes:
        key: the column.
        label, unit: its name and what it counts, for a title and an axis.
        whole: whether it counts something.
        listed: whether the page's rows have it, so that they can be asked for by it.
    """

    key: str
    label: str
    unit: str
    whole: bool = False
    listed: bool = True


@dataclass(frozen=True)
class Group:
    """The numbers of some rows in the bins of a chart.

    Attributes:
        rows: how many there are, with or without a number.
        values: the finite numbers.
        counts: how many lie in each bin; `below` and `above`: before the first, after the last.
    """

    name: str
    rows: int
    values: np.ndarray
    counts: np.ndarray
    below: int
    above: int

    @property
    def quartiles(self) -> list[float]:
        """First quartile, median, third quartile, linear between the two nearest values."""
        return [float(value) for value in np.percentile(self.values, (25, 50, 75))]


def distribution(quantity: Quantity, groups: Groups) -> dict[str, Any] | None:
    """One chart: the groups in shared bins, over a range without the last tails, and what lies outside.

    Args:
        groups: by name float64 arrays; what is no finite number counts as missing. The first is what the others are
            compared with. A group without any number is left out.

    Returns:
        `axis`, `groups` with `counts`, `below`, `above`, quartiles; `uneven`: the bins are not equally wide, so that
        heights are shares per doubling; words and tables. None where there are no numbers.
    """
    finite = {name: values[np.isfinite(values)] for name, values in groups.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    axis = axis_for(np.concatenate(list(finite.values())), quantity.whole) if finite else None
    if axis is None:
        return None
    edges = _edges(axis, max(len(values) for values in finite.values()), quantity.whole)
    binned = [_binned(name, len(groups[name]), values, edges) for name, values in finite.items()]
    return {
        "key": quantity.key,
        "label": quantity.label,
        "unit": quantity.unit,
        "whole": quantity.whole,
        "listed": quantity.listed,
        "axis": as_json(edges, axis.scale, quantity.whole),
        "uneven": quantity.whole and axis.scale == "log",
        "groups": [_as_json(group) for group in binned],
        "finding": _finding(quantity, binned),
        "notes": _notes(binned, [name for name in groups if name not in finite], *_range(edges, quantity.whole)),
        "tables": [_summary_table(quantity, binned), _bins_table(quantity, binned, edges)],
    }


def _edges(axis: Axis, most_rows: int, whole: bool) -> np.ndarray:
    # Bins of a few rows each are noise.
    return axis.edges(int(np.clip(2 * most_rows**0.5, *BINS)), whole)


def _binned(name: str, rows: int, values: np.ndarray, edges: np.ndarray) -> Group:
    counts = np.histogram(values, edges)[0]
    return Group(name, rows, values, counts, int((values < edges[0]).sum()), int((values > edges[-1]).sum()))


def _as_json(group: Group) -> dict[str, Any]:
    first, median, third = group.quartiles
    return {
        "name": group.name,
        "numbers": len(group.values),
        "counts": group.counts.tolist(),
        "below": group.below,
        "above": group.above,
        "q1": first,
        "median": median,
        "q3": third,
        "median_text": short(median),
    }


def _finding(quantity: Quantity, groups: list[Group]) -> str:
    medians = ", ".join(f"{short(group.quartiles[1])} in {group.name}" for group in groups)
    return f"{quantity.label}: median {medians}."


def _notes(groups: list[Group], empty: list[str], first: str, last: str) -> list[str]:
    """What the chart does not show, in words."""
    below, above = sum(group.below for group in groups), sum(group.above for group in groups)
    notes = []
    if below or above:
        values = f"{below + above:,} of {sum(len(group.values) for group in groups):,} values"
        tails = [f"{below:,} below {first}"] if below else []
        tails += [f"{above:,} above {last}"] if above else []
        notes.append(f"Not drawn: {values}, {' and '.join(tails)}.")
    missing = [f"{rows_text(n)} of {group.name}" for group in groups if (n := group.rows - len(group.values))]
    if missing:
        notes.append(f"Without a number: {', '.join(missing)}.")
    if empty:
        notes.append(f"No number at all: {', '.join(empty)}.")
    return notes


def _summary_table(quantity: Quantity, groups: list[Group]) -> dict[str, Any]:
    head = [quantity.label, *(group.name for group in groups)]
    quartiles = [group.quartiles for group in groups]
    lines = [
        ["rows", *(group.rows for group in groups)],
        ["with a number", *(len(group.values) for group in groups)],
        *(
            [name, *(short(found[place]) for found in quartiles)]
            for place, name in ((1, "median"), (0, "first quartile"), (2, "third quartile"))
        ),
    ]
    return table(head, lines)


def _bins_table(quantity: Quantity, groups: list[Group], edges: np.ndarray) -> dict[str, Any]:
    head = [f"rows by {quantity.label}", *(group.name for group in groups)]
    lines = [
        [_bin_name(low, high, quantity.whole), *(int(group.counts[place]) for group in groups)]
        for place, (low, high) in enumerate(pairwise(edges))
    ]
    below = ["below", *(group.below for group in groups)]
    above = ["above", *(group.above for group in groups)]
    return table(head, [below, *lines, above])


def _bin_name(low: float, high: float, whole: bool) -> str:
    first, last = _range(np.array([low, high]), whole)
    return first if first == last else f"{first} to {last}"


def _range(edges: np.ndarray, whole: bool) -> tuple[str, str]:
    """The first and the last number between borders, which lie halfway between whole numbers."""
    # Rounded up, -0.5 is -0.0.
    low, high = float(edges[0]), float(edges[-1])
    return (short(np.ceil(low) + 0.0), short(np.floor(high))) if whole else (short(low), short(high))
