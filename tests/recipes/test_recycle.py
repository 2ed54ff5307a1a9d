import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_dataset, load_from_disk
from transformers import AutoModelForCausalLM

from hub_cards.provenance import read_records

VARIANTS = ("original", "reflect_instruction", "reflect_response", "reflect_both")


def assert_same_run(one: Path, other: Path) -> None:
    """Same texts, ids, decisions and weights; scores to 1e-6."""
    for stage in ("reflect", "score", "select"):
        left, right = load_from_disk(one / stage), load_from_disk(other / stage)
        assert left.keys() == right.keys()
        for name in left:
            a, b = left[name].to_pandas(), right[name].to_pandas()
            numbers = a.select_dtypes("float").columns
            lists = [column for column in a.columns if column.startswith("token_losses")]
            assert a.drop(columns=[*numbers, *lists]).equals(b.drop(columns=[*numbers, *lists])), (stage, name)
            for column in lists:
                np.testing.assert_allclose(np.concatenate(a[column]), np.concatenate(b[column]), rtol=1e-4, atol=1e-5)
            assert a[numbers].isna().equals(b[numbers].isna()), (stage, name)
            close = (a[numbers] - b[numbers]).abs() <= 1e-6 * a[numbers].abs()
            assert (close | a[numbers].isna()).all(axis=None), (stage, name)
    weights = [AutoModelForCausalLM.from_pretrained(run / "sft").state_dict() for run in (one, other)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-5)
    for name in ("selected", *VARIANTS):
        tables = [load_dataset(str(run / "publish/dataset"), name, split="train") for run in (one, other)]
        assert tables[0]["row_id"][:] == tables[1]["row_id"][:]
    assert (one / "report.html").stat().st_size == pytest.approx((other / "report.html").stat().st_size, rel=0.01)


def left_over(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir() if path.name.startswith(".") and not path.name.endswith(".lock"))


@pytest.mark.timeout(900)
def test_killed_in_every_stage_it_ends_as_if_undisturbed(root, small_recipe, small_run, script, tmp_path):
    run = tmp_path / "killed"
    moments = {
        "reflect": lambda: (run / ".reflect.work").exists(),
        "score": lambda: any((run / ".score.work").glob("*.arrow")),  # one of two shards is done
        "select": lambda: (run / ".select.partial").exists() or (run / ".select.lock").exists(),
        "sft": lambda: (run / ".sft.partial").exists(),
        "evaluate": lambda: (run / ".evaluate.lock").exists(),
        "report": lambda: (run / ".report.html.lock").exists(),
        "publish": lambda: (run / ".publish.partial/dataset").exists(),
    }
    command = [sys.executable, "recipes/recycle.py", str(small_recipe), "--output_dir", str(run)]
    for stage, moment in moments.items():
        process = subprocess.Popen(
            command, cwd=root, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not moment() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"{stage} was over before it could be killed"
    done = script("recycle.py", small_recipe, "--output_dir", run)
    assert done.returncode == 0, done.stderr
    assert_same_run(small_run, run)
    assert left_over(run) == []


def test_a_changed_setting_redoes_its_stage_and_the_later_ones_only(small_recipe, small_run, script, tmp_path):
    recipe, run = tmp_path / "recipe", tmp_path / "run"
    shutil.copytree(small_recipe, recipe)
    shutil.copytree(small_run, run)
    (recipe / "select.yaml").write_text("strategy: selective\nrequire_reflected_response: true\n")
    planned = script("recycle.py", recipe, "--output_dir", run, "--dry_run", "--to_stage", "select")
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [f"[{s}] up to date, skipped" for s in ("reflect", "score")]
    assert lines[-1].startswith("$ python recipes/select_rows.py --config")


def test_only_the_stages_asked_for_run(small_recipe, script, tmp_path):
    done = script("recycle.py", small_recipe, "--output_dir", tmp_path / "run", "--to_stage", "reflect")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")] == ["reflect"]
    more = ("--to_stage", "select", "--dry_run", "--launcher", "accelerate launch --num_processes 2")
    planned = script("recycle.py", small_recipe, "--output_dir", tmp_path / "run", *more)
    assert planned.returncode == 0, planned.stderr
    started = [line.split(" --config")[0] for line in planned.stdout.splitlines() if line.startswith("$")]
    score = "$ accelerate launch --num_processes 2 recipes/score.py"
    assert started == [score, "$ python recipes/select_rows.py"]


def test_a_mistake_in_the_last_yaml_is_reported_before_anything_runs(small_recipe, script, tmp_path):
    for name, line in (("publish", "licence: mit\n"), ("sft", "learning_rat: 0.1\n")):
        recipe = tmp_path / name
        shutil.copytree(small_recipe, recipe)
        with (recipe / f"{name}.yaml").open("a") as file:
            file.write(line)
        done = script("recycle.py", recipe, "--output_dir", tmp_path / f"run-{name}")
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert f"unknown key '{line.split(':')[0]}'; did you mean" in done.stderr
        assert not (tmp_path / f"run-{name}").exists()


def test_a_plan_is_shown_where_its_training_could_not_start(small_recipe, script, tmp_path):
    recipe = tmp_path / "recipe"
    shutil.copytree(small_recipe, recipe)
    with (recipe / "sft.yaml").open("a") as file:
        file.write("learning_rat: 0.1\n")
    planned = script("recycle.py", recipe, "--output_dir", tmp_path / "run", "--dry_run")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith("[sft] could not start here: ")
    assert planned.stdout.count("$ python recipes/") == 7
    done = script("recycle.py", recipe, "--output_dir", tmp_path / "run")
    assert done.returncode == 2 and not (tmp_path / "run").exists()


def test_provenance_tells_every_step_with_its_inputs(small_run):
    *records, published, evaluated = read_records(small_run / "publish/model")
    assert [record.step for record in records] == ["reflect", "score", "select", "sft"]
    assert published.inputs["sft"].fingerprint == records[-1].result_fingerprint
    assert evaluated.step == "evaluate" and evaluated.inputs["model"].location == "sft"  # no place of this machine
    for earlier, later in itertools.pairwise(records):
        assert later.inputs["dataset"].fingerprint == earlier.result_fingerprint
    assert records[1].inputs["model"].location == "recipes/quickstart/student"
    assert all(record.libraries["datasets"] for record in records)
