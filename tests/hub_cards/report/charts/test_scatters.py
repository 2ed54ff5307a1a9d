"""Points and cells: each row is drawn once or counted outside, under its own id."""

import numpy as np
import pytest

from hub_cards.report.charts import scatters
from hub_cards.report.charts.scatters import Cloud, panels

NAN, INF = float("nan"), float("inf")


def cloud(size, seed=0, kept=None):
    rng = np.random.default_rng(seed)
    return Cloud(np.exp(rng.normal(-0.3, 0.2, size)), np.exp(rng.normal(-0.2, 0.3, size)), kept)


def ids(size):
    return [f"row-{n}" for n in range(size)]


class TestPoints:
    def test_by_hand(self):
        x, y = np.array([0.5, NAN, 0.9, 1.1]), np.array([0.6, 0.7, INF, 1.2])
        found = panels({"original": Cloud(x, y, np.array([True, False, False, False]))}, ids(4))
        (panel,) = found["panels"]
        assert found["ids"] == ["row-0", "row-3"]
        assert panel["points"] == {"x": [0.5, 1.1], "y": [0.6, 1.2], "row": [0, 1], "kept": [1, 0]}
        assert [panel[name] for name in ("rows", "numbers", "outside", "kept", "cells")] == [4, 2, 0, 1, None]

    def test_are_the_rows_themselves_whatever_order_their_ids_have(self):
        clouds = {name: cloud(300, seed) for seed, name in enumerate(("original", "reflect_both"))}
        clouds["original"].x[7] = NAN
        clouds["reflect_both"].y[8] = 1e9
        names = ids(300)[::-1]
        found = panels(clouds, names)
        for panel in found["panels"]:
            points, known = panel["points"], clouds[panel["name"]]
            places = [names.index(found["ids"][row]) for row in points["row"]]
            assert points["x"] == pytest.approx(known.x[places], rel=1e-5)
            assert points["y"] == pytest.approx(known.y[places], rel=1e-5)
            assert len(set(places)) + panel["outside"] == panel["numbers"]
        assert [panel["numbers"] for panel in found["panels"]] == [299, 300]
        assert found["panels"][1]["outside"] >= 1

    def test_of_a_comparison_without_a_selection_nobody_is_kept(self):
        (panel,) = panels({"original": cloud(3)}, ids(3))["panels"]
        assert panel["kept"] is None and panel["points"]["kept"] == [0, 0, 0]


class TestCells:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(scatters, "MANY_ROWS", 100)

    def test_hold_every_row_that_is_not_outside(self):
        kept = np.random.default_rng(5).random(900) < 0.3
        known = cloud(900, kept=kept)
        known.x[:4], known.y[4] = (NAN, 1e9, INF, -5.0), 1e9
        found = panels({"original": known}, ids(900))
        (panel,) = found["panels"]
        assert panel["points"] is None and found["ids"] == []
        cells, edges = panel["cells"], (found["x"]["edges"], found["y"]["edges"])
        for x, y, rows, chosen in zip(*cells.values(), strict=True):
            inside = (known.x >= edges[0][x]) & (known.x < edges[0][x + 1])
            inside &= (known.y >= edges[1][y]) & (known.y < edges[1][y + 1])
            assert (rows, chosen) == (inside.sum(), (inside & kept).sum()) and rows
        assert sum(cells["rows"]) + panel["outside"] == panel["numbers"] == 898
        assert panel["outside"] >= 3

    def test_stand_beside_points_where_a_variant_has_few_rows(self):
        sparse = cloud(900, 2)
        sparse.x[50:] = NAN
        found = panels({"original": cloud(900), "reflect_both": sparse}, ids(900))
        assert found["panels"][0]["cells"] and found["panels"][0]["points"] is None
        assert len(found["panels"][1]["points"]["row"]) + found["panels"][1]["outside"] == 50
        assert set(found["ids"]) <= set(ids(50))


def test_1_is_on_the_axes_and_a_border():
    far = Cloud(np.linspace(2, 3, 500), np.linspace(0.1, 0.2, 500))
    found = panels({"original": far}, ids(500))
    assert 1.0 in found["x"]["edges"] and 1.0 in found["y"]["edges"]


def test_a_square_has_one_axis():
    found = panels({"original": Cloud(np.array([0.2, 0.3]), np.array([2.0, 4.0]))}, ids(2), square=True)
    assert found["x"] == found["y"] and found["panels"][0]["outside"] == 0


@pytest.mark.parametrize("value", [1.0, 0.5, 1e-8, 1e200])
def test_equal_numbers_are_inside(value):
    (panel,) = panels({"original": Cloud(np.full(3, value), np.full(3, value))}, ids(3))["panels"]
    assert panel["outside"] == 0 and len(panel["points"]["x"]) == 3


def test_without_both_numbers_there_is_nothing():
    empty = Cloud(np.array([1.0, NAN]), np.array([NAN, 1.0]))
    assert panels({"original": empty}, ids(2)) is None
    assert panels({}, []) is None
    found = panels({"original": empty, "reflect_both": cloud(2)}, ids(2))
    assert [panel["name"] for panel in found["panels"]] == ["reflect_both"]
