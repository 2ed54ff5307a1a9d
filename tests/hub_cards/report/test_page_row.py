"""The view of one row in a real browser: its texts, numbers, words and marks against the rows it was made from."""

import math
from urllib.parse import quote

import pytest
from report_browser import counted, eventually, go, shown_ids

from hub_cards.report.words import decision_words
from hub_cards.schema import VARIANTS

FIELDS = {"instruction": "Instruction", "input": "Input", "output": "Response"}
MARKED = 19  # one two three four -> one 2 three four five
SCORES = ("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition", "ifd_ppl", "rifd_ppl", "n_tokens_A")


def open_row(page, row_id):
    go(page, f"#/row/{quote(row_id, safe='')}")
    eventually(page, lambda: page.locator("#row-title").text_content(), f"Row {row_id}")


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
    return [{field: pair[field] for field in FIELDS if field != "input" or any(p["input"] for p in pairs)} for pair in pairs]


def choose(page, left, right):
    page.select_option("#texts-left", left)
    page.select_option("#texts-right", right)


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
        choose(page, "original", "reflect_both")
        response = page.locator('#texts [aria-label^="Response, "] .text')
        assert [text.strip() for text in response.nth(0).locator("del").all_inner_texts()] == ["two"]
        assert [text.strip() for text in response.nth(1).locator("ins").all_inner_texts()] == ["2", "five"]
        assert response.locator("ins, del").count() == 3
        choose(page, "reflect_both", "original")
        assert [text.strip() for text in response.nth(0).locator("del").all_inner_texts()] == ["2", "five"]
        choose(page, "original", "original")
        assert response.locator("ins, del").count() == 0

    def test_what_is_not_marked_is_the_same_on_both_sides(self, page, made):
        for row in range(20, 26):
            open_row(page, made.ids[row])
            choose(page, "original", "reflect_both")
            for name in ("Instruction", "Response"):
                cells = page.locator(f'#texts [aria-label^="{name}, "] .text')
                plain = [
                    cell.evaluate("cell => { const c = cell.cloneNode(true); "
                                  "for (const m of c.querySelectorAll('ins, del')) m.remove(); return c.textContent }")
                    for cell in cells.all()
                ]
                assert "".join(plain[0].split()) == "".join(plain[1].split()) != ""

    def test_marks_can_be_taken_away_and_stay_away(self, page, made):
        open_row(page, made.ids[MARKED])
        choose(page, "original", "reflect_both")
        page.uncheck("#texts-marks")
        assert page.locator("#texts ins, #texts del").count() == 0
        assert texts(page, 1)["output"] == "one 2 three four five"
        open_row(page, made.ids[20])
        assert page.locator("#texts ins, #texts del").count() == 0
        page.check("#texts-marks")
        assert page.locator("#texts ins, #texts del").count() > 0


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
            eventually(page, lambda row=row: page.locator("#row-title").text_content(), f"Row {made.ids[row]}")
            eventually(page, lambda row=row: page.locator("#row-place").text_content(), f"{row + 1} of {len(made)}")
            assert texts(page, 0)["instruction"] == made.variants["original"]["instruction"][row]

    def test_a_link_to_the_last_row_in_a_new_window(self, open_page, small_report, made):
        page = open_page(small_report, f"#/row/{made.ids[-1]}")
        page.locator("#row-texts").wait_for()
        assert texts(page, 0)["output"] == made.variants["original"]["output"][-1]
        assert page.title() == f"Row {made.ids[-1]} · Made up, & <small>"
        assert page.locator("#row-next").get_attribute("aria-disabled") == "true"
        page.click("#row-previous")
        eventually(page, lambda: page.locator("#row-title").text_content(), f"Row {made.ids[-2]}")

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
        eventually(page, lambda: page.locator("#row-place").text_content(), f"2 of {len(ids)}")
        page.click("#row-next")
        eventually(page, lambda: page.locator("#row-title").text_content(), f"Row {ids[2]}")
        for number in (1, 0):
            page.click("#row-previous")
            eventually(page, lambda number=number: page.locator("#row-title").text_content(), f"Row {ids[number]}")
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
        eventually(page, lambda: page.locator("#row-title").text_content(), f"Row {first[0]}")
        page.go_back()
        eventually(page, lambda: shown_ids(page), first)
        eventually(page, lambda: page.evaluate("document.activeElement.dataset.row"), first[0])
        page.go_forward()
        page.locator("#row").wait_for()
        eventually(page, lambda: page.locator("#row-title").text_content(), f"Row {first[0]}")


def shade(help):
    step = sum(abs(help) >= limit for limit in (0.1, 0.5, 1, 2))
    return f"{'helped' if help > 0 else 'hurt'}-{step}" if step else ""


class TestTokens:
    def test_each_token_is_shaded_by_what_the_instruction_did(self, open_page, compared_report, made, tokens_of):
        page = open_page(compared_report, f"#/row/{quote(made.ids[1], safe='')}")
        page.locator("#tokens").wait_for()
        for variant in VARIANTS[:2]:
            page.select_option("#token-variant", variant)
            tokens = tokens_of(made, variant)[1]
            spans = page.locator("#token-list .token")
            assert spans.all_text_contents() == [text for text, _, _ in tokens]
            response = made.variants[variant]["output"][1]
            assert response.startswith(page.locator("#token-list").text_content())
            classes = page.evaluate("[...document.querySelectorAll('#token-list .token')].map(token => token.className)")
            helps = [math.nan if a is None else a - b for _, a, b in tokens]
            assert classes == [f"token {shade(help)}".strip() for help in helps]
            known = [(a, b) for _, a, b in tokens if a is not None]
            means = [sum(values) / len(known) for values in zip(*known, strict=True)]
            told = page.locator("#token-summary").inner_text()
            assert told.startswith(f"Mean of {len(known)} tokens: {means[0]:.3f} nats without, {means[1]:.3f} with")
            assert f"{sum(help > 0 for help in helps)} helped, {sum(help < 0 for help in helps)} hurt." in told
            assert "cut off" in told
        assert {shade(a - b) for rows in tokens_of(made, VARIANTS[0]) if rows for _, a, b in rows if a} > {
            *("helped-1", "helped-2", "helped-3", "helped-4", "hurt-2", "hurt-3"),
        }

    def test_colours_differ_and_keep_their_contrast(self, open_page, compared_report, made, contrasts):
        for scheme in ("light", "dark"):
            page = open_page(compared_report, f"#/row/{made.ids[16]}", color_scheme=scheme)
            page.locator("#tokens").wait_for()
            legend = page.locator("#tokens .legend .token")
            colours = legend.evaluate_all("tokens => tokens.map(token => getComputedStyle(token).backgroundColor)")
            assert len(set(colours)) == len(colours) == 9
            assert min(contrasts(page, "#tokens .legend .token, #token-list .token")) >= 4.5

    def test_arrows_go_from_token_to_token(self, open_page, compared_report, made, tokens_of):
        page = open_page(compared_report, f"#/row/{made.ids[16]}")
        page.locator("#token-list").wait_for()
        tokens = tokens_of(made, page.locator("#token-variant").input_value())[16]
        page.locator("#token-variant").focus()
        page.keyboard.press("Tab")
        for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", len(tokens) - 1), ("Home", 0)):
            page.keyboard.press(key)
            text, without, given = tokens[place]
            name = page.evaluate("document.activeElement.getAttribute('aria-label')")
            assert name.startswith(f"“{text.strip()}”: {without:.2f} without, {given:.2f} with the instruction")
            assert page.locator("#token-readout").inner_text() == name
        assert page.locator("#token-list [tabindex='0']").count() == 1

    def test_a_row_without_any_says_so(self, open_page, compared_report, made):
        page = open_page(compared_report, f"#/row/{made.ids[17]}")
        page.locator("#tokens").wait_for()
        assert "No token losses" in page.locator("#tokens").inner_text()
        assert page.locator("#token-list").count() == 0
