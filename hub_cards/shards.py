"""A pure function over a data set, shard by shard: what is finished survives a crash and is never computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, concatenate_datasets

from hub_cards.errors import StoppedError
from hub_cards.provenance import fingerprint_of

Batch = dict[str, list[Any]]


@dataclass(frozen=True)
class ShardedStep:
    """A step of which each shard is one call of the function and one Arrow file. Only here `Dataset.map` is called.

    The function sees one whole shard a call, so what it returns cannot depend on who computes it, nor on how many do.

    Attributes:
        function: takes a batch and what `prepare` made of it; returns the columns of `features`, of which those that it
            leaves out are taken from the batch.
        prepare: takes a batch; runs in a thread, one shard ahead of the function. It must not need what the function
            works with.
        key: the step's fingerprint, plus a name where one step maps several data sets.
        features: of the result; explicit, because a first batch of nulls would fix the wrong type.
        work_dir: where the files are; shared by all processes.
        shards: consecutive ranges of rows, all rows once.
    """

    dataset: Dataset
    function: Callable[[Batch, Any], Batch]
    key: str
    features: Features
    work_dir: Path
    shards: Sequence[range]
    prepare: Callable[[Batch], Any] = lambda _batch: None

    @cached_property
    def _places(self) -> str:
        return fingerprint_of([self.key, len(self.dataset), [(shard.start, shard.stop) for shard in self.shards]])

    def path(self, number: int) -> Path:
        """The file of a shard; its name holds everything that decides its content."""
        return self.work_dir / f"{self._places}-{number:06}.arrow"

    @cached_property
    def _finished(self) -> set[int]:
        return set()

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Which of these shards are not finished; one that cannot be read, after a power cut for instance, is not."""
        numbers = list(numbers)
        self._finished.update(number for number in numbers if number not in self._finished and self._is_whole(number))
        return [number for number in numbers if number not in self._finished]

    def _is_whole(self, number: int) -> bool:
        try:
            return len(Dataset.from_file(str(self.path(number)))) == len(self.shards[number])
        except (OSError, pa.ArrowException):  # a truncated file is an OSError, and so is one that is not there
            return False

    def compute(self, numbers: Sequence[int], on_shard: Callable[[Dataset], None] = lambda _shard: None) -> None:
        """Compute those of the shards that are not finished, in the order given.

        Args:
            on_shard: is shown every shard that was computed now.
        """
        self.work_dir.mkdir(parents=True, exist_ok=True)
        todo = self.missing(numbers)
        with ThreadPoolExecutor(1) as thread:
            ahead = [thread.submit(self._prepared, number) for number in todo[:1]]
            for number, following in zip_longest(todo, todo[1:]):
                prepared = ahead.pop().result()
                if following is not None:
                    ahead.append(thread.submit(self._prepared, following))
                on_shard(self._compute(number, prepared))

    def _prepared(self, number: int) -> Any:
        return self.prepare(self._rows(number)[:])

    def _rows(self, number: int) -> Dataset:
        return self.dataset.select(self.shards[number])

    def _compute(self, number: int, prepared: Any) -> Dataset:
        rows = self._rows(number)
        self.path(number).unlink(missing_ok=True)  # a damaged one; `map` would try to read it
        return rows.map(
            lambda batch: self.function(batch, prepared),
            batched=True,
            batch_size=len(rows),
            features=self.features,
            remove_columns=[column for column in rows.column_names if column not in self.features],
            new_fingerprint=self.path(number).stem,
            cache_file_name=str(self.path(number)),
        )

    def result(self) -> Dataset:
        """All rows in their order; without shards none, with the columns of `features`.

        Raises:
            StoppedError: a shard is missing.
        """
        lost = self.missing(range(len(self.shards)))
        if lost:
            raise StoppedError(
                f"{len(lost)} of {len(self.shards)} parts are not in {self.work_dir}: all processes, on all machines, "
                "must see the same folder; what was computed is kept, the same command goes on"
            )
        if not self.shards:
            return Dataset.from_dict({name: [] for name in self.features}, features=self.features)
        return concatenate_datasets([Dataset.from_file(str(self.path(number))) for number in range(len(self.shards))])


def even_shards(n_rows: int, shard_rows: int) -> list[range]:
    """Ranges of `shard_rows` rows, the last one shorter."""
    return [range(start, min(start + shard_rows, n_rows)) for start in range(0, n_rows, shard_rows)]


def apply_step(
    dataset: Dataset,
    function: Callable[[Batch], Batch],
    *,
    key: str,
    features: Features,
    work_dir: Path,
    shard_rows: int = 512,
) -> Dataset:
    """Apply a pure function on batches of `shard_rows` rows in this process; see `ShardedStep`.

    Returns:
        The mapped rows in their order. An empty data set gives no rows, with the columns of `features`.
    """
    shards = even_shards(len(dataset), shard_rows)
    step = ShardedStep(dataset, lambda batch, _: function(batch), key, features, work_dir, shards)
    step.compute(range(len(shards)))
    return step.result()
