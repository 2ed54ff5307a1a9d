"""Publish a model when it is trained, and what an evaluation measured of it: `--push_to_hub` of sft and evaluate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hub_cards.cli import is_main_process, say
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.publishing.target import Target, tag_of
from hub_cards.sources import Source
from hub_cards.stages import find_record, records_of


@dataclass(frozen=True)
class ModelPush:
    """Whether and where a model is published.

    Attributes:
        target: the repository; None where it is not published.
        license: of the data; empty to pass on what the source's own card states.
        tag: the run's; None for one by its fingerprint.
        example_prompt: from the name of a template and a question, the prompt as text or messages.
    """

    target: Target | None
    license: str
    tag: str | None
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
            BadInputError: it was not trained by recipes/sft.py, is not published there, or the Hub would refuse.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.access import check_access

        records_of_model(model)
        (state,) = check_access([replace(self.target, private=None)])
        if state.head is None:
            raise BadInputError(f"{self.target.where}: is not there yet; publish the model first, then its evaluation")

    def push(self, trained: Path) -> None:
        """Publish the model that a training saved.

        Raises:
            BadInputError: the Hub refuses.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.layout import lay_out_model
        from hub_cards.publishing.publish import Repository, publish, write_receipts

        records = read_records(trained)
        tag = self.tag or tag_of(records[-1].result_fingerprint)
        with _place_beside(trained) as place:
            lay_out_model(place / "model", trained, self._about(records, tag), self.example_prompt)
            receipts = publish([Repository(self.target, place / "model", tag)])
        write_receipts(trained, receipts)

    def push_evaluation(self, model: Source, evaluated: Path) -> None:
        """Put an evaluation's report, and a card with its results, beside the model that it measured.

        Raises:
            BadInputError: the model was not trained by recipes/sft.py, or the Hub refuses.
            StoppedError: the Hub does not answer.
        """
        if not self.is_ours_to_do:
            return
        from hub_cards.publishing.layout import write_model_page
        from hub_cards.publishing.publish import Repository, publish, write_receipts

        unfinished = read_records(evaluated)[-1].unfinished
        if unfinished:
            say("evaluate", f"not published: {unfinished:,} answers are still to come; run the same command again")
            return
        records, tag = records_of_model(model), None
        with _place_beside(evaluated) as place:
            folder = place / "model"
            folder.mkdir()
            write_model_page(folder, records, self._about(records, tag), self.example_prompt, evaluated)
            receipts = publish([Repository(replace(self.target, private=None), folder, tag, whole=False)])
        write_receipts(evaluated, receipts)

    def _about(self, records: list[StepRecord], tag: str | None):
        from hub_cards.cards.about import Places
        from hub_cards.publishing.about_run import about_run

        title = self.target.repo_id.split("/")[1]
        return about_run(records, self.license, title, Places(model=self.target.repo_id, tag=tag))


def records_of_model(model: Source) -> list[StepRecord]:
    """The lineage of a model that recipes/sft.py trained, here or published.

    Raises:
        BadInputError: it has none.
    """
    records = records_of(model, "model")
    if find_record(records, "sft") is None:
        raise BadInputError(
            f"--model_name_or_path {model.location}: was not trained by recipes/sft.py, so there is no card of ours to "
            "put the results into; leave --push_to_hub out"
        )
    return records


@contextmanager
def _place_beside(folder: Path) -> Iterator[Path]:
    """A place for what is laid out, on the same disk: weights are linked, not copied."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.hub-") as place:
        yield Path(place)
