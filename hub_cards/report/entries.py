"""What a report shows of one row, as its blocks hold it: texts, notes, tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hub_cards.cards.outcomes import ADOPTED
from hub_cards.report.joined import NONE, JoinedRows
from hub_cards.report.words.decision import decision_words

CHUNK_ROWS = 1_000
TEXTS = ("instruction", "input", "output")
NOTES = ("critique", "reflect_status", "reflection", "oracle_model", "source_id")
DECIDED = ("selected_variant", "select_reason", "select_step")
RANKED = ("select_rank", "select_score")
TOKEN_DIGITS = 3
# By variant the tokens of a row's response, each with its nats without and with the instruction; None for none.
Token = tuple[str, float | None, float | None]
Tokens = Mapping[str, Iterator[list[Token] | None]]


@dataclass(frozen=True)
class Selection:
    """What the record of a selection says; nothing where there is none.

    Attributes:
        steps: its strategy.
        variants: those that it was made from.
    """

    steps: Sequence[Mapping[str, Any]] = ()
    variants: Sequence[str] = ()


NO_SELECTION = Selection()


def text_entries(rows: JoinedRows) -> Iterator[dict[str, Any]]:
    """A row's texts, each once, and which of them are instruction, input and output of each variant.

    A variant that has no text of the row is None; where it has one, a text that is null is empty.
    """
    for variants in _by_row(rows, TEXTS):
        places: dict[str, int] = {}
        found = [_places_of(texts, places) if any(text is not None for text in texts) else None for texts in variants]
        yield {"texts": list(places), "variants": found}


def _places_of(texts: Sequence[str | None], places: dict[str, int]) -> list[int]:
    """Where texts stand among those of the row; new ones are put there."""
    return [places.setdefault(text or "", len(places)) for text in texts]


def note_entries(
    rows: JoinedRows, selection: Selection, other: JoinedRows | None = None, of_other: Selection = NO_SELECTION
) -> Iterator[dict[str, Any]]:
    """What the oracle wrote of a row and why the row was kept or dropped, in words.

    Args:
        selection, of_other: what decided here, and there.
    """
    decisions = _decisions(rows, selection)
    others = _decisions(other, of_other) if other is not None and other.decisions is not None else None
    for variants in _by_row(rows, NOTES):
        critiques, statuses, completions, oracles, source_ids = zip(*variants, strict=True)
        entry = {
            "source_id": next((identity for identity in source_ids if identity is not None), None),
            "decision": next(decisions),
            "critiques": critiques,
            "completions": [_where_not_adopted(*pair) for pair in zip(completions, statuses, strict=True)],
            "oracle": oracles,
        }
        yield entry if others is None else {**entry, "other_decision": next(others)}


def _where_not_adopted(completion: str | None, status: str | None) -> str | None:
    """The oracle's whole text where no pair was taken from it."""
    return None if status is None or status in ADOPTED else completion


def _by_row(rows: JoinedRows, columns: Sequence[str]) -> Iterator[list[tuple[str | None, ...]]]:
    """Text columns row by row: of each variant a tuple of them."""
    parts = [rows.texts(variant, columns, CHUNK_ROWS) for variant in rows.variants]
    for chunks in zip(*parts, strict=True):
        of_variants = [zip(*(chunk[column] for column in columns), strict=True) for chunk in chunks]
        yield from map(list, zip(*of_variants, strict=True))


def _decisions(rows: JoinedRows, selection: Selection) -> Iterator[list[str]]:
    """The decision of every row in words; none where nothing was decided of it."""
    has_all = np.full(len(rows), set(selection.variants) <= set(rows.variants))
    has_all &= np.all([rows.is_there(variant) for variant in rows.variants], axis=0)
    columns = rows.decided_columns()
    scores = {
        variant: {column: found for column in columns if (found := rows.decided_by(variant, column)) is not None}
        for variant in rows.variants
    }
    selected = rows.selected()
    words = {name: rows.decision_words(name) for name in DECIDED}
    words = {name: column for name, column in words.items() if column is not None}
    numbers = {name: rows.decision_numbers(name) for name in RANKED}
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        size = len(selected[chunk])
        of_rows = {variant: _by_name(found, chunk, size) for variant, found in scores.items()}
        decided = {name: column.slice(start, CHUNK_ROWS).to_pylist() for name, column in words.items()}
        said = zip(selected[chunk].tolist(), _dicts(decided, size), _by_name(numbers, chunk, size), strict=True)
        for row, (kept, names, ranked) in enumerate(said):
            # Of some variants only, the words would say that the others were never made.
            of_row = {name: found[row] for name, found in of_rows.items()} if has_all[start + row] else {}
            decision = {"selected": bool(kept), **names, **ranked}
            yield [] if kept == NONE else decision_words(selection.steps, of_row, decision)


def _by_name(columns: Mapping[str, np.ndarray], chunk: slice, size: int) -> list[dict[str, float | None]]:
    """Some rows of number columns, None for NaN."""
    return _dicts({name: _with_none(values[chunk]) for name, values in columns.items()}, size)


def _dicts(columns: Mapping[str, list[Any]], size: int) -> list[dict[str, Any]]:
    """Columns as rows by name."""
    if not columns:
        return [{}] * size
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _with_none(values: np.ndarray) -> list[float | None]:
    return np.where(np.isnan(values), None, values.astype(object)).tolist()


def token_entries(tokens: Tokens, variants: Sequence[str]) -> Iterator[list[Any]]:
    """The tokens of a row's responses, by variant; None for a variant that has none. Nothing where no variant has."""
    for found in zip(*tokens.values(), strict=True):
        by_variant = dict(zip(tokens, found, strict=True))
        yield [
            None if (one := by_variant.get(name)) is None else [_rounded(token) for token in one] for name in variants
        ]


def _rounded(token: Token) -> list[Any]:
    text, *nats = token
    return [text, *(None if value is None else round(value, TOKEN_DIGITS) for value in nats)]
