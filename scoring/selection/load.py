"""The rows that a selection is made from: scored ones, or text with statistics beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.rows import first_rows, load_variants
from hub_cards.schema import COLUMNS_BY_NAME, VARIANTS
from hub_cards.sources import Source, read_file_records
from scoring.config import SelectConfig
from scoring.prescored import add_statistics
from scoring.selection.steps import Step
from scoring.selection.table import IFD

ORIGINAL = VARIANTS[0]

# What became null, by the count of it.
MADE_NULL = {"missing_lists": "no list of four", "zeros_as_null": "impossible numbers (0, negative)"}


def load_scored(config: SelectConfig, steps: Sequence[Step]) -> tuple[DatasetDict, dict[str, Any]]:
    """The variants with the columns that the steps read, and by variant how statistics were joined to them, if any.

    Raises:
        BadInputError: the data or the statistics cannot be read, or do not belong together.
    """
    statistics = config.statistics_source()
    read = dict.fromkeys(column for step in steps for column in (*step.strategy.reads, *step.strategy.needs))
    # All of the data first: statistics without ids are joined to all of it, and `limit` takes of what was joined.
    variants, joined = _with_own_columns(load_variants(replace(config, limit=None)), config.source(), list(read)), {}
    if statistics is not None:
        variants, joined = add_statistics(variants, statistics, [*read, IFD], config.source())
    if list(variants) == [ORIGINAL] and any(
        getattr(step.strategy, "require_reflected_response", False) for step in steps
    ):
        raise BadInputError(
            f"--strategy selective: chooses among a row's variants and keeps reflected responses, and --dataset "
            f"{config.dataset} has {ORIGINAL} only; to select rows as they are take another strategy, cherry for one"
        )
    return first_rows(variants, config.limit), joined


def _with_own_columns(variants: DatasetDict, source: Source, wanted: Sequence[str]) -> DatasetDict:
    """Beside the rows of a file those of its columns that a step looks at and rows do not carry: a category, say."""
    rows = variants.get(ORIGINAL)
    wanted = [column for column in wanted if column not in COLUMNS_BY_NAME]
    missing = [] if rows is None else [column for column in wanted if column not in rows.column_names]
    if source.kind != "file" or not missing:
        return variants
    values: dict[str, list[Any]] = {column: [] for column in missing}
    for record in read_file_records(Path(source.location)):
        for column, found in values.items():
            found.append(record.get(column))
    present = {column: found for column, found in values.items() if any(value is not None for value in found)}
    if not present:
        return variants
    return DatasetDict({ORIGINAL: concatenate_datasets([rows, Dataset.from_dict(present)], axis=1)})


def joined_lines(joined: Mapping[str, Any]) -> list[str]:
    """How statistics were joined, and what is odd about them, a line each."""
    lines = []
    for variant, notes in joined.items():
        without = notes.get("rows_without_statistics", 0)
        odd = [f"{without:,} of them without statistics"] if without else []
        odd += [f"{count:,} with {what}" for key, what in MADE_NULL.items() if (count := notes.get(key, 0))]
        if notes["aligned_by"] == "position" and "alignment_z" not in notes:
            odd.append("their order not checked (it takes 200 rows)")
        found = ", ".join([notes["aligned_by"], f"{notes['rows']:,} rows", *odd])
        lines.append(f"statistics of {variant}: joined by {found}")
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
