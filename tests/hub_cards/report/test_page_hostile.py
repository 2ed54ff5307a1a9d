"""Rows, records and names that would rather be a page: in a real browser everything of them stays text."""

from dataclasses import replace

import pytest
from report_browser import eventually, go, matched, says, shown_ids
from report_material import material

from hub_cards.report.overview import Shown
from hub_cards.schema import VARIANTS
from hub_cards.sources import Source

BREAKS_OUT = (
    "\"'--></style></script></title></textarea><script>window.pwned=1;alert(1)</script><img src=x onerror=alert(2)>"
)
HUGE, LONG = 2**20, 100_000
TEXTS = (
    *("<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", BREAKS_OUT),
    *("<!--", "-->", "<!-- <script>", "]]>", "<![CDATA[x]]>", "<svg/onload=alert(1)>", "<base href=//evil.example>"),
    *(
        "<meta http-equiv=refresh content=0>",
        "<iframe srcdoc='<script>parent.pwned=1</script>'>",
        "<style>*{display:none}",
    ),
    *(
        "[click](javascript:alert(1))",
        "![x](http://evil.example/x.png)",
        "**bold** `code` # not a heading\n\n---",
        "| a | b |",
    ),
    *(
        "{{7*7}}",
        "{% for x in y %}",
        "${7*7}",
        "%(x)s %s",
        "&lt;b&gt; &amp; &#60;",
        "\\u003cscript\\u003e",
        "\\x3c",
        "\\",
    ),
    *(
        "a\u2028b\u2029c",
        "a\x00b",
        "tab\there\r\nand\rthere\n",
        "\x1b[31mred",
        "\ufeffmark\ufffe\uffff",
        "e\u0301\u0323",
    ),
    *(
        "שלום <b>עולם</b> مرحبا",
        "\u202eevil\u202c",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🤷🏽‍♀️",
        "Z͑ͫa̴l̷g̸o̵",
        "__proto__",
        "constructor",
        "toString",
    ),
    *("", " ", "null", "w" * HUGE + "needle", "many words " * (LONG // 11) + "the end"),
)
OF_FIELD = {
    "instruction": TEXTS,
    "input": [*TEXTS[1:], *TEXTS[:1]],
    "output": [*TEXTS[2:], *TEXTS[:2]],
    "critique": [text[:LONG] for text in TEXTS],
}
# What the page itself never makes, in parts that show data.
FOREIGN = (
    "img, iframe, base, object, embed, textarea, body style, main script, main h4, main svg:not([data-chart] svg), "
    "[onerror], [onload], [srcdoc], .text > :not(ins, del, .hint, .token), [data-row] > *, h1 > *, title > *"
)


@pytest.fixture(scope="module")
def hostile():
    """Each text as instruction of one row, input and response of others, and critique; the last row lacks texts."""
    columns = {name: [*OF_FIELD[name], "a", "b"] for name in OF_FIELD}
    ids = [f"{number}-{text[:60]}" for number, text in enumerate(columns["instruction"])]
    made = material({name: dict(columns) for name in VARIANTS}, seed=3, ids=ids)
    for name, variant in made.variants.items():
        for field in ("input", "output", *(("instruction",) if name == "reflect_both" else ())):
            variant[field][-1] = None
    rename(made, "select_reason", "kept", TEXTS[0])
    for name in VARIANTS[1:]:
        columns = made.variants[name]
        columns["reflect_status"] = [BREAKS_OUT if one == "refusal" else one for one in columns["reflect_status"]]
        columns["oracle_model"] = [BREAKS_OUT] * len(made)
        columns["score_status"] = [BREAKS_OUT if one != "ok" else one for one in columns["score_status"]]
    return replace(made, records=evil_records(made))


def rename(made, column, old, new):
    made.decisions[column] = [new if value == old else value for value in made.decisions[column]]


def evil_records(made):
    reflect, score, select = made.records
    evil = Source("hub", f"evil/{BREAKS_OUT}", "f", BREAKS_OUT)
    statuses = {name: {BREAKS_OUT: 3, "ok": 1} for name in VARIANTS[1:]}
    return [
        replace(
            reflect,
            config={**reflect.config, "oracle_model": BREAKS_OUT},
            inputs={"dataset": evil},
            counts={"rows": 4, "reflect_status": statuses, "meanings": {BREAKS_OUT: TEXTS[0]}},
        ),
        replace(
            score,
            config={**score.config, "template": BREAKS_OUT, "dtype": "`"},
            inputs={"dataset": evil, "model": Source("folder", TEXTS[2], "f")},
            counts={**score.counts, "score_status": {BREAKS_OUT: {BREAKS_OUT: 2}}},
        ),
        replace(
            select,
            config={"strategy": [{"name": "selective"}, {"name": BREAKS_OUT, "by": TEXTS[1]}]},
            counts={
                **select.counts,
                "select_reason": {BREAKS_OUT: 3},
                "meanings": {TEXTS[0]: BREAKS_OUT},
                "branches": {BREAKS_OUT: {"won": 1, "kept": 1}},
                "steps": [{"step": BREAKS_OUT, "rows": 4, "kept": 1, "note": TEXTS[0]}] * 2,
            },
        ),
    ]


@pytest.fixture(scope="module")
def report(hostile, tmp_path_factory):
    """The report of it, compared with itself, every name in it hostile; its title holds half a surrogate pair too."""
    tokens = {
        name: iter([[(text[:5_000], 1.0, 0.5), ("\ud800", 1.0, None)] for text in [*OF_FIELD["output"], "", ""]])
        for name in VARIANTS
    }
    statistics = [Shown(BREAKS_OUT, [BREAKS_OUT], [[BREAKS_OUT, "x"], [TEXTS[0], "1"]])]
    path = tmp_path_factory.mktemp("hostile") / "<img src=x>&quot;#%.html"
    title = f"\ud800 {BREAKS_OUT}"
    return hostile.write(path, title, hostile, tokens=tokens, why_no_tokens="", statistics=statistics)


@pytest.fixture(scope="module")
def page(browser, report):
    """The page, opened once."""
    opened = browser.open(report)
    yield opened
    opened.context.close()


@pytest.fixture(autouse=True)
def nothing_but_text(request):
    """After every test: nothing ran, and no element is there that the page does not make itself."""
    yield
    page = request.getfixturevalue("page")
    assert page.evaluate("window.pwned") is None
    assert page.locator(FOREIGN).count() == 0
    assert page.locator("meta").count() == 5
    links = page.locator("main a").evaluate_all("links => links.map(link => link.getAttribute('href') ?? '#/')")
    assert [link for link in links if not link.startswith(("#/", "https://"))] == []
    assert "49" not in page.locator("h1:visible").inner_text()


class TestOverview:
    def test_shows_names_as_they_are(self, page, drawn):
        drawn(page, "#overview", 10)
        assert page.locator("#overview h1").text_content() == f"? {BREAKS_OUT}"
        assert page.title() == f"? {BREAKS_OUT}"
        text = page.locator("#overview").inner_text()
        assert text.count(BREAKS_OUT) > 10
        assert page.locator("#overview h3", has_text=BREAKS_OUT).count() >= 1

    @pytest.mark.parametrize("key", ["flow", "outcomes"])
    def test_tooltips_of_charts_are_text(self, page, key):
        go(page, "#/overview")
        place = page.locator(f'#overview [data-chart="{key}"]')
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        seen = set()
        for number in range(120):
            across, down = (number % 12 + 0.5) / 12, (number // 12 + 0.5) / 10
            page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
            seen |= set(place.locator("> div:last-child b").all_text_contents())
            if any("<script>" in title for title in seen):
                return
        raise AssertionError(f"no tooltip with a hostile name among {seen}")

    def test_comparison(self, page):
        go(page, "#/compare")
        assert page.locator("#compare h1").is_visible()


class TestRows:
    def test_titles_are_one_line_of_text(self, page, hostile):
        go(page, "#/rows")
        eventually(page, lambda: shown_ids(page), hostile.ids[:50])
        titles = page.locator("#rows-table [data-row]").all_text_contents()
        for title, text in zip(titles, TEXTS, strict=False):
            line = " ".join(text.split())[:160]
            assert " ".join(title.split()) == (line or "(empty instruction)")
        assert max(map(len, titles)) <= 160
        assert page.evaluate("document.documentElement.scrollWidth") == 1280

    @pytest.mark.parametrize(
        "query", ["<script>alert(1)", "{{7*7}}", "needle", "the end", "\\u003c", "]]>", "עולם", "🏳️‍🌈", "]]> <!--"]
    )
    def test_search(self, page, hostile, query):
        terms = query.split()
        pairs = zip(*(OF_FIELD[name] for name in ("instruction", "input", "output")), strict=True)
        rows = [all(any(term.lower() in text.lower() for text in pair) for term in terms) for pair in pairs]
        go(page, "#/rows")
        page.fill("#filter-q", query)
        eventually(page, lambda: matched(page), sum(rows))
        assert shown_ids(page) == [hostile.ids[row] for row, found in enumerate(rows) if found]
        assert 0 < sum(rows) < 12

    def test_filters_by_names(self, page, hostile):
        go(page, "#/rows")
        page.click("#filter-reset")
        page.select_option("#filter-reason", TEXTS[0])
        eventually(page, lambda: matched(page), hostile.decisions["select_reason"].count(TEXTS[0]))
        page.select_option("#filter-reason", "")
        page.select_option("#filter-status", BREAKS_OUT)
        with_status = [
            any(hostile.variants[name]["reflect_status"][row] == BREAKS_OUT for name in VARIANTS[1:])
            for row in range(len(hostile))
        ]
        page.select_option("#filter-variant", "original")
        eventually(page, lambda: matched(page), sum(with_status))
        assert 0 < sum(with_status) < len(hostile)


class TestRow:
    def test_every_text_is_shown_as_it_is(self, page, hostile):
        go(page, "#/rows")
        eventually(page, lambda: matched(page), len(hostile))
        for row in range(0, len(TEXTS), 3):  # three texts each
            page.evaluate("id => { location.hash = `#/row/${encodeURIComponent(id)}` }", hostile.ids[row])
            says(page, "#row-title", f"Row {hostile.ids[row]}")
            says(page, "#row-place", f"{row + 1} of {len(hostile)}")
            asked, given, answer = (OF_FIELD[name][row] for name in ("instruction", "input", "output"))
            cells = page.locator('#texts [data-variant="original"].text')
            shown = cells.evaluate_all("cells => cells.map(cell => cell.textContent)")
            assert shown == [asked or "(empty)", *([given] if given else []), answer or "(empty)"], row
            assert page.evaluate("document.documentElement.scrollWidth") == 1280
            token = page.locator("#token-list .token").first.text_content()
            assert token == answer[:5_000]
            assert page.locator("#token-list .token").last.text_content() == "?"

    def test_what_is_missing_is_said_so(self, page, hostile):
        go(page, "#/rows")
        page.evaluate("id => { location.hash = `#/row/${encodeURIComponent(id)}` }", hostile.ids[-1])
        says(page, "#row-title", f"Row {hostile.ids[-1]}")
        page.locator("#texts-left").wait_for()
        assert page.locator("#texts-left option").all_inner_texts() == list(VARIANTS[:3])
        assert page.locator('#texts [data-variant="original"].text').all_text_contents() == ["b", "(empty)"]

    def test_an_address_is_no_page_either(self, page):
        for evil in (BREAKS_OUT, "javascript:alert(1)", "../../etc/passwd", "%00", "%F0%9F"):
            page.evaluate("evil => { location.hash = `#/row/${evil}` }", evil)
            eventually(page, lambda: page.locator("#row-missing").is_visible(), True)
            page.evaluate("evil => { location.hash = `#/rows?q=${evil}&sort=${evil}&reason=${evil}` }", evil)
            page.locator("#rows").wait_for()
