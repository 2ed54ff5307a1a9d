"""Distributions: every number is in a bin or counted outside, and what is none is never counted."""

from itertools import pairwise

import numpy as np
import pytest

from hub_cards.report.charts.histograms import Quantity, distribution

RATIO = Quantity("ifd_ppl", "IFD", "ratio")
LENGTH = Quantity("n_tokens_A", "Response length", "tokens", whole=True)
NAN, INF = float("nan"), float("inf")


def naive(values, edges):
    """Counts by bin, below and above, one number after the other; the last bin holds its end."""
    counts, below, above = [0] * (len(edges) - 1), 0, 0
    for value in values:
        if not np.isfinite(value):
            continue
        places = [n for n, (a, b) in enumerate(pairwise(edges)) if a <= value < b]
        if value == edges[-1]:
            places = [len(counts) - 1]
        below, above = below + (value < edges[0]), above + (value > edges[-1])
        for place in places:
            counts[place] += 1
    return counts, below, above


@pytest.mark.parametrize("quantity", [RATIO, LENGTH])
def test_bins_are_as_counted_one_by_one(quantity):
    rng = np.random.default_rng(1)
    groups = {name: np.exp(rng.normal(mean, 1.2, 900)) for name, mean in (("original", 3), ("reflect_both", 4))}
    groups = {name: np.floor(values) if quantity.whole else values for name, values in groups.items()}
    groups["original"][:5] = [NAN, INF, -INF, 1e12, 0.0]
    chart = distribution(quantity, groups)
    edges = chart["axis"]["edges"]
    for group in chart["groups"]:
        values = groups[group["name"]]
        assert (group["counts"], group["below"], group["above"]) == naive(values, edges)
        assert sum(group["counts"]) + group["below"] + group["above"] == group["numbers"] == np.isfinite(values).sum()
        expected = np.median(values[np.isfinite(values)])
        assert group["median"] == pytest.approx(expected) and group["q1"] < expected < group["q3"]
    assert chart["axis"]["scale"] == "log" and chart["uneven"] == quantity.whole


def test_by_hand():
    chart = distribution(RATIO, {"original": np.array([0.4, 0.6, 0.8, NAN]), "selected": np.array([0.8])})
    assert chart["axis"]["edges"] == pytest.approx([0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8])
    before, after = chart["groups"]
    assert before["counts"] == [1, 0, 0, 0, 1, 0, 0, 1] and after["counts"] == [0] * 7 + [1]
    assert (before["q1"], before["median"], before["q3"]) == (0.5, 0.6, pytest.approx(0.7))
    assert chart["finding"] == "IFD: median 0.600 in original, 0.800 in selected."
    assert chart["notes"] == ["Without a number: 1 row of original."]
    assert [line[1]["text"] for line in chart["tables"][0]["lines"]] == ["4", "3", "0.600", "0.500", "0.700"]
    first, last = chart["tables"][1]["lines"][1], chart["tables"][1]["lines"][-2]
    assert [cell["text"] for cell in first] == ["0.400 to 0.450", "1", "0"]
    assert [cell["text"] for cell in last] == ["0.750 to 0.800", "1", "1"]


def test_what_lies_outside_is_said_in_words():
    values = np.concatenate([np.linspace(0.5, 1.5, 997), [1e-9, 70.0, 80.0]])
    chart = distribution(RATIO, {"original": values})
    (group,) = chart["groups"]
    assert (group["below"], group["above"]) == (1, 2)
    edges = chart["axis"]["edges"]
    assert chart["notes"] == [f"Not drawn: 3 of 1,000 values, 1 below {edges[0]:.3f} and 2 above {edges[-1]:.3f}."]


def test_lengths_are_named_by_whole_numbers():
    chart = distribution(LENGTH, {"original": np.array([0.0, 1.0, 2.0])})
    names = [line[0]["text"] for line in chart["tables"][1]["lines"]]
    assert names == ["below", "0", "1", "2", "above"]
    assert chart["finding"] == "Response length: median 1 in original."


@pytest.mark.parametrize("quantity", [RATIO, LENGTH])
@pytest.mark.parametrize("values", [[3.0], [3.0] * 7, [0.0] * 3])
def test_of_equal_numbers_has_them_all_in_one_bin(quantity, values):
    (group,) = distribution(quantity, {"original": np.array(values)})["groups"]
    assert max(group["counts"]) == len(values) == sum(group["counts"])


def test_of_huge_numbers_is_finite():
    chart = distribution(RATIO, {"original": np.array([1e-300, 1.0, 1e307, 1e308])})
    assert np.isfinite(chart["axis"]["edges"]).all()
    assert sum(chart["groups"][0]["counts"]) + chart["groups"][0]["above"] == 4


@pytest.mark.parametrize("values", [[], [NAN, NAN], [INF, -INF, NAN]])
def test_without_numbers_there_is_none(values):
    assert distribution(RATIO, {"original": np.array(values)}) is None
    assert distribution(RATIO, {}) is None


def test_a_group_without_numbers_is_left_out_and_named():
    chart = distribution(RATIO, {"original": np.array([1.0]), "selected": np.array([NAN])})
    assert [group["name"] for group in chart["groups"]] == ["original"]
    assert chart["notes"] == ["No number at all: selected."]
