"""`recipes/sft.py` as a user starts it: on any accepted data, killed, on two processes, with mistakes."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time

import pytest
from datasets import Dataset, DatasetDict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hub_cards.provenance import StepRecord, read_records
from hub_cards.rows import row_id
from hub_cards.sources import Source
from hub_cards.storage import save_result

SHORT = ["--max_length", "256", "--per_device_train_batch_size", "2", "--max_steps", "2", "--logging_steps", "1"]
# Some of the data's rows, each with the words that stand in every accepted format alike.
PAIRS = [("Name a fruit.", "An apple."), ("Add 1 and 2.", "It is 3."), ("Say yes.", "Yes."), ("Spell cat.", "C A T")]


@pytest.fixture
def sft(root, quickstart, tmp_path, monkeypatch, capfd):
    """`sft("--flag", ...)` runs the script in this process: its exit code, what it said, its error line."""
    monkeypatch.chdir(root)
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def run(*flags, base=("--config", quickstart / "sft.yaml", *SHORT)):
        argv = [*base, "--output_dir", tmp_path / "model", *flags]
        monkeypatch.setattr(sys, "argv", ["sft.py", *map(str, argv)])
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(root / "recipes/sft.py"), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        said = capfd.readouterr()
        return code, said.out, "".join(line for line in said.err.splitlines(True) if line.startswith("error:"))

    return run


@pytest.fixture
def selection(tmp_path):
    """A selection as the stages save one: scored with the template alpaca."""
    rows = [
        {"row_id": row_id(q, "", a), "instruction": q, "input": "", "output": a, "variant": "original", "ifd_ppl": ifd}
        for (q, a), ifd in zip(PAIRS, [0.9, None, 0.2, 0.5], strict=True)
    ]
    source = {"dataset": Source("file", "rows.jsonl", "1")}
    scored = StepRecord("score", 1, {"template": "alpaca"}, source, counts={"statistics": {}})
    save_result(tmp_path / "select", DatasetDict(selected=Dataset.from_list(rows)), [scored])
    return tmp_path / "select"


def write_rows(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_an_adapter_on_a_selection_in_the_order_of_its_scores(sft, selection, tmp_path):
    lora = ["--use_peft", "true", "--lora_target_modules", "q_proj", "v_proj", "--curriculum", "ifd_ppl desc"]
    code, out, err = sft("--dataset", selection, "--global_batch_size", "4", *lora)
    assert code == 0, err
    said = [line.removeprefix("[sft] ") for line in out.splitlines() if line.startswith("[sft]")]
    assert said[:4] == [
        "warning: trains with template vicuna, scored with alpaca",
        "in the order of ifd_ppl desc: 1 of 4 rows have none and come last",
        "4 rows, template vicuna, from recipes/quickstart/student",
        "global batch 4 = 1 process x 2 rows x 2 accumulated",
    ]
    assert said[4].startswith("4 rows: 4 whole; ") and said[5].startswith(f"saved the model in {tmp_path / 'model'}")
    record = read_records(tmp_path / "model")[-1]
    assert record.config["curriculum"] == "ifd_ppl desc" and record.config["global_batch_size"] == 4
    assert "per_device_train_batch_size" not in record.config
    expected = {"rows": 4, "rows_without_curriculum_score": 1, "steps": 2, "global_batch_size": 4, "processes": 1}
    assert record.counts.items() >= expected.items()
    assert (tmp_path / "model/adapter/adapter_config.json").is_file()
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"select", "model", ".model.lock"}
    # Another way to share out the same batch is the same training.
    code, out, _ = sft(
        *("--dataset", selection, "--global_batch_size", "4", *lora, "--per_device_train_batch_size", "1")
    )
    assert code == 0 and "up to date" in out


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("rows.json", lambda q, a: {"instruction": q, "output": a}),
        ("rows.jsonl", lambda q, a: {"messages": [_turn("user", q), _turn("assistant", a), _turn("user", "More.")]}),
        ("rows.jsonl", lambda q, a: {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}),
        ("rows.jsonl", lambda q, a: {"prompt": q, "completion": a, "source": "me"}),
        ("selected/train.parquet", lambda q, a: {"instruction": q, "input": "", "output": a}),
    ],
    ids=["alpaca", "messages", "conversations", "prompt_completion", "published"],
)
def test_any_accepted_data_gives_the_same_model(sft, tmp_path, name, record):
    losses = []
    for place, make in (("usual", lambda q, a: {"instruction": q, "output": a}), ("other", record)):
        path = tmp_path / place / (name if place == "other" else "rows.jsonl")
        path.parent.mkdir(parents=True)
        if path.suffix == ".parquet":
            Dataset.from_list([make(*pair) for pair in PAIRS]).to_parquet(path)
        else:
            write_rows(path, [make(*pair) for pair in PAIRS])
        data = tmp_path / place if path.suffix == ".parquet" else path
        code, out, err = sft("--dataset", data, "--max_steps", "1", "--output_dir", tmp_path / place / "model")
        assert code == 0, err
        losses.append(read_records(tmp_path / place / "model")[-1].counts["train_loss"])
    assert losses[0] == losses[1]
    counts = read_records(tmp_path / "other/model")[-1].counts
    if "messages" in record("", ""):
        assert "[sft] read " in out and "rows_with_further_turns_not_carried 4" in out
        assert counts["rows_with_further_turns_not_carried"] == 4
    if "source" in record("", ""):
        assert counts["columns_not_carried"] == ["source"]


def test_what_a_user_should_know_of_the_rows_is_said_and_the_model_is_readable(sft, tmp_path):
    records = [{"instruction": q, "output": a} for q, a in [*PAIRS, ("Say nothing.", " ")]]
    rows = write_rows(tmp_path / "rows.jsonl", records)
    code, out, err = sft("--dataset", rows, "--max_steps", "1", "--global_batch_size", "8")
    assert code == 0, err
    assert "rows_with_empty_output 1" in out
    assert "warning: there are only 5 rows: each step sees all of them" in out
    assert read_records(tmp_path / "model")[-1].counts["rows_with_empty_output"] == 1
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert set(modes.values()) == {modes["provenance.json"]}  # safetensors alone would write for its owner


def _turn(role, content):
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dataset", "EMPTY"], "the data set to train on has no rows: the selection kept none"),
        (["--dataset", "ROWS", "--max_length", "8"], "--max_length 8: is filled by the prompt alone in every row"),
        (["--dataset", "ROWS", "--curriculum", "ifd_ppl"], "the rows carry no such score; it has no column of numbers"),
        (["--dataset", "ROWS", "--model_name_or_path", "no/such/model"], "--model_name_or_path no/such/model"),
        (["--dataset", "ROWS", "--model_name_or_path", ""], "--model_name_or_path: name the model to train"),
        (["--dataset", "ROWS", "--template", "chat_template"], "has no chat template; use one of alpaca"),
        (["--dataset", "ROWS", "--report_to", "smoke"], "smoke is not supported"),
        (["--dataset", "ROWS", "--eval_strategy", "steps"], "eval_dataset"),
        (["--dataset", "ROWS", "--lora_r", "0", "--use_peft", "true"], "r` should be a positive integer"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(sft, tmp_path, selection, flags, said):
    rows = write_rows(tmp_path / "rows.jsonl", [{"instruction": q, "output": a} for q, a in PAIRS])
    empty = tmp_path / "empty"
    shutil.copytree(selection, empty)
    shutil.rmtree(empty / "selected")
    nothing = Dataset.from_dict({"row_id": [], "instruction": [], "input": [], "output": []})
    DatasetDict(selected=nothing).save_to_disk(empty, num_shards={"selected": 1})
    code, _, err = sft(*[{"ROWS": rows, "EMPTY": empty}.get(flag, flag) for flag in flags])
    assert (code, len(err.splitlines())) == (2, 1) and said in err
    assert not (tmp_path / "model").exists()


def command(root, quickstart, *flags):
    return [sys.executable, "recipes/sft.py", "--config", str(quickstart / "sft.yaml"), *map(str, flags)]


def run_alone(root, arguments):
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kill_9_in_training_and_the_same_command_ends_as_if_nothing_had_been(root, quickstart, tmp_path):
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines(True)[:64]
    (tmp_path / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    flags = ["--dataset", tmp_path / "rows.jsonl", "--max_steps", "20", "--save_strategy", "steps", "--save_steps", "4"]
    flags += ["--save_total_limit", "2", "--logging_steps", "3"]
    run_alone(root, command(root, quickstart, *flags, "--output_dir", tmp_path / "whole"))

    interrupted = command(root, quickstart, *flags, "--output_dir", tmp_path / "killed")
    process = subprocess.Popen(interrupted, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (third := list((tmp_path / ".killed.work").glob("*/checkpoint-12/trainer_state.json"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    work = third[0].parents[1]
    for later in work.glob("checkpoint-1[6-9]"):
        shutil.rmtree(later)
    # As if the kill had come while this one was written: its last files are not there, one is cut off.
    for name in ("trainer_state.json", "rng_state.pth", "scheduler.pt"):
        (work / "checkpoint-12" / name).unlink()
    os.truncate(work / "checkpoint-12/optimizer.pt", 1000)

    out = run_alone(root, interrupted)
    assert "[sft] checkpoint-12 is passed over and removed: trainer_state.json, which is written last" in out
    assert "[sft] goes on from checkpoint-8" in out
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys() and all(killed[name].equal(whole[name]) for name in whole)
    logs = [(tmp_path / name / "training_log.jsonl").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1] and [json.loads(line)["step"] for line in logs[0].splitlines()][-2:] == [18, 20]
    counts, of_killed = (read_records(tmp_path / name)[-1].counts for name in ("whole", "killed"))
    changing = {"training_seconds", "tokens_per_second", "resumed_from_step"}
    assert {k: v for k, v in counts.items() if k not in changing} == {
        k: v for k, v in of_killed.items() if k not in changing
    }
    assert (counts["resumed_from_step"], of_killed["resumed_from_step"]) == (None, 8)


@pytest.mark.parametrize("kind", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_two_processes_have_the_losses_of_one(root, quickstart, tmp_path, kind):
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines(True)[:32]
    (tmp_path / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    flags = ["--config", quickstart / "sft.yaml", "--dataset", tmp_path / "rows.jsonl", "--max_length", "128"]
    flags += ["--global_batch_size", "8", "--max_steps", "4", "--logging_steps", "1", "--learning_rate", "1e-3"]
    if kind == "lora":
        flags += ["--use_peft", "true", "--lora_dropout", "0", "--lora_target_modules", "q_proj", "up_proj"]
    losses, records = [], []
    launch = ["-m", "accelerate.commands.launch", "--config_file", "recipes/accelerate_configs/cpu_2_processes.yaml"]
    for name, start in (("one", []), ("two", launch)):
        arguments = [sys.executable, *start, "recipes/sft.py", *map(str, flags), "--output_dir", str(tmp_path / name)]
        out = run_alone(root, arguments)
        noun, accumulated = ("1 process", 4) if name == "one" else ("2 processes", 2)
        assert out.count(f"[sft] global batch 8 = {noun} x 2 rows x {accumulated} accumulated") == 1
        assert out.count("[sft] saved") == 1
        log = [json.loads(line) for line in (tmp_path / name / "training_log.jsonl").read_text().splitlines()]
        losses.append([entry["loss"] for entry in log])
        records.append(read_records(tmp_path / name)[-1])
        assert [entry["step"] for entry in log] == [1, 2, 3, 4]
        assert {path.name for path in tmp_path.glob(".*")} <= {".one.lock", ".two.lock"}
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert records[0].fingerprint == records[1].fingerprint
    assert records[0].counts["tokens"] == records[1].counts["tokens"]
    assert (records[0].counts["processes"], records[1].counts["processes"]) == (1, 2)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    base = load_file(quickstart / "student/model.safetensors")
    for name in one:
        moved = (one[name] - base[name]).abs().max()
        assert (one[name] - two[name]).abs().max() <= 0.01 * moved
    assert (one["model.layers.0.self_attn.q_proj.weight"] - base["model.layers.0.self_attn.q_proj.weight"]).any()
