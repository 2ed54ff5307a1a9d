"""The student's choice, row by row: by hand, and against the rule written down a second time, one row at a time."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from scoring.selection.apply import select_rows
from scoring.selection.selective import Selective
from scoring.selection.steps import Step

NAMES = ("original", "reflect_instruction", "reflect_response", "reflect_both")


def scores(**of):
    """(ifd, rifd) by variant."""
    return {name: {"ifd_ppl": ifd, "rifd_ppl": rifd} for name, (ifd, rifd) in of.items()}


def full(original, instruction, response, both):
    return scores(original=original, reflect_instruction=instruction, reflect_response=response, reflect_both=both)


@pytest.fixture(scope="module")
def choose(table_of):
    """Winner, kept or not, and reason of each of many rows that have the same variants."""

    def run(rows, **options):
        columns = {
            name: pa.table(
                {
                    "row_id": [f"{number:06}" for number in range(len(rows))],
                    **{
                        column: pa.array([row[name][column] for row in rows], pa.float64())
                        for column in ("ifd_ppl", "rifd_ppl")
                    },
                }
            )
            for name in rows[0]
        }
        result, _ = select_rows(table_of(**columns), [Step("selective", Selective(**options))])
        names = ("selected_variant", "selected", "select_reason")
        return list(zip(*(result["decisions"][name][:] for name in names), strict=True))

    return run


@pytest.mark.parametrize(
    ("row", "winner", "selected", "reason"),
    [
        # the reflected instruction is harder, its reflected response points back better
        (full((0.6, 0.9), (0.8, 0.9), (0.5, 0.5), (0.7, 0.8)), "reflect_both", True, "kept"),
        # harder instruction, but its new response does not point back better
        (full((0.6, 0.9), (0.8, 0.7), (0.5, 0.5), (0.7, 0.8)), "reflect_instruction", False, "response_not_reflected"),
        # the old instruction is harder
        (full((0.8, 0.9), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1)), "reflect_response", True, "kept"),
        (full((0.8, 0.4), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1)), "original", False, "response_not_reflected"),
        # ties keep the old side
        (full((0.8, 0.5), (0.8, 0.1), (0.5, 0.5), (0.7, 0.1)), "original", False, "response_not_reflected"),
        # the gate looks at the winner's own numbers, and 1 does not pass
        (full((0.8, 0.9), (0.6, 0.7), (1.0, 0.5), (0.7, 0.1)), "reflect_response", False, "ifd_not_below_1"),
        (full((0.8, 1.3), (0.6, 0.7), (0.5, 1.0), (0.7, 0.1)), "reflect_response", False, "rifd_not_below_1"),
        # a null never wins; the other side goes on
        (full((None, 0.9), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1)), "reflect_both", True, "only_scored"),
        (full((0.5, 0.9), (None, 0.7), (0.5, 0.5), (0.7, 0.1)), "reflect_response", True, "only_scored"),
        (full((0.5, None), (0.4, 0.7), (0.5, 0.5), (0.7, 0.1)), "reflect_response", True, "only_scored"),
        # the gate needs both numbers of the winner
        (full((0.5, 0.9), (0.4, 0.7), (None, 0.5), (0.7, 0.1)), "reflect_response", False, "winner_unscored"),
        (full((None, 0.9), (None, 0.7), (0.5, 0.5), (0.7, 0.1)), None, False, "unscored"),
        (full((0.5, None), (0.4, 0.7), (0.5, None), (0.7, 0.1)), None, False, "unscored"),
        # variants that were never made take no part
        (scores(original=(0.5, 0.9), reflect_response=(0.5, 0.5)), "reflect_response", True, "kept"),
        (scores(original=(0.5, 0.9)), "original", False, "response_not_reflected"),
        (scores(reflect_instruction=(0.5, 0.9), reflect_both=(0.5, 0.8)), "reflect_both", True, "kept"),
        (scores(reflect_instruction=(None, 0.9), reflect_both=(0.5, 0.8)), None, False, "unscored"),
    ],
)
def test_one_row(choose, row, winner, selected, reason):
    assert choose([row]) == [(winner, selected, reason)]


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_counts_as_missing(choose, nothing):
    row = full((nothing, 0.9), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1))
    assert choose([row]) == [("reflect_both", True, "only_scored")]
    row = full((0.5, 0.9), (0.4, 0.7), (nothing, 0.5), (0.7, 0.1))
    assert choose([row]) == [("reflect_response", False, "winner_unscored")]


def test_all_four_winners_may_stay(choose):
    row = full((0.8, 0.4), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1))
    assert choose([row], require_reflected_response=False) == [("original", True, "kept")]


def as_the_paper_says(ifd, rifd):
    """The rule without nulls, written down a second time."""
    if ifd["reflect_instruction"] > ifd["original"]:
        winner = "reflect_both" if rifd["reflect_both"] < rifd["reflect_instruction"] else "reflect_instruction"
    else:
        winner = "reflect_response" if rifd["reflect_response"] < rifd["original"] else "original"
    return winner, ifd[winner] < 1 and rifd[winner] < 1


def test_every_order_of_scores_is_decided_as_the_paper_says(choose):
    rows, expected = [], []
    for values in itertools.product((0.5, 0.9, 1.0, 1.2), repeat=6):
        ifd = {"original": values[0], "reflect_instruction": values[1], "reflect_response": 0.7, "reflect_both": 0.7}
        rifd = dict(zip(NAMES, values[2:], strict=True))
        rows.append({name: {"ifd_ppl": ifd[name], "rifd_ppl": rifd[name]} for name in NAMES})
        expected.append(as_the_paper_says(ifd, rifd))
    assert [found[:2] for found in choose(rows, require_reflected_response=False)] == expected


def test_whatever_is_missing_no_null_is_selected_and_every_reason_is_known(choose):
    rows = [
        {name: {"ifd_ppl": values[i], "rifd_ppl": values[i + 4]} for i, name in enumerate(NAMES)}
        for values in itertools.product((None, 0.5, 1.5), repeat=8)
    ]
    found = choose(rows)
    assert {reason for *_, reason in found} <= set(Selective.reasons)
    assert not [
        row for row, (winner, kept, _) in zip(rows, found, strict=True) if kept and None in row[winner].values()
    ]
    assert any(kept for _, kept, _ in found)


def pick(row, old, new, score, larger_wins):
    """Who wins a comparison, and whether the other was made but has no number."""
    sides = [name for name in (old, new) if name in row]
    with_number = [name for name in sides if row[name][score] is not None]
    if not with_number:
        return None, False
    if len(with_number) == 1:
        return with_number[0], len(sides) == 2
    difference = row[new][score] - row[old][score]
    return (new if (difference > 0 if larger_wins else difference < 0) else old), False


def one_by_one(row, reflected_only):
    """The rule with nulls and with variants that were not made, for one row in plain Python."""
    question, alone = pick(row, "original", "reflect_instruction", "ifd_ppl", larger_wins=True)
    if question is None:
        return None, False, "unscored"
    new = {"original": "reflect_response", "reflect_instruction": "reflect_both"}[question]
    winner, also_alone = pick(row, question, new, "rifd_ppl", larger_wins=False)
    if winner is None:
        return None, False, "unscored"
    numbers = row[winner]
    if None in numbers.values():
        return winner, False, "winner_unscored"
    for score, reason in (("ifd_ppl", "ifd_not_below_1"), ("rifd_ppl", "rifd_not_below_1")):
        if numbers[score] >= 1:
            return winner, False, reason
    if reflected_only and winner in ("original", "reflect_instruction"):
        return winner, False, "response_not_reflected"
    return winner, True, "only_scored" if alone or also_alone else "kept"


@pytest.mark.parametrize("made", [names for size in range(1, 5) for names in itertools.combinations(NAMES, size)])
def test_random_rows_of_any_variants_are_decided_as_one_by_one(choose, made):
    reflected_only = len(made) != 3
    numbers = np.random.default_rng(len(made))
    levels = (None, 0.4, 0.6, 0.8, 1.0, 1.2)
    rows = [
        {name: dict(zip(("ifd_ppl", "rifd_ppl"), numbers.choice(levels, 2), strict=True)) for name in made}
        for _ in range(150)
    ]
    expected = [one_by_one(row, reflected_only) for row in rows]
    assert choose(rows, require_reflected_response=reflected_only) == expected
