import itertools

import pytest

from scoring.selection.selective import REASONS, select_selective

NAMES = ("original", "reflect_instruction", "reflect_response", "reflect_both")


def variants(**scores):
    """(ifd, rifd) by variant."""
    return {name: {"ifd_ppl": ifd, "rifd_ppl": rifd} for name, (ifd, rifd) in scores.items()}


def full(original, instruction, response, both):
    return variants(original=original, reflect_instruction=instruction, reflect_response=response, reflect_both=both)


@pytest.mark.parametrize(
    ("scores", "winner", "selected", "reason"),
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
        (variants(original=(0.5, 0.9), reflect_response=(0.5, 0.5)), "reflect_response", True, "kept"),
        (variants(original=(0.5, 0.9)), "original", False, "response_not_reflected"),
    ],
)
def test_one_row(scores, winner, selected, reason):
    decision = select_selective(scores)
    assert (decision.variant, decision.selected, decision.reason) == (winner, selected, reason)


def test_all_four_winners_may_stay():
    decision = select_selective(full((0.8, 0.4), (0.6, 0.7), (0.5, 0.5), (0.7, 0.1)), require_reflected_response=False)
    assert (decision.variant, decision.selected, decision.reason) == ("original", True, "kept")


def as_the_paper_says(ifd, rifd):
    """The rule without nulls, written down a second time."""
    if ifd["reflect_instruction"] > ifd["original"]:
        winner = "reflect_both" if rifd["reflect_both"] < rifd["reflect_instruction"] else "reflect_instruction"
    else:
        winner = "reflect_response" if rifd["reflect_response"] < rifd["original"] else "original"
    return winner, ifd[winner] < 1 and rifd[winner] < 1


def test_every_order_of_scores_is_decided_as_the_paper_says():
    levels = (0.5, 0.9, 1.0, 1.2)
    for values in itertools.product(levels, repeat=6):
        ifd = {"original": values[0], "reflect_instruction": values[1], "reflect_response": 0.7, "reflect_both": 0.7}
        rifd = dict(zip(NAMES, values[2:], strict=True))
        scores = {name: {"ifd_ppl": ifd[name], "rifd_ppl": rifd[name]} for name in NAMES}
        decision = select_selective(scores, require_reflected_response=False)
        assert (decision.variant, decision.selected) == as_the_paper_says(ifd, rifd)


def test_whatever_is_missing_no_null_is_selected_and_every_reason_is_known():
    for values in itertools.product((None, 0.5, 1.5), repeat=8):
        scores = {name: {"ifd_ppl": values[i], "rifd_ppl": values[i + 4]} for i, name in enumerate(NAMES)}
        decision = select_selective(scores)
        assert decision.reason in REASONS
        if decision.selected:
            assert None not in scores[decision.variant].values()
