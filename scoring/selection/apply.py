"""Apply a strategy to scored variants, joined by `row_id`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.errors import BadInputError
from hub_cards.schema import COLUMNS_BY_NAME, SELECT_COLUMNS, VARIANTS, features
from scoring.selection.base import Decision, Scores

SCORES = ("ifd_ppl", "rifd_ppl")
DECISION_FEATURES = features((COLUMNS_BY_NAME["row_id"], *SELECT_COLUMNS))


def select_rows(
    variants: DatasetDict, strategy: Callable[[Mapping[str, Scores]], Decision]
) -> tuple[DatasetDict, dict[str, Any]]:
    """Decide every row and gather the winners.

    Args:
        variants: scored variants, each with `row_id` and the score columns; other keys are ignored.

    Returns:
        `selected`: the kept winners, whole rows with the select columns, in the order of the first variant;
        `decisions`: one line a row with the outcome. And the counts, by reason and by the branch that won.

    Raises:
        BadInputError: a variant lacks a score column, repeats a `row_id`, or the variants hold different rows.
    """
    names = [name for name in VARIANTS if name in variants]
    scores = {name: _scores(variants[name], name) for name in names}
    row_ids = variants[names[0]]["row_id"][:]
    for name in names[1:]:
        if scores[name].keys() != scores[names[0]].keys():
            odd = min(scores[name].keys() ^ scores[names[0]].keys())
            raise BadInputError(f"variants {names[0]} and {name} hold different rows: only one has row_id {odd}")
    decisions = [strategy({name: scores[name][identity] for name in names}) for identity in row_ids]

    table = {
        "row_id": row_ids,
        "selected": [decision.selected for decision in decisions],
        "selected_variant": [decision.variant for decision in decisions],
        "select_reason": [decision.reason for decision in decisions],
    }
    result = DatasetDict(
        selected=_winners(variants, names, table),
        decisions=Dataset.from_dict(table, features=DECISION_FEATURES),
    )
    return result, _counts(decisions)


def _scores(rows: Dataset, name: str) -> dict[str, Scores]:
    missing = [column for column in ("row_id", *SCORES) if column not in rows.column_names]
    if missing:
        raise BadInputError(f"variant {name} has no column {', '.join(missing)}; run score first")
    columns = {column: rows[column][:] for column in SCORES}
    found = {
        identity: {column: columns[column][position] for column in SCORES}
        for position, identity in enumerate(rows["row_id"][:])
    }
    if len(found) != len(rows):
        raise BadInputError(f"variant {name} repeats a row_id: {len(rows)} rows, {len(found)} different ids")
    return found


def _winners(variants: DatasetDict, names: list[str], table: dict[str, list[Any]]) -> Dataset:
    """The kept rows as whole rows of their winning variants, in the order of `table`."""
    kept = [position for position, selected in enumerate(table["selected"]) if selected]
    parts, order = [], []
    for name in names:
        position_of = {identity: position for position, identity in enumerate(variants[name]["row_id"][:])}
        of_variant = [position for position in kept if table["selected_variant"][position] == name]
        parts.append(variants[name].select([position_of[table["row_id"][position]] for position in of_variant]))
        order += of_variant
    gathered = concatenate_datasets(parts)
    in_order = sorted(range(len(order)), key=order.__getitem__)
    winners = gathered.select(in_order).flatten_indices()
    for column in SELECT_COLUMNS:
        winners = winners.add_column(
            column.name, [table[column.name][position] for position in kept], feature=features((column,))[column.name]
        )
    return winners


def _counts(decisions: list[Decision]) -> dict[str, Any]:
    branches: dict[str, dict[str, int]] = {}
    for decision in decisions:
        branch = branches.setdefault(decision.variant or "none", {"won": 0, "kept": 0})
        branch["won"] += 1
        branch["kept"] += decision.selected
    ordered = {name: branches[name] for name in (*VARIANTS, "none") if name in branches}
    reasons = Counter(decision.reason for decision in decisions)
    return {
        "rows": len(decisions),
        "selected": sum(decision.selected for decision in decisions),
        "select_reason": dict(reasons.most_common()),
        "branches": ordered,
    }
