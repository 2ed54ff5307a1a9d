"""The reports of real runs in a real browser: of a run, of two selections, of two students, of a published set."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_from_disk

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import report_browser
from report_browser import eventually, go, matched, says, shown_ids

from hub_cards.provenance import read_records
from hub_cards.schema import VARIANTS
from hub_cards.tables import branch_table

browser, open_page = report_browser.browser, report_browser.open_page
nothing_went_wrong = report_browser.nothing_went_wrong


@pytest.fixture(scope="module")
def rows(small_run):
    """By variant the scored rows as a list of dicts."""
    return {name: list(part) for name, part in load_from_disk(small_run / "score").items()}


@pytest.fixture(scope="module")
def decisions(small_run):
    """By row id."""
    return {row["row_id"]: row for row in load_from_disk(small_run / "select")["decisions"]}


@pytest.fixture(scope="module")
def compared(script, small_recipe, small_run, tmp_path_factory):
    """A report that compares the run with another selection, and one with another student's scores of four rows."""
    folder = tmp_path_factory.mktemp("compared")
    selecting = ("--dataset", small_run / "score", "--strategy", "superfilter", "--count", 9)
    scoring = ("--config", small_recipe / "score.yaml", "--dataset", small_run / "reflect", "--limit", 4)
    for done in (
        script("select_rows.py", *selecting, "--output_dir", folder / "select"),
        script("score.py", *scoring, "--template", "alpaca", "--output_dir", folder / "score"),
        *(
            script("report.py", "--dataset", small_run, "--compare", folder / name, "--output", folder / f"{name}.html")
            for name in ("select", "score")
        ),
    ):
        assert done.returncode == 0, done.stderr
    return folder


def test_the_page_of_a_run_says_what_its_records_and_rows_say(small_run, rows, decisions, open_page):
    page = open_page(small_run / "report.html")
    facts = dict(zip(*(page.locator(f"#overview .facts {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
    kept = sum(row["selected"] for row in decisions.values())
    assert facts["Rows"] == str(len(decisions))
    assert f"{kept} of {len(decisions)} rows kept" in facts["Selection"]
    assert {"Source", "Oracle", "Student", "Training", "Time"} <= set(facts)
    tables = page.locator("#overview table").evaluate_all(
        "tables => tables.map(table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim())))"
    )
    assert branch_table(read_records(small_run / "select")[-1]) in tables
    means = next(table for table in tables if table[0][0] == "mean over the rows")
    lengths = [sum(row["n_tokens_A"] for row in rows[name]) / len(rows[name]) for name in VARIANTS]
    line = next(line for line in means if line[0] == "response length (tokens)")
    assert line[1:5] == [f"{length:,.1f}" for length in lengths]
    assert page.locator("#overview [data-chart] :is(svg, canvas)").count() == 10

    go(page, "#/rows")
    eventually(page, lambda: shown_ids(page), [row["row_id"] for row in rows["original"]])
    go(page, "#/rows?kept=1")
    eventually(page, lambda: matched(page), kept)


def test_a_row_of_a_run_shows_its_texts_its_numbers_and_its_tokens(small_run, rows, decisions, open_page):
    page = open_page(small_run / "report.html", "#/rows")
    for place in (0, 7, 16):
        row_id = rows["original"][place]["row_id"]
        go(page, f"#/row/{row_id}")
        says(page, "#row-title", f"Row {row_id}")
        winner = decisions[row_id]["selected_variant"]
        of_winner = next(row for row in rows[winner] if row["row_id"] == row_id)
        if winner != "original":
            response = page.locator(f'#texts [aria-label="Response, {winner}"] .text').text_content()
            assert response == of_winner["output"]
        scores = page.locator('.scores tr[data-score="ifd_ppl"] td').all_inner_texts()
        of_row = [next(row for row in rows[name] if row["row_id"] == row_id) for name in VARIANTS]
        assert scores == [f"{row['ifd_ppl']:.3f}" for row in of_row]
        verdict = "kept" if decisions[row_id]["selected"] else "dropped"
        assert page.locator("#row-decision .badge").inner_text() == verdict
        assert page.locator("#row-decision li").count() >= 2
        assert page.locator("details.oracle .text").count() == 3  # a critique each

        for name, row in zip(VARIANTS, of_row, strict=True):
            page.select_option("#token-variant", name)
            tokens = page.locator("#token-list .token")
            assert "".join(tokens.all_text_contents()) == row["output"]
            told = tokens.evaluate_all("tokens => tokens.map(token => token.getAttribute('aria-label'))")
            given = [float(text.rsplit(" without, ")[1].split()[0]) for text in told if " without, " in text]
            losses = row["token_losses_A_condition"]
            assert len(losses) - len(given) in (0, 1)
            assert given == pytest.approx(losses[len(losses) - len(given) :], abs=0.006)


def test_two_selections(compared, decisions, open_page):
    other = {row["row_id"]: row for row in load_from_disk(compared / "select")["decisions"]}

    def change(row_id):
        here, there = decisions[row_id], other[row_id]
        if here["selected"] and there["selected"]:
            return "alike" if here["selected_variant"] == there["selected_variant"] else "other_variant"
        return "kept_only_here" if here["selected"] else "kept_only_there" if there["selected"] else "alike"

    counts = Counter(map(change, decisions))
    assert len(counts) > 1
    page = open_page(compared / "select.html", "#/compare")
    links = page.locator('#compare p a[href^="#/rows?change="]')
    links.first.wait_for()
    told = {link.get_attribute("href").partition("=")[2]: link.inner_text() for link in links.all()}
    assert {name: int(text.split("(")[-1].rstrip(")")) for name, text in told.items()} == {
        name: count for name, count in counts.items() if name != "alike"
    }
    for name, count in counts.items():
        go(page, f"#/rows?change={name}")
        eventually(page, lambda: matched(page), count)
        assert [change(row_id) for row_id in shown_ids(page)] == [name] * count


def test_two_students(compared, rows, open_page):
    other = load_from_disk(compared / "score")
    page = open_page(compared / "score.html", "#/compare")
    told = page.locator("#compare table th[scope=row]").all_inner_texts()
    assert {f"IFD, {name}" for name in VARIANTS} <= set(told)
    go(page, f"#/row/{rows['original'][0]['row_id']}")
    cells = page.locator('.scores tr[data-score="other_ifd_ppl"] td').all_inner_texts()
    assert cells == [f"{other[name][0]['ifd_ppl']:.3f}" for name in VARIANTS]
    assert cells != page.locator('.scores tr[data-score="ifd_ppl"] td').all_inner_texts()
