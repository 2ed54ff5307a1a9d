"""A data set's columns as Arrow, without going through Python objects."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset


def arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """One column in the order of the rows."""
    return rows.select_columns(name).with_format("arrow")[:][name]


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers as float64; NaN stands for null, and for what is no finite number."""
    values = pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def positions_in(wanted: pa.ChunkedArray, known: pa.ChunkedArray) -> np.ndarray:
    """For each of the wanted ids its position among the known ones; -1 where it is not there."""
    return pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy()
