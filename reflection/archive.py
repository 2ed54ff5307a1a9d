"""What a completion store holds: shown as a table, written to JSONL and read from it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub_cards.errors import BadInputError
from hub_cards.storage import new_file
from hub_cards.tables import as_text
from reflection.costs import find_price
from reflection.statuses import FORGETTABLE, NO_TEXT
from reflection.store import COLUMNS, CompletionStore

EXPORTED = tuple(name for name in COLUMNS if name != "key")  # the key is a hash of the request
_TYPES: dict[str, type | tuple[type, ...]] = {
    "request": dict,
    **dict.fromkeys(("text", "failure", "detail", "finish_reason", "model"), (str, type(None))),
    **dict.fromkeys(("prompt_tokens", "completion_tokens"), (int, type(None))),
    **dict.fromkeys(("seconds", "created_at"), (int, float, type(None))),
    "batched": (bool, int, type(None)),
}
_BY_MODEL = """
SELECT json_extract(request, '$.model'), count(*), sum(text IS NULL), sum(batched),
    coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
    coalesce(sum(CASE WHEN batched THEN prompt_tokens END), 0),
    coalesce(sum(CASE WHEN batched THEN completion_tokens END), 0), min(created_at), max(created_at)
FROM completions GROUP BY 1 ORDER BY 1
"""


def describe(store: CompletionStore) -> str:
    """One line a model: how many completions, how many without a text, tokens, dollars by the price table, and when."""
    header = ["model", "completions", "no text", "batched", "tokens in", "tokens out", "dollars", "first", "last"]
    lines = [header]
    for model, *numbers, first, last in store.select(_BY_MODEL):
        completions, no_text, batched, prompt, answer, batch_prompt, batch_answer = numbers
        price = find_price(model, own_endpoint=False)
        dollars = "–"
        if price is not None:
            live = price.dollars(prompt - batch_prompt, answer - batch_answer)
            dollars = f"{live + price.dollars(batch_prompt, batch_answer, batched=True):,.2f}"
        counts = (completions, no_text, batched, prompt, answer)
        lines.append([str(model), *(f"{count:,}" for count in counts), dollars, _day(first), _day(last)])
    waiting = list(store.select("SELECT state, count(*) FROM batches WHERE state != 'collected' GROUP BY 1"))
    notes = [f"{number} batch(es) {state}, not collected yet" for state, number in waiting]
    if len(lines) == 1:
        return "\n".join(["no completions", *notes])
    return "\n".join([as_text(lines), *notes])


def export_completions(store: CompletionStore, path: str) -> int:
    """Write every completion as one JSON object a line, oldest first; the file appears when it is whole.

    Returns:
        How many there are.

    Raises:
        BadInputError: the file exists, or its folder cannot be written.
    """
    number = 0
    with new_file(Path(path), "--export_to") as file:
        for number, row in enumerate(store.rows(), start=1):  # noqa: B007 - the last number is the count
            row["request"] = json.loads(row["request"])
            row["batched"] = bool(row["batched"])
            file.write(json.dumps({name: row[name] for name in EXPORTED}, ensure_ascii=False) + "\n")
    return number


def import_completions(store: CompletionStore, path: str) -> tuple[int, int]:
    """Put the completions of an exported file into a store, all or none; an answer that is already there stays.

    Returns:
        How many lines there are, and how many of them were new.

    Raises:
        BadInputError: the file cannot be read, or a line is no exported completion.
    """
    read = 0

    def rows() -> Iterator[tuple]:
        nonlocal read
        for read, line in _lines(path):
            yield _row(store, line, f"--import_from {path}, line {read}")

    new = store.insert(rows())
    return read, new


def forget_empty(store: CompletionStore) -> int:
    """Drop the answers that hold no choice or no text, so that the next run asks for them again.

    They were paid for, so that a run keeps them; but they may come from a fault of the service that is mended by now.

    Returns:
        How many there were.
    """
    with store.transaction() as connection:
        places = ",".join("?" * len(FORGETTABLE))
        return connection.execute(f"DELETE FROM completions WHERE failure IN ({places})", FORGETTABLE).rowcount


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from enumerate((line for line in file if line.strip()), start=1)
    except OSError as error:
        raise BadInputError(f"--import_from {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"--import_from {path}: is not UTF-8 text ({error.reason})") from error


def _row(store: CompletionStore, line: str, where: str) -> tuple:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise BadInputError(f"{where}: is not JSON ({error})") from error
    _check(record, where)
    values: dict[str, Any] = {name: record.get(name) for name in EXPORTED}
    values["key"] = store.key(record["request"])
    values["request"] = json.dumps(record["request"], ensure_ascii=False, sort_keys=True)
    values["batched"] = bool(record.get("batched"))
    values["created_at"] = record.get("created_at") or time.time()
    return tuple(values[name] for name in COLUMNS)


def _check(record: Any, where: str) -> None:
    if not isinstance(record, dict):
        raise BadInputError(f"{where}: is no object with named fields")
    for name, kind in _TYPES.items():
        if not isinstance(record.get(name), kind):
            raise BadInputError(f"{where}: {name} is {json.dumps(record.get(name))[:60]}")
    # Rendered text is asked as `prompt` (the answers of an evaluation), everything else as `messages`.
    if "model" not in record["request"] or not {"messages", "prompt"} & set(record["request"]):
        raise BadInputError(f"{where}: request holds no model and messages, or prompt")
    if (record.get("text") is None) == (record.get("failure") is None):
        raise BadInputError(f"{where}: exactly one of text and failure must be given")
    if record.get("failure") is not None and record["failure"] not in NO_TEXT:
        raise BadInputError(f"{where}: failure is {record['failure']!r}, none of {', '.join(NO_TEXT)}")
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{where}: holds half a surrogate pair, which is no valid text") from error


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
