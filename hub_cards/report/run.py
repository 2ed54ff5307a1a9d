"""What a report is about: the variants of a run, what was decided of them, and the records of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from hub_cards.arrow import arrow_column, positions_in
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.rows import DataArguments, load_variants
from hub_cards.sources import find_source
from hub_cards.stages import records_of
from hub_cards.storage import load_folder

# A run's stages in their order; what is shown of one is its record, and the rows of the ones that have any.
STAGES = ("reflect", "score", "select", "sft", "evaluate")
WITH_VARIANTS = ("score", "reflect")
DECISIONS = "decisions"
DECIDED = ("selected", "selected_variant", "select_reason")
# From the record of a selection the variants that it was made from, with their scores.
SelectedFrom = Callable[[StepRecord], DatasetDict]


@dataclass(frozen=True)
class Places:
    """Where the parts of what is shown lie.

    Attributes:
        variants: a folder, file or Hub id; None where they are found by the record of the selection.
        selection: a folder saved by select_rows; None where there is none, or where the rows say it themselves.
        stages: the folders of a run by stage, as far as they are there.
    """

    variants: str | None
    selection: str | None
    stages: dict[str, Path]


@dataclass(frozen=True)
class Run:
    """What is shown.

    Attributes:
        name: of the place that it was read from.
        variants: the rows of each; of any, the first variant's rows are those that are shown.
        decisions: of each row what a selection decided, in any order; None where there was none.
        records: of the steps that made all this, each once.
    """

    name: str
    variants: DatasetDict
    decisions: Dataset | None
    records: list[StepRecord]


def find_places(dataset: str, selection: str | None) -> Places:
    """Tell a run's folder from that of one stage, and from any other data.

    Args:
        selection: a folder saved by select_rows that goes with `dataset`; None for none, or for that of the run.

    Raises:
        BadInputError: the run holds nothing that could be shown, or `selection` is none.
    """
    folder = Path(dataset)
    records = read_records(folder)
    stages = {name: folder / name for name in STAGES if not records and read_records(folder / name)}
    if selection is not None:
        _check_selection(selection)
    if stages:
        variants = next((str(stages[name]) for name in WITH_VARIANTS if name in stages), None)
        found = selection or (str(stages["select"]) if "select" in stages else None)
        if variants is None and found is None:
            raise BadInputError(f"--dataset {dataset}: the run holds no finished {', '.join(WITH_VARIANTS)} or select")
        return Places(variants, found, stages)
    if records and records[-1].step == "select" and (folder / DECISIONS).is_dir():
        return Places(None, selection or dataset, {})
    return Places(dataset, selection, {})


def _check_selection(folder: str) -> None:
    if not (Path(folder) / DECISIONS).is_dir():
        raise BadInputError(f"--selection {folder}: holds no {DECISIONS}; give a folder that select_rows saved")


def load_run(arguments: DataArguments, selection: str | None, selected_from: SelectedFrom) -> Run:
    """Load a run's folder, a stage's result, a published set (here or on the Hub), or any data that a stage takes.

    Args:
        arguments: which data; `limit` and the like as in every script.
        selection: see `find_places`.

    Raises:
        BadInputError: it cannot be read, or the selection is of other rows.
    """
    places = find_places(arguments.dataset, selection)
    ledger = load_folder(Path(places.selection))[DECISIONS] if places.selection else None
    if places.variants is not None:
        variants = load_variants(replace(arguments, dataset=places.variants))
    else:
        variants = selected_from(read_records(Path(places.selection))[-1])
        _check_limit(arguments)
    if ledger is None:
        ledger = decisions_of(variants)
    else:
        _check_rows(variants, ledger, places.selection)
    return Run(Path(arguments.dataset).name or arguments.dataset, variants, ledger, _records(arguments, places))


def _check_limit(arguments: DataArguments) -> None:
    if arguments.limit is not None:
        raise BadInputError(
            f"--limit {arguments.limit}: goes with the rows that a selection was made from: give these as --dataset "
            f"and {arguments.dataset} as --selection"
        )


def _check_rows(variants: DatasetDict, ledger: Dataset, selection: str) -> None:
    shown = arrow_column(next(iter(variants.values())), "row_id")
    if len(shown) and (positions_in(shown, arrow_column(ledger, "row_id")) < 0).all():
        raise BadInputError(f"--selection {selection}: is of other rows: it has no row_id of --dataset")


def _records(arguments: DataArguments, places: Places) -> list[StepRecord]:
    if places.stages:
        lists: Iterable[list[StepRecord]] = [read_records(folder) for folder in places.stages.values()]
    elif places.variants is None:
        lists = [read_records(Path(places.selection))]
    else:
        source = find_source(places.variants, arguments.dataset_revision)
        lists = [records_of(source, "dataset"), read_records(Path(places.selection)) if places.selection else []]
    return list({record.fingerprint: record for records in lists for record in records}.values())


def decisions_of(variants: DatasetDict) -> Dataset | None:
    """What was decided, from the columns of published variants; None where they have none."""
    first = next(iter(variants.values()))
    if not all(set(DECIDED) <= set(rows.column_names) for rows in variants.values()):
        return None
    ids = arrow_column(first, "row_id")
    kept = np.zeros(len(first), dtype=bool)
    for rows in variants.values():
        mine = arrow_column(rows, "row_id").filter(pc.fill_null(arrow_column(rows, "selected"), False))
        kept |= pc.is_in(ids, value_set=mine.combine_chunks()).to_numpy(zero_copy_only=False)
    return Dataset(
        pa.table(
            {
                "row_id": ids,
                "selected": pa.array(kept),
                **{name: arrow_column(first, name) for name in DECIDED[1:]},
            }
        )
    )
