"""The accepted base formats: how one raw record becomes instruction, input and output. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hub_cards.errors import BadInputError

Record = Mapping[str, Any]

USER_ROLES = {"human", "user"}
ASSISTANT_ROLES = {"gpt", "assistant", "chatgpt", "bing", "bard"}
SYSTEM_ROLES = {"system"}


@dataclass(frozen=True)
class Pair:
    """One instruction pair; `more_turns` says that the record held further exchanges, which a row cannot carry."""

    instruction: str
    input: str
    output: str
    more_turns: bool = False


@dataclass(frozen=True)
class Format:
    """A base format: its name, the columns it needs, the ones it may use, and how a record is read."""

    name: str
    needs: frozenset[str]
    may_use: frozenset[str]
    read: Callable[[Record], Pair]


class FieldError(Exception):
    """A field of a record is not what the format wants; the caller knows which row it is."""


def _text(record: Record, field: str) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        raise FieldError(f"field {field!r} is {_kind(value)}, not a string")
    return value


def _optional_text(record: Record, field: str) -> str:
    return "" if record.get(field) is None else _text(record, field)


def _kind(value: object) -> str:
    names = {"NoneType": "missing or null", "dict": "an object", "list": "a list", "bool": "a boolean"}
    other = f"a number ({value!r})" if isinstance(value, int | float) else repr(value)[:60]
    return names.get(type(value).__name__, other)


def _read_alpaca(record: Record) -> Pair:
    return Pair(_text(record, "instruction"), _optional_text(record, "input"), _text(record, "output"))


def _read_nested(record: Record) -> Pair:
    data = record["data"]
    if not isinstance(data, Mapping):
        raise FieldError(f"field 'data' is {_kind(data)}, not an object with instruction, input and output")
    return _read_alpaca(data)


def _read_turns(turns: object, field: str, role_key: str, text_key: str) -> Pair:
    """The first exchange: all turns before the first answer, a system turn first, and that answer."""
    if not isinstance(turns, Iterable) or isinstance(turns, str | Mapping):
        raise FieldError(f"field {field!r} is {_kind(turns)}, not a list of turns")
    asked: dict[str, list[str]] = {"system": [], "user": []}
    answer: str | None = None
    more_turns = False
    for number, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or not isinstance(turn.get(role_key), str):
            raise FieldError(f"turn {number} of {field!r} has no {role_key!r}")
        if not isinstance(turn.get(text_key), str):
            raise FieldError(f"{text_key!r} in turn {number} of {field!r} is {_kind(turn.get(text_key))}, not a string")
        role = _role(turn[role_key], field, number)
        if role != "assistant" and answer is None:
            asked[role].append(turn[text_key])
        elif role == "assistant" and answer is None and asked["user"]:
            answer = turn[text_key]
        elif role == "user":
            more_turns = True
    if answer is None:
        raise FieldError(f"field {field!r} holds no user turn followed by an assistant turn")
    instruction = "\n\n".join(text for text in (*asked["system"], *asked["user"]) if text)
    return Pair(instruction, "", answer, more_turns)


def _role(name: str, field: str, number: int) -> str:
    for role, names in (("user", USER_ROLES), ("assistant", ASSISTANT_ROLES), ("system", SYSTEM_ROLES)):
        if name.lower() in names:
            return role
    raise FieldError(f"turn {number} of {field!r} is by {name!r}, neither user, assistant nor system")


def _read_sharegpt(record: Record) -> Pair:
    return _read_turns(record["conversations"], "conversations", "from", "value")


def _read_messages(record: Record) -> Pair:
    return _read_turns(record["messages"], "messages", "role", "content")


def _read_prompt_completion(record: Record) -> Pair:
    prompt, completion = record["prompt"], record.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _read_turns([*prompt, *completion], "prompt + completion", "role", "content")
    return Pair(_text(record, "prompt"), "", _text(record, "completion"))


FORMATS = (
    Format("alpaca", frozenset({"instruction", "output"}), frozenset({"input"}), _read_alpaca),
    Format("published data struct", frozenset({"data"}), frozenset(), _read_nested),
    Format("sharegpt conversations", frozenset({"conversations"}), frozenset(), _read_sharegpt),
    Format("chat messages", frozenset({"messages"}), frozenset(), _read_messages),
    Format("prompt/completion", frozenset({"prompt", "completion"}), frozenset(), _read_prompt_completion),
)


def detect_format(columns: Iterable[str], where: str) -> Format:
    """The first format whose needed columns are all there.

    Raises:
        BadInputError: none fits; the message lists the columns that were found.
    """
    found = set(columns)
    for candidate in FORMATS:
        if candidate.needs <= found:
            return candidate
    wanted = "; ".join(" + ".join(sorted(candidate.needs)) for candidate in FORMATS)
    raise BadInputError(
        f"{where} has the columns {', '.join(sorted(found)) or '(none)'}; a base data set needs {wanted}"
    )
