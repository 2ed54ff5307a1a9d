"""The rows that a selection is made from: scored ones, or text with statistics beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.rows import load_variants
from scoring.config import SelectConfig
from scoring.prescored import add_statistics
from scoring.selection.steps import Step
from scoring.selection.table import IFD


def load_scored(config: SelectConfig, steps: Sequence[Step]) -> tuple[DatasetDict, dict[str, Any]]:
    """The variants with the columns that the steps read, and by variant how statistics were joined to them, if any.

    Raises:
        BadInputError: the data or the statistics cannot be read, or do not belong together.
    """
    statistics = config.statistics_source()
    if statistics is None:
        return load_variants(config), {}
    # All of the data first: statistics without ids are joined to all of it, and `limit` takes of what was joined.
    read = dict.fromkeys(column for step in steps for column in (*step.strategy.reads, *step.strategy.needs))
    variants, joined = add_statistics(load_variants(config.without_limit()), statistics, [*read, IFD], config.source())
    if config.limit is not None:
        variants = DatasetDict(
            {name: rows.select(range(min(config.limit, len(rows)))) for name, rows in variants.items()}
        )
    return variants, joined


def joined_lines(joined: Mapping[str, Any]) -> list[str]:
    """How statistics were joined, and what is odd about them, a line each."""
    lines = []
    for variant, notes in joined.items():
        without = notes.get("rows_without_statistics", 0)
        missing = f", {without:,} of them without statistics" if without else ""
        lines.append(f"statistics of {variant}: joined by {notes['aligned_by']}, {notes['rows']:,} rows{missing}")
        lines += [f"warning: {warning}" for warning in notes["warnings"]]
    return lines


def settings_of(record: StepRecord) -> SelectConfig:
    """Which rows a selection was made from.

    Raises:
        BadInputError: what it was made from is not there any more, or is not what it was.
    """
    dataset, statistics = record.inputs["dataset"], record.inputs.get("statistics")
    config = SelectConfig(
        dataset=dataset.location,
        dataset_config=record.config["config"],
        dataset_split=record.config["split"],
        dataset_revision=dataset.revision,
        limit=record.config["limit"],
        strategy=["random count=1"],  # not asked: the record's own steps are
        statistics=statistics.location if statistics else None,
        statistics_revision=statistics.revision if statistics else None,
    )
    now = {"dataset": config.source(), "statistics": config.statistics_source()}
    for role, source in record.inputs.items():
        if role in now and now[role].fingerprint != source.fingerprint:
            raise BadInputError(f"{source.location} is not what the selection was made from: it was changed since")
    return config
