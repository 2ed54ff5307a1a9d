"""Numbers as the words of a decision show them: with the digits that it takes to tell two of them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LEAST_DIGITS, MOST_DIGITS = 2, 17


def number(value: Any) -> float | None:
    """A value if it is a finite number; None for all else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def shown(value: float) -> str:
    """A number with two decimals, a very small one with two digits."""
    is_tiny = value and abs(value) < 10**-LEAST_DIGITS / 2
    return f"{value:.2g}" if is_tiny else f"{value:,.{LEAST_DIGITS}f}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many decimals as it takes until they differ, two at least; equal ones are alike."""
    if one == other:
        return shown(one), shown(other)
    for digits in range(LEAST_DIGITS, MOST_DIGITS + 1):
        texts = f"{one:,.{digits}f}", f"{other:,.{digits}f}"
        if texts[0] != texts[1]:
            return texts
    return repr(one), repr(other)


def beside_one(value: float) -> str:
    """A number with the decimals that it takes to see on which side of 1 it lies."""
    return apart(value, 1.0)[0]


def counted(count: float, what: str) -> str:
    """`1 row`, `1,000 rows`."""
    return f"{count:,.0f} {what}{'' if count == 1 else 's'}"


def share(step: Mapping[str, Any]) -> str:
    """How much a step keeps: `the 5 %`, `the 1,000 rows`; `those` where its options do not say."""
    count, fraction = number(step.get("count")), number(step.get("fraction"))
    if count is not None:
        return f"the {counted(count, 'row')}"
    return "those" if fraction is None else f"the {100 * fraction:g} %"
