"""The rows view in a real browser: search, filters, order and pages, against a plain reading of the same rows."""

import math
import re
from urllib.parse import quote, urlencode

import pytest
from report_browser import counted, eventually, go, shown_ids

from hub_cards.schema import VARIANTS

PAGE_ROWS = 50
SCORES = (
    *("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition"),
    *("ifd_ppl", "rifd_ppl", "ifd_loss", "rifd_loss", "n_tokens_Q", "n_tokens_A"),
)


def winner(made, row):
    return made.decisions["selected_variant"][row]


def terms_of(query):
    quoted = re.findall(r'"([^"]*)"', query)
    return [term.lower() for term in [*quoted, *re.sub(r'"[^"]*"', " ", query).split()] if term.strip()]


def matches(made, row, variant, terms):
    texts = [made.variants[variant][name][row].lower() for name in ("instruction", "input", "output")]
    return all(any(term in text for text in texts) for term in terms)


def has_outcome(made, row, variant, status):
    own = made.variants[variant]["reflect_status"][row]
    every = [made.variants[name]["reflect_status"][row] for name in VARIANTS]
    return own == status if own is not None else status in every


def expected(made, q="", variant="winner", branch="", kept="", reason="", status="", score="ifd_ppl", **more):
    """The rows that a state asks for, one after the other; `more`: in, min, max, sort."""
    found = []
    for row in range(len(made)):
        looked = winner(made, row) if variant == "winner" else variant
        number = made.variants[looked][score][row]
        low, high = float(more.get("min", -math.inf)), float(more.get("max", math.inf))
        searched = [looked] if more.get("in") == "looked" else VARIANTS
        tests = (
            not branch or winner(made, row) == branch,
            not kept or made.decisions["selected"][row] == (kept == "1"),
            not reason or made.decisions["select_reason"][row] == reason,
            not status or has_outcome(made, row, looked, status),
            (low, high) == (-math.inf, math.inf) or (number is not None and low <= number <= high),
            any(matches(made, row, name, terms_of(q)) for name in searched),
        )
        if all(tests):
            found.append((row, looked))
    sort = more.get("sort", "")
    if sort:
        numbers = {row: made.variants[looked][sort.removeprefix("-")][row] for row, looked in found}
        sign = -1 if sort.startswith("-") else 1
        found.sort(key=lambda pair: (numbers[pair[0]] is None, sign * (numbers[pair[0]] or 0), pair[0]))
    return [made.ids[row] for row, _ in found]


def check(page, made, state):
    """That the page shows, for an address, the rows it should, and says how many there are."""
    ids = expected(made, **state)
    go(page, f"#/rows?{urlencode(state, quote_via=quote)}")
    eventually(page, lambda: shown_ids(page), ids[:PAGE_ROWS])
    total = len(made)
    eventually(page, lambda: counted(page), f"{total} rows" if len(ids) == total else f"{len(ids)} of {total} rows")
    return ids


class TestSearch:
    @pytest.mark.parametrize(
        "query",
        [
            *("river", "RIVER lamp", "été", "naive", "naïve", "straße", "日本語", "😀", "a.b*c", "50%", "c++", "a+b"),
            *("(x|y)", "$5^2", "[brackets]", "back\\slash", "<b>bold</b>", "&amp;", "o'neil", "critique"),
            *('"ends here"', '"lamp river" naive', '"river', '""', '"original 12"', "original 12 river", "#&=%?+"),
        ],
    )
    def test_finds_what_a_plain_reading_finds(self, page, made, query):
        state = {"q": query} if query != '"river' else {"q": '"river"'}  # an open quote reaches to the end
        ids = expected(made, **state)
        go(page, "#/rows?" + urlencode({"q": query}, quote_via=quote))
        eventually(page, lambda: shown_ids(page), ids[:PAGE_ROWS])
        total = len(made)
        text = f"{total} rows" if len(ids) == total else f"{len(ids)} of {total} rows"
        eventually(page, lambda: counted(page), text)
        assert page.locator("#filter-q").input_value() == query

    def test_queries_differ(self, made):
        """The test above can fail: what is found is neither nothing nor everything, and depends on the accents."""
        found = {query: len(expected(made, q=query)) for query in ("river", "naive", "naïve", '"ends here"', "50%")}
        assert all(0 < count < len(made) for count in found.values())
        assert expected(made, q="naive") != expected(made, q="naïve")

    def test_in_the_variant_looked_at_only(self, page, made):
        ids = check(page, made, {"q": "straße", "in": "looked"})
        assert len(ids) < len(expected(made, q="straße"))

    def test_nothing_found_says_so_and_gives_all_rows_back(self, page, made):
        check(page, made, {"q": "no such word"})
        assert page.locator("#rows-empty").is_visible()
        assert not page.locator("#rows-table").is_visible()
        page.click("#rows-empty-reset")
        eventually(page, lambda: shown_ids(page), made.ids[:PAGE_ROWS])
        assert not page.locator("#rows-empty").is_visible()
        assert page.locator("#filter-q").input_value() == ""

    def test_by_typing_puts_it_into_the_address(self, page, made):
        check(page, made, {})
        page.fill("#filter-q", "c++ lamp")
        eventually(page, lambda: shown_ids(page), expected(made, q="c++ lamp")[:PAGE_ROWS])
        assert page.evaluate("location.hash") == "#/rows?q=c%2B%2B+lamp"
        page.fill("#filter-q", "")
        eventually(page, lambda: shown_ids(page), made.ids[:PAGE_ROWS])
        assert page.evaluate("location.hash") == "#/rows"


class TestFilters:
    @pytest.mark.parametrize(
        "state",
        [
            *({"branch": name} for name in VARIANTS),
            *({"kept": "1"}, {"kept": "0"}, {"reason": "kept"}, {"reason": "ifd_not_below_1"}),
            *({"reason": "winner_unscored"}, {"status": "refusal"}, {"status": "ok", "variant": "reflect_both"}),
            *({"status": "refusal", "variant": "original"}, {"status": "no_marker", "variant": "reflect_response"}),
            *({"score": "ifd_ppl", "min": "0.9", "max": "1"}, {"score": "rifd_ppl", "max": "0.8"}),
            {"score": "n_tokens_A", "min": "20", "variant": "reflect_instruction"},
            {"score": "loss_A_direct", "min": "-1e9", "variant": "original"},  # all that have the number
            {"score": "ifd_ppl", "min": "2", "max": "1"},
            {"q": "lamp", "kept": "1", "branch": "reflect_both", "max": "0.95", "sort": "-rifd_ppl"},
        ],
        ids=str,
    )
    def test_show_what_a_plain_reading_shows(self, page, made, state):
        check(page, made, state)

    def test_cases_are_neither_empty_nor_everything(self, made):
        counts = [len(expected(made, status=status)) for status in ("refusal", "ok", "no_marker")]
        counts += [len(expected(made, reason=reason)) for reason in set(made.decisions["select_reason"])]
        counts += [len(expected(made, score="loss_A_direct", min="-1e9", variant="original"))]
        assert all(0 < count < len(made) for count in counts)

    def test_by_hand(self, page, made):
        check(page, made, {})
        page.select_option("#filter-branch", "reflect_both")
        page.select_option("#filter-kept", "1")
        page.select_option("#filter-score", "rifd_ppl")
        page.fill("#filter-min", "0.7")
        page.fill("#filter-max", "0.9")
        state = {"branch": "reflect_both", "kept": "1", "score": "rifd_ppl", "min": "0.7", "max": "0.9"}
        eventually(page, lambda: shown_ids(page), expected(made, **state))
        assert page.evaluate("location.hash") == f"#/rows?{urlencode(state)}"
        page.click("#filter-reset")
        eventually(page, lambda: shown_ids(page), made.ids[:PAGE_ROWS])
        assert page.locator("#filter-branch").input_value() == ""

    def test_unknown_words_in_an_address_count_as_not_said(self, page, made):
        go(page, "#/rows?kept=perhaps&reason=%3Cb%3E&branch=none&score=x&min=abc&sort=-nothing&page=-3&odd=1&q=")
        eventually(page, lambda: shown_ids(page), made.ids[:PAGE_ROWS])
        eventually(page, lambda: counted(page), f"{len(made)} rows")


class TestOrder:
    @pytest.mark.parametrize("score", SCORES)
    def test_by_every_score_both_ways_with_nulls_last(self, page, made, score):
        check(page, made, {"sort": score})
        check(page, made, {"sort": f"-{score}", "variant": "original"})

    def test_there_are_nulls_and_equal_numbers(self, made):
        numbers = made.variants["original"]["ifd_ppl"]
        assert None in numbers
        lengths = made.variants["original"]["n_tokens_A"]
        assert len(set(lengths)) < len(lengths)

    def test_by_the_head_of_a_column(self, page, made):
        check(page, made, {})
        head = page.locator("#rows-table th", has=page.locator("[data-sort=ifd_ppl]"))
        for sort, order in (("ifd_ppl", "ascending"), ("-ifd_ppl", "descending"), ("ifd_ppl", "ascending")):
            page.click("#rows-table [data-sort=ifd_ppl]")
            eventually(page, lambda: shown_ids(page), expected(made, sort=sort)[:PAGE_ROWS])
            assert head.get_attribute("aria-sort") == order
        assert page.locator("#rows-table [aria-sort=none]").count() == 3

    def test_cells_are_of_the_variant_that_won(self, page, made):
        check(page, made, {"sort": "-ifd_ppl"})
        lines = page.locator("#rows-table tbody tr").all_inner_texts()
        for line, row_id in list(zip(lines, shown_ids(page), strict=True))[:10]:
            row = made.ids.index(row_id)
            columns = made.variants[winner(made, row)]
            cells = [cell.strip() for cell in line.split("\t")]
            assert cells[0] == " ".join(made.variants["original"]["instruction"][row].split())
            assert cells[1] == winner(made, row)
            assert cells[2].split()[0] == ("kept" if made.decisions["selected"][row] else "dropped")
            assert cells[3:5] == [f"{columns[name][row]:.3f}" for name in ("ifd_ppl", "rifd_ppl")]
            assert cells[5:7] == [str(columns[name][row]) for name in ("n_tokens_Q", "n_tokens_A")]


class TestPages:
    def test_hold_every_row_once(self, page, made):
        go(page, "#/rows?sort=rifd_ppl")
        ids = expected(made, sort="rifd_ppl")
        for number in range(3):
            eventually(page, lambda: shown_ids(page), ids[number * PAGE_ROWS : (number + 1) * PAGE_ROWS])
            assert page.locator("#pager-top span").inner_text() == f"Page {number + 1} of 3"
            if number < 2:
                page.locator("#pager-bottom [data-page=next]").click()
        assert page.evaluate("location.hash") == "#/rows?sort=rifd_ppl&page=3"
        assert page.locator("#pager-top [data-page=next]").get_attribute("aria-disabled") == "true"
        page.go_back()
        eventually(page, lambda: shown_ids(page), ids[PAGE_ROWS : 2 * PAGE_ROWS])
        page.go_forward()
        eventually(page, lambda: shown_ids(page), ids[2 * PAGE_ROWS :])
        page.locator("#pager-top [data-page=first]").click()
        eventually(page, lambda: shown_ids(page), ids[:PAGE_ROWS])

    def test_a_filter_goes_back_to_the_first(self, page, made):
        go(page, "#/rows?page=3")
        eventually(page, lambda: shown_ids(page), made.ids[2 * PAGE_ROWS :])
        page.select_option("#filter-kept", "0")
        eventually(page, lambda: shown_ids(page), expected(made, kept="0")[:PAGE_ROWS])

    def test_one_beyond_the_last_is_the_last(self, page, made):
        go(page, "#/rows?page=99")
        eventually(page, lambda: shown_ids(page), made.ids[2 * PAGE_ROWS :])
