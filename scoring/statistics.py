"""The table by which the papers describe a recycled set (arXiv 2310.11716, Table 3). Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable

from datasets import Dataset

# What the table shows and the column it is the mean of.
TABLE_COLUMNS = {
    "instruction_tokens": "n_tokens_Q",
    "response_tokens": "n_tokens_A",
    "instruction_ppl": "ppl_Q_direct",
    "response_ppl": "ppl_A_direct",
    "response_ppl_given_instruction": "ppl_A_condition",
    "ifd_ppl": "ifd_ppl",
    "rifd_ppl": "rifd_ppl",
}


def describe(rows: Dataset) -> dict[str, float | int | None]:
    """Means over the scored rows of one variant; null where no row has a number. `rows` is how many there are."""
    return {"rows": len(rows), **{name: mean(rows[column][:]) for name, column in TABLE_COLUMNS.items()}}


def mean(values: Iterable[float | None]) -> float | None:
    """Arithmetic mean of the numbers among `values`; null where there is none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
