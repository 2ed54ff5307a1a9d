"""The quickstart as `make quickstart` runs it, looked at from all sides, and the comparison that follows it.

In one file, because files are what the processes of the suite share: so the quickstart is run once.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from datasets import load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import report_browser
from report_browser import eventually, go, matched, shown_ids

from hub_cards.provenance import read_records

browser, open_page = report_browser.browser, report_browser.open_page
nothing_went_wrong = report_browser.nothing_went_wrong

PLACES = ("reflect", "score", "select", "sft", "evaluate", "report.html", "publish")
VARIANTS = ("original", "reflect_instruction", "reflect_response", "reflect_both")
TRAINED = ("random", "length_matched", "ours")  # the arms of the comparison


def test_it_is_published_loaded_back_and_trained_on(hub, script, quickstart_run, tmp_path):
    """The round trip as a user makes it, read back in a process of its own; then from the cache alone."""
    folder, _ = quickstart_run
    names = ["--hub_dataset_id", "tester/quickstart", "--hub_model_id", "tester/quickstart-model"]
    arguments = [
        "--config",
        "recipes/quickstart/publish.yaml",
        "--folder",
        folder,
        "--output_dir",
        tmp_path / "publish",
    ]
    done = script("publish.py", *arguments, *names, "--push_to_hub", "True")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("read back: ") == 3
    hub.fresh_cache()
    chosen = ["--config", "recipes/quickstart/select.yaml", "--dataset", "tester/quickstart"]
    chosen += ["--statistics", "tester/quickstart-statistics", "--output_dir", tmp_path / "select"]
    done = script("select_rows.py", *chosen)
    assert done.returncode == 0, done.stderr
    kept = load_from_disk(folder / "select")["selected"]
    assert load_from_disk(tmp_path / "select")["selected"]["row_id"][:] == kept["row_id"][:]
    training = ["--config", "recipes/quickstart/sft.yaml", "--dataset", "tester/quickstart", "--max_steps", "1"]
    training += ["--model_name_or_path", "tester/quickstart-model", "--output_dir"]
    done = script("sft.py", *training, tmp_path / "sft")
    assert done.returncode == 0, done.stderr
    record = read_records(tmp_path / "sft")[-1]
    assert record.counts["rows"] == len(kept)
    for role, kind, name in (("dataset", "dataset", "quickstart"), ("model", "model", "quickstart-model")):
        assert record.inputs[role].revision == hub.repo(kind, f"tester/{name}")["head"]
    hub.go_offline()
    done = script("sft.py", *training, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert read_records(tmp_path / "again")[-1].fingerprint == record.fingerprint


def test_it_ends_with_a_summary_of_what_it_did(quickstart_run):
    folder, printed = quickstart_run
    assert re.findall(r"^\$ python .*recipes/(\w+)\.py", printed, re.M) == [
        *("reflect", "score", "select_rows", "sft", "evaluate_model", "report", "publish")
    ]
    for variant in VARIANTS[1:]:
        assert re.search(rf"^{variant} +96$", printed, re.M)
    for line in ("IFD", "r-IFD", "response ppl, given instruction", "instruction length (tokens)"):
        assert re.search(rf"^{re.escape(line)}( +[\d.,]+){{4}}$", printed, re.M), line
    won = {name: map(int, counts.split()) for name, counts in re.findall(r"^(\w+)((?: +\d+){2})$", printed, re.M)}
    rows, kept = won.pop("total")
    assert rows == 96 and kept == load_from_disk(folder / "select")["selected"].num_rows
    assert str(folder / "publish") in printed
    assert printed.endswith(f"\n\nSee it row by row: open {folder / 'report.html'} in a browser\n")


def test_every_row_is_reflected_and_scored_and_has_a_reason(quickstart_run):
    folder, _ = quickstart_run
    scored = load_from_disk(folder / "score")
    assert tuple(scored) == VARIANTS
    for name in VARIANTS:
        assert scored[name]["row_id"][:] == scored["original"]["row_id"][:]
        assert set(scored[name]["score_status"]) == {"ok"}
    assert scored["reflect_both"]["instruction"][:] == scored["reflect_instruction"]["instruction"][:]
    assert set(scored["reflect_both"]["input"]) == {""}
    decisions = load_from_disk(folder / "select")["decisions"]
    assert len(decisions) == 96 and None not in decisions["select_reason"][:]
    assert 10 <= sum(decisions["selected"][:]) < 96  # the demonstration would show nothing otherwise


def test_the_trained_model_loads_and_differs_from_the_student(quickstart_run, quickstart):
    folder, _ = quickstart_run
    before = AutoModelForCausalLM.from_pretrained(quickstart / "student", dtype="float32")
    after = AutoModelForCausalLM.from_pretrained(folder / "publish/model", dtype="float32")
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    tokens = AutoTokenizer.from_pretrained(folder / "publish/model")("Name a fruit.", return_tensors="pt")
    assert after.generate(**tokens, max_new_tokens=5, do_sample=False).shape[1] > tokens["input_ids"].shape[1]


def test_a_second_call_skips_every_stage_and_changes_nothing(quickstart_run, script):
    folder, _ = quickstart_run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = script("recycle.py", "recipes/quickstart", "--output_dir", folder)
    assert again.returncode == 0, again.stderr
    skipped = [f"[{Path(place).stem}] up to date, skipped: {folder / place}" for place in PLACES]
    assert again.stdout.split("\n")[: len(PLACES)] == skipped
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_left_over(quickstart_run):
    folder, _ = quickstart_run
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert [name for name in hidden if not name.endswith(".lock")] == []


@pytest.fixture
def recipe(root, quickstart_run, fault_server, tmp_path, monkeypatch) -> Path:
    """The quickstart's comparison with a local judge, all arms but the longest, and little to write."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    comparison = root / "recipes/quickstart-comparison"
    evaluate, sweep = (yaml.safe_load((comparison / f"{name}.yaml").read_text()) for name in ("evaluate", "sweep"))
    few = {"limit": 8, "max_new_tokens": 16, "base_url": fault_server.url, "store": str(tmp_path / "store.sqlite")}
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(evaluate | few))
    places = {"evaluate": str(tmp_path / "evaluate.yaml"), "output_dir": str(tmp_path / "out")}
    arms = [arm for arm in sweep["arms"] if arm != "full = all"]
    changes = {"dataset": str(quickstart_run[0] / "score"), "baseline": "base", "arms": arms, **places}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep | changes))
    return tmp_path


def test_selections_are_trained_on_judged_and_compared(script, recipe, quickstart_run, fault_server):
    done = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert done.returncode == 0, done.stderr
    out = recipe / "out"
    selected, drawn = (load_from_disk(out / arm / "select")["selected"] for arm in ("ours", "random"))
    assert len(selected) == len(drawn) and set(selected["row_id"]) != set(drawn["row_id"])
    whole = load_from_disk(quickstart_run[0] / "select")["selected"]
    assert selected["row_id"][:] == whole["row_id"][:]
    matched = load_from_disk(out / "length_matched/select")["selected"]
    assert sum(map(len, matched["output"])) == pytest.approx(sum(map(len, selected["output"])), rel=0.2)
    counts = {arm: read_records(out / arm / "evaluate")[-1].counts for arm in ("base", *TRAINED)}
    assert "judge" not in counts["base"]
    table = (out / "comparison.md").read_text()
    for arm in TRAINED:
        total = counts[arm]["judge"]["total"]
        assert total["n"] == 8 and total["wins"] + total["ties"] + total["losses"] == 8
        assert f"| {arm} | 8 | {total['wins']} | {total['ties']} | {total['losses']} | 0 |" in table
        assert re.search(rf"\| {arm} \| [^|]+ \| {len(selected)} \| 5 \| \d\.\d+ \|", table)
    assert "| base | untrained | – | – | – |" in table
    assert (out / "chart.svg").read_text().count("win score") == 3
    assert "against base:" in done.stdout

    # Nothing is asked or trained again: not by the same command, nor for an arm that comes in later.
    asked = fault_server.counts()["requests"]
    shutil.rmtree(out / "ours/evaluate")
    again = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert again.returncode == 0, again.stderr
    assert fault_server.counts()["requests"] == asked
    assert again.stdout.count("up to date, skipped") == 9 and (out / "comparison.md").read_text() == table


def test_a_mistake_in_the_last_stage_is_said_before_the_first_one(script, recipe, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    done = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert done.returncode == 2 and "set the environment variable OPENAI_API_KEY" in done.stderr
    content = yaml.safe_load((recipe / "evaluate.yaml").read_text())
    (recipe / "evaluate.yaml").write_text(yaml.safe_dump({**content, "max_new_tokens": 0}))
    done = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert (done.returncode, done.stderr) == (2, "error: --max_new_tokens 0: must be at least 1\n")
    assert not (recipe / "out").exists()


def test_its_report_opens_in_a_browser(quickstart_run, open_page):
    """The last one: a browser that is driven leaves no room for an event loop of the scripts' own."""
    folder, _ = quickstart_run
    page = open_page(folder / "report.html", "#/rows?kept=1")
    eventually(page, lambda: matched(page), load_from_disk(folder / "select")["selected"].num_rows)
    go(page, "#/rows")
    eventually(page, lambda: matched(page), 96)
    page.click(f'#rows-table [data-row="{shown_ids(page)[-1]}"]')
    page.locator("#row-texts").wait_for()
    page.locator("#token-list").wait_for()  # its recipe keeps the losses of the tokens
