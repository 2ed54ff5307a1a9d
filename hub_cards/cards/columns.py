"""The columns of what is published, explained one by one: those of the contract and those that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset, List, Value

from hub_cards.arrow import arrow_column
from hub_cards.schema import COLUMNS_BY_NAME, VARIANTS, Column


@dataclass(frozen=True)
class ShownColumn:
    """A column as a card shows it.

    Attributes:
        nulls: in how many of `rows` it is null; `rows` are those of all configs that have it.
    """

    column: Column
    nulls: int
    rows: int


def shown_columns(configs: dict[str, Dataset]) -> list[ShownColumn]:
    """Every column of any config, in the order in which they are met."""
    found: dict[str, ShownColumn] = {}
    for part in configs.values():
        for name, feature in part.features.items():
            before = found.get(name) or ShownColumn(_explained(name, feature), 0, 0)
            nulls = before.nulls + arrow_column(part, name).null_count
            found[name] = replace(before, nulls=nulls, rows=before.rows + len(part))
    return list(found.values())


def _explained(name: str, feature: Any) -> Column:
    """Of the ledger, whose scores stand side by side (`ifd_ppl_original`), what the column without the variant is."""
    dtype = _dtype(feature)
    if name in COLUMNS_BY_NAME:
        return replace(COLUMNS_BY_NAME[name], dtype=dtype)
    for variant in VARIANTS:
        base = COLUMNS_BY_NAME.get(name.removesuffix(f"_{variant}"))
        if base is not None:
            return replace(base, name=name, dtype=dtype, meaning=f"of the variant {variant}: {base.meaning}")
    return Column(name, dtype, "", "a column of the source, as it was there")


def _dtype(feature: Any) -> str:
    if isinstance(feature, Value):
        return feature.dtype
    if isinstance(feature, List):
        return f"list<{_dtype(feature.feature)}>"
    return f"struct<{', '.join(feature)}>" if isinstance(feature, dict) else type(feature).__name__
