"""Two selections, and two students, side by side in a real browser: what changed, counted row by row."""

from collections import Counter

import pytest
from report_browser import counted, eventually, go, matched, shown_ids

from hub_cards.schema import VARIANTS

CHANGES = ("alike", "kept_only_here", "kept_only_there", "other_variant", "not_there")


@pytest.fixture(scope="module")
def page(browser, compared_report):
    """The compared report, opened once."""
    opened = browser.open(compared_report, "#/compare")
    yield opened
    opened.context.close()


def change_of(made, other, row_id):
    """What changed for a row, from both ledgers."""
    if row_id not in other.ids:
        return "not_there"
    places = made.ids.index(row_id), other.decisions["row_id"].index(row_id)
    kept, variants = (
        [one.decisions[name][place] for one, place in zip((made, other), places, strict=True)]
        for name in ("selected", "selected_variant")
    )
    if all(kept):
        return "alike" if variants[0] == variants[1] else "other_variant"
    return "kept_only_here" if kept[0] else "kept_only_there" if kept[1] else "alike"


@pytest.fixture(scope="module")
def changes(made, other):
    """By row id."""
    return {row_id: change_of(made, other, row_id) for row_id in made.ids}


class TestOverview:
    def test_says_how_many_rows_changed_in_which_way(self, page, changes):
        go(page, "#/compare")
        links = page.locator('#compare p a[href^="#/rows?change="]')
        found = {link.get_attribute("href").partition("=")[2]: link.inner_text() for link in links.all()}
        numbers = {name: int(text.rpartition("(")[2].rstrip(")")) for name, text in found.items()}
        assert numbers == {name: count for name, count in Counter(changes.values()).items() if name != "alike"}
        assert set(Counter(changes.values())) == set(CHANGES)
        names = page.locator("#compare .facts dd").all_inner_texts()
        assert names == ["this one", "the other one"]

    def test_charts_are_drawn(self, page, drawn):
        go(page, "#/compare")
        drawn(page, "#compare", 5)

    def test_every_number_that_is_a_link_opens_as_many_rows(self, page):
        go(page, "#/compare")
        links = page.evaluate(
            "[...document.querySelectorAll('#compare .chart-numbers a')].map(a => [a.textContent, a.getAttribute('href')])"
        )
        assert len(links) >= 4
        for text, link in links:
            go(page, link)
            eventually(page, lambda: matched(page), int(text))


class TestRows:
    @pytest.mark.parametrize("change", CHANGES)
    def test_that_changed_in_one_way(self, page, made, changes, change):
        ids = [row_id for row_id in made.ids if changes[row_id] == change]
        go(page, f"#/rows?change={change}")
        eventually(page, lambda: counted(page), f"{len(ids)} of {len(made)} rows")
        assert shown_ids(page) == ids[:50]

    def test_sort_by_a_score_of_the_other(self, page, made, other):
        scores = dict(zip(other.ids, other.variants["original"]["ifd_ppl"], strict=True))
        go(page, "#/rows?sort=-other_ifd_ppl&variant=original")
        numbers = {row_id: scores.get(row_id) for row_id in made.ids}
        places = {row_id: place for place, row_id in enumerate(made.ids)}
        ids = sorted(made.ids, key=lambda one: (numbers[one] is None, -(numbers[one] or 0), places[one]))
        eventually(page, lambda: shown_ids(page), ids[:50])

    def test_one_row_shows_both_decisions_and_both_scores(self, page, made, other, changes):
        for change in ("kept_only_here", "not_there"):
            row_id = next(one for one in made.ids[8:] if changes[one] == change)
            go(page, f"#/row/{row_id}")
            eventually(page, lambda row_id=row_id: page.locator("#row-title").text_content(), f"Row {row_id}")
            page.locator("#row-change").wait_for()
            tables = page.locator(".row-scores")
            eventually(page, tables.count, 1 if change == "not_there" else 2)
            cells = tables.last.locator('tr[data-score="other_ifd_ppl"] td').all_inner_texts()
            if change == "not_there":
                assert "does not have the row" in page.locator("#row-change").inner_text()
                continue
            place = other.ids.index(row_id)
            assert page.locator("#row-other-decision .badge").inner_text() == "dropped"
            assert cells == [f"{other.variants[name]['ifd_ppl'][place]:.3f}" for name in VARIANTS]
            assert page.locator("#row-other-decision li").count() >= 1
