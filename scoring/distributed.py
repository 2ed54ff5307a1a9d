"""Score all variants of all rows, by one process or many, and join what they computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from accelerate import PartialState
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.schema import VARIANTS, features
from hub_cards.shards import Batch, ShardedStep
from scoring.ifd import EncodedRows, Scorer, encode_rows, score_batch
from scoring.preflight import Preflight
from scoring.progress import Progress
from scoring.statistics import describe

# About 16,000 tokens with their contexts: seconds on a GPU, a minute or two on a CPU, which is what a crash can cost.
SHARD_CHARACTERS = 64_000
CHARACTERS_A_ROW = 100  # what a row costs beyond its text
GOLDEN_RATIO = 0.6180339887498949
CHECKED_ROWS, CHECKED_SPANS = 16, 12  # all four kinds of text, from rows that share prefixes

# Beside the scores in the shards, for the record's counts, and not in the result.
COUNTED = {"boundary_merged": Value("bool"), "depends_on_span": Value("bool")}


def score_variants(
    variants: DatasetDict, scorer: Scorer, key: str, work_dir: Path, state: PartialState, say: Callable[[str], None]
) -> tuple[DatasetDict, dict[str, Any]]:
    """Add the score columns to every variant.

    The variants of a row stand next to each other while they are scored, so that what they share is computed once and
    an unchanged variant gets exactly its parent's numbers. The rows are cut into shards of equal cost, whatever the
    number of processes; every rank computes its share and leaves it in `work_dir`, and the main process reads all.

    Args:
        variants: the keys of `VARIANTS` that there are, all with the same rows.
        key, work_dir: cache key and place of finished shards.
        say: prints a line, from the main process only.

    Returns:
        The scored variants and, for the record, each one's statuses and statistics; on other ranks than the main one
        an incomplete result that nobody should use.

    Raises:
        BadInputError: the variants hold different rows.
        StoppedError: the self-check failed, or a shard is missing or holds other rows.
    """
    names = [name for name in VARIANTS if name in variants]
    rows = interleave([variants[name] for name in names])
    shards = equal_shards(row_costs(rows, len(names)), len(names))
    step = ShardedStep(
        rows,
        lambda batch, encoded: {**score_batch(batch, scorer, encoded), **_counted(encoded)},
        key,
        Features({**rows.features, **features(scorer.columns), **COUNTED}),
        work_dir,
        shards,
        prepare=lambda batch: encode_rows(batch, scorer),
    )
    mine = spread(len(shards))[state.process_index :: state.num_processes]
    missing = step.missing(mine)
    everybodys = step.missing(range(len(shards)))
    todo, todo_of_all = (sum(len(shards[number]) for number in numbers) for numbers in (missing, everybodys))
    if missing:
        _self_check(rows, scorer, say)
    preflight = Preflight(scorer, todo, say)
    with Progress(todo, todo_of_all, scorer.engine, say, shown=state.is_main_process) as progress:

        def on_shard(shard: Dataset) -> None:
            progress.advance(len(shard))
            if state.is_main_process:
                preflight.add(shard, progress.seconds_left())

        step.compute(mine, on_shard)
    preflight.finish()
    state.wait_for_everyone()
    if not state.is_main_process:
        return DatasetDict(), {}
    scored = step.result()
    check_join(rows, scored)
    return _split(scored, names, scorer)


def _self_check(rows: Dataset, scorer: Scorer, say: Callable[[str], None]) -> None:
    """Hold the first rows against one text at a time before anything is scored."""
    spans = [span for span in encode_rows(rows[:CHECKED_ROWS], scorer).all_spans() if span.n_scored]
    worst = scorer.engine.check(spans[:: -(-len(spans) // CHECKED_SPANS) or 1])
    why = scorer.engine.why_padded
    layout = "packed, common prefixes once" if why is None else f"padded ({why})"
    say(
        f"{layout}, {scorer.engine.max_batch_tokens:,} tokens a batch; self-check: losses within {worst:.0e} of one "
        "text at a time"
    )


def _counted(encoded: EncodedRows) -> Batch:
    sides = list(zip(encoded.pairs["Q"], encoded.pairs["A"], strict=True))
    return {name: [any(getattr(pair, name) for pair in pairs) for pairs in sides] for name in COUNTED}


def _split(scored: Dataset, names: Sequence[str], scorer: Scorer) -> tuple[DatasetDict, dict[str, Any]]:
    parts = {name: scored.select(range(number, len(scored), len(names))) for number, name in enumerate(names)}
    counts = {
        "score_status": {name: dict(Counter(part["score_status"][:]).most_common()) for name, part in parts.items()},
        "statistics": {name: describe(part) for name, part in parts.items()},
        "layout": "packed" if scorer.engine.is_packed else "padded",
        # Rows whose context and response (or instruction) the tokenizer joins, and rows that --span decides about.
        "boundary_merged": {name: sum(part["boundary_merged"][:]) for name, part in parts.items()},
        "depends_on_span": {name: sum(part["depends_on_span"][:]) for name, part in parts.items()},
    }
    return DatasetDict({name: part.remove_columns(list(COUNTED)) for name, part in parts.items()}), counts


def interleave(parts: Sequence[Dataset]) -> Dataset:
    """Row 0 of every part, then row 1 of every part, and so on, in the order of the first part; joined by `row_id`.

    Raises:
        BadInputError: the parts hold different rows, or one holds a row twice.
    """
    ids = [_column(part, "row_id") for part in parts]
    size = len(parts[0])
    positions = [pc.index_in(ids[0], value_set=found) for found in ids]
    same_rows = all(len(part) == size for part in parts) and not any(found.null_count for found in positions)
    if not same_rows or any(pc.count_distinct(found).as_py() != size for found in ids):
        raise BadInputError("the variants of --dataset hold different rows (or a row_id twice); they cannot be joined")
    if len(parts) == 1:
        return parts[0]
    offsets = [number * size + found.to_numpy() for number, found in enumerate(positions)]
    order = [position for group in zip(*offsets, strict=True) for position in group]
    return concatenate_datasets(list(parts)).select(order)


def _column(part: Dataset, name: str) -> pa.ChunkedArray:
    return part.select_columns(name).with_format("arrow")[:][name]


def check_join(rows: Dataset, scored: Dataset) -> None:
    """Make sure that what the ranks left is every row once, in order.

    Raises:
        StoppedError: it is not.
    """
    for column in ("row_id", "variant"):
        if not _column(rows, column).equals(_column(scored, column)):
            raise StoppedError(f"the parts in the work folder hold other rows than --dataset (column {column})")


def row_costs(rows: Dataset, group_size: int) -> Iterator[int]:
    """What each group of `group_size` rows costs, in characters; equal variants are scored once and cost once."""
    texts = rows.select_columns(["instruction", "input", "output"])
    for batch in texts.iter(group_size * 1000):
        variants = list(zip(*(batch[name] for name in ("instruction", "input", "output")), strict=True))
        for start in range(0, len(variants), group_size):
            distinct = set(variants[start : start + group_size])
            yield sum(CHARACTERS_A_ROW + sum(map(len, pair)) for pair in distinct)


def equal_shards(costs: Iterable[int], group_size: int, target: int = SHARD_CHARACTERS) -> list[range]:
    """Ranges of rows of about `target` cost each; a group is never split. The same on every rank and in every run."""
    shards: list[range] = []
    start = stop = cost = 0
    for group_cost in costs:
        if cost and cost + group_cost / 2 > target:
            shards.append(range(start, stop))
            start, cost = stop, 0
        stop += group_size
        cost += group_cost
    return [*shards, range(start, stop)] if stop > start else shards


def spread(count: int) -> list[int]:
    """The numbers below `count` in an order of which every beginning is spread evenly over the whole.

    So the first shards are a fair sample: of the speed, and of what the scores will be.
    """
    return sorted(range(count), key=lambda number: number * GOLDEN_RATIO % 1)
