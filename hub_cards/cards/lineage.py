"""Where the rows of a lineage come from."""

from __future__ import annotations

from hub_cards.provenance import StepRecord
from hub_cards.sources import Source
from hub_cards.stages import find_record


def first_step(records: list[StepRecord]) -> StepRecord | None:
    """The step that read the rows from their source; None where there is no record.

    The records of a selection by statistics begin with those of the statistics, which may be of other rows: there the
    way of the rows is followed back.
    """
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
