"""Guards: whether an extracted pair is worth a place in the data set, seen beside its parent. Pure functions on text.

Ours: the seeds adopt whatever they extract. In doubt a guard says `ok`, for what it stops is the parent row unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reflection.extract import Extraction
from reflection.languages import MIN_BYTES, asks_for, language_of, may_hold
from reflection.statuses import (
    ANSWER_UNCHANGED,
    CRITIQUE_LEAKED,
    INSTRUCTION_UNCHANGED,
    LANGUAGE_SWITCHED,
    MARKER_LEFT,
    OK,
)

# [Instruction] and [System] are left out: templates and dialogues hold them, and an oracle that repeats the prompt
# repeats the others with them. "[END]" and "[end]" close screenplays and comments in code.
_MARKERS = re.compile(r"\[(?:(?i:New Instruction|(?:New|Better) Answer|The (?:Start|End) of Answer)|End)\]")
_CRITERIA = (
    "why this instruction is not good",
    "why this answer is not good for the given instruction",
    "we would like you to answer several questions related to the quality of",
    "based on the reason you provided, generate a",
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) |(?<=[。！？])")
_MIN_SENTENCE = 60
# List numbers, bullets, quotation marks: not part of a sentence.
_DECORATION = " \t-*•–—#>\"'“”„‘’«»()[]0123456789.:"


def guard(parent: Mapping[str, str], extraction: Extraction) -> str:
    """Judge an extracted pair.

    Args:
        parent: the row that was shown to the oracle, with `instruction`, `input` and `output`.
        extraction: of status `ok`.

    Returns:
        `ok` or one of `statuses.GUARD_FAILURES`, the first that applies.
    """
    olds = [parent["instruction"], parent["input"], parent["output"]]
    news = [text for text in (extraction.instruction, extraction.output) if text is not None]
    known = _normal(" ".join(olds))
    answer = _normal(extraction.output)
    if extraction.instruction is not None:
        instruction = _normal(extraction.instruction)
        if instruction in (_normal(olds[0]), _normal(f"{olds[0]}\n{olds[1]}")):
            return INSTRUCTION_UNCHANGED
        known = f"{known} {instruction}"
    if answer == _normal(olds[2]):
        return ANSWER_UNCHANGED
    if any(text in answer and text not in known for text in (*_sentences(extraction.critique or ""), *_CRITERIA)):
        return CRITIQUE_LEAKED
    if _markers(news) - _markers(olds):
        return MARKER_LEFT
    return LANGUAGE_SWITCHED if _is_switched(olds, extraction) else OK


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _sentences(text: str) -> Iterator[str]:
    """The lines of a text and their sentences, normalised, as far as they are too long to be found by chance."""
    for line in map(_normal, text.splitlines()):
        if len(line) >= _MIN_SENTENCE:
            for sentence in (line, *_SENTENCE_END.split(line)):
                bare = sentence.strip(_DECORATION)
                if len(bare) >= _MIN_SENTENCE:
                    yield bare


def _markers(texts: list[str]) -> set[str]:
    return {marker.casefold() for text in texts for marker in _MARKERS.findall(text)}


def _is_switched(olds: list[str], extraction: Extraction) -> bool:
    """Whether the new instruction or answer is in a language that nothing of the parent pair is in or asks for."""
    asking = olds[:2]
    answered = language_of(extraction.output)
    if extraction.instruction is not None:
        asked = language_of(extraction.instruction)
        asking.append(extraction.instruction)
        if _is_foreign(asked, olds, asking):
            return True
        # A new instruction may bring a text in another language with it, and be answered in that.
        if asked is None and answered and may_hold(extraction.instruction, answered, MIN_BYTES):
            return False
    return _is_foreign(answered, olds, asking)


def _is_foreign(language: str | None, olds: list[str], asking: list[str]) -> bool:
    # The old answer first: mostly it is in the very language, which ends the matter.
    if language is None or any(may_hold(old, language) for old in reversed(olds)):
        return False
    return any(map(language_of, olds)) and not any(asks_for(text, language) for text in asking)
