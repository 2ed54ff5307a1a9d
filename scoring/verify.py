"""Are published statistics those of this model? Score a few of their rows again and compare. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict

from hub_cards.arrow import arrow_column, numbers
from hub_cards.errors import BadInputError
from hub_cards.rows import DataArguments, first_rows, load_variants
from hub_cards.schema import SCORE_COLUMNS
from hub_cards.sources import Source, find_model
from hub_cards.tables import Table
from scoring.alignment import rank_correlation
from scoring.config import DTYPES, check_scorer
from scoring.prescored import add_statistics, find_statistics
from scoring.spans import PUBLISHED, SPANS
from scoring.templates import check_template_name

COMPARED = tuple(column.name for column in SCORE_COLUMNS if column.dtype != "string")
# By the one of these that differs most: a small model hardly looks at the template before a response, but does at the
# response before a question.
JUDGED = ("ppl_A_condition", "ppl_Q_condition", "ppl_A_direct", "ppl_Q_direct")
MAX_MEDIAN = 0.05  # another precision or library moves a perplexity by less, another model or template by more
RANKED, RANKED_ROWS, MIN_SPEARMAN = ("ifd_ppl", "rifd_ppl"), 10, 0.9
Arrays = Mapping[str, np.ndarray]


@dataclass
class VerifyConfig(DataArguments):
    """Score some rows of published statistics again and say whether they are those of this model."""

    statistics: str = field(default="", metadata={"help": "the published scores: a Hub id, a folder or a file"})
    statistics_revision: str | None = field(
        default=None, metadata={"help": "Hub revision of the statistics; resolved to a commit"}
    )
    model_name_or_path: str = field(default="", metadata={"help": "the model: a folder or a Hub id"})
    model_revision: str | None = field(default=None, metadata={"help": "Hub revision; resolved to a commit"})
    template: str = field(default="vicuna", metadata={"help": "the prompt template that they were made with"})
    dtype: str = field(default="float32", metadata={"help": f"the model's precision: {', '.join(DTYPES)}"})
    max_length: int = field(default=2048, metadata={"help": "tokens that were kept of prompt and response together"})
    span: str = field(default=PUBLISHED, metadata={"help": f"which tokens are the target's: {', '.join(SPANS)}"})
    count: int = field(default=100, metadata={"help": "rows to score again, of all variants together"})
    seed: int = field(default=0, metadata={"help": "which rows are drawn"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template_name(self.template)
        for name in ("statistics", "model_name_or_path"):
            if not getattr(self, name):
                raise BadInputError(f"--{name}: name it, a folder or a Hub id")
        check_scorer(self.dtype, self.span, self.max_length)
        if self.count < 1:
            raise BadInputError(f"--count {self.count}: must be at least 1")

    def model(self) -> Source:
        """The resolved model; raises `BadInputError` where there is none."""
        return find_model(self.model_name_or_path, self.model_revision)


@dataclass(frozen=True)
class Comparison:
    """One column, as published and as scored again.

    Attributes:
        rows: how many have a number on both sides.
        one_sided: how many have it on one side only.
        median, percentile_95, maximum: of the relative differences, against the published number; null without rows.
        spearman: rank correlation; null where it has no meaning.
    """

    column: str
    rows: int
    one_sided: int
    median: float | None
    percentile_95: float | None
    maximum: float | None
    spearman: float | None


def load_published(config: VerifyConfig) -> tuple[DatasetDict, dict[str, Any]]:
    """The rows with the published scores beside them, and how the two were aligned."""
    # All rows: statistics without ids are joined to all of them, and `limit` takes of what was joined.
    every_row = load_variants(replace(config, limit=None))
    variants, notes = add_statistics(every_row, published_source(config), COMPARED, text=config.source())
    return first_rows(variants, config.limit), notes


def published_source(config: VerifyConfig) -> Source:
    """The resolved statistics."""
    return find_statistics(config.statistics, config.statistics_revision)


def draw_rows(variants: DatasetDict, count: int, seed: int) -> dict[str, Dataset]:
    """Rows of any variant that have a published number, drawn in the order of `row_id`; all if they are fewer.

    Raises:
        BadInputError: no row has one.
    """
    having = []
    for place, (name, rows) in enumerate(variants.items()):
        columns = [column for column in COMPARED if column in rows.column_names]
        has = np.zeros(len(rows), bool)
        for column in columns:
            has |= ~np.isnan(numbers(arrow_column(rows, column)))
        ids = arrow_column(rows, "row_id").to_pylist()
        having += [(ids[position], place, name, int(position)) for position in np.flatnonzero(has)]
    if not having:
        raise BadInputError("--statistics: no row has a number that could be compared")
    having.sort()
    drawn = np.random.default_rng(seed).choice(len(having), min(count, len(having)), replace=False)
    chosen: dict[str, list[int]] = {}
    for number in sorted(drawn.tolist()):
        chosen.setdefault(having[number][2], []).append(having[number][3])
    return {name: variants[name].select(positions) for name, positions in chosen.items()}


def score_again(
    drawn: Mapping[str, Dataset], score: Callable[[dict[str, list[Any]]], dict[str, list[Any]]]
) -> tuple[Arrays, Arrays]:
    """The published columns of the drawn rows, and the same columns scored now; NaN where null.

    Args:
        score: the score columns of a batch of rows.
    """
    published: dict[str, list[np.ndarray]] = {}
    again: dict[str, list[np.ndarray]] = {}
    for rows in drawn.values():
        scored = score(rows.select_columns(["instruction", "input", "output"])[:])
        for column in (column for column in COMPARED if column in rows.column_names):
            published.setdefault(column, []).append(numbers(arrow_column(rows, column)))
            again.setdefault(column, []).append(numbers(pa.chunked_array([pa.array(scored[column], pa.float64())])))
    both = ({column: np.concatenate(parts) for column, parts in side.items()} for side in (published, again))
    return tuple(both)


def compare(published: Arrays, again: Arrays) -> list[Comparison]:
    """Every column of both sides, row by row."""
    return [_compare(column, published[column], again[column]) for column in published]


def _compare(column: str, published_N: np.ndarray, again_N: np.ndarray) -> Comparison:
    has_N = ~np.isnan(published_N) & ~np.isnan(again_N)
    one_sided = int((np.isnan(published_N) != np.isnan(again_N)).sum())
    old_M, new_M = published_N[has_N], again_N[has_N]
    if not len(old_M):
        return Comparison(column, 0, one_sided, None, None, None, None)
    size_M = np.abs(old_M)
    relative_M = np.divide(np.abs(new_M - old_M), size_M, out=np.where(new_M == old_M, 0.0, np.inf), where=size_M > 0)
    middle, high, most = (float(np.quantile(relative_M, share, method="lower")) for share in (0.5, 0.95, 1.0))
    return Comparison(column, len(old_M), one_sided, middle, high, most, rank_correlation(old_M, new_M))


def verdict(comparisons: Sequence[Comparison]) -> tuple[bool, str]:
    """Whether the statistics are those of the model, and a sentence that says so.

    Raises:
        BadInputError: no perplexity has a number on both sides.
    """
    there = [comparison for comparison in comparisons if comparison.column in JUDGED and comparison.rows]
    if not there:
        raise BadInputError("--statistics: no row has a perplexity both there and from this model, nothing to judge by")
    judged = max(there, key=lambda comparison: comparison.median)
    fits = judged.median <= MAX_MEDIAN
    # IFD lies so close to 1 that another prompt hardly moves it, but it does move the order of the rows.
    ranked = [entry for entry in comparisons if entry.column in RANKED and entry.rows >= RANKED_ROWS]
    worst = min(ranked, key=lambda entry: -1.0 if entry.spearman is None else entry.spearman, default=None)
    if fits and worst is not None and (worst.spearman is None or worst.spearman < MIN_SPEARMAN):
        return False, (
            f"the statistics do NOT fit this model with these settings: {worst.column} ranks the rows in another order "
            f"(Spearman {worst.spearman or 0:.2f} over {worst.rows} rows, less than {MIN_SPEARMAN}); is it the same "
            "--template?"
        )
    said = "fit this model and these settings" if fits else "do NOT fit this model with these settings"
    return fits, (
        f"the statistics {said}: the median difference of {judged.column} is {judged.median:.2%} over {judged.rows} "
        f"rows ({'at most' if fits else 'more than'} {MAX_MEDIAN:.0%})"
    )


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Header and one line a column."""
    return [
        ["column", "rows", "one side only", "median", "95 %", "max", "Spearman"],
        *(
            [
                *(entry.column, str(entry.rows), str(entry.one_sided)),
                *(_share(value) for value in (entry.median, entry.percentile_95, entry.maximum)),
                "–" if entry.spearman is None else f"{entry.spearman:.4f}",
            ]
            for entry in comparisons
        ),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3%}"
