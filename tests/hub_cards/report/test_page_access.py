"""By keyboard alone, and as a screen reader is told: the report in a real browser."""

from itertools import pairwise

import pytest
from report_browser import eventually, go, matched, says, shown_ids

# Of the accessibility tree, as Chromium hands it to a screen reader.
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "listbox", "option"}
NAMED = CONTROLS | {"region", "navigation", "search", "image", "dialog", "form"}


@pytest.fixture(scope="module")
def page(browser, compared_report):
    """The report that has every view, opened once."""
    opened = browser.open(compared_report)
    yield opened
    opened.context.close()


def tree(page):
    """[(role, name, properties)] of everything that a screen reader meets, in order."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {one["name"]: one["value"].get("value") for one in node.get("properties", [])},
        )
        for node in nodes
        if not node.get("ignored")
    ]


def focused(page):
    """The focused element: its id, its `data-row`, or its text."""
    return page.locator(":focus").evaluate("one => one.dataset.row ?? (one.id || one.textContent.trim())")


VIEWS = ("#/overview", "#/rows?sort=-ifd_ppl", "#/row/0000000000000010", "#/compare")


class TestScreenReader:
    @pytest.mark.parametrize("view", VIEWS)
    def test_every_part_has_a_name_and_a_place(self, page, view):
        go(page, view)
        found = tree(page)
        roles = [role for role, _, _ in found]
        assert [roles.count(name) for name in ("main", "banner", "contentinfo")] == [1, 1, 1]
        assert ("navigation", "Parts of the report") in [node[:2] for node in found]
        assert [node for node in found if node[0] in NAMED and not node[1].strip()] == []
        assert len([node for node in found if node[0] in CONTROLS]) > 5
        levels = [properties["level"] for role, _, properties in found if role == "heading"]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(below - above <= 1 for above, below in pairwise(levels))

    @pytest.mark.parametrize("view", VIEWS)
    def test_tables_have_heads(self, page, view):
        go(page, view)
        page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        tables = page.locator("main table:visible")
        assert tables.count() > 0
        for heads in tables.evaluate_all(
            "tables => tables.map(table => [table.querySelectorAll('thead th[scope=col]').length, "
            "[...table.tBodies[0].rows].filter(row => !row.querySelector('th[scope=row]')).length])"
        ):
            assert heads[0] >= 1
            assert heads[1] == 0

    def test_hears_how_many_rows_were_found(self, page, made):
        go(page, "#/rows")
        status = page.get_by_role("status").and_(page.locator("#rows-status"))
        page.get_by_role("searchbox", name="Search").fill("river")
        eventually(page, lambda: f" of {len(made)} rows" in status.inner_text(), True)
        eventually(page, lambda: status.inner_text(), page.locator("#rows-count").inner_text())
        assert matched(page) < len(made)

    def test_hears_the_order_and_the_place(self, page):
        go(page, "#/rows?sort=-ifd_ppl")
        head = page.get_by_role("columnheader", name="r-IFD")
        head.get_by_role("button").click()
        eventually(page, lambda: head.get_attribute("aria-sort"), "ascending")
        assert page.locator("#tabs [aria-current=page]").inner_text() == "Rows"
        assert page.get_by_role("table", name="Rows that match").is_visible()

    def test_charts_are_told_in_a_sentence(self, page):
        go(page, "#/overview")
        images = [name for role, name, _ in tree(page) if role == "image"]
        assert len(images) == 10
        assert all(len(name) > 30 for name in images)

    def test_differences_are_told(self, page):
        go(page, "#/row/0000000000000010")
        roles = [role for role, _, _ in tree(page)]
        assert {"insertion", "deletion"} <= set(roles)


class TestKeyboard:
    def test_from_the_start_to_a_row_and_back(self, open_page, small_report, made):
        page = open_page(small_report)
        keys = page.keyboard
        keys.press("Tab")
        assert focused(page) == "Skip to the content"
        assert page.locator(".skip").bounding_box()["y"] >= 0
        keys.press("Enter")
        eventually(page, lambda: focused(page), "overview-title")
        assert page.evaluate("location.hash") in ("", "#/overview")
        keys.press("/")
        eventually(page, lambda: focused(page), "filter-q")
        keys.type("lamp")
        eventually(page, lambda: (matched(page) or 0) < len(made), True)
        eventually(page, lambda: page.evaluate("location.hash"), "#/rows?q=lamp")
        ids, found = shown_ids(page), matched(page)
        for _ in range(40):
            keys.press("Tab")
            if focused(page) == ids[0]:
                break
        assert focused(page) == ids[0]
        for key, place in (("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("ArrowUp", 0), ("j", 1)):
            keys.press(key)
            assert focused(page) == ids[place]
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        keys.press("Enter")
        says(page, "#row-title", f"Row {ids[1]}")
        eventually(page, lambda: focused(page), "row-title")
        keys.press("j")
        says(page, "#row-title", f"Row {ids[2]}")
        keys.press("k")
        says(page, "#row-title", f"Row {ids[1]}")
        says(page, "#row-place", f"2 of {found}")
        keys.press("Escape")
        eventually(page, lambda: focused(page), ids[1])
        assert page.evaluate("location.hash") == "#/rows?q=lamp"

    def test_the_list_of_keys(self, page):
        go(page, "#/rows")
        page.locator("#rows-title").focus()
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        dialog.wait_for()
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.keyboard.press("/")  # while it is open no other key counts
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")

    def test_single_letters_can_be_switched_off(self, page):
        go(page, "#/rows")
        page.locator("#rows-title").focus()
        page.keyboard.press("?")
        page.locator("#help-keys").uncheck()
        page.keyboard.press("Escape")
        page.locator("#help").wait_for(state="hidden")
        page.locator("#rows-title").focus()
        page.keyboard.press("/")
        page.keyboard.press("?")
        assert focused(page) == "rows-title"
        assert not page.locator("#help").is_visible()
        page.evaluate("document.getElementById('help').showModal()")
        page.locator("#help-keys").check()
        page.keyboard.press("Escape")

    def test_letters_that_are_typed_are_no_keys(self, page):
        go(page, "#/rows")
        page.locator("#filter-q").focus()
        page.keyboard.type("j/?k")
        assert page.locator("#filter-q").input_value() == "j/?k"
        eventually(page, lambda: matched(page), 0)
        assert not page.locator("#help").is_visible()
        page.locator("#filter-q").fill("")

    def test_sort_and_pages(self, page):
        go(page, "#/rows")
        page.locator("#rows-table [data-sort=ifd_ppl]").focus()
        page.keyboard.press("Enter")
        eventually(page, lambda: page.evaluate("location.hash"), "#/rows?sort=ifd_ppl")
        eventually(page, lambda: page.evaluate("document.activeElement.dataset.sort"), "ifd_ppl")
        following = page.locator("#pager-top [data-page=next]")
        following.focus()
        page.keyboard.press("Space")
        eventually(page, lambda: page.locator("#pager-top span").inner_text(), "Page 2 of 3")
        assert page.evaluate("document.activeElement.dataset.page") == "next"
