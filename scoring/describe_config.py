"""The settings of `recipes/describe.py`, and how a saved selection is read. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.rows import DataArguments, load_variants
from hub_cards.sources import Source
from hub_cards.storage import load_folder

DESCRIBE, DESCRIBE_VERSION = "describe", 2
LEDGER = "decisions"
LEDGER_COLUMNS = ("row_id", "selected", "selected_variant", "select_reason")


@dataclass
class DescribeConfig:
    """Describe scored data, and what a selection did to it: tables and plots."""

    dataset: str = field(metadata={"help": "folder saved by score"})
    selection: str | None = field(default=None, metadata={"help": "folder saved by select_rows, of the same rows"})
    output_dir: str = field(default="runs/describe", metadata={"help": "folder for the tables and plots"})

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        inputs = {"dataset": folder_source(self.dataset, "--dataset")}
        if self.selection is not None:
            inputs["selection"] = folder_source(self.selection, "--selection")
        return StepRecord(DESCRIBE, DESCRIBE_VERSION, {}, inputs)

    def variants(self) -> DatasetDict:
        """The scored variants."""
        return load_variants(DataArguments(dataset=self.dataset))

    def ledger(self) -> Dataset | None:
        """The decisions of the selection; None where none was given."""
        return None if self.selection is None else read_ledger(self.selection, "--selection")


def folder_source(folder: str, where: str) -> Source:
    """A folder saved by a stage, as an input of a step.

    Args:
        where: what the user named it by, for the message.

    Raises:
        BadInputError: there is no such folder, or no stage saved it.
    """
    records = read_records(Path(folder))
    if not records:
        raise BadInputError(f"{where} {folder}: there is no result of a stage; give a folder that a stage saved")
    return Source("folder", folder, records[-1].result_fingerprint)


def read_ledger(folder: str, where: str) -> Dataset:
    """One line a row with what a selection decided, from the folder that it saved.

    Args:
        where: what the user named it by, for the message.

    Raises:
        BadInputError: the folder holds no selection, or its ledger lacks a column.
    """
    saved = load_folder(Path(folder))
    if LEDGER not in saved:
        raise BadInputError(
            f"{where} {folder}: holds {', '.join(saved)} and no {LEDGER}; give a folder that select_rows saved"
        )
    missing = [name for name in LEDGER_COLUMNS if name not in saved[LEDGER].column_names]
    if missing:
        raise BadInputError(f"{where} {folder}: its {LEDGER} have no column {', '.join(missing)}; select again")
    return saved[LEDGER]
