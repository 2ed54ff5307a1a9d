"""One row in a real browser, its texts, numbers, words and tokens, and what another selection says of it."""

import math
from collections import Counter
from urllib.parse import quote

import pytest
from report_browser import counted, eventually, go, matched, says, shown_ids

from hub_cards.report.words.decision import decision_words
from hub_cards.schema import VARIANTS

FIELDS = {"instruction": "Instruction", "input": "Input", "output": "Response"}
MARKED = 19  # one two three four -> one 2 three four five
# The texts without what is marked in them.
UNMARKED = """cells => cells.map(cell => {
  const copy = cell.cloneNode(true)
  for (const mark of copy.querySelectorAll("ins, del")) mark.replaceWith(" ")
  return copy.textContent
})"""
LINKS = "links => links.map(link => [link.textContent, link.getAttribute('href')])"
CHANGES = ("alike", "kept_only_here", "kept_only_there", "other_variant", "not_there")
SCORES = ("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition", "ifd_ppl", "rifd_ppl", "n_tokens_A")


def open_row(page, row_id):
    go(page, f"#/row/{quote(row_id, safe='')}")
    says(page, "#row-title", f"Row {row_id}")


def texts(page, side):
    """By field the text on one side, 0 or 1; a field that is not shown is missing."""
    found = {}
    for field, name in FIELDS.items():
        cells = page.locator(f'#texts [role=group][aria-label^="{name}, "] .text')
        if cells.count():
            hint = cells.nth(side).locator(".hint")
            found[field] = "" if hint.count() else cells.nth(side).text_content()
    return found


def expected_texts(made, row, variants):
    pairs = [{field: made.variants[name][field][row] for field in FIELDS} for name in variants]
    fields = [field for field in FIELDS if field != "input" or any(pair["input"] for pair in pairs)]
    return [{field: pair[field] for field in fields} for pair in pairs]


def choose(page, left, right):
    page.select_option("#texts-left", left)
    page.select_option("#texts-right", right)


def marked(page, field):
    """The words that are marked as removed, and as added."""
    cells = page.locator(f'#texts [aria-label^="{field}, "] .text')
    return tuple([text.strip() for text in cells.locator(mark).all_text_contents()] for mark in ("del", "ins"))


class TestTexts:
    @pytest.mark.parametrize("row", [0, 17, 30, 99])
    def test_are_those_of_the_two_variants(self, page, made, row):
        open_row(page, made.ids[row])
        for variants in (VARIANTS[:2], VARIANTS[2:]):
            choose(page, *variants)
            assert [texts(page, side) for side in (0, 1)] == expected_texts(made, row, variants)

    def test_begin_with_the_original_and_the_winner(self, page, made):
        row = made.decisions["selected_variant"].index("reflect_response")
        open_row(page, made.ids[row])
        shown = [page.locator(f"#texts-{side}").input_value() for side in ("left", "right")]
        assert shown == ["original", "reflect_response"]

    def test_words_that_differ_are_marked(self, page, made):
        assert made.variants["reflect_both"]["output"][MARKED] == "one 2 three four five"
        open_row(page, made.ids[MARKED])
        old, new = ["two"], ["2", "five"]
        for variants, removed, added in (
            (("original", "reflect_both"), old, new),
            (("reflect_both", "original"), new, old),
            (("original", "original"), [], []),
        ):
            choose(page, *variants)
            eventually(page, lambda: marked(page, "Response"), (removed, added))

    def test_what_is_not_marked_is_the_same_on_both_sides(self, page, made):
        for row in range(20, 26):
            open_row(page, made.ids[row])
            choose(page, "original", "reflect_both")
            for name in ("Instruction", "Response"):
                sides = page.locator(f'#texts [aria-label^="{name}, "] .text')
                sides.locator("ins, del").first.wait_for()
                left, right = ("".join(text.split()) for text in sides.evaluate_all(UNMARKED))
                assert left == right != ""

    def test_marks_can_be_taken_away_and_stay_away(self, page, made):
        open_row(page, made.ids[MARKED])
        choose(page, "original", "reflect_both")
        page.uncheck("#texts-marks")
        eventually(page, lambda: marked(page, "Response"), ([], []))
        assert texts(page, 1)["output"] == "one 2 three four five"
        open_row(page, made.ids[20])
        choose(page, "original", "reflect_both")
        assert page.locator("#texts ins, #texts del").count() == 0
        page.check("#texts-marks")
        page.locator("#texts ins").first.wait_for()


class TestNumbersAndWords:
    @pytest.mark.parametrize("row", [3, 17])
    def test_scores_are_those_of_the_row(self, page, made, row):
        open_row(page, made.ids[row])
        for score in SCORES:
            cells = page.locator(f'.scores tr[data-score="{score}"] td').all_inner_texts()
            numbers = [made.variants[name][score][row] for name in VARIANTS]
            found = [cell.split()[0] if cell[0] != "–" else None for cell in cells]
            digits = 0 if score.startswith("n_tokens") else 3
            assert found == [None if number is None else f"{number:.{digits}f}" for number in numbers]

    def test_perplexities_follow_from_the_losses(self, page, made):
        row = 4
        open_row(page, made.ids[row])
        cells = page.locator('.scores tr[data-score="ppl_A_direct"] td').all_inner_texts()
        losses = [made.variants[name]["loss_A_direct"][row] for name in VARIANTS]
        assert [float(cell) for cell in cells] == pytest.approx([math.exp(loss) for loss in losses], rel=1e-3)

    def test_decision_in_words(self, page, made):
        for reason in set(made.decisions["select_reason"]):
            row = made.decisions["select_reason"].index(reason)
            open_row(page, made.ids[row])
            scores = {name: {key: made.variants[name][key][row] for key in SCORES} for name in VARIANTS}
            decision = {name: values[row] for name, values in made.decisions.items()}
            words = decision_words(made.records[-1].config["strategy"], scores, decision)
            eventually(page, lambda: page.locator("#row-decision li").all_inner_texts(), words)
            badge = page.locator("#row-decision .badge").inner_text()
            assert badge == ("kept" if reason == "kept" else "dropped")
            assert page.locator("#row-decision .variant").inner_text() == decision["selected_variant"]

    def test_critique_and_the_completion_that_was_not_adopted(self, page, made):
        columns = made.variants["reflect_response"]
        adopted, refused = (columns["reflect_status"].index(status) for status in ("ok", "refusal"))
        part = page.locator('details.oracle[data-variant="reflect_response"]')
        open_row(page, made.ids[adopted])
        part.evaluate("part => { part.open = true }")
        assert part.locator(".text").all_text_contents() == [columns["critique"][adopted]]
        open_row(page, made.ids[refused])
        assert part.locator(".badge").inner_text() == "refusal"
        assert part.locator(".text").all_text_contents() == [columns["reflection"][refused]]
        assert columns["output"][refused] == made.variants["original"]["output"][refused]

    def test_says_why_there_are_no_tokens(self, page, made):
        open_row(page, made.ids[3])
        assert page.locator("#tokens-why").inner_text() == "None were kept."


class TestWays:
    def test_every_odd_id_has_a_link_that_leads_there(self, page, made):
        go(page, "#/rows")
        eventually(page, lambda: shown_ids(page), made.ids[:50])
        links = page.evaluate("[...document.querySelectorAll('#rows-table [data-row]')].map(a => a.href)")[:8]
        for row, link in enumerate(links):
            page.goto(link)
            says(page, "#row-title", f"Row {made.ids[row]}")
            says(page, "#row-place", f"{row + 1} of {len(made)}")
            assert texts(page, 0)["instruction"] == made.variants["original"]["instruction"][row]

    def test_a_link_to_the_last_row_in_a_new_window(self, open_page, small_report, made):
        page = open_page(small_report, f"#/row/{made.ids[-1]}")
        page.locator("#row-texts").wait_for()
        assert texts(page, 0)["output"] == made.variants["original"]["output"][-1]
        assert page.title() == f"Row {made.ids[-1]} · Made up, & <small>"
        assert page.locator("#row-next").get_attribute("aria-disabled") == "true"
        page.click("#row-previous")
        says(page, "#row-title", f"Row {made.ids[-2]}")

    @pytest.mark.parametrize("row_id", ["nobody", "", "<img src=x onerror=alert(1)>", "%E0%A4%A"])
    def test_an_unknown_id_is_said_so(self, page, row_id):
        go(page, f"#/row/{row_id}")
        line = page.locator("#row-missing")
        line.wait_for()
        assert f"no row with the id “{row_id}”" in line.inner_text()
        assert page.locator("#row-body").text_content() == ""

    def test_previous_and_next_follow_the_list_that_one_came_from(self, page, made):
        go(page, "#/rows?branch=reflect_both&sort=-ifd_ppl")
        scores = made.variants["reflect_both"]["ifd_ppl"]
        rows = [row for row, name in enumerate(made.decisions["selected_variant"]) if name == "reflect_both"]
        ids = [made.ids[row] for row in sorted(rows, key=lambda row: (-scores[row], row))]
        eventually(page, lambda: shown_ids(page), ids[:50])
        page.click(f'#rows-table [data-row="{ids[1]}"]')
        says(page, "#row-place", f"2 of {len(ids)}")
        page.click("#row-next")
        says(page, "#row-title", f"Row {ids[2]}")
        for number in (1, 0):
            page.click("#row-previous")
            says(page, "#row-title", f"Row {ids[number]}")
        eventually(page, lambda: page.locator("#row-previous").get_attribute("aria-disabled"), "true")
        page.click("#row-back")
        eventually(page, lambda: counted(page), f"{len(ids)} of {len(made)} rows")
        assert page.evaluate("location.hash") == "#/rows?branch=reflect_both&sort=-ifd_ppl"
        assert page.locator("#filter-branch").input_value() == "reflect_both"

    def test_back_and_forward(self, page, made):
        go(page, "#/rows?q=lamp")
        eventually(page, lambda: counted(page).endswith(f"of {len(made)} rows"), True)
        first = shown_ids(page)
        page.click(f'#rows-table [data-row="{first[0]}"]')
        says(page, "#row-title", f"Row {first[0]}")
        page.go_back()
        eventually(page, lambda: shown_ids(page), first)
        eventually(page, lambda: page.evaluate("document.activeElement.dataset.row"), first[0])
        page.go_forward()
        page.locator("#row").wait_for()
        says(page, "#row-title", f"Row {first[0]}")


def shade(help):
    step = sum(abs(help) >= limit for limit in (0.1, 0.5, 1, 2))
    return f"{'helped' if help > 0 else 'hurt'}-{step}" if step else ""


@pytest.fixture(scope="module")
def compared_page(browser, compared_report):
    """The report that compares two selections, and has tokens, opened once."""
    opened = browser.open(compared_report, "#/rows")
    yield opened
    opened.context.close()


class TestTokens:
    def test_each_token_is_shaded_by_what_the_instruction_did(self, compared_page, made, tokens_of):
        page = compared_page
        open_row(page, made.ids[1])
        for variant in VARIANTS[:2]:
            page.select_option("#token-variant", variant)
            tokens = tokens_of(made, variant)[1]
            spans = page.locator("#token-list .token")
            assert spans.all_text_contents() == [text for text, _, _ in tokens]
            response = made.variants[variant]["output"][1]
            assert response.startswith(page.locator("#token-list").text_content())
            classes = spans.evaluate_all("tokens => tokens.map(token => token.className)")
            helps = [math.nan if a is None else a - b for _, a, b in tokens]
            assert classes == [f"token {shade(help)}".strip() for help in helps]
            known = [(a, b) for _, a, b in tokens if a is not None]
            without, given = (sum(values) for values in zip(*known, strict=True))
            told = page.locator("#token-summary").inner_text()
            assert told.startswith(f"{len(known)} pieces, each a token")
            assert f" {without:.1f} nats in all without the instruction, {given:.1f} with it" in told
            helped, hurt = sum(help > 0 for help in helps), sum(help < 0 for help in helps)
            assert f"it helped with {helped} of them, and hurt with {hurt}." in told
            assert "cut off" in told
        assert {shade(a - b) for rows in tokens_of(made, VARIANTS[0]) if rows for _, a, b in rows if a} > {
            *("helped-1", "helped-2", "helped-3", "helped-4", "hurt-2", "hurt-3"),
        }

    def test_colours_differ_and_keep_their_contrast(self, compared_page, made, contrasts):
        page = compared_page
        open_row(page, made.ids[16])
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            legend = page.locator("#tokens .legend .token")
            colours = legend.evaluate_all("tokens => tokens.map(token => getComputedStyle(token).backgroundColor)")
            assert len(set(colours)) == len(colours) == 9
            assert min(contrasts(page, "#tokens .legend .token, #token-list .token")) >= 4.5

    def test_arrows_go_from_token_to_token(self, compared_page, made, tokens_of):
        page = compared_page
        open_row(page, made.ids[16])
        tokens = tokens_of(made, page.locator("#token-variant").input_value())[16]
        page.locator("#token-variant").focus()
        page.keyboard.press("Tab")
        last = len(tokens) - 1
        for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", last), ("Home", 0)):
            page.keyboard.press(key)
            text, without, given = tokens[place]
            name = page.evaluate("document.activeElement.getAttribute('aria-label')")
            assert name.startswith(f"“{text.strip()}”: {without:.2f} without, {given:.2f} with the instruction")
            assert page.locator("#token-readout").inner_text() == name
        assert page.locator("#token-list [tabindex='0']").count() == 1

    def test_a_row_without_any_says_so(self, compared_page, made):
        page = compared_page
        open_row(page, made.ids[17])
        assert "No token losses" in page.locator("#tokens").inner_text()
        assert page.locator("#token-list").count() == 0


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


class TestComparison:
    def test_says_how_many_rows_changed_in_which_way(self, compared_page, changes):
        go(compared_page, "#/compare")
        links = compared_page.locator('#compare p a[href^="#/rows?change="]')
        found = {link.get_attribute("href").partition("=")[2]: link.inner_text() for link in links.all()}
        numbers = {name: int(text.rpartition("(")[2].rstrip(")")) for name, text in found.items()}
        assert numbers == {name: count for name, count in Counter(changes.values()).items() if name != "alike"}
        assert set(Counter(changes.values())) == set(CHANGES)
        names = compared_page.locator("#compare .facts dd").all_inner_texts()
        assert names == ["this one", "the other one"]

    def test_charts_are_drawn(self, compared_page, drawn):
        go(compared_page, "#/compare")
        drawn(compared_page, "#compare", 5)

    def test_every_number_that_is_a_link_opens_as_many_rows(self, compared_page):
        go(compared_page, "#/compare")
        links = compared_page.locator("#compare .chart-numbers a").evaluate_all(LINKS)
        assert len(links) >= 4
        for text, link in links:
            go(compared_page, link)
            eventually(compared_page, lambda: matched(compared_page), int(text))


class TestChangedRows:
    @pytest.mark.parametrize("change", CHANGES)
    def test_that_changed_in_one_way(self, compared_page, made, changes, change):
        ids = [row_id for row_id in made.ids if changes[row_id] == change]
        go(compared_page, f"#/rows?change={change}")
        eventually(compared_page, lambda: counted(compared_page), f"{len(ids)} of {len(made)} rows")
        assert shown_ids(compared_page) == ids[:50]

    def test_sort_by_a_score_of_the_other(self, compared_page, made, other):
        scores = dict(zip(other.ids, other.variants["original"]["ifd_ppl"], strict=True))
        go(compared_page, "#/rows?sort=-other_ifd_ppl&variant=original")
        numbers = {row_id: scores.get(row_id) for row_id in made.ids}
        places = {row_id: place for place, row_id in enumerate(made.ids)}
        ids = sorted(made.ids, key=lambda one: (numbers[one] is None, -(numbers[one] or 0), places[one]))
        eventually(compared_page, lambda: shown_ids(compared_page), ids[:50])

    def test_one_row_shows_both_decisions_and_both_scores(self, compared_page, made, other, changes):
        for change in ("kept_only_here", "not_there"):
            row_id = next(one for one in made.ids[8:] if changes[one] == change)
            go(compared_page, f"#/row/{row_id}")
            says(compared_page, "#row-title", f"Row {row_id}")
            compared_page.locator("#row-change").wait_for()
            tables = compared_page.locator(".row-scores")
            eventually(compared_page, tables.count, 1 if change == "not_there" else 2)
            cells = tables.last.locator('tr[data-score="other_ifd_ppl"] td').all_inner_texts()
            if change == "not_there":
                assert "does not have the row" in compared_page.locator("#row-change").inner_text()
                continue
            place = other.ids.index(row_id)
            assert compared_page.locator("#row-other-decision .badge").inner_text() == "dropped"
            assert cells == [f"{other.variants[name]['ifd_ppl'][place]:.3f}" for name in VARIANTS]
            assert compared_page.locator("#row-other-decision li").count() >= 1
