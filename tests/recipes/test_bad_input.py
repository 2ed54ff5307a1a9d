"""Bad input: exit code 2, one line that names the value and what to do, and nothing half-written."""

import json

import pytest

GOOD = {"instruction": "a", "input": "", "output": "b"}


def lines(*records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def refused(done, output_dir, *said):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in said:
        assert part in done.stderr
    assert not output_dir.exists() or not any(output_dir.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", None, "no such file"),
        ("rows.jsonl", "", "is empty"),
        ("rows.json", "[]", "is empty"),
        ("rows.json", "[{]", "is not JSON"),
        ("rows.jsonl", lines(GOOD) + "{broken\n", "line 2"),
        ("rows.jsonl", lines({"question": "a", "answer": "b"}), "answer, question"),
        ("rows.jsonl", lines(GOOD, {**GOOD, "output": 7}), "row 1: field 'output' is a number (7)"),
        ("rows.jsonl", lines(GOOD, GOOD, {"instruction": "a"}), "row 2: field 'output' is missing"),
        ("rows.jsonl", lines({**GOOD, "instruction": None}), "row 0: field 'instruction' is missing or null"),
        ("rows.csv", "instruction,output\n", "unknown file type '.csv'"),
    ],
)
def test_data_that_cannot_be_read(script, quickstart, tmp_path, name, content, said):
    data, output = tmp_path / name, tmp_path / "out"
    if content is not None:
        data.write_text(content)
    recorded = ("--oracle", "recorded", "--recorded_path", quickstart / "data/completions.jsonl")
    refused(script("reflect.py", "--dataset", data, *recorded, "--output_dir", output), output, said, str(data))


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("score.py", ["--template", "alpacca"], "the templates are alpaca, vicuna, wizardlm, none, chat_template"),
        ("score.py", ["--model_name_or_path", "no/such/model"], "--model_name_or_path no/such/model"),
        ("score.py", ["--max_length", "4096"], "the model has only 2048 positions; pass --max_length 2048"),
        ("score.py", ["--max_length", "many"], "--max_length"),
        ("score.py", ["--templat", "alpaca"], "unknown flag --templat; did you mean --template?"),
        ("score.py", ["--config", "nowhere.yaml"], "nowhere.yaml"),
        ("select_rows.py", ["--strategy", "best"], "--strategy 'best' is unknown; the strategies are selective"),
        ("reflect.py", ["--oracle_model", "m", "--variants", "reflect_all"], "the variants are reflect_instruction"),
        ("reflect.py", ["--oracle", "oracle"], "the oracles are openai, openai_batch, transformers, recorded"),
        ("reflect.py", ["--oracle_model", "m", "--where", "ifd_ppl less 3"], "'ifd_ppl less 3': is no condition"),
        ("reflect.py", ["--oracle_model", "m", "--budget_usd", "1"], "no price is known for --oracle_model m"),
        ("reflect.py", ["--oracle", "openai_batch", "--oracle_model", "m"], "OPENAI_API_KEY"),
        ("reflect.py", ["--oracle", "openai", "--oracle_model", "m"], "OPENAI_API_KEY"),
    ],
)
def test_settings_that_cannot_be(script, quickstart, tmp_path, monkeypatch, name, flags, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    data, output = tmp_path / "rows.jsonl", tmp_path / "out"
    data.write_text(lines(GOOD))
    common = ["--dataset", data, "--output_dir", output]
    if name == "score.py":
        common += ["--model_name_or_path", quickstart / "student"]
    refused(script(name, *common, *flags), output, said)


@pytest.mark.parametrize("line", ["templat: alpaca\n", "env: {OPENAI_API_KEY: secret}\n"])
def test_an_unknown_yaml_key(script, tmp_path, line):
    config = tmp_path / "score.yaml"
    config.write_text(line)
    done = script("score.py", "--config", config, "--output_dir", tmp_path / "out")
    refused(done, tmp_path / "out", str(config), f"unknown key '{line.split(':')[0]}'")
    assert "secret" not in done.stderr


def test_an_output_folder_that_holds_something_else_is_left_alone(script, small_run, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    done = script("select_rows.py", "--dataset", small_run / "score", "--output_dir", theirs)
    assert done.returncode == 2
    assert f"{theirs}: holds files that no stage of ours wrote" in done.stderr
    assert (theirs / "thesis.txt").read_text() == "years of work"
    done = script("select_rows.py", "--dataset", small_run / "score", "--output_dir", small_run / "score")
    assert done.returncode == 2 and "holds a result of the score step" in done.stderr


def test_no_recipe_folder(script, tmp_path):
    done = script("recycle.py", tmp_path, "--output_dir", tmp_path / "out")
    refused(done, tmp_path / "out", str(tmp_path), "is no recipe folder")
