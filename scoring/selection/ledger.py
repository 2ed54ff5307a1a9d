"""The ledger of a selection: deciding again what it says was decided, from the scores that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.arrow import arrow_column, positions_in
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.schema import SELECT_COLUMNS
from scoring.selection.apply import ledger_digest, select_rows
from scoring.selection.steps import Step
from scoring.selection.table import ScoreTable, load_selection

DECISION_COLUMNS = [column.name for column in SELECT_COLUMNS]


def replay(
    ledger: Dataset,
    variants: Sequence[str],
    steps: Sequence[Step],
    rows: DatasetDict | None = None,
    load_selection: Callable[[str], DatasetDict] = load_selection,
) -> Dataset:
    """Decide again.

    Args:
        ledger: what `select_rows` gave as `decisions`.
        variants: those that were selected from.
        steps: of the selection, from its record.
        rows: the variants as they were selected from; needed where a step looks at more than scores.

    Returns:
        The rows whose decision comes out differently, each as it is decided now; none if the ledger is right.

    Raises:
        BadInputError: a step needs a column that neither ledger nor rows have, or the rows are others.
    """
    needed = list(dict.fromkeys(column for step in steps for column in step.strategy.needs))
    parts = {}
    for name in variants:
        scores = {
            column: column.removesuffix(f"_{name}") for column in ledger.column_names if column.endswith(f"_{name}")
        }
        parts[name] = ledger.select_columns(["row_id", *scores]).rename_columns(scores)
        if rows is not None and needed:
            others = [column for column in needed if column not in parts[name].column_names]
            others = _in_order_of(ledger, rows[name].select_columns(["row_id", *others]), name)
            parts[name] = concatenate_datasets([parts[name], others], axis=1)
    again = select_rows(ScoreTable(DatasetDict(parts), load_selection), steps)[0]["decisions"]
    before, after = (part.select_columns(DECISION_COLUMNS).with_format("arrow")[:] for part in (ledger, again))
    if before.equals(after):
        return again.select([])
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    return again.select([number for number, (old, new) in enumerate(pairs) if old != new])


def check_saved(saved: DatasetDict, digest: str) -> None:
    """Make sure that a ledger is as it was written, and that the rows beside it are those that it keeps.

    Args:
        saved: `selected` and `decisions`.
        digest: of the ledger, from its record.

    Raises:
        StoppedError: they are not.
    """
    ledger, selected = saved["decisions"], saved["selected"]
    if ledger_digest(ledger) != digest:
        raise StoppedError("the ledger was changed after it was written: its digest is not that of its record")
    kept = ledger.with_format("arrow")[:].filter(arrow_column(ledger, "selected"))
    for column in ("row_id", "selected_variant"):
        if kept[column].to_pylist() != arrow_column(selected, column).to_pylist():
            raise StoppedError(
                f"`selected` holds other rows than the {len(kept)} that the ledger keeps (column {column}): it was "
                "changed after it was written"
            )


def _in_order_of(ledger: Dataset, rows: Dataset, name: str) -> Dataset:
    places = positions_in(arrow_column(ledger, "row_id"), arrow_column(rows, "row_id"))
    if (places < 0).any():
        odd = ledger[int((places < 0).argmax())]["row_id"]
        raise BadInputError(f"row_id {odd} of the ledger is not among the rows of variant {name}: they are others")
    return rows.remove_columns("row_id").select(places).flatten_indices()
