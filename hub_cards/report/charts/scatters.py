"""One score against another: points where the rows are few, counted cells where points would hide each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hub_cards.report.charts.axes import as_json, axis_for, rounded

MANY_ROWS = 2_000  # from where points hide each other
BINS = (16, 60)  # along either side


@dataclass(frozen=True)
class Cloud:
    """Two numbers of each of N rows, and which rows were kept.

    Attributes:
        x, y: float64 arrays of N; what is no finite number is missing.
        kept: bool array of N, or None where nothing was selected.
    """

    x: np.ndarray
    y: np.ndarray
    kept: np.ndarray | None = None

    @property
    def scored(self) -> np.ndarray:
        """Which rows have both numbers."""
        return np.isfinite(self.x) & np.isfinite(self.y)


def panels(clouds: Mapping[str, Cloud], row_ids: Sequence[str], square: bool = False) -> dict[str, Any] | None:
    """Panels on the same axes, on which 1 always lies.

    Args:
        row_ids: of the N rows, the same ones in each cloud.
        square: both axes are of the same range, so that equal numbers lie on the diagonal.

    Returns:
        `x`, `y`: axes; `ids`: those rows that are points; `panels`: each with `name`, `rows`, `numbers` (rows with
        both), `outside` the axes, `kept` (null where nothing was selected), and either `points` (`x`, `y`, `row` as a
        place in `ids`, `kept`) or `cells` (`x`, `y` as places of bins, `rows`, `kept`); the other one is null. None
        where no row has both numbers.
    """
    found = {name: cloud for name, cloud in clouds.items() if cloud.scored.any()}
    if not found:
        return None
    scored = [np.stack([cloud.x, cloud.y])[:, cloud.scored] for cloud in found.values()]
    sides = list(np.concatenate(scored, axis=1))
    if square:
        sides = [np.concatenate(sides)] * 2
    axes = [axis for values in sides if (axis := axis_for(values, shown=(1.0,))) is not None]
    most = max(int(cloud.scored.sum()) for cloud in found.values())
    edges = [axis.edges(int(np.clip(most**0.5, *BINS))) for axis in axes]
    drawn = {name: _drawn(cloud, edges) for name, cloud in found.items()}
    few = {name for name, cloud in found.items() if cloud.scored.sum() <= MANY_ROWS}
    used = np.unique(np.concatenate([np.flatnonzero(drawn[name]) for name in few] or [np.empty(0, int)]))
    return {
        "x": as_json(edges[0], axes[0].scale),
        "y": as_json(edges[1], axes[1].scale),
        "ids": [row_ids[place] for place in used],
        "panels": [
            {
                "name": name,
                "rows": len(cloud.x),
                "numbers": int(cloud.scored.sum()),
                "outside": int((cloud.scored & ~drawn[name]).sum()),
                "kept": int(cloud.kept.sum()) if cloud.kept is not None else None,
                "points": _points(cloud, drawn[name], used) if name in few else None,
                "cells": _cells(cloud, drawn[name], edges) if name not in few else None,
            }
            for name, cloud in found.items()
        ],
    }


def _drawn(cloud: Cloud, edges: Sequence[np.ndarray]) -> np.ndarray:
    inside = [(side >= edge[0]) & (side <= edge[-1]) for side, edge in zip((cloud.x, cloud.y), edges, strict=True)]
    return cloud.scored & inside[0] & inside[1]


def _points(cloud: Cloud, drawn: np.ndarray, used: np.ndarray) -> dict[str, list[Any]]:
    places = np.flatnonzero(drawn)
    return {
        "x": rounded(cloud.x[places]),
        "y": rounded(cloud.y[places]),
        "row": np.searchsorted(used, places).tolist(),
        "kept": _kept(cloud)[places].astype(int).tolist(),
    }


def _cells(cloud: Cloud, drawn: np.ndarray, edges: Sequence[np.ndarray]) -> dict[str, list[int]]:
    chosen = drawn & _kept(cloud)
    rows, kept = (np.histogram2d(cloud.x[some], cloud.y[some], bins=list(edges))[0] for some in (drawn, chosen))
    x, y = np.nonzero(rows)
    counts = {"x": x, "y": y, "rows": rows[x, y].astype(int), "kept": kept[x, y].astype(int)}
    return {name: values.tolist() for name, values in counts.items()}


def _kept(cloud: Cloud) -> np.ndarray:
    return cloud.kept if cloud.kept is not None else np.zeros(len(cloud.x), bool)
