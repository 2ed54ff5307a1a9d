import json

import pytest
from transformers import AutoModelForCausalLM


@pytest.mark.slow
def test_the_script_makes_what_is_shipped(script, quickstart, tmp_path):
    """One step of it: tokenizer and configuration are the shipped ones to the byte; the weights would take longer."""
    made, shipped = tmp_path / "student", quickstart / "student"
    done = script("quickstart/train_student.py", "--output_dir", made, "--epochs", "1", "--max_steps", "1")
    assert done.returncode == 0, done.stderr
    for name in ("tokenizer.json", "config.json"):
        assert (made / name).read_bytes() == (shipped / name).read_bytes(), name
    shapes = [
        {k: v.shape for k, v in AutoModelForCausalLM.from_pretrained(p).state_dict().items()} for p in (made, shipped)
    ]
    assert shapes[0] == shapes[1]


def test_the_student_is_small_enough_to_ship(quickstart):
    assert sum(path.stat().st_size for path in (quickstart / "student").iterdir()) <= 6_000_000
    config = json.loads((quickstart / "student/config.json").read_text())
    assert config["model_type"] == "llama"


def test_it_was_not_trained_on_the_rows_it_scores(quickstart):
    def pairs(name):
        rows = map(json.loads, (quickstart / "data" / name).read_text(encoding="utf-8").splitlines())
        return {(row["instruction"], row["input"]) for row in rows}

    assert len(pairs("rows.jsonl")) == 96
    assert not pairs("rows.jsonl") & pairs("student_rows.jsonl")
