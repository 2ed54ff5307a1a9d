"""Tables from step records, as text and as Markdown."""

import pytest

from hub_cards.tables import as_markdown, as_text, branch_table, reason_table, statistics_table, status_table


def test_statistics_have_a_column_a_variant_and_a_dash_for_what_is_missing(lineage):
    assert statistics_table(lineage[1]) == [
        ["mean over the rows", "original", "reflect_response"],
        ["instruction length (tokens)", "2.500", "2.500"],
        ["response length (tokens)", "1,234.5", "30.0"],
        ["instruction ppl", "9.999", "12.2"],
        ["response ppl", "–", "20.0"],
        ["response ppl, given instruction", "–", "10.0"],
        ["IFD", "–", "0.500"],
        ["r-IFD", "–", "1.000"],
    ]


def test_statuses_have_a_line_a_variant_and_a_zero_for_what_did_not_occur(lineage):
    assert status_table(lineage[1], "score_status", "variant") == [
        ["variant", "ok", "empty_output", "error"],
        ["original", "2", "2", "0"],
        ["reflect_response", "3", "0", "1"],
    ]


def test_branches_end_with_their_total(lineage):
    assert branch_table(lineage[2]) == [
        ["branch", "won", "kept"],
        ["original", "1", "1"],
        ["reflect_response", "2", "2"],
        ["none", "1", "0"],
        ["total", "4", "3"],
    ]


def test_reasons_are_counted(lineage):
    assert reason_table(lineage[2]) == [["reason", "rows"], ["kept", "3"], ["unscored", "1"]]


TABLE = [["name", "n"], ["long name", "5"], ["x", "1,000"]]


def test_text_has_aligned_columns_numbers_to_the_right():
    assert as_text(TABLE) == "name           n\nlong name      5\nx          1,000"


def test_markdown_has_its_header_line():
    assert as_markdown(TABLE) == "| name | n |\n| --- | ---: |\n| long name | 5 |\n| x | 1,000 |"


@pytest.mark.parametrize(("cell", "shown"), [("a|b", "a\\|b"), ("–", "–")])
def test_markdown_cell_cannot_end_its_column(cell, shown):
    assert as_markdown([["h", "n"], [cell, "1"]]).splitlines()[-1] == f"| {shown} | 1 |"
