"""The settings of `recipes/publish.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.sources import Source
from hub_cards.stages import find_record

STEP = "publish"
VERSION = 3
EVALUATION = "evaluate"
PUBLISHED_STAGES = ("score", "select", "sft", EVALUATION)
OPTIONAL_STAGES = ("sft", EVALUATION)


@dataclass
class PublishConfig:
    """Lay a run out as its Hub repositories will be: a data set, and the model where one was trained."""

    folder: str = field(
        metadata={"help": "the run: holds the folders score and select, and sft and evaluate if there are any"}
    )
    output_dir: str = field(default="runs/publish", metadata={"help": "folder for `dataset/` and `model/`"})
    license: str = field(default="", metadata={"help": "licence of the data, as the Hub spells it (cc-by-nc-4.0, …)"})
    title: str = field(default="Recycled instruction data", metadata={"help": "heading of the cards"})
    notes: str = field(default="", metadata={"help": "a paragraph for both cards: what a reader must know of the data"})

    def __post_init__(self) -> None:
        if not self.license:
            raise BadInputError(
                "--license: name the licence of the data, as the Hub spells it (apache-2.0, cc-by-nc-4.0, …)"
            )

    def stage_folder(self, stage: str) -> Path:
        """Where the run keeps a stage's result."""
        return Path(self.folder) / stage

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do.

        Raises:
            BadInputError: a stage's result is missing, or the evaluation is of another model than the run's.
        """
        inputs = {}
        for name in PUBLISHED_STAGES:
            records = read_records(self.stage_folder(name))
            if records:
                inputs[name] = Source("folder", str(self.stage_folder(name)), records[-1].result_fingerprint)
            elif name not in OPTIONAL_STAGES:
                raise BadInputError(f"--folder {self.folder}: holds no finished {name}")
        self._check_evaluation(inputs)
        config = {"license": self.license, "title": self.title, "notes": self.notes}
        return StepRecord(STEP, VERSION, config, inputs)

    def _check_evaluation(self, inputs: dict[str, Source]) -> None:
        """An evaluation without its model is not published, and one of an earlier model is refused."""
        if EVALUATION not in inputs:
            return
        if "sft" not in inputs:
            del inputs[EVALUATION]
            return
        evaluated = find_record(read_records(self.stage_folder(EVALUATION)), "sft")
        trained = read_records(self.stage_folder("sft"))[-1]
        if evaluated is not None and evaluated.result_fingerprint != trained.result_fingerprint:
            raise BadInputError(
                f"--folder {self.folder}: its {EVALUATION} measured another model than the one in sft; evaluate again, "
                f"or remove {self.stage_folder(EVALUATION)}"
            )
