"""The settings of `recipes/publish.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.publishing.about_run import licence_to_publish, publish_record
from hub_cards.publishing.target import DATASET, MODEL, STATISTICS, DatasetPushArguments, Target
from hub_cards.report.identity import REPORT_PAGE, identity_of, seal_of
from hub_cards.sources import Source
from hub_cards.stages import find_record

EVALUATION = "evaluate"
PUBLISHED_STAGES = ("score", "select", "sft", EVALUATION)
OPTIONAL_STAGES = ("sft", EVALUATION)


@dataclass
class PublishConfig(DatasetPushArguments):
    """Lay a run out as its Hub repositories, data set, statistics and model, and with --push_to_hub publish them."""

    folder: str = field(
        default="", metadata={"help": "the run: holds the folders score and select, and sft and evaluate if there are"}
    )
    output_dir: str = field(
        default="runs/publish", metadata={"help": "folder for `dataset/`, `statistics/` and `model/`"}
    )
    hub_statistics_id: str | None = field(
        default=None, metadata={"help": "Hub data set for the scores (default: the data set's, with -statistics)"}
    )
    hub_model_id: str | None = field(default=None, metadata={"help": "Hub model to publish to, as user/name"})
    title: str = field(default="", metadata={"help": "heading of the cards (default: the name on the Hub)"})
    notes: str = field(default="", metadata={"help": "a paragraph for the cards: what a reader must know of the data"})
    language: list[str] = field(
        default_factory=list, metadata={"help": "languages of the data (en, de, …; default: as the source's card says)"}
    )
    dry_run: bool = field(
        default=False, metadata={"help": "lay out, show files, sizes, cards and visibility, and push nothing"}
    )

    def __post_init__(self) -> None:
        if not self.folder:
            raise BadInputError("--folder: name the run to publish")
        if not isinstance(self.language, list):
            raise BadInputError(f"--language {self.language!r}: must be a list")
        if self.hub_statistics_id and not self.hub_dataset_id:
            raise BadInputError("--hub_statistics_id: goes with --hub_dataset_id, the data set that the scores are of")
        if (self.push_to_hub or self.dry_run) and not self.hub_dataset_id and not self.hub_model_id:
            flag = "--push_to_hub" if self.push_to_hub else "--dry_run"
            raise BadInputError(f"{flag}: name --hub_dataset_id user/name, --hub_model_id user/name, or both")

    def stage_folder(self, stage: str) -> Path:
        """Where the run keeps a stage's result."""
        return Path(self.folder) / stage

    def targets(self) -> dict[str, Target]:
        """Where each part of the run goes, by what it is; what is not named goes nowhere."""
        named = {}
        if self.hub_dataset_id:
            named[DATASET] = ("--hub_dataset_id", self.hub_dataset_id, "dataset")
            flag = "--hub_statistics_id" if self.hub_statistics_id else "--hub_dataset_id"
            named[STATISTICS] = (flag, self.hub_statistics_id or f"{self.hub_dataset_id}-statistics", "dataset")
        if self.hub_model_id:
            named[MODEL] = ("--hub_model_id", self.hub_model_id, "model")
        return {
            kind: Target(repo_id, repo_type, kind, flag, *self._how())
            for kind, (flag, repo_id, repo_type) in named.items()
        }

    def local_places(self) -> dict[str, str]:
        """Where each part of the run is laid out, from `./`: else some could be taken for names on the Hub."""
        folder = Path(self.output_dir)
        start = folder if folder.is_absolute() else f"./{folder}"
        return {kind: f"{start}/{kind}" for kind in (DATASET, STATISTICS, MODEL) if self._has(kind)}

    def _name(self) -> str:
        named = self.hub_dataset_id or self.hub_model_id
        return named.split("/")[-1] if named else "Recycled instruction data"

    def _has(self, kind: str) -> bool:
        return kind != MODEL or bool(read_records(self.stage_folder("sft")))

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do.

        Raises:
            BadInputError: a stage's result is missing, they are not of one run, or there is no licence to pass on.
        """
        inputs = {}
        for name in PUBLISHED_STAGES:
            records = read_records(self.stage_folder(name))
            if records:
                inputs[name] = Source("folder", str(self.stage_folder(name)), records[-1].result_fingerprint)
            elif name not in OPTIONAL_STAGES:
                raise BadInputError(f"--folder {self.folder}: holds no finished {name}")
        self._check_one_run()
        self._check_evaluation(inputs)
        inputs |= self._report()
        if self.push_to_hub and self.hub_model_id and "sft" not in inputs:
            raise BadInputError(f"--hub_model_id {self.hub_model_id}: {self.folder} holds no finished sft, so no model")
        return publish_record(
            inputs,
            licence_to_publish(self.license, read_records(self.stage_folder("select"))),
            self.title or self._name(),
            {kind: target.repo_id for kind, target in self.targets().items()},
            self.hub_tag,
            self.notes,
            self.language,
        )

    def _check_one_run(self) -> None:
        """What is published together must have been made of one another."""
        for name, role, earlier in (("select", "dataset", "score"), ("sft", "dataset", "select")):
            made, of = read_records(self.stage_folder(name)), read_records(self.stage_folder(earlier))
            if made and made[-1].inputs[role].fingerprint != of[-1].result_fingerprint:
                raise BadInputError(
                    f"--folder {self.folder}: its {name} was made of {made[-1].inputs[role].location}, and not of the "
                    f"{earlier} beside it; run {name} again, or remove {self.stage_folder(name)}"
                )

    def report(self) -> Path | None:
        """The page on the run, which goes with the data; None where there is none."""
        page = Path(self.folder) / REPORT_PAGE
        return page if page.is_file() else None

    def _report(self) -> dict[str, Source]:
        page = self.report()
        if page is None:
            return {}
        shown = identity_of(page)
        if shown is None:
            raise BadInputError(f"{page}: is no report of ours; remove it, or give it another name")
        digest = seal_of(page)
        if digest is None:
            raise BadInputError(f"{page}: is cut short, or was changed by hand; run report again, or remove the page")
        if not shown.whole:
            raise BadInputError(f"{page}: shows a part of the run only; make it without --limit, or remove the page")
        for stage in ("score", "select"):
            if shown.inputs.get(stage) != read_records(self.stage_folder(stage))[-1].result_fingerprint:
                raise BadInputError(
                    f"{page}: shows another {stage} than the one beside it; run report again, or remove the page"
                )
        return {"report": Source("file", str(page), digest)}

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
