"""The page as a whole in a real browser: its overview, themes, paper, narrow screens, no script, damaged files."""

import re

import pytest
from report_browser import counted, eventually, go, matched, says, shown_ids

from hub_cards.schema import VARIANTS

CHARTS = 4 + 4 + 1 + 1  # distributions, a panel a variant, the flow, the outcomes
TEXT = ":is(p, td, th, li, dd, dt, a, h1, h2, h3, summary, label, button, select)"
MAIN_TEXT = f"main {TEXT}:not(tr:nth-child(n + 4) *)"
# Elements that scroll sideways and that no key leads to.
UNREACHED = """[...document.querySelectorAll("main *")]
  .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth && one.tabIndex < 0)
  .filter(one => ["auto", "scroll"].includes(getComputedStyle(one).overflowX))
  .map(one => one.outerHTML.slice(0, 99))"""


@pytest.fixture(scope="module")
def page(browser, small_report):
    """The overview, opened once."""
    opened = browser.open(small_report)
    yield opened
    opened.context.close()


def table_under(page, title):
    """The cells of the table below a heading."""
    heading = page.locator("#overview h3", has_text=re.compile(f"^{re.escape(title)}$"))
    lines = heading.locator("xpath=following-sibling::div[1]").locator("tr").all()
    return [line.locator("th, td").all_inner_texts() for line in lines]


class TestOverview:
    def test_facts_are_those_of_the_records(self, page, made):
        names = page.locator("#overview .facts dt").all_inner_texts()
        facts = dict(zip(names, page.locator("#overview .facts dd").all_inner_texts(), strict=True))
        kept = sum(made.decisions["selected"])
        assert facts["Rows"] == "130"
        assert "somebody/rows" in facts["Source"]
        assert facts["Oracle"] == "made-up-oracle"
        assert "models/made-up-student" in facts["Student"]
        assert f"{kept} of 130 rows kept ({kept / 130:.1%})" in facts["Selection"]
        assert "reflect 21 min" in facts["Time"]

    def test_tables_count_the_rows(self, page, made):
        winners, kept = made.decisions["selected_variant"], made.decisions["selected"]
        pairs = list(zip(winners, kept, strict=True))
        lines = [[name, str(winners.count(name)), str(pairs.count((name, True)))] for name in VARIANTS]
        branches = [["branch", "won", "kept"], *lines, ["total", "130", str(sum(kept))]]
        assert table_under(page, "Which variant won") == branches
        reasons = {line[0]: line[1] for line in table_under(page, "Kept or dropped, and why")[1:]}
        counted_here = {name: str(made.decisions["select_reason"].count(name)) for name in reasons if name != "total"}
        assert reasons == {**counted_here, "total": "130"}
        outcomes = table_under(page, "What became of the oracle's answers")
        for line in outcomes[1:-1]:
            counts = [made.variants[name]["reflect_status"].count(line[0]) for name in VARIANTS[1:]]
            assert line[1:4] == [str(count) for count in counts]

    def test_charts_are_drawn(self, page, drawn):
        go(page, "#/overview")
        drawn(page, "#overview", CHARTS)

    def test_numbers_that_are_links_open_as_many_rows(self, page):
        links = page.locator("#overview .chart-numbers a").evaluate_all(
            "links => links.map(link => [link.textContent, link.getAttribute('href')])"
        )
        assert len(links) > 20
        for text, link in links[:: max(1, len(links) // 10)]:
            go(page, link)
            eventually(page, lambda: matched(page), int(text))
        go(page, "#/overview")

    def test_a_click_on_a_chart_opens_rows(self, page, made):
        go(page, "#/overview")
        place = page.locator('[data-chart="distributions:0"]')
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        place.click(position={"x": box["width"] / 2, "y": 40})
        eventually(page, lambda: page.evaluate("location.hash").partition("?")[0], "#/rows")
        assert 0 < matched(page) < len(made)
        page.go_back()
        page.locator("#overview").wait_for()

    def test_title(self, page):
        assert page.title() == "Made up, & <small>"
        assert page.locator("#overview h1").inner_text() == "Made up, & <small>"
        assert page.locator("small").count() == 0


class TestThemes:
    def test_main_text_stands_out(self, open_page, small_report, contrasts, drawn):
        page = open_page(small_report, color_scheme="light")
        drawn(page, "#overview", CHARTS)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            behind = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert (min(behind) > 200) == (scheme == "light")
            for fragment in ("#/overview", "#/rows", "#/row/0000000000000010"):
                go(page, fragment)
                found = contrasts(page, MAIN_TEXT)
                assert len(found) > 20
                assert min(found) >= 4.5

    def test_follows_the_system_until_somebody_chooses(self, open_page, small_report):
        page = open_page(small_report, "#/rows", color_scheme="dark")
        ink = "getComputedStyle(document.body).color"
        dark = page.evaluate(ink)
        says(page, "#theme", "Light theme")
        page.emulate_media(color_scheme="light")
        says(page, "#theme", "Dark theme")
        light = page.evaluate(ink)
        assert light != dark
        page.click("#theme")
        says(page, "#theme", "Light theme")
        assert page.evaluate(ink) == dark
        page.reload()
        says(page, "#theme", "Light theme")
        assert page.evaluate(ink) == dark
        page.click("#theme")
        assert page.evaluate(ink) == light


class TestPaperAndScreens:
    @pytest.mark.slow
    def test_prints_pages(self, open_page, small_report, drawn):
        page = open_page(small_report, color_scheme="dark")
        drawn(page, "#overview", CHARTS)
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) in range(2, 15)

    def test_paper_is_white_and_has_no_controls(self, open_page, small_report):
        page = open_page(small_report, "#/rows", color_scheme="dark")
        page.emulate_media(media="print")
        assert not page.locator("#theme").is_visible()
        assert not page.locator("#tabs").is_visible()
        behind = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert behind in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")

    def test_no_part_is_wider_than_a_telephone_and_what_scrolls_can_be_reached(self, open_page, compared_report):
        page = open_page(compared_report, viewport={"width": 400, "height": 800})
        for fragment in ("#/overview", "#/rows", "#/row/0000000000000010", "#/compare"):
            go(page, fragment)
            eventually(page, lambda: page.evaluate("document.documentElement.scrollWidth"), 400)
            assert page.evaluate(UNREACHED) == []

    def test_without_a_script_the_overview_is_there(self, open_page, small_report, made):
        page = open_page(small_report, java_script_enabled=False)
        assert page.locator("noscript").inner_text().startswith("This browser runs no JavaScript")
        assert page.locator("#overview h1").inner_text() == "Made up, & <small>"
        assert table_under(page, "Which variant won")[-1] == ["total", "130", str(sum(made.decisions["selected"]))]
        assert not page.locator("#rows").is_visible()
        assert not page.locator("#theme").is_visible()


class TestDamage:
    @pytest.fixture
    def damaged(self, small_report, tmp_path):
        """`damaged(element, content)`: the small report with other content in one element."""

        def write(element, content):
            page = small_report.read_text(encoding="utf-8")
            changed, count = re.subn(rf'(id="{element}">)[^<]*', rf"\g<1>{content}", page)
            assert count == 1
            path = tmp_path / "damaged.html"
            path.write_text(changed, encoding="utf-8")
            return path

        return write

    @pytest.mark.parametrize("content", ["", "H4sIAAAAAAAA", "no base64!"])
    def test_of_the_texts_is_told_in_one_line(self, open_page, damaged, made, content):
        page = open_page(damaged("texts-0", content), f"#/row/{made.ids[-1]}")
        line = page.locator("#problem")
        line.wait_for()
        assert line.inner_text().startswith("Part texts-0 of this report could not be read (")
        assert line.inner_text().endswith("The file may be damaged or cut short.")
        go(page, "#/rows?q=river")
        eventually(page, lambda: counted(page), f"0 of {len(made)} rows")
        line.wait_for()
        go(page, "#/rows?sort=ifd_ppl")
        eventually(page, lambda: len(shown_ids(page)), 50)
        assert not line.is_visible()

    def test_of_a_column_is_told_in_one_line(self, open_page, damaged):
        page = open_page(damaged("column-0", "H4sIAAAA"), "#/rows")
        page.locator("#problem").wait_for()
        assert page.locator("#problem").inner_text().startswith("Part column-0 of this report could not be read (")

    def test_a_file_that_was_cut_short_still_shows_what_it_has(self, open_page, small_report, tmp_path, made):
        content = small_report.read_text(encoding="utf-8")
        path = tmp_path / "cut.html"
        path.write_text(content[: content.index('id="texts-0"') + 500], encoding="utf-8")
        page = open_page(path, "#/rows?sort=-ifd_ppl")
        eventually(page, lambda: len(shown_ids(page)), 50)
        go(page, f"#/row/{made.ids[-1]}")
        page.locator("#problem").wait_for()
        assert re.match("Part (texts|notes)-0 ", page.locator("#problem").inner_text())
