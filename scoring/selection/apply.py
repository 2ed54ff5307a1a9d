"""Apply the steps of a selection to scored variants, joined by `row_id`, and write the ledger."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, DatasetInfo, concatenate_datasets

from hub_cards.arrow import mapped
from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import COLUMNS_BY_NAME, SELECT_COLUMNS, VARIANTS, features
from scoring.selection.base import NOBODY
from scoring.selection.steps import Step
from scoring.selection.table import IFD, Rows, ScoreTable

DECISION_FEATURES = features((COLUMNS_BY_NAME["row_id"], *SELECT_COLUMNS))
ORIGINAL = VARIANTS[0]
GATHERED_ROWS = 10_000  # at a time: what the memory has to hold


@dataclass
class Decisions:
    """What the steps have decided so far, for all N rows of the table.

    Attributes:
        alive_N: rows that no step has dropped.
        variants_N: the place in `VARIANTS` of each row's variant, `NOBODY` where none won.
        reasons_N, steps_N: why the row is kept or dropped, and the step that said so.
        ranks_N, scores_N: of the last step that ranked the row; 0 and NaN where none did.
    """

    alive_N: np.ndarray
    variants_N: np.ndarray
    reasons_N: np.ndarray
    steps_N: np.ndarray
    ranks_N: np.ndarray
    scores_N: np.ndarray

    @classmethod
    def before(cls, table: ScoreTable) -> Decisions:
        """Before the first step: all rows, as they were before anybody rewrote them."""
        size = len(table)
        first = ORIGINAL if ORIGINAL in table.variants else table.variants[0]
        return cls(
            np.ones(size, dtype=bool),
            np.full(size, VARIANTS.index(first)),
            *(np.full(size, "", dtype=object) for _ in range(2)),
            np.zeros(size, dtype=np.int64),
            np.full(size, np.nan),
        )

    def table(self) -> pa.Table:
        """The select columns."""
        names = np.array([*VARIANTS, None], dtype=object)  # NOBODY is the last place
        columns = {
            "selected": self.alive_N,
            "selected_variant": pa.array(names[self.variants_N], pa.string()),
            "select_reason": pa.array(self.reasons_N, pa.string()),
            "select_step": pa.array(self.steps_N, pa.string()),
            "select_rank": pa.array(self.ranks_N, mask=self.ranks_N == 0),
            "select_score": pa.array(self.scores_N, mask=np.isnan(self.scores_N)),
        }
        return pa.table(columns, schema=features(SELECT_COLUMNS).arrow_schema)


def select_rows(table: ScoreTable, steps: Sequence[Step]) -> tuple[DatasetDict, dict[str, Any]]:
    """Decide every row, step after step, and gather the winners.

    Returns:
        `selected`: the kept winners, whole rows with the select columns, in the order of the first variant;
        `decisions`, the ledger: one line a row with the outcome and the scores of all variants that it was decided by.
        And the counts: by reason, by the branch that won, and of each step.

    Raises:
        BadInputError: a step lacks a column, or is asked for more rows than there are.
    """
    decisions = Decisions.before(table)
    flow = [_apply(step, table, decisions) for step in steps]
    columns = decisions.table()
    ledger = columns.add_column(0, "row_id", table.row_ids)
    for name, values in score_columns(table, steps).items():
        ledger = ledger.append_column(name, values)
    result = DatasetDict(selected=_winners(table, decisions, columns), decisions=Dataset(ledger))
    counts = {**_counts(decisions), "variants": list(table.variants), "steps": flow}
    meanings = {reason: meaning for step in steps for reason, meaning in step.strategy.reasons.items()}
    counts["meanings"] = {reason: meanings[reason] for reason in counts["select_reason"]}
    return result, {**counts, "ledger": ledger_digest(result["decisions"])}


def _apply(step: Step, table: ScoreTable, decisions: Decisions) -> dict[str, Any]:
    """Put a step's outcome into `decisions`; return what its record should say."""
    alive = np.flatnonzero(decisions.alive_N)
    try:
        outcome = step.strategy.decide(Rows(table, alive, decisions.variants_N[alive]))
    except BadInputError as error:
        raise BadInputError(f"--strategy, step {step.name}: {error}") from error
    decisions.alive_N[alive] = outcome.kept_N
    decisions.reasons_N[alive] = outcome.reasons_N
    decisions.steps_N[alive] = step.name
    if outcome.variants_N is not None:
        decisions.variants_N[alive] = outcome.variants_N
    if outcome.ranks_N is not None:
        decisions.ranks_N[alive] = outcome.ranks_N
        decisions.scores_N[alive] = outcome.scores_N
    return {"step": step.name, "rows": len(alive), "kept": int(outcome.kept_N.sum()), **outcome.notes}


def ledger_digest(ledger: Dataset) -> str:
    """sha256 of all values of a ledger, as hex: what its record has, so that a changed one is noticed."""
    table = ledger.with_format("arrow")[:].combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def score_columns(table: ScoreTable, steps: Sequence[Step]) -> dict[str, pa.Array]:
    """The scores by which the steps decide, of all variants, by `<column>_<variant>`; IFD where there is one."""
    read = dict.fromkeys(column for step in steps for column in step.strategy.reads)
    if table.has(IFD):
        read[IFD] = None
    found = {}
    for column in read:
        for variant in (name for name in table.variants if column in table.parts[name].column_names):
            values = table.numbers(column, variant)
            found[f"{column}_{variant}"] = pa.array(values, mask=np.isnan(values))
    return found


def _winners(table: ScoreTable, decisions: Decisions, columns: pa.Table) -> Dataset:
    """The kept rows as whole rows of their winning variants, in the order of the table."""
    parts, positions, places = [], [], []
    offset = 0
    for variant in table.variants:
        part, order = table.parts[variant], table.order[variant]
        mine = np.flatnonzero(decisions.alive_N & (decisions.variants_N == VARIANTS.index(variant)))
        parts.append(_beside(part, columns if order is None else columns.take(pa.array(np.argsort(order)))))
        positions.append(mine)
        places.append(offset + (mine if order is None else order[mine]))
        offset += len(part)
    places = np.concatenate(places)[np.argsort(np.concatenate(positions))]
    # As one table, and many rows at a time: `Dataset.select` would look every row up by itself when it is saved.
    rows = concatenate_datasets(parts)
    whole = rows.data.table
    blocks = (places[start : start + GATHERED_ROWS] for start in range(0, len(places), GATHERED_ROWS))
    kept = mapped((whole.take(pa.array(block)) for block in blocks), whole.schema)
    return Dataset(kept, info=DatasetInfo(features=rows.features), fingerprint=fingerprint_of(places.tolist()))


def _beside(rows: Dataset, columns: pa.Table) -> Dataset:
    """Rows with these columns in place of their own ones of the same names."""
    own = rows.remove_columns([name for name in columns.column_names if name in rows.column_names])
    return concatenate_datasets([own, Dataset(columns)], axis=1)


def _counts(decisions: Decisions) -> dict[str, Any]:
    branches = {}
    for number, name in [*enumerate(VARIANTS), (NOBODY, "none")]:
        mine_N = decisions.variants_N == number
        if mine_N.any():
            branches[name] = {"won": int(mine_N.sum()), "kept": int((mine_N & decisions.alive_N).sum())}
    return {
        "rows": len(decisions.alive_N),
        "selected": int(decisions.alive_N.sum()),
        "select_reason": dict(Counter(decisions.reasons_N.tolist()).most_common()),
        "branches": branches,
    }
