"""The numbers by which the papers describe a recycled set (arXiv 2310.11716, Table 3). Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Value, concatenate_datasets

from hub_cards.arrow import arrow_column, numbers, positions_in
from hub_cards.errors import BadInputError
from hub_cards.schema import COLUMNS_BY_NAME

# What the tables show and the column it is taken from.
TABLE_COLUMNS = {
    "instruction_tokens": "n_tokens_Q",
    "response_tokens": "n_tokens_A",
    "instruction_ppl": "ppl_Q_direct",
    "instruction_ppl_given_response": "ppl_Q_condition",
    "response_ppl": "ppl_A_direct",
    "response_ppl_given_instruction": "ppl_A_condition",
    "coherence": "coherence",
    "ifd_ppl": "ifd_ppl",
    "rifd_ppl": "rifd_ppl",
}
STATISTICS_FEATURES = Features(
    {
        **{name: Value("string") for name in ("variant", "statistic", "unit")},
        "n": Value("int64"),
        **{name: Value("float64") for name in ("mean", "q1", "median", "q3")},
    }
)


def describe(rows: Dataset) -> dict[str, Any]:
    """Describe the rows of one variant.

    Returns:
        `rows`, how many there are, and for each statistic whose column there is what `summarize` gives.
    """
    present = {name: column for name, column in TABLE_COLUMNS.items() if column in rows.column_names}
    return {"rows": len(rows), **{name: summarize(finite_numbers(rows, column)) for name, column in present.items()}}


def summarize(values: np.ndarray) -> dict[str, float | int | None]:
    """Number, mean and quartiles (linear between the two nearest values) of `values`; null where there are none."""
    if len(values) == 0:
        return {"n": 0, "mean": None, "q1": None, "median": None, "q3": None}
    q1, median, q3 = (float(value) for value in np.percentile(values, (25, 50, 75)))
    # Summed exactly, so that the order of the rows cannot show in the record.
    return {"n": len(values), "mean": math.fsum(values) / len(values), "q1": q1, "median": median, "q3": q3}


def finite_numbers(rows: Dataset, column: str) -> np.ndarray:
    """The numbers of a column without its nulls, float64."""
    values = numbers(arrow_column(rows, column))
    return values[~np.isnan(values)]


def as_dataset(described: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """One row a group and statistic, from what `describe` gave for each group, with the unit of the statistic."""
    lines = [
        {"variant": group, "statistic": name, "unit": COLUMNS_BY_NAME[TABLE_COLUMNS[name]].unit, **statistics[name]}
        for group, statistics in described.items()
        for name in TABLE_COLUMNS
        if name in statistics
    ]
    return Dataset.from_list(lines, features=STATISTICS_FEATURES)


def from_dataset(statistics: Dataset) -> dict[str, dict[str, Any]]:
    """What `as_dataset` was given, less the numbers of rows."""
    described: dict[str, dict[str, Any]] = {}
    for line in statistics:
        described.setdefault(line["variant"], {})[line["statistic"]] = line
    return described


@dataclass(frozen=True)
class Outcome:
    """Where the rows of a selection stand among the variants.

    Attributes:
        kept: for each variant the positions of its rows that were kept.
        dropped: the same of the dropped rows; such a row stands in the variant that had won when it was dropped, or in
            the first variant where none had.
    """

    kept: dict[str, np.ndarray]
    dropped: dict[str, np.ndarray]

    def groups(self, variants: Mapping[str, Dataset]) -> Iterator[tuple[str, Dataset]]:
        """`selected` and `dropped` with their rows: the columns of the statistics that all variants have."""
        for name, positions in (("selected", self.kept), ("dropped", self.dropped)):
            yield name, _gather(variants, positions)


def locate(variants: Mapping[str, Dataset], ledger: Dataset) -> Outcome:
    """Find the rows of a ledger in the variants, by `row_id`.

    Raises:
        BadInputError: a row of the ledger is not there, or not in the variant that was chosen.
    """
    ids, first = arrow_column(ledger, "row_id"), next(iter(variants))
    selected = pc.fill_null(arrow_column(ledger, "selected"), False).to_numpy()
    chosen = pc.fill_null(pc.cast(arrow_column(ledger, "selected_variant"), pa.string()), first).to_numpy()
    unknown = sorted(set(chosen) - set(variants))
    if unknown:
        raise BadInputError(
            f"--selection chose variant {unknown[0]}, but --dataset holds {', '.join(variants)}; give all variants "
            "that were selected from"
        )
    kept, dropped = {}, {}
    for name, rows in variants.items():
        mine = chosen == name
        positions = positions_in(ids.filter(pa.array(mine)), arrow_column(rows, "row_id"))
        if (positions < 0).any():
            odd = ids.to_pylist()[np.flatnonzero(mine)[np.argmax(positions < 0)]]
            raise BadInputError(
                f"--selection has row_id {odd}, which is not in variant {name} of --dataset; give the folder that was "
                "selected from"
            )
        kept[name], dropped[name] = positions[selected[mine]], positions[~selected[mine]]
    return Outcome(kept, dropped)


def _gather(variants: Mapping[str, Dataset], positions: Mapping[str, np.ndarray]) -> Dataset:
    present = [column for column in TABLE_COLUMNS.values() if all(column in v.column_names for v in variants.values())]
    return concatenate_datasets(
        [rows.select_columns(present).select(positions[name]) for name, rows in variants.items()]
    )
