"""Every outcome a reflected variant can have: the values of `reflect_status`, and what each one means."""

from __future__ import annotations

OK = "ok"
OK_PROMPT_CUT = "ok_prompt_cut"
# The pair was extracted and stands in the row.
ADOPTED = {
    OK: "the oracle's pair, extracted whole",
    OK_PROMPT_CUT: "the oracle's pair, extracted whole; the oracle saw the parent pair cut to fit its context",
}

MISSING_INSTRUCTION = "missing_instruction"
MISSING_ANSWER = "missing_answer"
PLACEHOLDER = "placeholder"
NOT_APPLICABLE = "not_applicable"
REFUSAL = "refusal"
TRUNCATED = "truncated"
EMPTY_COMPLETION = "empty_completion"
# What extraction says of a completion (arXiv 2310.11716).
EXTRACTION_FAILURES = {
    MISSING_INSTRUCTION: "no instruction behind its marker",
    MISSING_ANSWER: "no answer behind its marker",
    PLACEHOLDER: 'the literal "your instruction" or "your answer" of the prompt',
    NOT_APPLICABLE: '"N/A" alone',
    REFUSAL: "the oracle refused",
    TRUNCATED: "the answer was cut off by its length limit",
    EMPTY_COMPLETION: "the completion is empty or blank",
}

INSTRUCTION_UNCHANGED = "instruction_unchanged"
ANSWER_UNCHANGED = "answer_unchanged"
CRITIQUE_LEAKED = "critique_leaked"
MARKER_LEFT = "marker_left"
LANGUAGE_SWITCHED = "language_switched"
# What the guards say of an extracted pair beside its parent. Ours: the seeds adopt such pairs.
GUARD_FAILURES = {
    INSTRUCTION_UNCHANGED: "the new instruction is the old one",
    ANSWER_UNCHANGED: "the new answer is the old one",
    CRITIQUE_LEAKED: "sentences of the critique stand in the answer",
    MARKER_LEFT: "a marker of the prompt's format stands in the pair",
    LANGUAGE_SWITCHED: "the new pair is in another language than the old one",
}

NO_CHOICES = "no_choices"
NULL_CONTENT = "null_content"
CONTENT_FILTER = "content_filter"
CONTEXT_OVERFLOW = "context_overflow"
# What the oracle's service said in place of a text. The same request would be answered the same: kept in the store.
NO_TEXT = {
    NO_CHOICES: "the service's answer holds no choice",
    NULL_CONTENT: "the service's answer holds no text",
    CONTENT_FILTER: "the service's content filter stopped it",
    CONTEXT_OVERFLOW: "longer than the oracle's context",
}

# Paid for, and kept, but perhaps a fault of the service that is gone tomorrow: the store forgets them on request.
FORGETTABLE = (NO_CHOICES, NULL_CONTENT)

ORACLE_ERROR = "oracle_error"
NOT_ASKED = "not_asked"
# What another run of the same command may mend.
OPEN = {
    ORACLE_ERROR: "no answer after all retries; the same command asks again",
    NOT_ASKED: "not asked, the budget was spent; the same command with a larger budget asks",
}

NOT_RECORDED = "not_recorded"
PARENT_NOT_REFLECTED = "parent_not_reflected"
# Why a variant's pair was not adopted: its parent row stands there unchanged. `parent_not_reflected` is ours: without
# a reflected instruction there is no pair for `reflect_both` to improve, so nothing is asked (and nothing paid).
REASONS = {
    **EXTRACTION_FAILURES,
    **GUARD_FAILURES,
    **NO_TEXT,
    **OPEN,
    NOT_RECORDED: "the file of recorded completions has none for it",
    PARENT_NOT_REFLECTED: "reflect_both of a row without a reflected instruction: nothing was asked",
}
# What another sample may mend. A filtered or too long prompt stays one, an error has had its retries.
WORTH_A_SECOND_ASK = {*EXTRACTION_FAILURES, *GUARD_FAILURES, NO_CHOICES, NULL_CONTENT}
