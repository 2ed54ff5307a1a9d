"""The quickstart as `make quickstart` runs it, looked at from all sides."""

import re

import torch
from datasets import load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer

STAGES = ("reflect", "score", "select", "sft", "evaluate", "publish")
VARIANTS = ("original", "reflect_instruction", "reflect_response", "reflect_both")


def test_it_ends_with_a_summary_of_what_it_did(quickstart_run):
    folder, printed = quickstart_run
    assert re.findall(r"^\$ python .*recipes/(\w+)\.py", printed, re.M) == [
        *("reflect", "score", "select_rows", "sft", "evaluate_model", "publish")
    ]
    for variant in VARIANTS[1:]:
        assert re.search(rf"^{variant} +96$", printed, re.M)
    for line in ("IFD", "r-IFD", "response ppl, given instruction", "instruction length (tokens)"):
        assert re.search(rf"^{re.escape(line)}( +[\d.,]+){{4}}$", printed, re.M), line
    won = {name: map(int, counts.split()) for name, counts in re.findall(r"^(\w+)((?: +\d+){2})$", printed, re.M)}
    rows, kept = won.pop("total")
    assert rows == 96 and kept == load_from_disk(folder / "select")["selected"].num_rows
    assert str(folder / "publish") in printed


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
    skipped = [f"[{stage}] up to date, skipped: {folder / stage}" for stage in STAGES]
    assert again.stdout.split("\n")[: len(STAGES)] == skipped
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_left_over(quickstart_run):
    folder, _ = quickstart_run
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert [name for name in hidden if not name.endswith(".lock")] == []
