import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.verdicts import OUTCOMES, UNREADABLE, Marks, outcome, parse_marks, verdict_columns

REASONS = list(UNREADABLE)
marks = st.builds(Marks, *[st.sampled_from([0.0, 1.0, 7.0, 7.5, 8.0, 10.0])] * 2)
readings = marks | st.sampled_from(REASONS)


class TestParseMarks:
    @pytest.mark.parametrize(
        ("review", "expected"),
        [
            ("8 7\nThe first one is better.", (8, 7)),
            ("9 8.5\nBoth are good.", (9, 8.5)),
            ("3 10\n\nAssistant 1's answer is wrong.", (3, 10)),
            ("0 10", (0, 10)),
            ("10.0 0.0", (10, 0)),
            ("8  7", (8, 7)),
            ("8\t7", (8, 7)),
            ("8, 7", (8, 7)),
            ("8,7", (8, 7)),
            ("8 ,7", (8, 7)),
            ("  8 7  \r\nWhy", (8, 7)),
            ("\n\n 8 7\nWhy", (8, 7)),
        ],
    )
    def test_two_marks_alone_on_the_first_line(self, review, expected):
        assert parse_marks(review) == Marks(*expected)

    @pytest.mark.parametrize(
        ("review", "reason"),
        [
            (None, "no_review"),
            ("", "empty_review"),
            (" \n\t\n", "empty_review"),
            ("eleven", "no_marks"),
            ("eight seven", "no_marks"),
            ("8/10 7/10", "no_marks"),
            ("Assistant 1: 8\nAssistant 2: 7", "no_marks"),
            ("8 7 because the first one is better", "no_marks"),
            ("**8 7**", "no_marks"),
            ("[8, 7]", "no_marks"),
            ("8 7.", "no_marks"),
            ("8. 7", "no_marks"),
            (".5 7", "no_marks"),
            ("8 and 7", "no_marks"),
            ("8;7", "no_marks"),
            ("8-7", "no_marks"),
            ("8,,7", "no_marks"),
            (", 8 7", "no_marks"),
            ("8 7,", "no_marks"),
            ("nan 5", "no_marks"),
            ("inf 5", "no_marks"),
            ("1e1 5", "no_marks"),
            ("0x8 5", "no_marks"),
            ("08 7", "no_marks"),
            ("+8 7", "no_marks"),
            ("٨ ٧", "no_marks"),  # digits of another script
            ("8\u00a07", "no_marks"),
            ("8\u20287", "no_marks"),
            ("__import__('os').abort()", "no_marks"),
            ("8", "one_mark"),
            ("8\n7", "one_mark"),
            ("8 7 6", "too_many_marks"),
            ("8 7, 6", "too_many_marks"),
            ("11 3", "mark_out_of_range"),
            ("3 10.01", "mark_out_of_range"),
            ("-1 3", "mark_out_of_range"),
            ("-0 3", "mark_out_of_range"),
            ("9" * 500 + " 3", "mark_out_of_range"),
        ],
    )
    def test_all_else_has_a_reason(self, review, reason):
        assert parse_marks(review) == reason

    @pytest.mark.parametrize(
        ("review", "expected"),
        [("8 1", "cut_off"), ("8", "one_mark"), ("8 1\n", Marks(8, 1)), ("8 1\nThe sec", Marks(8, 1))],
    )
    def test_a_length_limit_within_the_line_may_have_taken_a_digit(self, review, expected):
        assert parse_marks(review, is_cut=True) == expected

    @given(st.text() | st.text(alphabet="0189. ,-\n\t/e") | st.from_regex(r"-?[0-9]+(\.[0-9]+)? -?[0-9]+(\n.*)?"))
    @example("8 7")
    def test_never_raises_and_reads_only_what_a_naive_reader_reads_alike(self, review):
        found = parse_marks(review)
        if isinstance(found, Marks):
            line = review.strip().split("\n")[0]
            assert list(found) == [float(part) for part in line.replace(",", " ").split()]
            assert set(line) <= set("0123456789., \t\r") and all(0 <= mark <= 10 for mark in found)
        else:
            assert found in UNREADABLE
            assert not re.match(r"\s*(10|[0-9])(\.[0-9]+)?[ \t]+(10|[0-9])\n", review) or found == "mark_out_of_range"

    @given(marks, st.sampled_from([" ", "\t", ", ", ",", "  "]), st.text())
    def test_reads_back_every_pair_of_marks_that_is_written(self, written, separator, why):
        assert parse_marks(f"{written.first:g}{separator}{written.second:g}\n{why}") == written


def naive(review: Marks | str, review_reverse: Marks | str) -> str:
    """The rule of the paper, word by word."""
    if review in REASONS or review_reverse in REASONS:
        return "invalid"
    ours, theirs = review
    theirs_reverse, ours_reverse = review_reverse
    if ours > theirs and ours_reverse > theirs_reverse:
        return "win"
    if (ours > theirs and ours_reverse == theirs_reverse) or (ours == theirs and ours_reverse > theirs_reverse):
        return "win"
    if ours == theirs and ours_reverse == theirs_reverse:
        return "tie"
    if (ours > theirs and ours_reverse < theirs_reverse) or (ours < theirs and ours_reverse > theirs_reverse):
        return "tie"
    return "lose"


class TestOutcome:
    @pytest.mark.parametrize(
        ("review", "review_reverse", "expected"),
        [
            ((8, 7), (7, 8), "win"),
            ((8, 7), (8, 8), "win"),
            ((7, 7), (6, 8), "win"),
            ((7, 7), (9, 9), "tie"),
            ((8, 7), (8, 7), "tie"),  # the first one shown was preferred, whoever it was
            ((1, 10), (8, 9), "tie"),  # by how much does not count
            ((7, 8), (8, 7), "lose"),
            ((7, 8), (8, 8), "lose"),
            ((7, 7), (8, 6), "lose"),
        ],
    )
    def test_of_both_orders(self, review, review_reverse, expected):
        assert outcome(Marks(*review), Marks(*review_reverse)) == expected

    @given(readings, readings)
    def test_is_that_of_the_rule(self, review, review_reverse):
        assert outcome(review, review_reverse) == naive(review, review_reverse)

    @given(readings, readings)
    def test_of_swapped_sides_is_the_opposite(self, review, review_reverse):
        opposite = {"win": "lose", "lose": "win", "tie": "tie", "invalid": "invalid"}
        # Whose answer is shown first in the one order is shown second in the other.
        assert outcome(review_reverse, review) == opposite[outcome(review, review_reverse)]

    @given(st.none() | st.text(max_size=8), st.none() | st.text(max_size=8))
    def test_of_garbage_is_invalid_with_a_reason(self, review, review_reverse):
        read = [parse_marks(text) for text in (review, review_reverse)]
        found = verdict_columns(*read)
        assert found["outcome"] in OUTCOMES
        is_invalid = any(reading in REASONS for reading in read)
        assert (found["outcome"] == "invalid") == is_invalid == (found["invalid_reason"] in REASONS)


class TestColumns:
    def test_marks_stand_with_whose_they_are(self):
        assert verdict_columns(Marks(8, 7), Marks(6, 9)) == {
            "mark": 8,
            "baseline_mark": 7,
            "mark_reverse": 9,
            "baseline_mark_reverse": 6,
            "outcome": "win",
            "invalid_reason": None,
        }

    def test_of_two_reasons_the_first_is_kept_and_marks_that_were_read_stay(self):
        assert verdict_columns("no_marks", "one_mark")["invalid_reason"] == "no_marks"
        found = verdict_columns(Marks(8, 7), "one_mark")
        assert (found["mark"], found["mark_reverse"], found["baseline_mark_reverse"]) == (8, None, None)
        assert (found["outcome"], found["invalid_reason"]) == ("invalid", "one_mark")
