"""Where the rows of a lineage come from, and which of its steps made them."""

from __future__ import annotations

from hub_cards.provenance import StepRecord
from hub_cards.publishing.target import STEP
from hub_cards.sources import Source
from hub_cards.stages import find_record

ROW_STEPS = ("reflect", "score", "select")


def steps_that_made(records: list[StepRecord]) -> list[StepRecord]:
    """A lineage without the steps that only put a result somewhere else."""
    return [record for record in records if record.step != STEP]


def selection_of(records: list[StepRecord]) -> StepRecord | None:
    """The selection that the rows stand after; None where what it chose from was rewritten or scored again since."""
    last = next((record for record in reversed(records) if record.step in ROW_STEPS), None)
    return last if last and last.step == "select" else None


def first_step(records: list[StepRecord]) -> StepRecord | None:
    """The step that read the rows from their source; None where there is no record.

    The records of a selection by statistics begin with those of the statistics, which may be of other rows: there the
    way of the rows is followed back.
    """
    records = steps_that_made(records)
    select = find_record(records, "select")
    if select is None or "statistics" not in select.inputs:
        return records[0] if records else None
    made = {record.result_fingerprint: record for record in records}
    step = select
    while (earlier := made.get(step.inputs["dataset"].fingerprint)) and "dataset" in earlier.inputs:
        step = earlier
    return step


def source_of(records: list[StepRecord]) -> Source | None:
    """What the rows of a lineage were read from."""
    first = first_step(records)
    return first.inputs.get("dataset") if first else None


def nearest_on_hub(step: StepRecord, records: list[StepRecord]) -> Source | None:
    """The data set on the Hub that the rows of a step passed through last; None where they never did.

    Args:
        records: the lineage of the step.
    """
    made = {record.result_fingerprint: record for record in records}
    earlier: StepRecord | None = step
    while earlier and "dataset" in earlier.inputs:
        source = earlier.inputs["dataset"]
        if source.kind == "hub":
            return source
        earlier = made.get(source.fingerprint)
    source = source_of(records)
    return source if source and source.kind == "hub" else None
