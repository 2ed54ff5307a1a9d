"""The settings of `recipes/report.py`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.report.identity import identity_of
from hub_cards.report.page import page_digest
from hub_cards.report.run import Places, find_places
from hub_cards.rows import DataArguments
from hub_cards.sources import Source

STEP, VERSION = "report", 1


@dataclass
class ReportConfig(DataArguments):
    """Write one self-contained HTML page on what recycling did: the whole, and every row of it."""

    dataset: str = field(
        default="",
        metadata={"help": "a run's folder, a folder saved by a stage, a Hub id, or any data that a stage takes"},
    )
    output: str = field(default="report.html", metadata={"help": "the page, one .html file"})
    selection: str | None = field(
        default=None, metadata={"help": "folder saved by select_rows, of the same rows (default: that of the run)"}
    )
    compare: str | None = field(
        default=None, metadata={"help": "what to compare with, given as --dataset is: another selection or student"}
    )
    title: str = field(default="", metadata={"help": "heading of the page (default: the name of --dataset)"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset:
            raise BadInputError("--dataset: name the run, or the data, to report on")
        if not self.output.endswith(".html"):
            raise BadInputError(f"--output {self.output}: must end in .html")

    def other(self) -> DataArguments | None:
        """What it is compared with, as data arguments; None for nothing."""
        if self.compare is None:
            return None
        return DataArguments(dataset=self.compare, dataset_config=self.dataset_config, dataset_split=self.dataset_split)

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        inputs = _inputs(find_places(self.dataset, self.selection), self)
        if (other := self.other()) is not None:
            inputs |= {f"compared_{role}": source for role, source in _inputs(_places_of_other(other), other).items()}
        return StepRecord(STEP, VERSION, {**self.view(), "title": self.title, "page": page_digest()}, inputs)


def _places_of_other(arguments: DataArguments) -> Places:
    try:
        return find_places(arguments.dataset, None)
    except BadInputError as error:
        raise BadInputError(str(error).replace("--dataset", "--compare", 1)) from error


def _inputs(places: Places, arguments: DataArguments) -> dict[str, Source]:
    """What is read, by role: the stages of a run, the rows, the selection."""
    folders = {name: str(folder) for name, folder in places.stages.items()}
    folders |= {"selection": places.selection} if places.selection else {}
    found = {role: _result(folder) for role, folder in folders.items()}
    if places.variants is not None:
        found["dataset"] = replace(arguments, dataset=places.variants).source()
    return found


def _result(folder: str) -> Source:
    return Source("folder", folder, read_records(Path(folder))[-1].result_fingerprint)


def check_output(path: Path) -> None:
    """Refuse to write over what is no report of ours.

    Raises:
        BadInputError: there is another file, or a folder.
    """
    if path.exists() and identity_of(path) is None:
        raise BadInputError(f"--output {path}: exists and is no report of ours; choose another name or remove it")


def is_written(path: Path, record: StepRecord) -> bool:
    """Whether the report at `path` shows exactly this."""
    written = identity_of(path)
    return written is not None and written.fingerprint == record.fingerprint
