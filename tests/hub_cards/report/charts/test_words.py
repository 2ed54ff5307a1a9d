"""Words, numbers and links of the charts."""

from urllib.parse import parse_qs

import pytest

from hub_cards.report.charts.words import counted, of, percent, rows, rows_link, short, table


@pytest.mark.parametrize(
    "value, text",
    [(None, "–"), (0.72149, "0.721"), (13.0, "13"), (158.5, "158.5"), (12345.0, "12,345"), (1e300, "1e+300")],
)
def test_a_number_is_short(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    "count, total, text",
    [(0, 0, "0 %"), (0, 7, "0 %"), (7, 7, "100 %"), (1, 1000, "0.1 %"), (34, 96, "35 %"), (999, 1000, "99.9 %")],
)
def test_a_share_never_says_none_or_all_where_there_are_some(count, total, text):
    assert percent(count, total) == text


def test_rows_are_counted_in_words():
    assert (rows(1), rows(2345)) == ("1 row", "2,345 rows")
    assert of(12, 96) == "12 of 96 rows (12 %)"


def test_a_link_asks_for_what_is_given_and_nothing_else():
    link = rows_link(branch="reflect_both", reason="a&b <c> %=ä", kept=None)
    path, query = link.split("?")
    assert path == "#/rows"
    assert parse_qs(query) == {"branch": ["reflect_both"], "reason": ["a&b <c> %=ä"]}
    assert not set(query) & set(" <>")


def test_a_table_has_texts_and_links():
    made = table(["name", "rows"], [["x", counted(1234, "#/rows?a=b")], ["y", counted(0, "#/rows?a=c")]])
    assert made["head"] == ["name", "rows"]
    assert made["lines"] == [
        [{"text": "x", "href": None}, {"text": "1,234", "href": "#/rows?a=b"}],
        [{"text": "y", "href": None}, {"text": "0", "href": None}],
    ]
