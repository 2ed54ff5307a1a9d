"""Score all variants of all rows, by one process or many, and join what they computed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset, DatasetDict, Features, concatenate_datasets

from hub_cards.errors import BadInputError
from hub_cards.provenance import apply_step
from hub_cards.schema import SCORE_COLUMNS, VARIANTS, features
from scoring.ifd import Scorer, score_batch
from scoring.statistics import describe

SHARD_ROWS = 64  # variants count apart: 16 rows with their four variants


def score_variants(
    variants: DatasetDict, scorer: Scorer, key: str, work_dir: Path, state: PartialState
) -> tuple[DatasetDict, dict[str, Any]]:
    """Add the score columns to every variant.

    The variants of a row stand next to each other while they are scored, so that what they share is computed once and
    an unchanged variant gets exactly its parent's numbers. Every rank computes its shards and leaves them in
    `work_dir`; the main process then reads all of them.

    Args:
        variants: the keys of `VARIANTS` that there are, all with the same rows in the same order.
        key, work_dir: cache key and place of finished shards.

    Returns:
        The scored variants and, for the record, each one's statuses and statistics; on other ranks than the main one
        an incomplete result that nobody should use.
    """
    names = [name for name in VARIANTS if name in variants]
    rows = interleave([variants[name] for name in names])
    all_features = Features({**rows.features, **features(SCORE_COLUMNS)})

    def run(rank: int, world_size: int, description: str) -> Dataset:
        return apply_step(
            rows,
            lambda batch: {**{name: batch[name] for name in rows.column_names}, **score_batch(batch, scorer)},
            key=key,
            features=all_features,
            work_dir=work_dir,
            shard_rows=SHARD_ROWS,
            rank=rank,
            world_size=world_size,
            description=description,
        )

    run(state.process_index, state.num_processes, f"score on {state.num_processes} process(es)")
    state.wait_for_everyone()
    if not state.is_main_process:
        return DatasetDict(), {}
    scored = run(0, 1, "")
    result = DatasetDict(
        {name: scored.select(range(number, len(scored), len(names))) for number, name in enumerate(names)}
    )
    counts = {
        "score_status": {name: dict(Counter(part["score_status"][:]).most_common()) for name, part in result.items()},
        "statistics": {name: describe(part) for name, part in result.items()},
    }
    return result, counts


def interleave(parts: list[Dataset]) -> Dataset:
    """Row 0 of every part, then row 1 of every part, and so on, in the order of the first part; joined by `row_id`.

    Raises:
        BadInputError: the parts hold different rows.
    """
    first = parts[0]["row_id"][:]
    size = len(first)
    positions = [{identity: row for row, identity in enumerate(part["row_id"][:])} for part in parts]
    for position_of in positions:
        if position_of.keys() != positions[0].keys() or len(position_of) != size:
            raise BadInputError(
                "the variants of --dataset hold different rows (or a row_id twice); they cannot be joined"
            )
    order = [number * size + positions[number][identity] for identity in first for number in range(len(parts))]
    return concatenate_datasets(parts).select(order)
