"""Axes: what range they show, in which bins, and with which ticks."""

import numpy as np
import pytest

from hub_cards.report.charts.axes import Axis, as_json, axis_for, round_step, ticks

AXES = [
    (Axis(0.88, 1.03, "linear"), False),
    (Axis(0.4, 1.4, "linear"), False),
    (Axis(1.0, 29.0, "linear"), False),
    (Axis(-3.0, 40.0, "linear"), False),
    (Axis(0.01, 80.0, "log"), False),
    (Axis(1e-5, 1e300, "log"), False),
    (Axis(2.0, 55.0, "linear"), True),
    (Axis(0.0, 3.0, "linear"), True),
    (Axis(1.0, 700.0, "log"), True),
]


class TestAxisFor:
    def test_is_linear_for_what_lies_close_together(self):
        assert axis_for(np.array([0.5, 1.5, 1.0])) == Axis(0.5, 1.5, "linear")

    def test_is_logarithmic_for_a_heavy_tail(self):
        assert axis_for(np.array([4.0, 16.0, 400.0])) == Axis(4.0, 400.0, "log")

    def test_leaves_out_the_last_half_percent_on_either_side(self):
        axis = axis_for(np.concatenate([[-1e6], np.linspace(1, 2, 998), [1e6]]))
        assert axis.scale == "linear"
        assert 1 <= axis.low < 1.01 and 1.99 < axis.high <= 2

    def test_shows_a_number_whatever_the_others_are(self):
        assert axis_for(np.linspace(2, 3, 1000), shown=(1.0,)).low == 1.0
        assert axis_for(np.full(1000, 0.5), shown=(1.0,)) == Axis(0.5, 1.0, "linear")

    @pytest.mark.parametrize("value, axis", [(3.0, (1.5, 4.5)), (0.0, (-0.5, 0.5)), (1e300, (5e299, 1.5e300))])
    def test_of_one_number_has_a_width(self, value, axis):
        assert axis_for(np.full(5, value)) == Axis(*axis, "linear")

    def test_of_numbers_that_differ_by_a_rounding_error_has_a_width(self):
        axis = axis_for(np.array([1.0, 1.0 + 1e-15]))
        assert axis.low == 0.5 and len(axis.edges(16)) > 5

    def test_of_lengths_gives_none_of_them_a_place_on_a_logarithm_only(self):
        assert axis_for(np.array([0.0, 5.0, 500.0]), whole=True) == Axis(1.0, 500.0, "log")
        assert axis_for(np.array([0.0, 5.0, 10.0]), whole=True) == Axis(0.0, 10.0, "linear")

    def test_of_no_numbers_there_is_none(self):
        assert axis_for(np.empty(0)) is None


class TestEdges:
    @pytest.mark.parametrize("axis, whole", AXES)
    @pytest.mark.parametrize("bins", [5, 16, 60])
    def test_hold_the_whole_range_and_no_empty_margin(self, axis, whole, bins):
        edges = axis.edges(bins, whole)
        assert (np.diff(edges) > 0).all()
        assert edges[0] <= axis.low < edges[1] and edges[-2] < axis.high <= edges[-1]
        assert len(edges) - 1 <= 1.5 * bins + 2

    @pytest.mark.parametrize("axis", [axis for axis, whole in AXES if not whole and axis.low <= 1])
    @pytest.mark.parametrize("bins", [5, 16, 60])
    def test_have_a_border_at_1(self, axis, bins):
        assert 1.0 in axis.edges(bins)

    @pytest.mark.parametrize("axis", [axis for axis, whole in AXES if whole])
    def test_of_whole_numbers_lie_between_them_and_no_bin_is_without_one(self, axis):
        edges = axis.edges(60, whole=True)
        assert (edges % 1 == 0.5).all() and np.diff(edges).min() >= 1

    def test_are_round(self):
        assert Axis(0.88, 1.03, "linear").edges(16).tolist() == [round(0.88 + 0.01 * n, 2) for n in range(16)]
        assert Axis(2, 55, "linear").edges(16, whole=True)[:3].tolist() == [-0.5, 4.5, 9.5]

    def test_of_one_whole_number_are_its_own(self):
        assert Axis(5.0, 5.0, "linear").edges(16, whole=True).tolist() == [4.5, 5.5]
        assert Axis(0.0, 0.0, "linear").edges(16, whole=True).tolist() == [-0.5, 0.5]


class TestTicks:
    def test_are_round_numbers_in_equal_steps(self):
        assert ticks(0.87, 1.04, "linear") == [0.9, 0.95, 1.0]
        assert ticks(-4.0, 41.0, "linear") == [0.0, 10.0, 20.0, 30.0, 40.0]
        assert str(ticks(-4.0, 41.0, "linear")[0]) == "0.0"  # and not -0.0

    def test_of_a_logarithm_are_1_2_and_5_or_powers_of_ten(self):
        assert ticks(0.5, 120, "log") == [0.5, 1, 2, 5, 10, 20, 50, 100]
        assert ticks(0.01, 1e5, "log") == [10.0**power for power in range(-2, 6)]

    def test_are_few_whatever_the_range(self):
        assert len(ticks(1e-5, 1e300, "log")) <= 15

    def test_of_whole_numbers_are_whole(self):
        assert as_json(np.array([4.5, 5.5, 6.5]), "linear", whole=True)["ticks"] == [5.0, 6.0]

    @pytest.mark.parametrize("rough, step", [(0.031, 0.05), (0.05, 0.05), (1.0, 1.0), (5.1, 10.0), (1e-12, 1e-12)])
    def test_step_is_the_next_round_one(self, rough, step):
        assert round_step(rough) == step
