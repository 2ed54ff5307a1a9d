"""What a length limit does to the rows of a training: counted before it, for no row is to be lost silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

IGNORED = -100  # the label of a token without a loss
SPLITTING = ("bfd_split", "wrapped")
BATCH_ROWS = 1000


@dataclass(frozen=True)
class Lengths:
    """Counts of rows and tokens, as TRL's SFTTrainer will see them in one epoch.

    Attributes:
        max_length: the limit in tokens of a row, or of a packed sequence; null for none.
        packing: the strategy, or null where each row is a sequence of its own.
        rows: all of them.
        cut: rows that lose their end, yet keep some of their completion.
        split: longer rows that go on in another packed sequence; null under `wrapped`, which cuts a row wherever a
            sequence is full.
        without_completion: rows of which nothing is left that has a loss. Without packing TRL drops them where there is
            a limit; `bfd` packs their prompts, which have no loss.
        tokens, completion_tokens: what is left, and how much of it has a loss.
        longest: tokens of the longest row, after cutting.
    """

    max_length: int | None
    packing: str | None
    rows: int
    cut: int
    split: int | None
    without_completion: int
    tokens: int
    completion_tokens: int
    longest: int

    @property
    def whole(self) -> int:
        """Rows that nothing happens to; under `wrapped` that is not known, and all of them count."""
        return self.rows - self.cut - (self.split or 0) - self.without_completion

    def counts(self) -> dict[str, Any]:
        """For the step's record."""
        return {
            "rows": self.rows,
            "rows_whole": None if self.split is None else self.whole,
            "rows_cut": self.cut,
            "rows_split": self.split,
            "rows_without_room_for_a_completion": self.without_completion,
            "tokens_per_epoch": self.tokens,
            "completion_tokens_per_epoch": self.completion_tokens,
        }

    def __str__(self) -> str:
        parts = [f"cut wherever {self.max_length} tokens are full" if self.split is None else f"{self.whole} whole"]
        if self.split:
            parts.append(f"{self.split} split over sequences of {self.max_length} tokens")
        if self.cut:
            parts.append(f"{self.cut} cut at {self.max_length} tokens")
        if self.without_completion:
            fate = "dropped" if self.packing is None and self.max_length is not None else "kept without any loss"
            parts.append(f"{self.without_completion} {fate}: no room for their completion")
        tokens = f"{self.tokens:,} tokens an epoch, {self.completion_tokens:,} of them in completions"
        return f"{self.rows} rows: {', '.join(parts)}; {tokens}"


def count_lengths(rows: Dataset, max_length: int | None, packing: str | None) -> Lengths:
    """Count tokenized rows that are not cut yet.

    Args:
        rows: `input_ids` and `labels`, the latter -100 for tokens without a loss. None give zeros.
        packing: the strategy, or null.
    """
    sizes, targets = [np.zeros(0, int)], [np.zeros(0, int)]
    limit = None if packing in SPLITTING else max_length
    for table in rows.select_columns(["input_ids", "labels"]).with_format("arrow").iter(BATCH_ROWS):
        batch_sizes, batch_targets = _count_batch(table, limit)
        sizes.append(batch_sizes)
        targets.append(batch_targets)
    size, target = np.concatenate(sizes), np.concatenate(targets)
    left = size if limit is None else np.minimum(size, limit)
    lost = target == 0
    takes_part = ~lost if packing is None and max_length is not None else np.ones(len(size), bool)
    too_long = np.zeros(len(size), bool) if max_length is None else size > max_length
    splits = packing in SPLITTING
    return Lengths(
        max_length=max_length,
        packing=packing,
        rows=len(size),
        cut=0 if splits else int((too_long & ~lost).sum()),
        split=None if packing == "wrapped" else int((too_long & ~lost).sum()) if splits else 0,
        without_completion=int(lost.sum()),
        tokens=int(left[takes_part].sum()),
        completion_tokens=int(target.sum()),
        longest=int(left.max(initial=0)),
    )


def _count_batch(table: pa.Table, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """For every row its tokens, and those with a loss among its first `limit` ones."""
    labels = table["labels"].combine_chunks()
    size = labels.value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(size)), size)
    position = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    counts = labels.flatten().to_numpy(zero_copy_only=False) != IGNORED
    if limit is not None:
        counts &= position < limit
    return size, np.bincount(row[counts], minlength=len(size))
