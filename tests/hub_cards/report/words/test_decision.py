"""Several steps, and what is said where the record does not tell: never more than the ledger."""

import pytest

from hub_cards.report.words.decision import decision_words
from hub_cards.schema import VARIANTS

REFUSALS = {"name": "refusals"}
SELECTIVE = {"name": "selective", "require_reflected_response": True}
SUPERFILTER = {"name": "superfilter", "fraction": 0.2, "count": None}
DIVERSE = {"name": "facility_location", "fraction": 0.1, "count": None}
RANDOM = {"name": "random", "fraction": None, "count": 5, "seed": 0}
PAIRS = ((0.84, 1.03), (0.81, 0.7), (0.79, 0.92), (0.7, 0.8))
SCORES = {
    name: dict(zip(("ifd_ppl", "rifd_ppl"), pair, strict=True)) for name, pair in zip(VARIANTS, PAIRS, strict=True)
}
SELECTIVE_WORDS = [
    "Instruction kept: IFD 0.81 (reflected) is not above 0.84 (original).",
    "Response reflected: r-IFD 0.92 is below 1.03.",
    "Passes the gate: IFD 0.79 and r-IFD 0.92 are both below 1.",
]


def say(steps, step, reason="kept", variant="original", rank=None, score=None, scores=SCORES):
    decision = {"selected": reason == "kept", "selected_variant": variant, "select_reason": reason}
    return decision_words(steps, scores, {**decision, "select_step": step, "select_rank": rank, "select_score": score})


class TestSeveralSteps:
    def test_all_that_the_row_passed_and_the_one_that_dropped_it(self):
        assert say([REFUSALS, SUPERFILTER, DIVERSE], "facility_location", "not_picked") == [
            "The response is no refusal: kept (refusals).",
            "IFD 0.84: kept, among the 20 % with the highest IFD (superfilter).",
            "Not picked: dropped, rows like it were picked (facility_location).",
        ]

    def test_none_that_it_did_not_come_to(self):
        words = ["The response begins with a refusal: dropped (refusals)."]
        assert say([REFUSALS, SELECTIVE, RANDOM], "refusals", "refusal") == words

    def test_rank_and_score_are_of_the_last_step_that_ranks(self):
        assert say([SUPERFILTER, REFUSALS], "refusals", rank=3, score=0.91) == [
            "IFD 0.91, place 3: kept, among the 20 % with the highest IFD (superfilter).",
            "The response is no refusal: kept (refusals).",
        ]
        assert say([SUPERFILTER, RANDOM], "random", rank=3, score=0.01) == [
            "IFD 0.84: kept, among the 20 % with the highest IFD (superfilter).",
            "Place 3 in the random order (seed 0): kept, among the 5 rows drawn (random).",
        ]

    def test_a_step_before_the_choice_has_looked_at_the_original_one_after_it_at_the_winner(self):
        words = say(
            [SUPERFILTER, SELECTIVE, SUPERFILTER | {"name": "cherry", "ratio": "ppl"}],
            "cherry",
            "below_the_cut",
            "reflect_response",
        )
        assert words[0].startswith("IFD 0.84: kept")
        assert words[1:4] == SELECTIVE_WORDS
        assert words[4].startswith("IFD 0.79: dropped, not among")

    def test_a_choice_that_another_one_replaced(self):
        words = say([SELECTIVE, SUPERFILTER, {"name": "recycled"}], "recycled", variant="reflect_both")
        assert words[:3] == SELECTIVE_WORDS
        assert words[3] == "Kept, among the 20 % with the highest IFD (superfilter)."  # of which variant is not known

    def test_a_choice_that_the_scores_do_not_lead_to(self):
        assert say([SELECTIVE, RANDOM], "random", "not_drawn", "reflect_both", 9)[:2] == [
            "Instruction reflected, response reflected.",
            "Passes the gate.",
        ]

    def test_a_name_that_occurs_twice_leaves_open_which(self):
        smaller = SUPERFILTER | {"fraction": 0.1}
        assert say([SUPERFILTER, REFUSALS, smaller], "superfilter", "below_the_cut", rank=7, score=0.5) == [
            "IFD 0.50, place 7: dropped, not among those with the highest IFD (superfilter)."
        ]
        assert say([REFUSALS, SUPERFILTER, REFUSALS], "refusals", "refusal", rank=7, score=0.5) == [
            "The response begins with a refusal: dropped (refusals)."
        ]
        assert len(say([SUPERFILTER, REFUSALS, smaller], "superfilter")) == 3  # kept: it passed them all


class TestOtherVersions:
    def test_without_a_record_the_reason_alone(self):
        decision = {"selected": False, "select_reason": "rifd_not_below_1"}
        assert decision_words([], {}, decision) == ["Dropped: rifd_not_below_1."]
        assert decision_words([], {}, {"selected": True, "select_reason": "kept"}) == ["Kept."]
        assert decision_words([], {}, {"selected": True}) == ["Kept."]
        assert decision_words([], {}, {"selected": False}) == ["Dropped."]
        assert decision_words([], SCORES, {**decision, "select_step": "selective"}) == [
            "Dropped by selective: rifd_not_below_1."
        ]

    @pytest.mark.parametrize("decision", [{}, {"selected": None, "select_reason": None}])
    def test_where_nothing_was_decided_nothing_is_said(self, decision):
        assert decision_words([SELECTIVE], SCORES, decision) == []

    @pytest.mark.parametrize("steps", ["selective", ["selective"], [{"strategy": "selective"}], [{"name": None}], [3]])
    def test_a_record_of_another_form(self, steps):
        assert say(steps, None, "ifd_not_below_1") == ["Dropped: ifd_not_below_1."]

    def test_a_strategy_of_another_version(self):
        new = {"name": "stars", "fraction": 0.5}
        assert say([REFUSALS, new], "stars", "too_few") == [
            "The response is no refusal: kept (refusals).",
            "Dropped by stars: too_few.",
        ]
        # It may have chosen another variant, and have given the rank.
        assert say([SUPERFILTER, new, REFUSALS], "refusals", rank=2, score=5.0) == [
            "IFD 0.84: kept, among the 20 % with the highest IFD (superfilter).",
            "Kept by stars.",
            "The response is no refusal: kept (refusals).",
        ]

    def test_a_ledger_without_steps_names(self):
        assert say([SELECTIVE], None, variant="reflect_response") == SELECTIVE_WORDS
        assert len(say([REFUSALS, SELECTIVE], None, variant="reflect_response")) == 4  # a kept row passed all
        assert say([REFUSALS, SELECTIVE], None, "unscored", None) == ["Dropped: unscored."]

    def test_a_step_that_the_record_does_not_have(self):
        assert say([SELECTIVE], "cherry", "below_the_cut") == ["Dropped by cherry: below_the_cut."]
        assert say([SELECTIVE, RANDOM], "selective") == ["Kept by selective."]
