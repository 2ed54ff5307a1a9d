"""Why a row was kept or dropped, in words: from the record of the selection, the ledger and the row's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hub_cards.report.words.numbers import number
from hub_cards.report.words.selective import selective_words
from hub_cards.report.words.steps import (
    CHOOSES,
    KEPT,
    KNOWN,
    UNRANKED,
    Options,
    Scores,
    Verdict,
    plain_words,
    step_words,
)
from hub_cards.schema import VARIANTS

SELECTIVE = "selective"


def decision_words(steps: Sequence[Options], scores: Scores, decision: Mapping[str, Any]) -> list[str]:
    """The decision of a row in sentences: each step that it passed, then the one that dropped it or kept it last.

    The ledger is right: scores that say otherwise, of another model for instance, are not spoken of. What this version
    does not know, a strategy, an option or a reason of another one, is said in the ledger's own words.

    Args:
        steps: `strategy` of the selection's record; none where there is no record.
        scores: of the row, by variant and column; null where there is no number, no key where it was never taken.
        decision: the row's columns of the ledger.

    Returns:
        Nothing where nothing was decided of the row (`selected` is null or missing).
    """
    selected, reason = decision.get("selected"), decision.get("select_reason")
    if selected is None:
        return []
    kept, last = bool(selected), decision.get("select_step")
    path = _path(steps, kept, last)
    if not path or (reason is None and not kept):
        return [plain_words(last, kept, reason)]
    words = []
    for place, step in enumerate(path):
        is_last = place == len(path) - 1
        verdict = Verdict(
            is_last,
            kept if is_last else True,
            (reason or KEPT) if is_last else KEPT,
            _variant_at(place, path, scores, decision.get("selected_variant")),
            *_rank_at(place, path, decision),
            scores,
        )
        words += _words_of(step, verdict, of_several=len(steps) > 1)
    return words


def _words_of(step: Options, verdict: Verdict, of_several: bool) -> list[str]:
    if step["name"] == SELECTIVE:
        return selective_words(step, verdict)
    words = step_words(step, verdict)
    if words is None:
        return [plain_words(step["name"], verdict.kept, verdict.reason)]
    return [f"{words[:-1]} ({step['name']})." if of_several else words]


def _path(steps: Sequence[Options], kept: bool, last: str | None) -> list[Options]:
    """The steps that the row went through, up to the one that the ledger names; none where that cannot be told."""
    if not all(isinstance(step, Mapping) and isinstance(step.get("name"), str) for step in steps):
        return []  # of another version
    names = [step["name"] for step in steps]
    if last is None:
        return list(steps) if kept or len(steps) == 1 else []
    if kept:
        return list(steps) if names[-1:] == [last] else []
    places = [place for place, name in enumerate(names) if name == last]
    if len(places) == 1:
        return list(steps[: places[0] + 1])
    # One of several steps of that name: what all of them have in common holds of it.
    alike = [steps[place].items() for place in places]
    return [{key: value for key, value in alike[0] if all((key, value) in others for others in alike)}] if alike else []


def _variant_at(place: int, path: Sequence[Options], scores: Scores, winner: str | None) -> str | None:
    """The variant that stood for the row after a step of its path; None where that is not known."""
    changes = [step["name"] in CHOOSES or step["name"] not in KNOWN for step in path]
    if not any(changes[place + 1 :]):
        return winner
    return next((name for name in VARIANTS if name in scores), None) if not any(changes[: place + 1]) else None


def _rank_at(place: int, path: Sequence[Options], decision: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """Rank and score of the ledger, if they are of this step: of the last one that ranks."""
    if path[place]["name"] in UNRANKED or any(step["name"] not in UNRANKED for step in path[place + 1 :]):
        return None, None
    rank = number(decision.get("select_rank"))
    return None if rank is None else int(rank), number(decision.get("select_score"))
