"""The settings of `recipes/report.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.report.identity import identity_of, seal_of
from hub_cards.report.page import page_digest
from hub_cards.report.run import find_places, name_of
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

    @cached_property
    def other(self) -> DataArguments | None:
        """What it is compared with, as data arguments that keep a commit; None for nothing."""
        if self.compare is None:
            return None
        return DataArguments(dataset=self.compare, dataset_config=self.dataset_config, dataset_split=self.dataset_split)

    def heading(self) -> str:
        """The title, or else the name of what is shown."""
        return self.title or name_of(self.dataset)

    def part(self) -> str:
        """What these settings show of the rows, in words; empty where that is all of them."""
        shown = [] if self.dataset_config is None else [f"of the variants only {self.dataset_config}"]
        shown += [] if self.limit is None else [f"the first {self.limit:,} rows"]
        return ", ".join(shown)

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        shown = {**self.view(), "title": self.heading(), "page": page_digest()}
        inputs = _inputs(self, self.selection)
        if self.other is not None:
            shown["compared_with"] = name_of(self.compare)
            with named("--compare"):
                inputs |= {f"compared_{role}": source for role, source in _inputs(self.other).items()}
        return StepRecord(STEP, VERSION, shown, inputs)


@contextmanager
def named(flag: str) -> Iterator[None]:
    """What is wrong with data that another flag than `--dataset` has named is said with this flag."""
    try:
        yield
    except BadInputError as error:
        raise BadInputError(_with_flag(error, flag)) from error
    except StoppedError as error:
        raise StoppedError(_with_flag(error, flag)) from error


def _with_flag(error: Exception, flag: str) -> str:
    return re.sub(r"--dataset(?![\w-])", flag, str(error))


def _inputs(arguments: DataArguments, selection: str | None = None) -> dict[str, Source]:
    """What is read, by role: the stages of a run, the rows, the selection."""
    places = find_places(arguments.dataset, selection)
    folders = {name: str(folder) for name, folder in places.stages.items()}
    folders |= {"selection": places.selection} if places.selection else {}
    found = {role: _result(folder) for role, folder in folders.items()}
    return {**found, "dataset": places.rows(arguments).source()} if places.variants is not None else found


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
    """Whether the report at `path` shows exactly this, and is as it was written."""
    written = identity_of(path)
    return written is not None and written.fingerprint == record.fingerprint and seal_of(path) is not None
