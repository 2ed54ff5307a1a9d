"""Publish the result of one stage by itself, when it is finished: `--push_to_hub` of reflect, score and select."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, DatasetDict

from hub_cards.cli import say
from hub_cards.provenance import StepRecord, read_records
from hub_cards.publishing.target import DatasetPushArguments
from hub_cards.sources import Source
from hub_cards.storage import load_folder, place_beside


def all_parts(result: DatasetDict, _records: list[StepRecord]) -> Mapping[str, Dataset]:
    """Each part of a result is a config."""
    return result


@dataclass(frozen=True)
class StagePush:
    """Whether and where a stage publishes its result.

    Attributes:
        arguments: the flags.
        configs: from the saved result and its lineage what is published, by the name of the config.
    """

    arguments: DatasetPushArguments
    configs: Callable[[DatasetDict, list[StepRecord]], Mapping[str, Dataset]] = all_parts

    def check(self, record: StepRecord, earlier: list[StepRecord]) -> None:
        """May the result be published? Asked before the stage does anything.

        Raises:
            BadInputError: no repository or licence is named, or the Hub would refuse.
            StoppedError: the Hub does not answer.
        """
        target = self.arguments.target(record.step)
        if target is None:
            return
        from hub_cards.publishing.about_run import licence_to_publish
        from hub_cards.publishing.access import check_access

        check_access([target], licence_to_publish(self.arguments.license, [*earlier, record]))

    def push(self, folder: Path) -> None:
        """Publish what the stage saved in `folder`; a result that another run may still mend is not published.

        Raises:
            BadInputError: the Hub refuses.
            StoppedError: the Hub does not answer.
        """
        records = read_records(folder)
        made = records[-1]
        target = self.arguments.target(made.step)
        if target is None:
            return
        if made.unfinished:
            say(made.step, f"not published: {made.unfinished:,} answers are still to come; run the same command")
            return
        from hub_cards.publishing.about_run import licence_to_publish, publish_record, tag_of
        from hub_cards.publishing.layout import lay_out_result
        from hub_cards.publishing.publish import Repository, publish, write_receipts

        inputs = {made.step: Source("folder", str(folder), made.result_fingerprint)}
        licence = licence_to_publish(self.arguments.license, records)
        hub = {"dataset": target.repo_id}
        record = publish_record(inputs, licence, target.name, hub, self.arguments.hub_tag)
        with place_beside(folder) as place:
            laid_out = place / target.kind
            lay_out_result(laid_out, self.configs(load_folder(folder), records), [*records, record], target.kind)
            receipts = publish([Repository(target, laid_out, tag_of(record))])
        write_receipts(folder, receipts)
