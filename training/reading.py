"""The rows of a training in their order, and what is to be said of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import Dataset

from hub_cards.rows import load_rows
from training.config import SftArguments
from training.curriculum import in_order, parse_order
from training.formatting import count_blank


def read_rows(arguments: SftArguments, say: Callable[[str], None]) -> tuple[Dataset, dict[str, Any]]:
    """The rows in the order of training, and the counts of what a reader of the record should know of them.

    Raises:
        BadInputError: the data cannot be read, or lacks the column that it is to be ordered by.
    """
    loaded = load_rows(arguments)
    rows, notes = loaded.dataset, {**loaded.notes, "rows_with_empty_output": count_blank(loaded.dataset)}
    if said := [f"{name} {value}" for name, value in notes.items() if value]:
        say(f"read {arguments.dataset}: {', '.join(said)}")
    if arguments.curriculum:
        rows, missing = in_order(rows, parse_order(arguments.curriculum))
        say(f"in the order of {arguments.curriculum}: {missing} of {len(rows)} rows have none and come last")
        notes = {**notes, "rows_without_curriculum_score": missing}
    return rows, notes
