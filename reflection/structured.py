"""Structured output: a JSON object asked of the oracle instead of markers in a text, and the pair in it."""

from __future__ import annotations

import json
import re
from typing import Any

from reflection.extract import Extraction, status_of_text, status_without_text
from reflection.statuses import EMPTY_COMPLETION, MISSING_ANSWER, MISSING_INSTRUCTION, OK


def _response_format(name: str, fields: tuple[str, ...]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


# The critique first: the oracle writes the fields in this order, and is meant to think before it answers.
RESPONSE_FORMATS = {
    "instruction": _response_format("instruction_reflection", ("critique", "new_instruction", "new_answer")),
    "response": _response_format("response_reflection", ("critique", "better_answer")),
}
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)(?:```\s*)?", re.DOTALL | re.IGNORECASE)
# JSON may spell half of a surrogate pair, which no file can hold.
_SURROGATE = re.compile("[\ud800-\udfff]")


def extract_structured(kind: str, completion: str, finish_reason: str | None = "stop") -> Extraction:
    """Read a completion that is a JSON object of `RESPONSE_FORMATS[kind]`, by the rules of `extract`.

    A field that is missing or no string is an empty text. Fields beside those of the format are ignored.

    Args:
        kind: `instruction` or `response`.
        finish_reason: why the oracle stopped; `length` with an unfinished object means a cut answer.
    """
    if not completion.strip():
        return Extraction(EMPTY_COMPLETION)
    if_missing = MISSING_INSTRUCTION if kind == "instruction" else MISSING_ANSWER
    fields = _object(completion)
    if fields is None:
        return Extraction(status_without_text(completion, finish_reason, if_missing))
    critique = _text(fields, "critique") or None
    if kind == "response":
        output = _text(fields, "better_answer")
        return Extraction(status_of_text(output, MISSING_ANSWER, cut=False), None, output, critique)
    instruction, output = _text(fields, "new_instruction"), _text(fields, "new_answer")
    status = status_of_text(instruction, MISSING_INSTRUCTION, cut=False)
    if status == OK:
        status = status_of_text(output, MISSING_ANSWER, cut=False)
    return Extraction(status, instruction, output, critique)


def _object(completion: str) -> dict[str, Any] | None:
    fenced = _FENCE.fullmatch(completion)
    try:
        # Not strict: models without guided decoding put bare line breaks into their strings.
        content = json.loads(fenced[1] if fenced else completion, strict=False)
    except (ValueError, RecursionError):  # the latter: an oracle that runs wild repeats one bracket
        return None
    return content if isinstance(content, dict) else None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return _SURROGATE.sub("\ufffd", value).strip() if isinstance(value, str) else ""
