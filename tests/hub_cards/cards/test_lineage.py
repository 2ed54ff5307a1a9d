"""Where the rows of a lineage come from."""

from dataclasses import replace

from hub_cards.cards.lineage import first_step, nearest_on_hub, selection_of, source_of, steps_that_made
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source


def by_statistics(lineage, dataset: Source):
    inputs = {"dataset": dataset, "statistics": Source("folder", "theirs", "g")}
    return [*lineage[:2], replace(lineage[2], inputs=inputs)]


def test_is_what_the_first_step_read(lineage):
    assert source_of(lineage).location == "data/rows.jsonl"
    assert source_of([]) is None and first_step([]) is None


def test_of_a_selection_by_statistics_is_what_it_was_made_from(lineage):
    records = by_statistics(lineage, Source("file", "mine.jsonl", "f"))
    assert source_of(records).location == "mine.jsonl"
    assert first_step(records) is records[2]


def test_rows_of_earlier_steps_are_followed_to_their_source(lineage):
    made = Source("folder", "run/reflect", lineage[0].result_fingerprint)
    assert first_step(by_statistics(lineage, made)) is lineage[0]


def test_publishing_made_nothing(lineage):
    publish = StepRecord("publish", 4, {}, {"score": Source("folder", "run/score", "x")})
    assert steps_that_made([publish, *lineage, publish]) == lineage
    assert first_step([publish, *lineage]) is lineage[0]


def test_selection_is_the_one_that_nothing_was_made_after(lineage, sft_record):
    assert selection_of([*lineage, sft_record]) is lineage[2]
    assert selection_of([*lineage, lineage[1]]) is None
    assert selection_of([*lineage, lineage[1], lineage[2]]) is lineage[2]
    assert selection_of(lineage[:2]) is None and selection_of([]) is None


class TestNearestOnHub:
    MINE = Source("hub", "me/mine", "me/mine@c", "c")

    def test_is_what_the_step_itself_read(self, lineage, sft_record):
        sft = replace(sft_record, inputs={**sft_record.inputs, "dataset": self.MINE})
        assert nearest_on_hub(sft, [*lineage, sft]) is self.MINE

    def test_is_what_the_steps_before_it_read(self, lineage, sft_record):
        select = replace(lineage[2], inputs={"dataset": self.MINE})
        dataset = Source("folder", "run/select", select.result_fingerprint)
        sft = replace(sft_record, inputs={**sft_record.inputs, "dataset": dataset})
        alpaca = Source("hub", "tatsu-lab/alpaca", "x", "y")
        records = [replace(lineage[0], inputs={"dataset": alpaca}), lineage[1], select, sft]
        assert nearest_on_hub(sft, records) is self.MINE
        assert nearest_on_hub(sft, [records[0], sft]) is alpaca  # how the rows came from there is not told

    def test_there_is_none(self, lineage, sft_record):
        assert nearest_on_hub(sft_record, [*lineage, sft_record]) is None
