"""The settings of `recipes/win_rates.py`, and how verdicts are found. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, load_from_disk

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.sources import Source, find_source
from training.given_answers import FOLDER as ANSWERS
from training.reviews import read_reviews

STEP, VERSION = "win_rates", 1
VERDICTS = "verdicts"


@dataclass
class WinRatesConfig:
    """Win rates of saved verdicts: old judge logs, or folders of `evaluate_model.py`."""

    reviews: list[str] = field(
        metadata={"help": "judge logs (.json), folders of such logs, or folders that evaluate_model saved"}
    )
    output_dir: str = field(default="runs/win_rates", metadata={"help": "folder for the report and the chart"})

    def __post_init__(self) -> None:
        if not isinstance(self.reviews, list) or not self.reviews:
            raise BadInputError(f"--reviews {self.reviews!r}: name at least one file or folder")

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        return StepRecord(STEP, VERSION, {}, {f"reviews {n}": _source(name) for n, name in enumerate(self.reviews, 1)})

    def verdicts(self) -> dict[str, Dataset]:
        """The verdicts by judge set; a log's set is its file's name. Says what a reader should know of them.

        Raises:
            BadInputError: a log cannot be read, a folder holds none, or two sets have one name.
        """
        sets: dict[str, Dataset] = {}
        for location in self.reviews:
            for name, rows in _read(Path(location)):
                if name in sets:
                    raise BadInputError(
                        f"--reviews {location}: a second set is named {name}; give one of them at a time"
                    )
                sets[name] = rows
        times = Counter(row_id for rows in sets.values() for row_id in rows["row_id"])
        if common := sum(count > 1 for count in times.values()):
            say(STEP, f"warning: {common} question(s) stand in several sets, and in the total as often")
        return sets


def _is_evaluation(folder: Path) -> bool:
    return (folder / VERDICTS / "dataset_dict.json").is_file()


def _source(location: str) -> Source:
    records = read_records(Path(location)) if _is_evaluation(Path(location)) else []
    return (
        Source("folder", location, records[-1].result_fingerprint)
        if records
        else find_source(location, None, "--reviews")
    )


def _read(path: Path) -> Iterator[tuple[str, Dataset]]:
    if _is_evaluation(path):
        yield from load_from_disk(path / VERDICTS).items()
        return
    if (path / ANSWERS).is_dir():
        raise BadInputError(f"--reviews {path}: an evaluation without verdicts; evaluate with --judge and --baseline")
    logs = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not logs:
        raise BadInputError(f"--reviews {path}: holds neither {VERDICTS}, as evaluate_model saves them, nor .json logs")
    for log in logs:
        found = read_reviews(log)
        if found.disagreements:
            more = f" (and {len(found.disagreements) - 1} more)" if len(found.disagreements) > 1 else ""
            say(STEP, f"warning: {log}: {found.disagreements[0]}{more}; the review counts")
        yield log.stem, found.verdicts
