"""Score tables from plain columns, and selections from them in words."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.schema import VARIANTS
from scoring.selection.apply import select_rows
from scoring.selection.steps import parse_steps
from scoring.selection.table import Rows, ScoreTable, load_selection

Columns = Mapping[str, Sequence[Any]]
NUMBERS = itertools.count()
NAN, INFINITE = float("nan"), float("inf")


@dataclass
class Selection:
    """What a selection gave, the ledger's columns by row id."""

    selected: Dataset
    decisions: Dataset
    counts: dict[str, Any]

    def by_id(self, column: str) -> dict[str, Any]:
        """The rows that have a value in this column."""
        pairs = zip(self.decisions["row_id"], self.decisions[column], strict=True)
        return {row: value for row, value in pairs if value is not None}

    @property
    def kept(self) -> list[str]:
        return self.selected["row_id"][:]

    @property
    def reasons(self) -> dict[str, str]:
        return self.by_id("select_reason")

    @property
    def ranks(self) -> dict[str, int]:
        return self.by_id("select_rank")

    @property
    def scores(self) -> dict[str, float]:
        return self.by_id("select_score")

    @property
    def variants(self) -> dict[str, str]:
        return self.by_id("selected_variant")


@pytest.fixture(scope="session")
def variants_of() -> Callable[..., DatasetDict]:
    """Variants from their columns; the rows are a, b, c … where no `row_id` is given."""

    def make(**variants: Columns | pa.Table) -> DatasetDict:
        parts = {}
        for name, columns in variants.items():
            table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
            if "row_id" not in table.column_names:
                table = table.add_column(0, "row_id", pa.array(list(ascii_lowercase[: len(table)]), pa.string()))
            # Without a fingerprint of our own most of a test's time would go into hashing the rows.
            parts[name] = Dataset(table, fingerprint=f"{name} {next(NUMBERS)}")
        return DatasetDict(parts)

    return make


@pytest.fixture(scope="session")
def table_of(variants_of) -> Callable[..., ScoreTable]:
    """The same as a table; `load_selection` gives earlier selections."""

    def make(load_selection: Callable[[str], DatasetDict] = load_selection, **variants: Columns) -> ScoreTable:
        return ScoreTable(variants_of(**variants), load_selection)

    return make


@pytest.fixture(scope="session")
def rows_of(table_of) -> Callable[..., Rows]:
    """All rows of a table, as the first step sees them: the original of each."""

    def make(table: ScoreTable | None = None, **columns: Sequence[Any]) -> Rows:
        table = table_of(original=columns) if table is None else table
        return Rows(table, np.arange(len(table)), np.zeros(len(table), dtype=np.int64))

    return make


@pytest.fixture(scope="session")
def select(table_of) -> Callable[..., Selection]:
    """Select from variants by steps in words."""

    def run(*steps: str, settings: Mapping[str, Any] | None = None, **variants: Any) -> Selection:
        result, counts = select_rows(table_of(**variants), parse_steps(steps, settings or {}))
        return Selection(result["selected"], result["decisions"], counts)

    return run


@pytest.fixture(scope="session")
def decide(select) -> Callable[..., Selection]:
    """Select from rows of the variant `original` alone."""

    def run(*steps: str, **columns: Sequence[Any]) -> Selection:
        return select(*steps, original=columns)

    return run


WORDS = ("red", "green", "blue", "one", "two")


def some(numbers: np.random.Generator, values: Sequence[Any], size: int, missing: Sequence[Any]) -> list[Any]:
    """Values of a short list, so that there are ties, and about one in six of those that stand for nothing."""
    choices = [*values, *missing]
    weights = [5 / len(values)] * len(values) + [1 / len(missing)] * len(missing)
    picked = numbers.choice(len(choices), size=size, p=np.array(weights) / 6)
    return [choices[number] for number in picked]


def random_columns(numbers: np.random.Generator, size: int) -> dict[str, pa.Array]:
    """Every column that a strategy looks at."""
    ratios, nothing = (0.25, 0.5, 0.75, 1.0, 1.25), (None, NAN, INFINITE)
    columns = {
        name: pa.array(some(numbers, ratios, size, nothing), pa.float64())
        for name in ("ifd_ppl", "rifd_ppl", "ifd_loss", "loss_A_condition", "ppl_prompt")
    }
    for name in ("selectit_token", "selectit_sentence", "selectit_model"):
        columns[name] = pa.array(some(numbers, (1.5, 2.0, 3.25), size, nothing), pa.float64())
    columns["n_tokens_A"] = pa.array(some(numbers, range(1, 6), size, (None,)), pa.int64())
    for name in ("embedding", "prompt_embedding"):
        vectors = [[float(x) for x in vector] for vector in numbers.integers(1, 4, (4, 3))]
        columns[name] = pa.array(some(numbers, vectors, size, (None, [])), pa.list_(pa.float32()))
    for name in ("token_losses_A_condition", "token_losses_A_direct"):
        lists = [numbers.integers(1, 9, length).tolist() for length in (2, 3, 4)]
        columns[name] = pa.array(some(numbers, lists, size, (None, [])), pa.list_(pa.float32()))
    lengths = numbers.integers(1, 6, size)
    columns["output"] = pa.array([" ".join(numbers.choice(WORDS, length)) for length in lengths], pa.string())
    return columns


@pytest.fixture(scope="session")
def random_variants() -> Callable[..., dict[str, pa.Table]]:
    """Variants of the same rows with all columns; the order of the rows differs from variant to variant."""

    def make(seed: int, size: int, names: Sequence[str] = VARIANTS) -> dict[str, pa.Table]:
        numbers = np.random.default_rng(seed)
        ids = [f"row{number:02}" for number in numbers.permutation(size)]
        parts = {}
        for name in names:
            order = pa.array(numbers.permutation(size))
            parts[name] = pa.table({"row_id": ids, **random_columns(numbers, size)}).take(order)
        return parts

    return make
