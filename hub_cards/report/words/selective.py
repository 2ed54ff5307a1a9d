"""The student's choice among the variants of a row, in words: two comparisons and a gate (strategy `selective`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub_cards.report.words.numbers import apart, beside_one, number, shown
from hub_cards.report.words.steps import KEPT, UNSCORED, Scores, Verdict, plain_words
from hub_cards.schema import VARIANTS

ORIGINAL, INSTRUCTION, RESPONSE, BOTH = VARIANTS
IFD, RIFD = "ifd_ppl", "rifd_ppl"
OPTIONS = {"name", "require_reflected_response"}
ONLY_SCORED, WINNER_UNSCORED = "only_scored", "winner_unscored"
NOT_REFLECTED = "response_not_reflected"
NOT_REFLECTED_WORDS = "Dropped: its response was not reflected, and only reflected responses are kept."
BRANCHES = {
    ORIGINAL: "Instruction kept, response kept.",
    INSTRUCTION: "Instruction reflected, response kept.",
    RESPONSE: "Instruction kept, response reflected.",
    BOTH: "Instruction reflected, response reflected.",
}
# What a reason says of a row whose numbers are not at hand.
PASSES = "Passes the gate."
REASONS = {
    KEPT: PASSES,
    ONLY_SCORED: "Passes the gate; one side of a comparison had no number.",
    UNSCORED: "Dropped: neither side of a comparison has a number.",
    WINNER_UNSCORED: "Dropped by the gate: the winner lacks a number that the gate needs.",
    "ifd_not_below_1": "Dropped by the gate: the winner's IFD is not below 1.",
    "rifd_not_below_1": "Dropped by the gate: the winner's r-IFD is not below 1.",
    NOT_REFLECTED: NOT_REFLECTED_WORDS,
}


@dataclass(frozen=True)
class _Found:
    """What comes out where a row's scores are compared again."""

    winner: str | None
    reason: str
    words: list[str]


@dataclass(frozen=True)
class _Comparison:
    """One of the two comparisons.

    Attributes:
        noun: what is chosen.
        old: what its old side is called.
        column, score: what is compared, and its name.
        larger_wins: whether the reflected side has to be above the old one, or below it.
    """

    noun: str
    old: str
    column: str
    score: str
    larger_wins: bool

    def decide(self, scores: Scores, old: str, new: str) -> tuple[str | None, bool, str]:
        """The variant that wins (None for neither), whether the other was made and has no number, and the words."""
        before, after = (_score(scores, name, self.column) for name in (old, new))
        if before is None and after is None:
            return None, False, f"Dropped: {self._nothing(old in scores, new in scores)}."
        noun = self.noun.capitalize()
        if after is None:
            why = f"only the {self.old} one has an {self.score} ({shown(before)})"
            return old, new in scores, f"{noun} kept: {why if new in scores else 'there is no reflected one'}."
        if before is None:
            why = f"only the reflected one has an {self.score} ({shown(after)})"
            return new, old in scores, f"{noun} reflected: {why if old in scores else f'there is no {self.old} one'}."
        if before == after:
            tie = f"{self.score} is {shown(before)} for both, and a tie keeps the {self.old} one"
            return old, False, f"{noun} kept: {tie}."
        wanted = "above" if self.larger_wins else "below"
        one, other = apart(after, before)
        if (after > before) == self.larger_wins:
            return new, False, f"{noun} reflected: {self.score} {one} is {wanted} {other}."
        words = f"{noun} kept: {self.score} {one} (reflected) is not {wanted} {other} ({self.old})."
        return old, False, words

    def _nothing(self, old_made: bool, new_made: bool) -> str:
        if old_made and new_made:
            return f"neither the {self.old} nor the reflected {self.noun} has an {self.score}"
        if not old_made and not new_made:
            return f"there is neither the {self.old} {self.noun} nor a reflected one"
        there, missing = (f"the {self.old}", "reflected") if old_made else ("the reflected", self.old)
        return f"{there} {self.noun} has no {self.score}, and there is no {missing} one"


FIRST = _Comparison("instruction", "original", IFD, "IFD", larger_wins=True)
SECOND = _Comparison("response", "old", RIFD, "r-IFD", larger_wins=False)


def selective_words(step: Mapping[str, Any], verdict: Verdict) -> list[str]:
    """Both comparisons and the gate, each a sentence; what the ledger says alone where the scores say otherwise."""
    found = None
    taken = bool(verdict.scores) and all(IFD in of and RIFD in of for of in verdict.scores.values())
    if taken and step.keys() == OPTIONS:
        found = _choose(verdict.scores, bool(step["require_reflected_response"]))
    if found is not None and _agrees(found, verdict):
        return found.words
    words = REASONS.get(verdict.reason)
    if words is None or verdict.kept != (verdict.reason in (KEPT, ONLY_SCORED)):
        return [plain_words("selective", verdict.kept, verdict.reason)]
    branch = BRANCHES.get(verdict.variant)
    return [words] if branch is None else [branch, words]


def _agrees(found: _Found, verdict: Verdict) -> bool:
    if verdict.is_last:
        return (found.winner, found.reason) == (verdict.variant, verdict.reason)
    return found.reason in (KEPT, ONLY_SCORED) and verdict.variant in (found.winner, None)


def _score(scores: Scores, variant: str, column: str) -> float | None:
    return number(scores[variant].get(column)) if variant in scores else None


def _choose(scores: Scores, reflected_only: bool) -> _Found:
    """The whole rule on one row, each of its sentences beside what it decides."""
    question, first_alone, first = FIRST.decide(scores, ORIGINAL, INSTRUCTION)
    if question is None:
        return _Found(None, UNSCORED, [first])
    reflected = BOTH if question == INSTRUCTION else RESPONSE
    winner, second_alone, second = SECOND.decide(scores, question, reflected)
    if winner is None:
        return _Found(None, UNSCORED, [first, second])
    ifd, rifd = (_score(scores, winner, column) for column in (IFD, RIFD))
    for score, value in (("IFD", ifd), ("r-IFD", rifd)):
        if value is None:
            words = f"Dropped by the gate: the winner has no {score}."
            return _Found(winner, WINNER_UNSCORED, [first, second, words])
    for score, value, reason in (("IFD", ifd, "ifd_not_below_1"), ("r-IFD", rifd, "rifd_not_below_1")):
        if value >= 1:
            words = f"Dropped by the gate: {score} {beside_one(value)} is not below 1."
            return _Found(winner, reason, [first, second, words])
    passes = f"Passes the gate: IFD {beside_one(ifd)} and r-IFD {beside_one(rifd)} are both below 1."
    if reflected_only and winner in (ORIGINAL, INSTRUCTION):
        return _Found(winner, NOT_REFLECTED, [first, second, passes, NOT_REFLECTED_WORDS])
    reason = ONLY_SCORED if first_alone or second_alone else KEPT
    return _Found(winner, reason, [first, second, passes])
