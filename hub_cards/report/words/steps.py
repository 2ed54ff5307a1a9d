"""What each step of a selection decided of a row, in a sentence, from the step's record and the row's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub_cards.report.words.numbers import apart, beside_one, counted, number, share, shown
from hub_cards.schema import VARIANTS

KEPT, UNSCORED = "kept", "unscored"
BELOW_THE_CUT, IFD_NOT_BELOW_1 = "below_the_cut", "ifd_not_below_1"
NOT_DRAWN, NOT_PICKED = "not_drawn", "not_picked"
BOTH = VARIANTS[-1]
NO_IFD = "It was scored and has no IFD: dropped."
Options = Mapping[str, Any]
Scores = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Verdict:
    """What a step decided of a row, as far as it is known.

    Attributes:
        is_last: whether the ledger speaks of this step; else the row is known to have passed it.
        variant: the one that stood for the row when the step was done; None for none, or not known.
        rank, score: the ledger's, where this step gave them.
        scores: of the row, by variant and column.
    """

    is_last: bool
    kept: bool
    reason: str
    variant: str | None
    rank: int | None
    score: float | None
    scores: Scores

    def number(self, column: str) -> float | None:
        """A score of the row's variant."""
        return number(self.scores.get(self.variant, {}).get(column))

    def ranked_by(self, column: str) -> float | None:
        """What the row was ranked by: as the ledger has it, else the score of this column."""
        return self.number(column) if self.score is None else self.score


def plain_words(step: str | None, kept: bool, reason: str | None) -> str:
    """The bare decision: for a strategy of another version, and where there is no record."""
    by = f" by {step}" if step else ""
    return f"{'Kept' if kept else 'Dropped'}{by}{'' if reason in (None, KEPT) else f': {reason}'}."


def step_words(step: Options, verdict: Verdict) -> str | None:
    """The sentence of a step that is not `selective`; None where this version does not know it or its reason."""
    describe = WORDS.get(step["name"])
    if describe is None or verdict.kept != (verdict.reason == KEPT):
        return None
    return describe(step, verdict)


def _cut(head: str | None, verdict: Verdict, step: Options, best: str) -> str | None:
    """The sentence of a row that was ranked and is above or below the cut."""
    if verdict.reason not in (KEPT, BELOW_THE_CUT):
        return None
    place = None if verdict.rank is None else f"place {verdict.rank:,}"
    head = ", ".join(part for part in (head, place) if part)
    outcome = f"{'kept, among' if verdict.kept else 'dropped, not among'} {share(step)} with {best}."
    words = f"{head}: {outcome}" if head else outcome
    return f"{words[0].upper()}{words[1:]}"


def _not_below_1(name: str, value: float | None) -> str:
    """The sentence of a row that is barred; another model's number, which says otherwise, is left out."""
    barred = value is not None and value >= 1
    return f"{name}{f' {beside_one(value)}' if barred else ''} is 1 or more: dropped."


def _top_ifd(step: Options, verdict: Verdict) -> str | None:
    ratio = step.get("ratio", "ppl")
    name = "IFD (by losses)" if ratio == "loss" else "IFD"
    value = verdict.ranked_by(f"ifd_{ratio}")
    if verdict.reason == UNSCORED:
        return "It has no IFD: dropped."
    if verdict.reason == IFD_NOT_BELOW_1:
        return _not_below_1(name, value)
    group = step.get("group_by")
    best = "the highest IFD" + (f", in proportion to the rows of each {group}" if group else "")
    head = f"{name} {beside_one(value)}" if value is not None and value < 1 else None
    return _cut(head, verdict, step, best)


def _selectit(step: Options, verdict: Verdict) -> str | None:
    value = verdict.ranked_by(f"selectit_{step.get('level')}")
    if verdict.reason == UNSCORED:
        return "It has no rating: dropped." if value is None else NO_IFD
    return _cut(None if value is None else f"rating {shown(value)}", verdict, step, "the highest rating")


def _sifd(step: Options, verdict: Verdict) -> str | None:
    value = verdict.score
    if verdict.reason == UNSCORED:
        why = "It has no S-IFD (no losses by token, or none of its tokens counts): dropped."
        return why if value is None else NO_IFD
    if verdict.reason == IFD_NOT_BELOW_1:
        return _not_below_1("IFD", verdict.number("ifd_ppl"))
    return _cut(None if value is None else f"S-IFD {shown(value)}", verdict, step, "the highest S-IFD")


def _longest(step: Options, verdict: Verdict) -> str | None:
    unit = "character" if step.get("unit") == "characters" else "token"
    value = verdict.ranked_by("n_tokens_A") if unit == "token" else verdict.score
    if verdict.reason == UNSCORED:
        return "It has no length in tokens: dropped." if value is None else NO_IFD
    head = None if value is None else f"a response of {counted(value, unit)}"
    return _cut(head, verdict, step, "the longest responses")


def _iterit(_: Options, verdict: Verdict) -> str | None:
    ifd = verdict.number("ifd_ppl")
    if verdict.reason == UNSCORED:
        return "It has no IFD: dropped."
    if verdict.reason == IFD_NOT_BELOW_1:
        return _not_below_1("IFD", ifd)
    if verdict.reason == NOT_PICKED:
        head = f"IFD {beside_one(ifd)}, not picked" if ifd is not None and ifd < 1 else "Not picked"
        return f"{head}: dropped, others were more difficult or said more that is new."
    worth = "" if verdict.score is None else f", worth {shown(verdict.score)} (IFD times what its response adds)"
    return _picked(verdict, worth)


def _facility_location(_: Options, verdict: Verdict) -> str | None:
    if verdict.reason == UNSCORED:
        return "It has no embedding, or was scored and has no IFD: dropped."
    if verdict.reason == NOT_PICKED:
        return "Not picked: dropped, rows like it were picked."
    gain = "" if verdict.score is None else f", which adds {shown(verdict.score)} to the summed similarity of all rows"
    return _picked(verdict, gain)


def _picked(verdict: Verdict, worth: str) -> str | None:
    if verdict.reason != KEPT:
        return None
    return f"{'Picked' if verdict.rank is None else f'Pick {verdict.rank:,}'}{worth}: kept."


def _pre_experience(_: Options, verdict: Verdict) -> str | None:
    if verdict.reason == UNSCORED:
        return "It has no prompt embedding, or was scored and has no IFD: dropped."
    loss, value = verdict.number("loss_prompt"), verdict.number("ppl_prompt")
    if value is None and loss is not None and loss < 700:  # exp() leaves float64
        value = math.exp(loss)
    head = "Picked" if verdict.kept else "Not picked"
    head = head if value is None else f"Perplexity {shown(value)} of the prompt, {head.lower()}"
    if verdict.reason == NOT_PICKED:
        why = "outside its cluster's band of perplexity, or between two rows that were picked"
        return f"{head}: dropped, {why}."
    return f"{head}: kept, as one of middling perplexity in its cluster." if verdict.reason == KEPT else None


def _refusals(_: Options, verdict: Verdict) -> str | None:
    return {
        UNSCORED: NO_IFD,
        "refusal": "The response begins with a refusal: dropped.",
        "speaks_as_ai": "The response speaks of itself as a language model: dropped.",
        KEPT: "The response is no refusal: kept.",
    }.get(verdict.reason)


def _random(step: Options, verdict: Verdict) -> str | None:
    if verdict.reason == UNSCORED:
        return NO_IFD
    if verdict.reason not in (KEPT, NOT_DRAWN):
        return None
    place = "In" if verdict.rank is None else f"Place {verdict.rank:,} in"
    outcome = "kept, among" if verdict.kept else "dropped, not among"
    return f"{place} the random order{_seed(step)}: {outcome} {share(step)} drawn."


def _length_matched(step: Options, verdict: Verdict) -> str | None:
    drawn = f"by chance{_seed(step)} from the responses as long as those of {step.get('like', 'another selection')}"
    return {
        UNSCORED: NO_IFD,
        NOT_DRAWN: f"Not drawn {drawn}: dropped.",
        KEPT: f"Drawn {drawn}: kept.",
    }.get(verdict.reason)


def _seed(step: Options) -> str:
    return f" (seed {step['seed']})" if "seed" in step else ""


def _recycled(_: Options, verdict: Verdict) -> str | None:
    if verdict.variant not in (BOTH, None):
        return None
    pair = "The oracle's pair, instruction and response rewritten (its parent's where that was not adopted)"
    return {UNSCORED: f"{pair}, has no IFD: dropped.", KEPT: f"{pair}: kept."}.get(verdict.reason)


def _grape(_: Options, verdict: Verdict) -> str | None:
    what = "loss of the response given its instruction"
    if verdict.reason == UNSCORED:
        return f"No variant has a {what}: dropped."
    if verdict.reason != KEPT or verdict.variant is None:
        return None
    losses = {name: number(verdict.scores.get(name, {}).get("loss_A_condition")) for name in VARIANTS}
    ranked = sorted((loss, VARIANTS.index(name), name) for name, loss in losses.items() if loss is not None)
    if not ranked or ranked[0][2] != verdict.variant:  # another model's numbers
        return f"{verdict.variant} has the lowest {what}: kept."
    if len(ranked) == 1:
        return f"Only {verdict.variant} has a {what} ({shown(ranked[0][0])}): kept."
    (best, _, name), (second, _, other) = ranked[:2]
    if best == second:
        return f"{name} has the lowest {what}, {shown(best)}, as has {other}, which comes after it: kept."
    one, two = apart(best, second)
    return f"{name} has the lowest {what}, {one} (next: {two}, {other}): kept."


WORDS: dict[str, Callable[[Options, Verdict], str | None]] = {
    "recycled": _recycled,
    "grape": _grape,
    "cherry": _top_ifd,
    "superfilter": _top_ifd,
    "selectit": _selectit,
    "sifd": _sifd,
    "iterit": _iterit,
    "facility_location": _facility_location,
    "pre_experience": _pre_experience,
    "refusals": _refusals,
    "random": _random,
    "length_matched_random": _length_matched,
    "longest": _longest,
}
CHOOSES = ("selective", "recycled", "grape")  # the variant that stands for the row
# Steps that give a row no place, and so leave it the one that it has.
UNRANKED = (*CHOOSES, "refusals", "pre_experience", "length_matched_random")
KNOWN = (*CHOOSES, *WORDS)
