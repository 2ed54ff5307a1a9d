"""The chart of the papers: wins, ties and losses of each judge set as one stacked bar.

matplotlib is an extra, so it is imported where something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hub_cards.errors import BadInputError
from hub_cards.tables import without_repeated_total
from training.win_rate import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the palette of Okabe and Ito, which the colour-blind can tell apart; a bar's colour and its number's.
PARTS = {
    "win": ("wins", "#0072B2", "white"),
    "tie": ("ties", "#cccccc", "#333333"),
    "lose": ("losses", "#E69F00", "#333333"),
}
INK = "#333333"
DPI = 150
WIDTH, BAR, MARGIN = 9.5, 0.52, 1.25  # inches
LEAST_SHARE = 4.0  # per cent of a bar that a number has room in; all numbers stand beside the bar too
SVG, PNG = "chart.svg", "chart.png"


def require_matplotlib() -> None:
    """Raise `BadInputError` where matplotlib is not installed: before an hour of work rather than after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BadInputError(
            'matplotlib is not installed, and the chart needs it: pip install "reflection-tuning[report]"'
        ) from error


def draw_win_rates(
    folder: Path, comparisons: Mapping[str, Comparison], model: str | None = None, baseline: str | None = None
) -> None:
    """Write `chart.svg` and `chart.png`: one bar a comparison, from the top in their order, its valid pairs as 100 %.

    The same comparisons give the same SVG, byte for byte. A comparison without a valid pair is an empty line that says
    so; the numbers of invalid pairs stand below the names.

    Args:
        folder: exists already.
        comparisons: by judge set, or by model for several models against one baseline.
        model, baseline: who wins and against whom, for the heading; null for none.

    Raises:
        BadInputError: matplotlib is not installed.
    """
    require_matplotlib()
    comparisons = without_repeated_total(comparisons)
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    # In the SVG texts stay texts, and its parts get the same names every time. A name with two dollars is no formula.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "win rates", "text.parse_math": False, "savefig.facecolor": "white"}
    ):
        # Without pyplot there is no global state and no display.
        figure = Figure(figsize=(WIDTH, MARGIN + BAR * max(1, len(comparisons))), layout="constrained")
        panel = figure.subplots()
        for place, found in enumerate(comparisons.values()):
            _draw_bar(panel, place, found)
        _dress(panel, comparisons)
        handles = [Patch(facecolor=colour, label=name) for name, (_, colour, _) in PARTS.items()]
        heading = " ".join(part for part in (model, f"against {baseline}" if baseline else None) if part)
        figure.legend(
            handles=handles, loc="outside upper center", ncols=len(PARTS), frameon=False, title=heading or None
        )
        figure.savefig(folder / SVG, format="svg", metadata={"Date": None})
        figure.savefig(folder / PNG, format="png", dpi=DPI)


def _draw_bar(panel: Axes, place: int, found: Comparison) -> None:
    if found.n == 0:
        panel.text(1, place, "no valid verdict", va="center", color=INK, fontsize=9)
        return
    left = 0.0
    parts = ((getattr(found, name), colour, ink) for name, colour, ink in PARTS.values())
    for count, colour, ink in (part for part in parts if part[0]):
        share = 100 * count / found.n
        panel.barh(place, share, left=left, height=0.72, color=colour, edgecolor="white", linewidth=0.8)
        if share >= LEAST_SHARE:
            panel.text(left + share / 2, place, f"{count:,}", ha="center", va="center", color=ink, fontsize=9)
        left += share


def _dress(panel: Axes, comparisons: Mapping[str, Comparison]) -> None:
    panel.set_xlim(0, 100)
    panel.set_ylim(max(1, len(comparisons)) - 0.45, -0.55)  # the first one is at the top
    panel.set_xlabel("share of the valid pairs (%)", color=INK)
    panel.set_yticks(range(len(comparisons)), [_name(*entry) for entry in comparisons.items()], fontsize=9)
    beside = panel.secondary_yaxis("right")
    beside.set_yticks(range(len(comparisons)), [_score(found) for found in comparisons.values()], fontsize=9)
    for axis in (panel, beside):
        axis.tick_params(axis="y", length=0, labelcolor=INK)
        for spine in axis.spines.values():
            spine.set_visible(False)
    panel.spines["bottom"].set_visible(True)


def _name(name: str, found: Comparison) -> str:
    invalid = f", {found.invalid:,} invalid" if found.invalid else ""
    return f"{name}\nn = {found.n:,}{invalid}"


def _score(found: Comparison) -> str:
    if found.n == 0:
        return ""
    counts = f"{found.wins:,} / {found.ties:,} / {found.losses:,}"
    return f"{counts}\nwin score {found.win_score:.2f} [{found.win_score_low:.2f}, {found.win_score_high:.2f}]"
