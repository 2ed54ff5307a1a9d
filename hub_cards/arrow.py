"""A data set's columns as Arrow, without going through Python objects."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from tempfile import NamedTemporaryFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

HELD_BYTES = 64 * 2**20


def arrow_column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """One column in the order of the rows."""
    return rows.select_columns(name).with_format("arrow")[:][name]


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers as float64; NaN stands for null, and for what is no finite number."""
    values = pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def mapped(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables one after the other; what is more than a little in a temporary file that is mapped and not read.

    They may be more than the memory. The file lives as long as the mapping.
    """
    tables, held, size = iter(tables), [], 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size > HELD_BYTES:
            break
    else:
        return pa.concat_tables(held) if held else schema.empty_table()
    with NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_stream(file, schema) as writer:
            for table in chain(held, tables):
                writer.write_table(table)
        file.flush()
        return pa.ipc.open_stream(pa.memory_map(file.name)).read_all()


def positions_in(wanted: pa.ChunkedArray, known: pa.ChunkedArray) -> np.ndarray:
    """For each of the wanted ids its position among the known ones; -1 where it is not there."""
    return pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy()
