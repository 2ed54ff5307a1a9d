"""The comparison that matters, from end to end: base model, random rows, our selection; judged, tabled and drawn."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from datasets import load_from_disk

from hub_cards.provenance import read_records


@pytest.fixture
def recipe(root, quickstart_run, fault_server, tmp_path, monkeypatch) -> Path:
    """The quickstart's comparison with a local judge, three arms, and little to write."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    comparison = root / "recipes/quickstart-comparison"
    evaluate, sweep = (yaml.safe_load((comparison / f"{name}.yaml").read_text()) for name in ("evaluate", "sweep"))
    few = {"limit": 8, "max_new_tokens": 16, "base_url": fault_server.url, "store": str(tmp_path / "store.sqlite")}
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(evaluate | few))
    places = {"evaluate": str(tmp_path / "evaluate.yaml"), "output_dir": str(tmp_path / "out")}
    arms = [arm for arm in sweep["arms"] if arm.split(" = ")[0] in ("base", "random", "ours")]
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
    counts = {arm: read_records(out / arm / "evaluate")[-1].counts for arm in ("base", "random", "ours")}
    assert "judge" not in counts["base"]
    table = (out / "comparison.md").read_text()
    for arm in ("random", "ours"):
        total = counts[arm]["judge"]["total"]
        assert total["n"] == 8 and total["wins"] + total["ties"] + total["losses"] == 8
        assert f"| {arm} | 8 | {total['wins']} | {total['ties']} | {total['losses']} | 0 |" in table
        assert re.search(rf"\| {arm} \| [^|]+ \| {len(selected)} \| 8 \| \d\.\d+ \|", table)
    assert "| base | untrained | – | – | – |" in table
    assert (out / "chart.svg").read_text().count("win score") == 2
    assert "against base:" in done.stdout

    # Nothing is asked or trained again: not by the same command, nor for an arm that comes in later.
    asked = fault_server.counts()["requests"]
    shutil.rmtree(out / "ours/evaluate")
    again = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert again.returncode == 0, again.stderr
    assert fault_server.counts()["requests"] == asked
    assert again.stdout.count("up to date, skipped") == 6 and (out / "comparison.md").read_text() == table


def test_a_mistake_in_the_last_stage_is_said_before_the_first_one(script, recipe):
    content = yaml.safe_load((recipe / "evaluate.yaml").read_text())
    (recipe / "evaluate.yaml").write_text(yaml.safe_dump({**content, "max_new_tokens": 0}))
    done = script("sweep.py", "--config", recipe / "sweep.yaml")
    assert (done.returncode, done.stderr) == (2, "error: --max_new_tokens 0: must be at least 1\n")
    assert not (recipe / "out").exists()
