"""Which rows are worth it: conditions on columns, such as `ifd_ppl < 0.8` or `ifd_ppl highest 5%`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hub_cards.errors import BadInputError

COMPARISONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
HELP = "`COLUMN < NUMBER` (also <= > >= == !=), `COLUMN highest N` or `COLUMN lowest 5%`"
_COMPARISON = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*")
_RANKING = re.compile(r"\s*(\w+)\s+(highest|lowest)\s+(\d+(?:\.\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Condition:
    """One condition on one column.

    Attributes:
        keep: from the column's values, in the order of the rows, to the positions of the rows that pass.
    """

    column: str
    keep: Callable[[Sequence[Any]], list[int]]


def parse_condition(text: str) -> Condition:
    """Read one condition.

    A null, and a number that is none (NaN), never passes. A fraction is of the rows that the condition sees, rounded
    to the nearest row; equal values count in the order of the rows.

    Raises:
        BadInputError: the text is no condition.
    """
    if match := _RANKING.fullmatch(text):
        column, which, number, percent = match.groups()
        if not percent and "." in number:
            raise BadInputError(f"--where {text!r}: {number} is no number of rows; for a share write {number}%")
        if percent and float(number) > 100:
            raise BadInputError(f"--where {text!r}: {number}% is more than all rows")
        return Condition(column, lambda values: _rank(values, which == "highest", float(number), bool(percent), column))
    if match := _COMPARISON.fullmatch(text):
        column, sign, right = match.groups()
        try:
            wanted: float | str = float(right)
        except ValueError:
            wanted = right.strip("'\"")
            if sign not in ("==", "!="):
                raise BadInputError(f"--where {text!r}: {right!r} is no number") from None
        return Condition(column, lambda values: _compare(values, COMPARISONS[sign], wanted, column))
    raise BadInputError(f"--where {text!r}: is no condition; write {HELP}")


def rows_that_pass(conditions: Sequence[str], columns: Callable[[str], Sequence[Any]], size: int) -> list[int]:
    """The positions of the rows that pass every condition, each applied to what the one before it left.

    Args:
        columns: gives the values of a column by its name.
        size: how many rows there are.

    Raises:
        BadInputError: a condition cannot be read or does not fit its column, or no row passes.
    """
    kept = list(range(size))
    for text in conditions:
        condition = parse_condition(text)
        values = columns(condition.column)
        kept = [kept[position] for position in condition.keep([values[index] for index in kept])]
        if size and not kept:
            raise BadInputError(f"--where {text!r}: no row passes it")
    return kept


def _compare(values: Sequence[Any], holds: Callable[[Any, Any], bool], wanted: float | str, column: str) -> list[int]:
    kept = []
    for position, value in enumerate(values):
        if value is None:
            continue
        if isinstance(wanted, str):
            if holds(str(value), wanted):
                kept.append(position)
        elif not math.isnan(number := _number(value, column)) and holds(number, wanted):
            kept.append(position)
    return kept


def _rank(values: Sequence[Any], highest: bool, number: float, percent: bool, column: str) -> list[int]:
    numbers = [math.nan if value is None else _number(value, column) for value in values]
    ranked = [position for position, value in enumerate(numbers) if not math.isnan(value)]
    ranked.sort(key=lambda position: -numbers[position] if highest else numbers[position])
    count = math.floor(len(values) * number / 100 + 0.5) if percent else int(number)
    return sorted(ranked[:count])


def _number(value: Any, column: str) -> float:
    if isinstance(value, int | float):  # True and False are 1 and 0
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise BadInputError(f"--where: column {column} holds {value!r}, which is no number")
