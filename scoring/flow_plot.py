"""A plot of where a selection sends its rows: which variant won, and which were kept or dropped for what reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset

from hub_cards.schema import VARIANTS
from scoring.plots import COLOURS, INK, OTHER_COLOUR, new_figure, save, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOBODY = "none"
PLACES = (0.0, 1.0, 2.0)
TITLES = ("rows in", "variant that won", "kept or dropped, and why")
BAR = 0.035  # width of a node, in the units of PLACES
ROOM = 0.36  # height that a node's label needs, in inches
GAP = 0.10
HEIGHT = 4.2  # of the drawing, where labels do not need more


@dataclass(frozen=True)
class Node:
    """Rows that share something: where they are drawn, from `top` down to `top + height`, in inches."""

    label: str
    colour: str
    count: int
    top: float = 0.0
    height: float = 0.0


def outcomes(ledger: Dataset) -> Counter[tuple[str, str]]:
    """How many rows of which winning variant had which outcome; the kept outcomes begin with `kept`.

    The step is named where a selection has several.
    """
    steps = ledger["select_step"][:] if "select_step" in ledger.column_names else [None] * len(ledger)
    several = len({step for step in steps if step is not None}) > 1
    columns = (ledger[name][:] for name in ("selected_variant", "selected", "select_reason"))
    found: Counter[tuple[str, str]] = Counter()
    for variant, selected, reason, step in zip(*columns, steps, strict=True):
        if selected:
            outcome = "kept" if reason in ("kept", None) else f"kept: {reason}"
        else:
            outcome = f"{step}: {reason}" if several else f"{reason}"
        found[variant or NOBODY, outcome] += 1
    return found


def draw_flow(path: Path, ledger: Dataset) -> None:
    """Rows in, the variants that won, what became of them: bands as wide as the rows are many.

    Raises:
        BadInputError: matplotlib is not installed.
    """
    found = outcomes(ledger)
    if not found:
        figure = new_figure(6, 3)
        say_empty(figure.subplots(), "rows")
        save(figure, path)
        return
    columns = _place(_columns(found))
    height = max(node.top + node.height for column in columns for node in column.values())
    figure = new_figure(11, height + 0.9)
    panel = figure.subplots()
    panel.set_axis_off()
    panel.set_xlim(-0.3, 2.75)
    panel.set_ylim(height + GAP, -0.45)
    for place, title in zip(PLACES, TITLES, strict=True):
        panel.text(place, -0.25, title, ha="center" if place < 2 else "left", va="center", color=INK, weight="bold")
    start, middle, end = columns
    _draw_bands(panel, PLACES[0], [(start["in"], node, node.count, node.colour) for node in middle.values()])
    bands = [
        (middle[variant], end[outcome], found[variant, outcome], middle[variant].colour)
        for variant in middle
        for outcome in end
        if found[variant, outcome]
    ]
    _draw_bands(panel, PLACES[1], bands)
    total = sum(found.values())
    for place, column in zip(PLACES, columns, strict=True):
        for node in column.values():
            _draw_node(panel, place, node, total)
    save(figure, path)


def _columns(found: Counter[tuple[str, str]]) -> list[dict[str, Node]]:
    by_variant: Counter[str] = Counter()
    by_outcome: Counter[str] = Counter()
    for (variant, outcome), count in found.items():
        by_variant[variant] += count
        by_outcome[outcome] += count
    kept = [name for name, _ in by_outcome.most_common() if name.split(":")[0] == "kept"]
    dropped = [name for name, _ in by_outcome.most_common() if name not in kept]
    return [
        {"in": Node("", INK, found.total())},
        {
            name: Node(name, COLOURS.get(name, OTHER_COLOUR), by_variant[name])
            for name in (*VARIANTS, NOBODY)
            if name in by_variant
        },
        {
            **{name: Node(name, COLOURS["selected"], by_outcome[name]) for name in kept},
            **{name: Node(name, COLOURS["dropped"], by_outcome[name]) for name in dropped},
        },
    ]


def _place(columns: Sequence[Mapping[str, Node]]) -> list[dict[str, Node]]:
    """Give every node its place: the same inches a row everywhere, and room for every label."""
    most = max(len(column) for column in columns)
    height = max(HEIGHT, most * (ROOM + GAP) * 1.4)
    scale = min(_scale([node.count for node in column.values()], height) for column in columns)
    placed = []
    for column in columns:
        slots = [max(node.count * scale, ROOM) + GAP for node in column.values()]
        top = (height - sum(slots)) / 2
        nodes = {}
        for (name, node), slot in zip(column.items(), slots, strict=True):
            size = node.count * scale
            nodes[name] = Node(node.label, node.colour, node.count, top + (slot - size) / 2, size)
            top += slot
        placed.append(nodes)
    return placed


def _scale(counts: Sequence[int], height: float) -> float:
    """The inches a row with which a column just fits, where nodes smaller than their labels take the labels' room."""
    free, waiting = height - GAP * len(counts), sorted(counts, reverse=True)
    while waiting and waiting[-1] * free / sum(waiting) < ROOM:
        free -= ROOM
        waiting.pop()
    return free / sum(waiting)


def _draw_bands(panel: Axes, place: float, bands: Sequence[tuple[Node, Node, int, str]]) -> None:
    """Bands between nodes of two neighbouring columns, beside each other in the order in which they are given."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    used: Counter[tuple[str, Node]] = Counter()
    left, right = place + BAR / 2, place + 1 - BAR / 2
    bend = (left + right) / 2
    for start, end, count, colour in bands:
        wide = start.height * count / start.count
        above, below = start.top + used["out", start], end.top + used["into", end]
        used["out", start] += wide
        used["into", end] += wide
        points = [
            *((left, above), (bend, above), (bend, below), (right, below)),
            *((right, below + wide), (bend, below + wide), (bend, above + wide), (left, above + wide)),
            (left, above),
        ]
        codes = [Curve.MOVETO, *[Curve.CURVE4] * 3, Curve.LINETO, *[Curve.CURVE4] * 3, Curve.CLOSEPOLY]
        panel.add_patch(PathPatch(Curve(points, codes), facecolor=colour, alpha=0.4, edgecolor=colour, linewidth=0.3))


def _draw_node(panel: Axes, place: float, node: Node, total: int) -> None:
    from matplotlib.patches import Rectangle

    panel.add_patch(Rectangle((place - BAR / 2, node.top), BAR, node.height, color=node.colour, linewidth=0.8))
    share = f"{node.count:,} ({node.count / total:.1%})" if node.label else f"{node.count:,} rows"
    is_first = place == PLACES[0]
    panel.text(
        place - BAR if is_first else place + BAR,
        node.top + node.height / 2,
        f"{node.label}  {share}".strip(),
        ha="right" if is_first else "left",
        va="center",
        fontsize=9,
        color="black",
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5} if place == PLACES[1] else None,
    )
