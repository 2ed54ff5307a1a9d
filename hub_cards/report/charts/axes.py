"""Axes of charts: which range of numbers is shown, on what scale, in which bins and with which ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TAIL = 0.005  # of the numbers on either side may lie outside the axis
HEAVY_TAIL = 30  # largest over smallest number inside the axis, from where it is logarithmic
TICKS = 6  # about so many
DECADES = 3.5  # from where only powers of ten are ticks of a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """A range of numbers and how it is drawn."""

    low: float
    high: float
    scale: str  # linear or log

    def edges(self, bins: int, whole: bool = False) -> np.ndarray:
        """Round borders of `bins` bins at the most, or a few more where it is logarithmic, that hold the whole range.

        Args:
            whole: the numbers are whole ones; each bin holds at least one of them, else the chart were a comb. Other
                bins end at 1 where it is on the axis, as the gates do.
        """
        borders = self._log_borders(bins) if self.scale == "log" else self._linear_borders(bins, whole)
        if whole:
            borders = np.unique(np.ceil(borders)) - 0.5
        first = np.searchsorted(borders, self.low, side="right") - 1
        last = np.searchsorted(borders, self.high, side="left")
        return borders[first : last + 1]

    def _log_borders(self, bins: int) -> np.ndarray:
        low, high = np.log10(self.low), np.log10(self.high)
        a_decade = max(1, round(bins / (high - low))) if high - low < bins else bins / (high - low)
        places = np.arange(np.floor(low * a_decade) - 1, np.ceil(high * a_decade) + 2)
        with np.errstate(over="ignore"):
            borders = 10.0 ** (places / a_decade)
        return np.array(rounded(borders[np.isfinite(borders)], 4))

    def _linear_borders(self, bins: int, whole: bool) -> np.ndarray:
        step = round_step((self.high - self.low + whole) / bins)
        step = max(1.0, step) if whole else step
        # Multiples of a step up to 1 meet 1 anyway.
        start = 1.0 if step > 1 and not whole and self.low <= 1 <= self.high else 0.0
        places = np.arange(np.floor((self.low - start) / step) - 1, np.ceil((self.high - start) / step) + 2)
        # Multiples are rounded, as 3 * 0.1 is not 0.3.
        return np.array(rounded(start + places * step, 12))


def axis_for(values: np.ndarray, whole: bool = False, shown: Sequence[float] = ()) -> Axis | None:
    """The axis that shows these numbers: logarithmic where they are positive and heavy-tailed, without the last tails.

    Args:
        values: finite numbers.
        whole: they are whole ones, 0 or more; a logarithmic axis begins at 1 at the lowest.
        shown: numbers that are on the axis in any case.

    Returns:
        None where there are no numbers.
    """
    if len(values) == 0:
        return None
    low = min(float(np.quantile(values, TAIL, method="lower")), *shown, np.inf)
    high = max(float(np.quantile(values, 1 - TAIL, method="higher")), *shown, -np.inf)
    if whole and low <= 0 and high > HEAVY_TAIL:
        low = 1.0
    scale = "log" if low > 0 and high / low > HEAVY_TAIL else "linear"
    # What differs by a rounding error is one number.
    if high - low <= 1e-9 * max(abs(low), abs(high)) and not whole:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return Axis(low, high, scale)


def ticks(low: float, high: float, scale: str) -> list[float]:
    """Round numbers between `low` and `high`: 1, 2 and 5 times powers of ten, in equal steps where it is linear."""
    if scale == "log":
        decades = float(np.log10(high) - np.log10(low))
        factors = (1.0, 2.0, 5.0) if decades < DECADES else (1.0,)
        every = int(np.ceil(decades / (2 * TICKS)))
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1, every)
        found = [float(f"{factor}e{power}") for power in powers for factor in factors]
    else:
        step = round_step((high - low) / TICKS)
        found = rounded(step * np.arange(np.ceil(low / step), np.floor(high / step) + 1) + 0.0, 12)
    return [tick for tick in found if low <= tick <= high]


def round_step(rough: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `rough`, which is more than 0."""
    power = float(np.floor(np.log10(rough)))
    steps = (float(f"{factor}e{int(power)}") for factor in (1, 2, 5, 10))
    return next(step for step in steps if step >= rough * (1 - 1e-9))


def as_json(edges: np.ndarray, scale: str, whole: bool = False) -> dict[str, Any]:
    """The axis as the page's script takes it: scale, borders of the bins, ticks (at whole numbers only, if `whole`)."""
    found = ticks(float(edges[0]), float(edges[-1]), scale)
    return {
        "scale": scale,
        "edges": rounded(edges, 10),
        "ticks": [tick for tick in found if not whole or tick == round(tick)],
    }


def rounded(values: np.ndarray, digits: int = 6) -> list[float]:
    """Finite numbers with so many significant digits."""
    return [float(f"{value:.{digits}g}") for value in values.tolist()]
