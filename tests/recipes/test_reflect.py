import json

from datasets import load_from_disk


def test_a_missing_completion_is_an_oracle_error_of_its_row_only(script, quickstart, tmp_path):
    recorded = [json.loads(line) for line in (quickstart / "data/completions.jsonl").read_text().splitlines()]
    first = recorded[0]["id"]
    kept = [c for c in recorded if (c["id"], c["variant"]) != (first, "reflect_instruction")]
    path = tmp_path / "completions.jsonl"
    path.write_text("".join(json.dumps(completion) + "\n" for completion in kept))
    flags = ("--dataset", quickstart / "data/rows.jsonl", "--limit", "3", "--oracle", "recorded")
    done = script("reflect.py", *flags, "--recorded_path", path, "--output_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "warning: 1 request(s) got no answer" in done.stdout
    made = load_from_disk(tmp_path / "out")
    assert made["reflect_instruction"]["reflect_status"][:] == ["oracle_error", "ok", "ok"]
    assert made["reflect_both"]["reflect_status"][:] == ["parent_not_reflected", "ok", "ok"]
    assert made["reflect_response"]["reflect_status"][:] == ["ok", "ok", "ok"]
    for variant in ("reflect_instruction", "reflect_both"):
        for column in ("row_id", "instruction", "input", "output"):
            assert made[variant][0][column] == made["original"][0][column]


def test_only_the_variants_asked_for_and_their_parents_are_made(script, quickstart, tmp_path):
    flags = ("--config", quickstart / "reflect.yaml", "--limit", "2", "--variants", "reflect_response")
    done = script("reflect.py", *flags, "--output_dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert list(load_from_disk(tmp_path / "out")) == ["original", "reflect_response"]


def test_an_oracle_that_answers_nothing_is_refused_and_nothing_is_saved(script, quickstart, tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"id": "another", "variant": "reflect_both", "completion": "x"}\n')
    flags = ("--dataset", quickstart / "data/rows.jsonl", "--limit", "3", "--oracle", "recorded")
    done = script("reflect.py", *flags, "--recorded_path", path, "--output_dir", tmp_path / "out")
    assert done.returncode == 2
    assert "not one of 6 requests was answered" in done.stderr
    assert not (tmp_path / "out").exists()
