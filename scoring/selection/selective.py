"""Selective Reflection-Tuning: the student chooses among a row's variants (arXiv 2402.10110, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

from scoring.selection.base import Decision, Scores

KEPT = "kept"
ONLY_SCORED = "only_scored"
IFD_NOT_BELOW_1 = "ifd_not_below_1"
RIFD_NOT_BELOW_1 = "rifd_not_below_1"
WINNER_UNSCORED = "winner_unscored"
RESPONSE_NOT_REFLECTED = "response_not_reflected"
UNSCORED = "unscored"
# For each reason its meaning, in the order in which a row meets them.
REASONS = {
    UNSCORED: "neither side of a comparison has a number",
    WINNER_UNSCORED: "the winner lacks a number that the gate needs",
    IFD_NOT_BELOW_1: "the winner's IFD is 1 or more: the instruction does not help the response",
    RIFD_NOT_BELOW_1: "the winner's r-IFD is 1 or more: the response does not point to its instruction",
    RESPONSE_NOT_REFLECTED: "a pair with its old response won, and only reflected responses are kept",
    ONLY_SCORED: "kept; one side of a comparison had no number",
    KEPT: "kept",
}
RESPONSE_REFLECTED = ("reflect_response", "reflect_both")


def select_selective(variants: Mapping[str, Scores], require_reflected_response: bool = True) -> Decision:
    """Decide one row.

    1. The reflected instruction goes on if it is the more difficult one: its IFD is above the original's.
    2. The reflected response of that instruction goes on if its instruction is easier to tell from it: its r-IFD is
       below that of the pair with the old response.
    3. The winner stays if its IFD and r-IFD are below 1.

    Args:
        variants: for each variant that the row has, its `ifd_ppl` and `rifd_ppl`, null where unscored.
        require_reflected_response: drop winners whose response was not reflected, as the published sets do.
    """
    question, alone_1 = _better(variants, "original", "reflect_instruction", "ifd_ppl", larger_wins=True)
    if question is None:
        return Decision(False, None, UNSCORED)
    reflected = "reflect_both" if question == "reflect_instruction" else "reflect_response"
    winner, alone_2 = _better(variants, question, reflected, "rifd_ppl", larger_wins=False)
    if winner is None:
        return Decision(False, None, UNSCORED)

    ifd, rifd = variants[winner]["ifd_ppl"], variants[winner]["rifd_ppl"]
    if ifd is None or rifd is None:
        return Decision(False, winner, WINNER_UNSCORED)
    if not ifd < 1:
        return Decision(False, winner, IFD_NOT_BELOW_1)
    if not rifd < 1:
        return Decision(False, winner, RIFD_NOT_BELOW_1)
    if require_reflected_response and winner not in RESPONSE_REFLECTED:
        return Decision(False, winner, RESPONSE_NOT_REFLECTED)
    return Decision(True, winner, ONLY_SCORED if alone_1 or alone_2 else KEPT)


def _better(
    variants: Mapping[str, Scores], old: str, new: str, score: str, larger_wins: bool
) -> tuple[str | None, bool]:
    """The winner of a comparison, and whether it won because the other side has no number.

    A tie keeps the old one; a variant that was never made takes no part.
    """
    made = [name for name in (old, new) if name in variants]
    scored = [name for name in made if variants[name][score] is not None]
    if len(scored) < 2:
        return (scored[0] if scored else None), bool(scored) and len(made) == 2
    before, after = variants[old][score], variants[new][score]
    new_wins = after > before if larger_wins else after < before
    return (new if new_wins else old), False
