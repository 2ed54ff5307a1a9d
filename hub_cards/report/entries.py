"""What a report shows of one row, as its blocks hold it: texts, notes, tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hub_cards.cards.outcomes import ADOPTED
from hub_cards.report.joined import NONE, JoinedRows
from hub_cards.report.words import decision_words

CHUNK_ROWS = 1_000
TEXTS = ("instruction", "input", "output")
NOTES = ("critique", "reflect_status", "reflection", "oracle_model", "source_id")
Steps = Sequence[Mapping[str, Any]]
# By variant the tokens of a row's response, each with its nats without and with the instruction; None for none.
Token = tuple[str, float | None, float | None]
Tokens = Mapping[str, Iterator[list[Token] | None]]
TOKEN_DIGITS = 3


def text_entries(rows: JoinedRows) -> Iterator[dict[str, Any]]:
    """A row's texts, each once, and which of them are instruction, input and output of each variant."""
    chunks = [rows.rows_of(variant, TEXTS, CHUNK_ROWS) for variant in rows.variants]
    for parts in zip(*chunks, strict=True):
        for row in range(len(parts[0]["output"])):
            places: dict[str, int] = {}
            variants = []
            for part in parts:
                texts = [part[name][row] for name in TEXTS]
                missing = all(text is None for text in texts)
                found = None if missing else [places.setdefault(text or "", len(places)) for text in texts]
                variants.append(found)
            yield {"texts": list(places), "variants": variants}


def note_entries(rows: JoinedRows, steps: Steps, other: JoinedRows | None, other_steps: Steps) -> Iterator[dict]:
    """What the oracle wrote of a row and why the row was kept or dropped, in words.

    Args:
        steps, other_steps: of the selections, from their records.
    """
    chunks = zip(*(rows.rows_of(variant, NOTES, CHUNK_ROWS) for variant in rows.variants), strict=True)
    decisions = _decisions(rows, steps)
    others = _decisions(other, other_steps) if other is not None and other.decisions is not None else None
    for parts in chunks:
        for row in range(len(parts[0]["source_id"])):
            entry = {
                "source_id": parts[0]["source_id"][row],
                "decision": next(decisions),
                "critiques": [part["critique"][row] for part in parts],
                "completions": [_completion(part, row) for part in parts],
                "oracle": [part["oracle_model"][row] for part in parts],
            }
            yield entry if others is None else {**entry, "other_decision": next(others)}


def _completion(part: Mapping[str, list[Any]], row: int) -> str | None:
    """The oracle's whole text where no pair was taken from it."""
    status = part["reflect_status"][row]
    return part["reflection"][row] if status is not None and status not in ADOPTED else None


def _decisions(rows: JoinedRows, steps: Steps) -> Iterator[list[str]]:
    """The decision of every row in words; none where nothing was decided of it."""
    selected = rows.selected().tolist()
    columns = rows.score_columns()
    scores = {
        variant: {column: _lists(rows.numbers(variant, column)) for column in columns if rows.has(variant, column)}
        for variant in rows.variants
    }
    texts = {name: rows.decision_words(name) for name in ("selected_variant", "select_reason", "select_step")}
    words = {name: [None] * len(rows) if column is None else column.to_pylist() for name, column in texts.items()}
    numbers = {name: _lists(rows.decision_numbers(name)) for name in ("select_rank", "select_score")}
    for row, kept in enumerate(selected):
        if kept == NONE:
            yield []
            continue
        of_row = {
            variant: {column: values[row] for column, values in columns.items()} for variant, columns in scores.items()
        }
        decision = {name: values[row] for name, values in (*words.items(), *numbers.items())}
        yield decision_words(steps, of_row, {"selected": bool(kept), **decision})


def _lists(values_N: np.ndarray) -> list[float | None]:
    return np.where(np.isnan(values_N), None, values_N.astype(object)).tolist()


def token_entries(tokens: Tokens, variants: Sequence[str]) -> Iterator[list[Any]]:
    """The tokens of a row's responses, by variant; None for a variant that has none."""
    streams = [tokens.get(variant) for variant in variants]
    while True:
        try:
            found = [None if stream is None else next(stream) for stream in streams]
        except StopIteration:
            return
        yield [None if one is None else [_rounded(token) for token in one] for one in found]


def _rounded(token: Token) -> list[Any]:
    text, *nats = token
    return [text, *(None if value is None else round(value, TOKEN_DIGITS) for value in nats)]
