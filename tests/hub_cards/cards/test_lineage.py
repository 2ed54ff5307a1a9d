"""Where the rows of a lineage come from."""

from dataclasses import replace

from hub_cards.cards.lineage import first_step, source_of
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
