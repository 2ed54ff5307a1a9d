"""A report of as many rows as Alpaca has, times four variants, in a real browser."""

from dataclasses import replace

import numpy as np
import pytest
from report_browser import eventually, go, matched, says, shown_ids
from report_material import material

from hub_cards.schema import VARIANTS

ROWS = 52_002
WORDS = ("tree", "river", "lamp", "engine", "poem", "stone", "paper")
KEPT_COLUMNS = {"row_id", "instruction", "input", "output", "reflect_status", "ifd_ppl", "rifd_ppl"}


@pytest.fixture(scope="module")
def large():
    """Short texts, so that they are soon written."""
    columns = {
        "instruction": [f"About the {WORDS[row % 7]} of case {row}" for row in range(ROWS)],
        "input": [""] * ROWS,
        "critique": [""] * ROWS,
    }
    texts = {name: {**columns, "output": [f"{name} {WORDS[row % 5]}" for row in range(ROWS)]} for name in VARIANTS}
    made = material(texts)
    variants = {
        name: {column: values for column, values in columns.items() if column in KEPT_COLUMNS}
        for name, columns in made.variants.items()
    }
    # Without the record of the selection: then its words are short.
    return replace(made, variants=variants, records=made.records[:2])


@pytest.fixture(scope="module")
def report(large, tmp_path_factory):
    """The file."""
    return large.write(tmp_path_factory.mktemp("large") / "report.html")


@pytest.fixture(scope="module")
def page(browser, report):
    """The page, opened once."""
    opened = browser.open(report)
    yield opened
    opened.context.close()


class TestLarge:
    def test_opens_on_the_overview(self, page, drawn):
        assert page.locator("#overview .facts dd").first.inner_text() == "52,002"
        drawn(page, "#overview", 10)

    def test_searches(self, page, large):
        go(page, "#/rows")
        eventually(page, lambda: matched(page), ROWS)
        page.fill("#filter-q", "river poem")
        rows = [row for row in range(ROWS) if {"river", "poem"} <= {WORDS[row % 7], WORDS[row % 5]}]
        eventually(page, lambda: matched(page), len(rows))
        assert shown_ids(page) == [large.ids[row] for row in rows[:50]]
        page.fill("#filter-q", '"case 52001"')
        eventually(page, lambda: shown_ids(page), [large.ids[-1]])

    def test_filters_and_sorts(self, page, large):
        go(page, "#/rows?kept=1&branch=reflect_both&sort=-ifd_ppl&page=3")
        decisions = large.decisions
        kept = np.array(decisions["selected"]) & (np.array(decisions["selected_variant"]) == "reflect_both")
        scores = np.array(large.variants["reflect_both"]["ifd_ppl"], float)
        order = np.lexsort((np.arange(ROWS), -scores))
        rows = [row for row in order.tolist() if kept[row]]
        eventually(page, lambda: matched(page), len(rows))
        eventually(page, lambda: shown_ids(page), [large.ids[row] for row in rows[100:150]])

    def test_opens_rows_in_the_list_and_the_last_one_by_its_link(self, page, open_page, report, large):
        go(page, "#/rows?page=1041")
        eventually(page, lambda: shown_ids(page), large.ids[-2:])
        page.click(f'#rows-table [data-row="{large.ids[-2]}"]')
        says(page, "#row-place", "52,001 of 52,002")
        page.click("#row-next")
        says(page, "#row-place", "52,002 of 52,002")
        fresh = open_page(report, f"#/row/{large.ids[-1]}")
        for one in (page, fresh):
            says(one, "#row-title", f"Row {large.ids[-1]}")
            one.locator('#texts [data-variant="original"].text').first.wait_for()
            shown = one.locator('#texts [data-variant="original"].text').all_text_contents()
            assert shown == [large.variants["original"][name][-1] for name in ("instruction", "output")]
