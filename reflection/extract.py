"""Extraction: from an oracle's completion to a pair, whole or nothing (arXiv 2310.11716). Pure functions on text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reflection.statuses import (
    EMPTY_COMPLETION,
    MISSING_ANSWER,
    MISSING_INSTRUCTION,
    NOT_APPLICABLE,
    OK,
    PLACEHOLDER,
    REFUSAL,
    TRUNCATED,
)

END = re.compile(r"\*\*\[End\]\*\*|\[End\]")
PLACEHOLDERS = {"your instruction", "your answer"}
REFUSAL_PATTERN = re.compile(
    r"""^\W*(
        (i['’]?m|i\ am)\ (very\ |so\ )?sorry,?\ but\ i\b
      | (((i['’]?m\ |i\ am\ )?(very\ |so\ )?sorry|i\ apologi[sz]e|unfortunately)[,.]?\ (but\ )?)?
        (
          as\ an\ ai(\ language)?(\ model|\ assistant)?,?\ (i|it|my)\b  # not "As an AI researcher, …"
        | (i\ can(no|['’])?t|i\ can\ not|(i['’]?m|i\ am)\ (unable|not\ able)\ to|i\ won['’]?t(\ be\ able\ to)?)
          \ (
            assist|fulfil|fulfill|comply|provide|answer|generate|create|complete|do\ that|continue
          | help(?!\ (but|it|\w+ing)\b)  # not "I can't help but notice …"
          )\b
        )
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Extraction:
    """What one completion gave.

    Attributes:
        status: `ok`, or one of `statuses.REASONS`; only with `ok` are the texts to be used.
        instruction: None for a response reflection.
        critique: what stands before the first marker; None where there is no marker.
    """

    status: str
    instruction: str | None = None
    output: str | None = None
    critique: str | None = None


# What chat models dress a marker up in: a heading, bold letters, and the list number inside of either.
_DRESS = r"(?:^\#+[ ]+(?:\d+[.)][ ]*)?)?(?P<bold>\*\*(?:\d+[.)][ ]*)?)?"


def _marker(name: str) -> re.Pattern[str]:
    # In brackets, also as **[Marker]**; or without brackets and with a colon. The bracketed one wins where both occur.
    return re.compile(rf"{_DRESS}\[{name}\](?(bold):?(?:\*\*)?):?", re.MULTILINE)


def _bare_marker(name: str) -> re.Pattern[str]:
    return re.compile(rf"{_DRESS}{name}(?(bold)(?:\*\*:|:(?:\*\*)?)|:)", re.MULTILINE)


_NEW_INSTRUCTION = (_marker("New Instruction"), _bare_marker("New Instruction"))
_NEW_ANSWER = (_marker("New Answer"), _bare_marker("New Answer"))
_BETTER_ANSWER = (_marker("Better Answer"), _bare_marker("Better Answer"))
# On the text read backwards: forwards, a search for what only the end can hold takes quadratic time.
_LIST_NUMBERS = re.compile(r"([.)]\d+([ \t]*\n|[ \t]+(?=[.?!]))\s*)+")


def extract_instruction(completion: str, finish_reason: str | None = "stop") -> Extraction:
    """Read a completion of instruction reflection: a new instruction and its answer.

    Args:
        finish_reason: why the oracle stopped; `length` without a last `[End]` means a cut answer.
    """
    if not completion.strip():
        return Extraction(EMPTY_COMPLETION)
    question = _first(_NEW_INSTRUCTION, completion)
    if question is None:
        return Extraction(status_without_text(completion, finish_reason, MISSING_INSTRUCTION))
    critique = _critique(completion, question)
    answer = _first(_NEW_ANSWER, completion, question.end())
    stops = [pattern.search(completion, question.end()) for pattern in (END, *_NEW_ANSWER)]
    end = min((stop.start() for stop in stops if stop), default=len(completion))
    instruction = _without_list_number(completion[question.end() : end])
    output, cut = _answer(completion, answer, finish_reason)
    status = status_of_text(instruction, MISSING_INSTRUCTION, cut)
    if status == OK:
        status = status_of_text(output, MISSING_ANSWER, cut)
    return Extraction(status, instruction, output, critique)


def extract_response(completion: str, finish_reason: str | None = "stop") -> Extraction:
    """Read a completion of response reflection: a better answer, after the last-opened marker."""
    if not completion.strip():
        return Extraction(EMPTY_COMPLETION)
    markers = _all(_BETTER_ANSWER, completion)
    if not markers:
        return Extraction(status_without_text(completion, finish_reason, MISSING_ANSWER))
    output, cut = _answer(completion, markers[-1], finish_reason)
    return Extraction(status_of_text(output, MISSING_ANSWER, cut), None, output, _critique(completion, markers[0]))


def _all(patterns: tuple[re.Pattern[str], ...], text: str, start: int = 0) -> list[re.Match[str]]:
    """Every occurrence of the first form that occurs at all."""
    return next((found for pattern in patterns if (found := list(pattern.finditer(text, start)))), [])


def _first(patterns: tuple[re.Pattern[str], ...], text: str, start: int = 0) -> re.Match[str] | None:
    return next(iter(_all(patterns, text, start)), None)


def _critique(completion: str, marker: re.Match[str]) -> str | None:
    return _without_list_number(completion[: marker.start()]) or None


def _without_list_number(text: str) -> str:
    """Drop the number of the next list item, also where it is repeated; "World War 2." keeps its own."""
    backwards = f"\n{text.strip()}"[::-1]
    numbers = _LIST_NUMBERS.match(backwards)
    return backwards[numbers.end() if numbers else 0 :][::-1].strip()


def _answer(completion: str, marker: re.Match[str] | None, finish_reason: str | None) -> tuple[str, bool]:
    """The text from a marker to `[End]` or the end, and whether the oracle was cut off in it."""
    if marker is None:
        return "", finish_reason == "length"
    stop = END.search(completion, marker.end())
    text = completion[marker.end() : stop.start() if stop else len(completion)]
    return text.strip(), finish_reason == "length" and stop is None


def status_of_text(text: str, if_missing: str, cut: bool) -> str:
    """What one extracted text is worth; `cut`: the oracle was cut off in it."""
    if cut:
        return TRUNCATED
    if not text:
        return if_missing
    bare = text.strip(" .\"'“”<>[]()*").lower()
    if bare in PLACEHOLDERS:
        return PLACEHOLDER
    if bare == "n/a":
        return NOT_APPLICABLE
    return REFUSAL if REFUSAL_PATTERN.match(text) else OK


def status_without_text(completion: str, finish_reason: str | None, otherwise: str) -> str:
    """Why a completion, not blank, holds nothing in the asked format."""
    if finish_reason == "length":
        return TRUNCATED
    return REFUSAL if REFUSAL_PATTERN.match(completion) else otherwise
