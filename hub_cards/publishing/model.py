"""Publish a model when it is trained, and what an evaluation measured of it: `--push_to_hub` of sft and evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hub_cards.cards.model import EVALUATION
from hub_cards.cli import is_main_process, say
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.publishing.target import Target
from hub_cards.sources import Source
from hub_cards.stages import find_record, records_of
from hub_cards.storage import place_beside

EVALUATE = "evaluate"


@dataclass(frozen=True)
class ModelPush:
    """Whether and where a model is published.

    Attributes:
        target: the repository; None where it is not published.
        license: of the data; empty to pass on what the source's own card states.
        example_prompt: from the name of a template and a question, the prompt as text or messages.
    """

    target: Target | None
    license: str
    example_prompt: Callable[[str, str], str | list[dict[str, str]]]

    @property
    def is_ours_to_do(self) -> bool:
        """Whether this process publishes: of a launcher's only the main one does."""
        return self.target is not None and is_main_process()

    def check(self, record: StepRecord, earlier: list[StepRecord]) -> None:
        """May the model be published? Asked before it is trained.

        Raises:
            BadInputError: there is no licence, or the Hub would refuse.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.about_run import licence_to_publish
        from hub_cards.publishing.access import check_access

        check_access([self.target], licence_to_publish(self.license, [*earlier, record]))

    def check_evaluation(self, model: Source) -> None:
        """May the results be put beside the published model? Asked before it is evaluated.

        Raises:
            BadInputError: another model is published there, or none of ours, or the Hub would refuse.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.access import check_access

        (state,) = check_access([self.target])
        if state.head is None:
            raise BadInputError(f"{self.target.where}: is not there yet; publish the model first, then its evaluation")
        self._published_records(model, state.head)

    def push(self, trained: Path) -> None:
        """Publish the model that a training saved. An evaluation of it that is there already stays.

        Raises:
            BadInputError: the Hub refuses.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.about_run import licence_to_publish, publish_record, tag_of
        from hub_cards.publishing.layout import lay_out_model
        from hub_cards.publishing.publish import Repository, publish, write_receipts

        records = read_records(trained)
        inputs = {"sft": Source("folder", str(trained), records[-1].result_fingerprint)}
        licence = licence_to_publish(self.license, records)
        record = publish_record(inputs, licence, self.target.name, {"model": self.target.repo_id}, self.target.tag)
        with place_beside(trained) as place:
            evaluated = self._fetch_evaluation(records, place / EVALUATION)
            lay_out_model(place / "model", trained, record, self.example_prompt, evaluated)
            receipts = publish([Repository(self.target, place / "model", tag_of(record))])
        write_receipts(trained, receipts)

    def push_evaluation(self, model: Source, evaluated: Path) -> None:
        """Put an evaluation's report, and a card with its results, beside the model that it measured.

        Raises:
            BadInputError: another model is published there, or none of ours, or the Hub refuses.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.layout import write_model_page
        from hub_cards.publishing.publish import Repository, publish, write_receipts

        unfinished = read_records(evaluated)[-1].unfinished
        if unfinished:
            say(EVALUATE, f"not published: {unfinished:,} answers are still to come; run the same command again")
            return
        records = self._published_records(model, self._head())
        with place_beside(evaluated) as place:
            folder = place / "model"
            folder.mkdir()
            write_model_page(folder, records, self.example_prompt, evaluated)
            receipts = publish([Repository(self.target, folder, None, whole=False)])
        write_receipts(evaluated, receipts)

    def _head(self) -> str | None:
        from hub_cards.publishing.access import look

        return look(self.target).head

    def _records_there(self, head: str) -> list[StepRecord]:
        return records_of(Source("hub", self.target.repo_id, "", head), "model")

    def _published_records(self, model: Source, head: str) -> list[StepRecord]:
        """The records of the published model, without those of an evaluation; it must be the one that was measured."""
        published = self._records_there(head)
        there, here = (find_record(records, "sft") for records in (published, records_of(model, "model")))
        if here is None:
            raise BadInputError(
                f"--model_name_or_path {model.location}: was not trained by recipes/sft.py, so there is no card of "
                "ours to put the results into; leave --push_to_hub out"
            )
        if there is None or there.result_fingerprint != here.result_fingerprint:
            raise BadInputError(
                f"{self.target.where}: holds another model than {model.location}; publish that one first, then its "
                "evaluation"
            )
        return [record for record in published if record.step != EVALUATE]

    def _fetch_evaluation(self, records: list[StepRecord], folder: Path) -> Path | None:
        """What is published of an evaluation of this very model, in a folder as its stage saves one, if anything."""
        from hub_cards.publishing.manifest import fetch, read_remote_manifest

        head = self._head()
        manifest = None if head is None else read_remote_manifest(self.target, head)
        if manifest is None:
            return None
        published = self._records_there(head)
        there, evaluation = find_record(published, "sft"), find_record(published, EVALUATE)
        if evaluation is None or there.result_fingerprint != records[-1].result_fingerprint:
            return None
        folder.mkdir()
        for name in manifest.files:
            if name.startswith(f"{EVALUATION}/"):
                shutil.copy(fetch(self.target, name, head), folder)
        write_records(folder, [*records, evaluation])
        return folder
