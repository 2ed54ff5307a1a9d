"""A curriculum: the rows in the order of a score, the easy ones first for instance. Imports no torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from datasets import Dataset

from hub_cards.errors import BadInputError

_ORDER = re.compile(r"\s*(\w+)(?:\s+(asc|desc))?\s*")


@dataclass(frozen=True)
class Order:
    """By which column rows are ordered, and whether the highest comes first."""

    column: str
    descending: bool = False


def parse_order(text: str) -> Order:
    """Read `COLUMN` (the lowest first) or `COLUMN desc` (the highest first).

    Raises:
        BadInputError: the text is neither.
    """
    match = _ORDER.fullmatch(text)
    if not match:
        raise BadInputError(
            f"--curriculum {text!r}: write a column, as in ifd_ppl (the lowest first), or 'ifd_ppl desc' (the highest)"
        )
    return Order(match[1], match[2] == "desc")


def in_order(rows: Dataset, order: Order) -> tuple[Dataset, int]:
    """The rows in the order of a column, equal ones in the order of their `row_id`, those without a value last.

    Returns:
        The rows, and how many of them have no value (null or NaN).

    Raises:
        BadInputError: there is no such column of numbers.
    """
    known = [name for name, feature in rows.features.items() if _is_number(getattr(feature, "dtype", ""))]
    if order.column not in known:
        has = f"its columns of numbers are {', '.join(known)}" if known else "it has no column of numbers"
        raise BadInputError(
            f"--curriculum {order.column}: the rows carry no such score; {has}. Scores come from recipes/score.py and "
            "stay with its rows; other columns of a file are not carried along"
        )
    sign = -1 if order.descending else 1
    keys = []
    for position, (value, identity) in enumerate(zip(rows[order.column][:], rows["row_id"][:], strict=True)):
        is_missing = value is None or math.isnan(value)
        keys.append((is_missing, 0 if is_missing else sign * value, identity, position))
    return rows.select([position for *_, position in sorted(keys)]), sum(is_missing for is_missing, *_ in keys)


def _is_number(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "float"))
