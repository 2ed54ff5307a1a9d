"""Score all variants of all rows, by one process or many, and join what they computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from accelerate import PartialState
from datasets import Dataset, DatasetDict, Features, concatenate_datasets

from hub_cards.arrow import arrow_column
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.schema import VARIANTS
from hub_cards.shards import ShardedStep
from scoring.config import IFD
from scoring.measures import COUNTED, Measure
from scoring.progress import Progress
from scoring.statistics import describe

# About 16,000 tokens with their contexts: seconds on a GPU, a minute or two on a CPU, which is what a crash can cost.
SHARD_CHARACTERS = 64_000
CHARACTERS_A_ROW = 100  # what a row costs beyond its text
GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run, and the place where they leave what they have computed.

    Attributes:
        key, work_dir: cache key and folder of finished shards.
        say: prints a line, from the main process only.
    """

    key: str
    work_dir: Path
    state: PartialState
    say: Callable[[str], None]


def score_variants(
    variants: DatasetDict, measures: Iterable[Measure], ranks: Ranks
) -> tuple[DatasetDict, dict[str, Any]]:
    """Add the columns of some measures to every variant.

    The variants of a row stand next to each other while they are scored, so that what they share is computed once and
    an unchanged variant gets exactly its parent's numbers. The rows are cut into shards of equal cost, whatever the
    number of processes; every rank computes its share and leaves it in the work folder, and the main process reads all.

    Args:
        variants: the keys of `VARIANTS` that there are, all with the same rows.
        measures: taken one after the other; made when it is their turn, where they come from a generator.

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
    scored, added, hidden, layout = rows, {}, [], None
    for measure in measures:
        scored = _add(measure, scored, shards, ranks)
        added[measure.name] = list(measure.features)
        hidden += measure.hidden
        layout = layout or (measure.engine and ("packed" if measure.engine.is_packed else "padded"))
        del measure  # or its model would stay until the next one is loaded
    if not ranks.state.is_main_process:
        return DatasetDict(), {}
    check_join(rows, scored)
    parts = {name: scored.select(range(number, len(scored), len(names))) for number, name in enumerate(names)}
    counts = {**_counts(parts, added), "layout": layout}
    return DatasetDict({name: part.remove_columns(hidden) for name, part in parts.items()}), counts


def _add(measure: Measure, rows: Dataset, shards: Sequence[range], ranks: Ranks) -> Dataset:
    """The rows with a measure's columns, after all ranks have computed their shares of them."""
    say = ranks.say if measure.name == IFD else lambda line: ranks.say(f"{measure.name}: {line}")
    step = ShardedStep(
        rows,
        measure.compute,
        f"{ranks.key} {measure.name}",
        Features({**rows.features, **measure.features, **measure.hidden}),
        ranks.work_dir,
        shards,
        prepare=measure.adds.prepare,
    )
    mine = spread(len(shards))[ranks.state.process_index :: ranks.state.num_processes]
    missing = step.missing(mine)
    everybodys = step.missing(range(len(shards)))
    todo, todo_of_all = (sum(len(shards[number]) for number in numbers) for numbers in (missing, everybodys))
    if missing:
        measure.begin(rows, todo, say)
    with Progress(todo, todo_of_all, measure.engine, say, shown=ranks.state.is_main_process) as progress:

        def on_shard(shard: Dataset) -> None:
            progress.advance(len(shard))
            if ranks.state.is_main_process:
                measure.watch(shard, progress.seconds_left())

        step.compute(mine, on_shard)
    measure.end()
    ranks.state.wait_for_everyone()
    return step.result()


def _counts(parts: Mapping[str, Dataset], added: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the record should say of the scored variants, by the kinds of scores that were added."""
    counts: dict[str, Any] = {"statistics": {name: describe(part) for name, part in parts.items()}}
    if IFD in added:
        counts["score_status"] = {
            name: dict(Counter(part["score_status"][:]).most_common()) for name, part in parts.items()
        }
        for column in COUNTED:  # rows whose texts the tokenizer joins, and rows that --span decides about
            counts[column] = {name: sum(part[column][:]) for name, part in parts.items()}
    # The other scores have no status: how many rows are without them.
    counts["missing"] = {
        column: {name: arrow_column(part, column).null_count for name, part in parts.items()}
        for kind, columns in added.items()
        if kind != IFD
        for column in columns
    }
    return counts


def interleave(parts: Sequence[Dataset]) -> Dataset:
    """Row 0 of every part, then row 1 of every part, and so on, in the order of the first part; joined by `row_id`.

    Raises:
        BadInputError: the parts hold different rows, or one holds a row twice.
    """
    ids = [arrow_column(part, "row_id") for part in parts]
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


def check_join(rows: Dataset, scored: Dataset) -> None:
    """Make sure that what the ranks left is every row once, in order.

    Raises:
        StoppedError: it is not.
    """
    for column in ("row_id", "variant"):
        if not arrow_column(rows, column).equals(arrow_column(scored, column)):
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
