"""Plots of a recycled set: what its rows are like before and after, and where a selection sends them.

matplotlib is an extra, so it is imported where something is drawn. All functions write one PNG; what has no numbers is
drawn as an empty panel that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from hub_cards.arrow import arrow_column, numbers
from hub_cards.errors import BadInputError
from hub_cards.tables import number_text
from scoring.statistics import finite_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which the colour-blind can tell apart.
COLOURS = {
    "original": "#4d4d4d",
    "reflect_instruction": "#E69F00",
    "reflect_response": "#56B4E9",
    "reflect_both": "#CC79A7",
    "selected": "#009E73",
    "dropped": "#D55E00",
    "none": "#000000",
}
OTHER_COLOUR = "#0072B2"
INK = "#333333"
PANELS = {
    "ifd_ppl": "IFD (ratio of perplexities)",
    "rifd_ppl": "r-IFD (ratio of perplexities)",
    "n_tokens_A": "response length (student tokens)",
    "n_tokens_Q": "instruction length (student tokens)",
}
TAIL = 0.005  # of the rows on either side may lie outside the axis
HEAVY_TAIL = 30  # largest over smallest number inside the axis, from where it is logarithmic
BINS = (12, 40)  # few rows, many rows
MANY_ROWS = 2_000  # from where points hide each other
DPI = 150


@dataclass(frozen=True)
class Axis:
    """A range of numbers and how it is drawn."""

    low: float
    high: float
    scale: str  # linear or log

    def edges(self, bins: int, whole: bool) -> np.ndarray:
        """Borders of about `bins` bins.

        Bins of whole numbers hold at least one each, else the plot were a comb; others end at 1 where it is on the
        axis, as the gates do.
        """
        if not whole:
            drawn, back = (np.log, np.exp) if self.scale == "log" else (np.positive, np.positive)
            low, high = drawn(self.low), drawn(self.high)
            step, middle = (high - low) / bins, drawn(1.0) if self.low < 1 < self.high else low
            steps = np.arange(np.floor((low - middle) / step + 1e-9), np.ceil((high - middle) / step - 1e-9) + 1)
            return back(middle + step * steps)
        if self.scale == "linear":
            step = np.ceil((self.high - self.low + 1) / bins)
            return np.arange(np.floor(self.low) - 0.5, self.high + step, step)
        borders = np.unique(np.round(np.geomspace(self.low, self.high + 1, bins + 1)))
        return borders - 0.5


def axis_for(values: np.ndarray, whole: bool = False) -> Axis | None:
    """The axis that shows these numbers: logarithmic where they are positive and heavy-tailed, without the last tails.

    Args:
        whole: the numbers count tokens; rows of none stand at 1, as a logarithmic axis has no place for them.

    Returns:
        None where there are no numbers.
    """
    if len(values) == 0:
        return None
    low = float(np.quantile(values, TAIL, method="lower"))
    high = float(np.quantile(values, 1 - TAIL, method="higher"))
    if whole and low <= 0 < high:
        low = 1.0
    scale = "log" if low > 0 and high / low > HEAVY_TAIL else "linear"
    if low == high and not whole:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return Axis(low, high, scale)


def draw_distributions(path: Path, groups: Mapping[str, Dataset]) -> None:
    """Histograms of IFD, r-IFD and both lengths, the groups over each other in the same bins.

    Args:
        groups: rows of a variant or of `selected` by the name of the group; nulls are left out.

    Raises:
        BadInputError: matplotlib is not installed.
    """
    figure = new_figure(11, 7.6)
    panels = figure.subplots(2, 2).flat
    for panel, (column, label) in zip(panels, PANELS.items(), strict=True):
        values = {
            name: finite_numbers(rows, column) if column in rows.column_names else np.empty(0)
            for name, rows in groups.items()
        }
        _histograms(panel, values, label)
    handles = [
        _line(name, label=f"{name} ({len(rows):,} row{'s' * (len(rows) != 1)})", number=number)
        for number, (name, rows) in enumerate(groups.items())
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    save(figure, path)


def _histograms(panel: Axes, groups: Mapping[str, np.ndarray], label: str) -> None:
    whole = "tokens" in label
    axis = axis_for(np.concatenate(list(groups.values())), whole)
    panel.set_xlabel(label)
    if axis is None:
        say_empty(panel)
        return
    # Bins of a few rows each are noise.
    edges = axis.edges(int(np.clip(2 * max(len(values) for values in groups.values()) ** 0.5, *BINS)), whole)
    if any((values < edges[0]).any() or (values > edges[-1]).any() for values in groups.values()):
        panel.set_xlabel(f"{label}; the outermost bins hold all beyond")
    panel.set_xscale(axis.scale)
    uneven = whole and axis.scale == "log"  # bins of whole numbers cannot be equally wide there
    for number, (name, values) in enumerate((name, values) for name, values in groups.items() if len(values)):
        colour = COLOURS.get(name, OTHER_COLOUR)
        # What lies outside counts in the outermost bins: the shares of a group add up to 100 %.
        inside = np.clip(values, edges[0], edges[-1])
        heights = np.histogram(inside, edges)[0] * 100 / len(values)
        if uneven:
            heights = heights / 100 / np.log2(edges[1:] / edges[:-1])
        panel.stairs(heights, edges, fill=True, color=colour, alpha=0.18)
        panel.stairs(heights, edges, color=colour, linewidth=1.6, linestyle=_style(number))
        panel.axvline(np.clip(np.median(values), edges[0], edges[-1]), color=colour, linewidth=1.2, linestyle=":")
    panel.set_ylabel("density per doubling of the length" if uneven else "share of the rows (%)")
    panel.set_ylim(bottom=0)
    panel.set_xlim(edges[0], edges[-1])
    _plain_ticks(panel, axis, "x")
    medians = [f"{name} {number_text(np.median(values))}" for name, values in groups.items() if len(values)]
    lines = [", ".join(medians[start : start + 2]) for start in range(0, len(medians), 2)]
    panel.set_title("medians (dotted): " + ",\n".join(lines), fontsize=8.5, color=INK)


def draw_ratios(
    path: Path, variants: Mapping[str, Dataset], kept: Mapping[str, np.ndarray] | None, gate: bool = True
) -> None:
    """IFD against r-IFD, one panel a variant, with lines where either is 1 and the kept rows on top.

    Args:
        kept: for each variant the positions of the rows that were kept in it; None where nothing was selected.
        gate: whether to shade the gate IFD < 1 and r-IFD < 1, of which most selections know nothing.

    Raises:
        BadInputError: matplotlib is not installed.
    """
    points = {name: _ratios(rows) for name, rows in variants.items()}
    together = np.concatenate(list(points.values()))
    together = together[~np.isnan(together).any(axis=1)]
    # The lines at 1 are always in sight.
    axes = [axis_for(np.append(together[:, side], 1.0)) if len(together) else None for side in (0, 1)]
    n_columns = min(2, len(points))
    n_lines = -(-len(points) // n_columns)
    figure = new_figure(5.6 * n_columns + 0.9, 4.6 * n_lines + 0.6)
    panels = list(figure.subplots(n_lines, n_columns, squeeze=False).flat)
    crowded = []
    for panel, (name, found) in zip(panels, points.items(), strict=False):
        cells = _ratio_panel(panel, name, found, kept[name] if kept is not None else None, axes, gate)
        crowded += [cells] if cells is not None else []
    for panel in panels[len(points) :]:
        panel.set_axis_off()
    _colour_alike(figure, panels, crowded)
    handles = _ratio_legend(len(crowded) < len(points), kept is not None, gate)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    save(figure, path)


def _ratios(rows: Dataset) -> np.ndarray:
    """IFD and r-IFD of all rows, of shape (N, 2); NaN where there is none."""
    if not {"ifd_ppl", "rifd_ppl"} <= set(rows.column_names):
        return np.full((len(rows), 2), np.nan)
    return np.stack([numbers(arrow_column(rows, column)) for column in ("ifd_ppl", "rifd_ppl")], axis=1)


def _ratio_panel(
    panel: Axes, name: str, points: np.ndarray, kept: np.ndarray | None, axes: Sequence[Axis | None], gate: bool
) -> Any:
    """One variant; gives what a colour bar is for, where there are so many rows that they are counted in cells."""
    scored = ~np.isnan(points).any(axis=1)
    panel.set_xlabel(PANELS["ifd_ppl"])
    panel.set_ylabel(PANELS["rifd_ppl"])
    panel.set_title(f"{name}\n{_tally(points, scored, kept, axes)}", fontsize=9, color=INK)
    if axes[0] is None or axes[1] is None or not scored.any():
        say_empty(panel)
        return None
    across, up = axes
    for axis, set_scale, set_limits, side in (
        (across, panel.set_xscale, panel.set_xlim, "x"),
        (up, panel.set_yscale, panel.set_ylim, "y"),
    ):
        set_scale(axis.scale)
        set_limits(*_with_margin(axis))
        _plain_ticks(panel, axis, side)
    if gate:
        corner, floor = (_with_margin(axis)[0] for axis in (across, up))
        panel.fill_between([corner, 1], floor, 1, color=COLOURS["selected"], alpha=0.1, linewidth=0, zorder=0)
    for line in (panel.axvline, panel.axhline):
        line(1, color=INK, linewidth=1, linestyle="--", zorder=4)
    cells = None
    inside = points[scored & _within(points, axes)]
    if scored.sum() > MANY_ROWS:
        log = {"xscale": across.scale, "yscale": up.scale}
        extent = [_drawn_at(limit, axis) for axis in axes for limit in _with_margin(axis)]
        cells = panel.hexbin(*inside.T, gridsize=45, bins="log", cmap=_greys(), mincnt=1, extent=extent, **log)
    else:
        panel.scatter(*inside.T, s=14, color=COLOURS["original"], alpha=0.4, linewidths=0, zorder=2)
    if kept is not None and len(kept):
        size, alpha = (5, 0.5) if len(kept) > MANY_ROWS / 4 else (16, 0.85)
        panel.scatter(*points[kept].T, s=size, color=COLOURS["selected"], alpha=alpha, linewidths=0, zorder=3)
    return cells


def _colour_alike(figure: Figure, panels: Sequence[Axes], crowded: Sequence[Any]) -> None:
    """One colour bar for all panels: the same grey is the same number of rows."""
    from matplotlib.colors import LogNorm

    if not crowded:
        return
    norm = LogNorm(1, max(2, *(float(cells.get_array().max()) for cells in crowded)))
    for cells in crowded:
        cells.set_norm(norm)
    figure.colorbar(crowded[0], ax=panels, label="rows in a cell", shrink=0.7, format=lambda value, _: f"{value:,g}")


def _greys() -> Any:
    """From light to middle grey, so that the green of the kept rows stands out."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("light greys", ("#f0f0f0", "#707070"))


def _tally(points: np.ndarray, scored: np.ndarray, kept: np.ndarray | None, axes: Sequence[Axis | None]) -> str:
    words = [f"{len(points):,} rows"] if kept is None else [f"{len(kept):,} of {len(points):,} rows kept"]
    if not scored.all():
        words.append(f"{(~scored).sum():,} without numbers")
    if scored.any() and (outside := int((scored & ~_within(points, axes)).sum())):
        words.append(f"{outside:,} outside the axes")
    return ", ".join(words)


def _within(points: np.ndarray, axes: Sequence[Axis | None]) -> np.ndarray:
    limits = np.array([_with_margin(axis) for axis in axes if axis is not None])
    return ((points >= limits[:, 0]) & (points <= limits[:, 1])).all(axis=1)


def _with_margin(axis: Axis) -> tuple[float, float]:
    low, high = (np.log10(axis.low), np.log10(axis.high)) if axis.scale == "log" else (axis.low, axis.high)
    margin = 0.04 * (high - low)
    if axis.scale == "log":
        return 10 ** (low - margin), 10 ** (high + margin)
    return low - margin, high + margin


def _drawn_at(value: float, axis: Axis) -> float:
    return float(np.log10(value)) if axis.scale == "log" else value


def _ratio_legend(with_points: bool, with_kept: bool, with_gate: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dot = {"linestyle": "", "marker": "o"}
    handles = [Line2D([], [], color=COLOURS["original"], alpha=0.5, label="scored row", **dot)] if with_points else []
    if with_kept:
        handles.append(Line2D([], [], color=COLOURS["selected"], label="kept in this variant", **dot))
    if with_gate:
        label = "gate of selective: IFD < 1 and r-IFD < 1"
        handles.append(Patch(facecolor=COLOURS["selected"], alpha=0.15, edgecolor=INK, linestyle="--", label=label))
    return handles


def require_matplotlib() -> None:
    """Raise `BadInputError` where matplotlib is not installed: before an hour of work rather than after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BadInputError(
            'matplotlib is not installed, and the plots need it: pip install "reflection-tuning[report]"'
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches; raises `BadInputError` where matplotlib is not installed."""
    require_matplotlib()
    from matplotlib.figure import Figure

    # Without pyplot there is no global state and no display: a figure of its own is always drawn by Agg.
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    for panel in figure.axes:
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.savefig(path, dpi=DPI, format="png")


def _line(name: str, label: str, number: int) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=COLOURS.get(name, OTHER_COLOUR), linestyle=_style(number), linewidth=1.8, label=label)


def _style(number: int) -> str:
    return ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1)))[number % 4]


def _plain_ticks(panel: Axes, axis: Axis, side: str) -> None:
    """Numbers as people write them, also on a logarithmic axis."""
    if axis.scale != "log":
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(axis.high / axis.low)
    where = panel.xaxis if side == "x" else panel.yaxis
    where.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3.5 else (1,), numticks=20))
    where.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    where.set_minor_formatter(NullFormatter())


def say_empty(panel: Axes, what: str = "numbers") -> None:
    """Leave a panel empty and say why."""
    panel.text(0.5, 0.5, f"no {what}", ha="center", va="center", color=INK, transform=panel.transAxes)
    panel.set_xticks([])
    panel.set_yticks([])
