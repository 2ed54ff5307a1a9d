"""What a judge's two reviews of a pair of answers say: strictly read marks, and the outcome of both orders. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

HIGHEST = 10  # the lowest is 0: real judges go below the 1 that they are asked for
WIN, TIE, LOSE, INVALID = "win", "tie", "lose", "invalid"
OUTCOMES = (WIN, TIE, LOSE, INVALID)

NO_REVIEW = "no_review"
EMPTY_REVIEW = "empty_review"
NO_MARKS = "no_marks"
ONE_MARK = "one_mark"
TOO_MANY_MARKS = "too_many_marks"
MARK_OUT_OF_RANGE = "mark_out_of_range"
CUT_OFF = "cut_off"
# Why no marks were read in a review.
UNREADABLE = {
    NO_REVIEW: "there is no review",
    EMPTY_REVIEW: "the review is empty or blank",
    NO_MARKS: "its first line holds something else than numbers",
    ONE_MARK: "its first line holds one number",
    TOO_MANY_MARKS: "its first line holds more than two numbers",
    MARK_OUT_OF_RANGE: "a mark is below 0 or above 10",
    CUT_OFF: "the judge's length limit fell into the line of the marks",
}

# ASCII digits only: `\d` takes those of every script.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*|[ \t]+")


class Marks(NamedTuple):
    """The two marks of one review, from 0 to 10, in the order in which the answers were shown."""

    first: float
    second: float


def parse_marks(review: str | None, is_cut: bool = False) -> Marks | str:
    """Read the marks of a review; never raises.

    The first line that is not blank must hold exactly two whole or decimal numbers from 0 to 10, separated by blanks or
    one comma, and nothing else. That is how all reviews of the published logs begin, as `9 8.5`; blank lines before it
    are accepted, for some chat templates make models begin with one. `8/10 7/10` or `Assistant 1: 8` are not guessed
    at.

    Args:
        is_cut: whether the review was ended by its length limit: then a line of marks that nothing follows may have
            lost digits.

    Returns:
        The marks, or one of `UNREADABLE` where there are none.
    """
    if review is None:
        return NO_REVIEW
    text = review.lstrip()
    if not text:
        return EMPTY_REVIEW
    line, *rest = text.split("\n", 1)
    parts = _SEPARATOR.split(line.rstrip(" \t\r"))
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return NO_MARKS
    if len(parts) != 2:
        return ONE_MARK if len(parts) == 1 else TOO_MANY_MARKS
    if is_cut and not rest:
        return CUT_OFF
    if any(part.startswith("-") or float(part) > HIGHEST for part in parts):  # -0 is no mark either
        return MARK_OUT_OF_RANGE
    return Marks(*map(float, parts))


def outcome(marks: Marks | str, marks_reverse: Marks | str) -> str:
    """Whether an answer won against the baseline's, judged in both orders (arXiv 2307.08701).

    Better in both orders, or in one and equal in the other: `win`. Equal in both, or better in one and worse in the
    other: `tie`. Else `lose`. By how much does not count.

    Args:
        marks: with the answer shown first.
        marks_reverse: with the baseline's answer shown first, in the order shown.

    Returns:
        One of `OUTCOMES`; `invalid` where either review has no marks.
    """
    if isinstance(marks, str) or isinstance(marks_reverse, str):
        return INVALID
    balance = _sign(marks.first - marks.second) + _sign(marks_reverse.second - marks_reverse.first)
    return (TIE, WIN, LOSE)[_sign(balance)]


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def verdict_columns(marks: Marks | str, marks_reverse: Marks | str) -> dict[str, Any]:
    """The marks, the outcome and the reason as columns of `VERDICT_COLUMNS`.

    Args:
        marks, marks_reverse: as `outcome` takes them; what is no `Marks` is the reason, and of two reasons the first
            one is kept.
    """
    own, baseline = (None, None) if isinstance(marks, str) else marks
    baseline_reverse, own_reverse = (None, None) if isinstance(marks_reverse, str) else marks_reverse
    return {
        "mark": own,
        "baseline_mark": baseline,
        "mark_reverse": own_reverse,
        "baseline_mark_reverse": baseline_reverse,
        "outcome": outcome(marks, marks_reverse),
        "invalid_reason": next((reason for reason in (marks, marks_reverse) if isinstance(reason, str)), None),
    }
