"""What a report is about: the variants of a run, what was decided of them, and the records of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from hub_cards.arrow import arrow_column, positions_in
from hub_cards.errors import BadInputError
from hub_cards.parts import parts_of
from hub_cards.provenance import StepRecord, read_records
from hub_cards.publishing.about_run import as_published
from hub_cards.publishing.target import DATASET
from hub_cards.rows import DataArguments, first_rows, load_rows, load_variants
from hub_cards.schema import SELECT_COLUMNS, VARIANTS
from hub_cards.sources import Source, data_files, hub_data_files, hub_folder, is_saved_folder
from hub_cards.stages import records_of
from hub_cards.storage import load_folder

# A run's stages in their order; what is shown of one is its record, and the rows of the ones that have any.
LEARNED = ("sft", "evaluate")
STAGES = ("reflect", "score", "select", *LEARNED)
WITH_VARIANTS = ("score", "reflect")
SELECTED, DECISIONS = "selected", "decisions"
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

    def rows(self, arguments: DataArguments) -> DataArguments:
        """The arguments that read the variants; where they name these themselves the very same, which keep a commit."""
        return arguments if self.variants == arguments.dataset else replace(arguments, dataset=self.variants)


@dataclass(frozen=True)
class Run:
    """What is shown.

    Attributes:
        name: of the place that it was read from.
        variants: the rows of each.
        decisions: of each row what a selection decided, in any order; None where there was none.
        records: of the steps that made all this, each once.
        row_ids: of the rows that are shown, in their order.
    """

    name: str
    variants: DatasetDict
    decisions: Dataset | None
    records: list[StepRecord]
    row_ids: pa.ChunkedArray

    @cached_property
    def shown_decisions(self) -> Dataset | None:
        """The decisions of the rows that are shown: of a limited report only these."""
        if self.decisions is None:
            return None
        is_shown = positions_in(arrow_column(self.decisions, "row_id"), self.row_ids) >= 0
        return self.decisions.select(np.flatnonzero(is_shown))

    @property
    def shown_records(self) -> list[StepRecord]:
        """The records as strangers may read them: of a place on this machine no more than its name."""
        return [replace(record, config=_without_places(record.config)) for record in as_published(self.records)]


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_places(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def name_of(dataset: str) -> str:
    """What data is called: a Hub id as it is, a folder or file by its name, a stage of a run with the run's."""
    if not Path(dataset).exists():
        return dataset
    place = Path(dataset).resolve()
    return f"{place.parent.name}/{place.name}" if place.name in STAGES else place.name


def find_places(dataset: str, selection: str | None) -> Places:
    """Tell a run's folder from that of one stage, and from any other data.

    Args:
        selection: a folder saved by select_rows that goes with `dataset`; None for none, or for that of the run.

    Raises:
        BadInputError: the run holds nothing that could be shown, or `selection` is none.
    """
    folder = Path(dataset)
    if selection is not None and _record_of_selection(Path(selection)) is None:
        raise BadInputError(f"--selection {selection}: holds no {DECISIONS}; give a folder that select_rows saved")
    if _record_of_selection(folder) is not None:
        if selection is not None:
            raise BadInputError(
                f"--selection {selection}: goes with rows, and --dataset {dataset} is a selection itself"
            )
        return Places(None, dataset, {})
    records = read_records(folder)
    if records:
        _check_holds_rows(dataset, records[-1].step)
    stages = {name: folder / name for name in STAGES if not records and read_records(folder / name)}
    if not stages:
        return Places(dataset, selection, {})
    damaged = next((name for name in STAGES if name not in stages and (folder / name).is_dir()), None)
    if damaged is not None:
        raise BadInputError(
            f"--dataset {dataset}: {folder / damaged} has no readable provenance.json, so it is damaged; run "
            f"{damaged} again, or remove it"
        )
    decided = str(stages["select"]) if "select" in stages else None
    variants = next((str(stages[name]) for name in WITH_VARIANTS if name in stages), None)
    if variants is None and decided is None:
        raise BadInputError(f"--dataset {dataset}: the run holds no finished {', '.join(WITH_VARIANTS)} or select")
    if decided is not None and selection is None and "statistics" in read_records(Path(decided))[-1].inputs:
        variants = None  # scores that were published have decided, and not those beside the rows
    return Places(variants, selection or decided, stages)


def _check_holds_rows(dataset: str, step: str) -> None:
    if step in LEARNED:
        raise BadInputError(f"--dataset {dataset}: is a result of {step} and holds no rows; give the folder of its run")
    if step == "publish" and (Path(dataset) / DATASET).is_dir():
        raise BadInputError(f"--dataset {dataset}: holds several repositories; give {Path(dataset) / DATASET}")


def _record_of_selection(folder: Path) -> StepRecord | None:
    """The record of what select_rows saved in a folder; None for any other one."""
    records = read_records(folder)
    return records[-1] if records and records[-1].step == "select" and (folder / DECISIONS).is_dir() else None


def load_run(arguments: DataArguments, selection: str | None, selected_from: SelectedFrom) -> Run:
    """Load a run's folder, a stage's result, a published set (here or on the Hub), or any data that a stage takes.

    Args:
        arguments: which data; `limit` and the like as in every script.
        selection: see `find_places`.

    Raises:
        BadInputError: it cannot be read, or the selection is of other rows.
    """
    places = find_places(arguments.dataset, selection)
    if places.variants is None:
        variants = _selected_from(places.selection, arguments, selected_from)
    else:
        variants = _load_variants(places.rows(arguments))
    row_ids = arrow_column(next(iter(variants.values())), "row_id")
    if places.selection is None:
        decisions = decisions_of(variants)
    else:
        decisions = load_folder(Path(places.selection))[DECISIONS]
        if len(row_ids) and (positions_in(row_ids, arrow_column(decisions, "row_id")) < 0).all():
            named = f"--selection {selection}:" if selection else f"--dataset {arguments.dataset}: its selection"
            raise BadInputError(f"{named} is of other rows: it has no row_id of {places.variants}")
    return Run(name_of(arguments.dataset), by_variant(variants), decisions, _records(arguments, places), row_ids)


def _selected_from(selection: str, arguments: DataArguments, selected_from: SelectedFrom) -> DatasetDict:
    """What a selection was made from, as far as it is asked for."""
    try:
        variants = selected_from(read_records(Path(selection))[-1])
    except BadInputError as error:
        told = str(error).removeprefix("--dataset ")
        raise BadInputError(
            f"--dataset {arguments.dataset}: what it was selected from cannot be read: {told}"
        ) from error
    wanted = arguments.dataset_config
    if wanted is not None and wanted not in variants:
        raise BadInputError(f"--dataset_config {wanted}: {arguments.dataset} was selected from {', '.join(variants)}")
    return first_rows(DatasetDict({wanted: variants[wanted]}) if wanted else variants, arguments.limit)


def _load_variants(arguments: DataArguments) -> DatasetDict:
    """The variants; where only a selection was published, or is asked for, the rows that it kept."""
    source = arguments.source()
    hub = hub_folder(source) if source.kind == "hub" else None
    parts = parts_of(_published_files(source) if hub is None else hub_data_files(hub))
    if SELECTED not in parts or (arguments.dataset_config != SELECTED and parts.keys() & set(VARIANTS)):
        return load_variants(arguments)
    if hub is not None:
        hub.fetch(parts[SELECTED])
    folder = arguments.dataset if hub is None else str(hub.snapshot)
    wanted = DataArguments(dataset=folder, dataset_config=SELECTED, limit=arguments.limit)
    return DatasetDict({SELECTED: load_rows(wanted).dataset})


def _published_files(source: Source) -> Sequence[Path]:
    """The data files of a folder that no stage saved."""
    folder = Path(source.location)
    is_published = source.kind == "folder" and not is_saved_folder(folder)
    return [path.relative_to(folder) for path in data_files(folder)] if is_published else []


def by_variant(variants: DatasetDict) -> DatasetDict:
    """Selected rows, each as the variant that it is; any other variants as they are."""
    rows = variants.get(SELECTED)
    if rows is None or "variant" not in rows.column_names:
        return variants
    table, names = rows.with_format("arrow")[:], arrow_column(rows, "variant")
    parts = {name: Dataset(part) for name in VARIANTS if len(part := table.filter(pc.equal(names, name)))}
    return DatasetDict(parts) if parts else variants


def decisions_of(variants: DatasetDict) -> Dataset | None:
    """What was decided of the rows of the first variant, from the columns of published variants.

    Returns:
        The select columns as far as they are there; None where a variant does not say what was kept.
    """
    first = next(iter(variants.values()))
    if not all(set(DECIDED) <= set(rows.column_names) for rows in variants.values()):
        return None
    ids = arrow_column(first, "row_id")
    kept = np.zeros(len(first), dtype=bool)
    for rows in variants.values():
        mine = arrow_column(rows, "row_id").filter(pc.fill_null(arrow_column(rows, "selected"), False))
        kept |= positions_in(ids, mine) >= 0
    others = [column.name for column in SELECT_COLUMNS if column.name in first.column_names and column.name != SELECTED]
    columns = {name: arrow_column(first, name) for name in others}
    return Dataset(pa.table({"row_id": ids, SELECTED: kept, **columns}))


def _records(arguments: DataArguments, places: Places) -> list[StepRecord]:
    """The records of the rows, then those of the selection, then of what a run made of them: each once."""
    found = records_of(places.rows(arguments).source(), "dataset") if places.variants is not None else []
    found += read_records(Path(places.selection)) if places.selection is not None else []
    # Of what they learned from no more than that: it may have been selected again since.
    found += [read_records(places.stages[name])[-1] for name in LEARNED if name in places.stages]
    return list({record.fingerprint: record for record in found}.values())
