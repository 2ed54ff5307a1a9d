"""What became of the rows: every outcome counted, none hidden."""

from dataclasses import replace

import pytest

from hub_cards.cards.outcomes import cost_table, fallback_line, joined_lines, outcome_table, time_text

COUNTS = {
    "reflect_instruction": {"ok": 5, "refusal": 2, "truncated": 1},
    "reflect_both": {"ok": 4, "ok_prompt_cut": 1, "parent_not_reflected": 3},
}


def test_every_outcome_has_a_line_and_all_have_a_total():
    assert outcome_table(COUNTS, {"ok": "whole", "refusal": "a <b> said"}) == [
        ["outcome", "reflect_instruction", "reflect_both", "meaning"],
        ["ok", "5", "4", "whole"],
        ["parent_not_reflected", "0", "3", ""],
        ["refusal", "2", "0", "a &lt;b> said"],
        ["truncated", "1", "0", ""],
        ["ok_prompt_cut", "0", "1", ""],
        ["total", "8", "8", ""],
    ]


def test_without_meanings_there_is_no_column_for_them():
    assert outcome_table({"rows": {"kept": 1200}}, {"other": "x"}) == [
        ["outcome", "rows"],
        ["kept", "1,200"],
        ["total", "1,200"],
    ]
    assert outcome_table({}, {}) == [["outcome"], ["total"]]


def test_pairs_that_fell_back_are_counted_by_reason(lineage):
    reflect = replace(lineage[0], counts={"reflect_status": COUNTS})
    assert fallback_line(reflect) == (
        "Of 16 pairs, 10 stand as the oracle wrote them. 6 fell back to their parent row, unchanged: "
        "3 `parent_not_reflected`, 2 `refusal`, 1 `truncated`."
    )
    whole = replace(reflect, counts={"reflect_status": {"reflect_both": {"ok": 4, "ok_prompt_cut": 1}}})
    assert fallback_line(whole) == "All 5 pairs stand as the oracle wrote them: none fell back to its parent row."


def test_statistics_that_were_joined_say_how(lineage):
    notes = {"aligned_by": "position", "rows": 1000, "rows_without_statistics": 2, "zeros": 0, "warnings": ["odd | x"]}
    select = replace(lineage[2], counts={**lineage[2].counts, "joined": {"original": notes}})
    assert joined_lines(select) == [
        "`original`: 1,000 rows, joined by position; rows without statistics: 2; odd | x",
    ]
    assert joined_lines(lineage[2]) == []


def test_cost_is_the_time_of_each_step(lineage):
    timed = [*lineage[:2], replace(lineage[2], seconds=None)]
    assert cost_table(timed) == [["step", "time"], ["reflect", "1.3 s"], ["score", "1 min"]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (61, "1 min"), (3599, "1 h 0 min"), (12_300, "3 h 25 min")]
)
def test_times_are_read_at_a_glance(seconds, text):
    assert time_text(seconds) == text
