"""Every stage publishes to the Hub and reads from it: the real scripts and clients, against the local one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from datasets import get_dataset_config_names, load_dataset, load_from_disk
from huggingface_hub import DatasetCard, ModelCard

from hub_cards.provenance import read_records, write_records
from hub_cards.publishing import publish as publishing
from hub_cards.publishing.read_back import compare

CONFIGS = ["selected", "original", "reflect_instruction", "reflect_response", "reflect_both"]
IDS = ("--hub_dataset_id", "tester/small", "--hub_model_id", "tester/small-model")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits, and read back in this process: tests/recipes/test_quickstart.py does it in one of its own."""
    monkeypatch.setattr("hub_cards.hub.client.time.sleep", lambda _: None)
    monkeypatch.setattr(publishing, "read_back", lambda repositories: [compare(one) for one in repositories])


@pytest.fixture(scope="module")
def laid_out(script, small_recipe: Path, small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with its repositories laid out under the names that the tests publish them by."""
    run = tmp_path_factory.mktemp("laid-out") / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns(".*", "publish"))
    places = ["--folder", run, "--output_dir", run / "publish"]
    done = script("publish.py", "--config", small_recipe / "publish.yaml", *places, *IDS)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def run(laid_out: Path, tmp_path: Path) -> Path:
    """That run in a place of its own."""
    return Path(shutil.copytree(laid_out, tmp_path / "run"))


@pytest.fixture
def publish(script, small_recipe: Path, run: Path):
    """Run the publish stage; what a finished process would give."""

    def call(*flags: str):
        arguments = ["--config", small_recipe / "publish.yaml", "--folder", run, "--output_dir", run / "publish"]
        return script("publish.py", *arguments, *flags)

    return call


def test_a_run_is_published_and_read_by_its_names(hub, publish, run):
    done = publish(*IDS, "--push_to_hub", "True")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("read back: ") == 3 and "collection http" in done.stdout
    hub.fresh_cache()
    assert get_dataset_config_names("tester/small") == CONFIGS
    for name in CONFIGS:
        saved = load_from_disk(run / ("select" if name == "selected" else "score"))[name]
        loaded = load_dataset("tester/small", name, split="train")
        assert all(loaded[column][:] == saved[column][:] for column in saved.column_names)
    kept = load_dataset("tester/small", split="train")
    assert all(kept["selected"]) and kept["completion"][0]
    receipts = json.loads((run / "publish.hub.json").read_text())
    tags = {one["tag"] for one in receipts}
    assert len(tags) == 1 and tags.pop().startswith("run-")
    for one in receipts:
        assert list(hub.repo(one["repo_type"], one["repo_id"])["tags"].values()) == [one["commit"]]
    again = publish(*IDS, "--push_to_hub", "True")
    assert again.returncode == 0 and again.stdout.count("is there already") == 3


def test_the_cards_on_the_hub_name_one_another_and_run(hub, publish, capsys):
    assert publish(*IDS, "--push_to_hub", "True").returncode == 0
    card, model = DatasetCard.load("tester/small"), ModelCard.load("tester/small-model")
    assert card.data.license == model.data.license == "cc-by-nc-4.0"
    assert model.data.datasets == ["tester/small"]
    for other in ("tester/small-statistics", "tester/small-model"):
        assert other in card.text
    hub.fresh_cache()
    code = card.text.split("```python\n")[1].split("```")[0]
    assert 'load_dataset("tester/small"' in code
    exec(code, namespace := {})
    assert any(getattr(value, "num_rows", 0) for value in namespace.values())


def test_a_dry_run_shows_all_and_pushes_nothing(hub, publish):
    done = publish(*IDS, "--dry_run", "True")
    assert done.returncode == 0, done.stderr
    for text in ("tester/small (dataset, new, private", "tester/small-model (model", "model.safetensors", "| license:"):
        assert text in done.stdout
    assert hub.repo("dataset", "tester/small") is None and hub.repo("model", "tester/small-model") is None
    hub.go_offline()
    assert "tester/small (dataset, private" in publish(*IDS, "--dry_run", "True").stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--hub_dataset_id", "stranger/rows"], "stranger is not you"),
        (["--hub_dataset_id", "small"], "needs its owner: user/small"),
        (["--hub_dataset_id", "tester/small", "--license", "made-up"], "the Hub does not know it"),
        ([], "--push_to_hub: name --hub_dataset_id"),
        (["--hub_statistics_id", "tester/s"], "goes with --hub_dataset_id"),
    ],
)
def test_what_the_hub_will_refuse_is_said_before_any_work(hub, script, small_recipe, run, tmp_path, flags, said):
    arguments = ["--config", small_recipe / "publish.yaml", "--folder", run, "--output_dir", tmp_path / "out"]
    done = script("publish.py", *arguments, "--push_to_hub", "True", *flags)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "login", "said"),
    [
        ("stranger/rows", "token", "stranger is not you"),
        ("tester/small", None, "publishing needs a token"),
        ("tester/small", "read_token", "your token may only read"),
        ("tester/small", "bad_token", "the Hub does not accept the token"),
    ],
)
def test_a_long_run_is_refused_before_its_first_stage(hub, script, small_recipe, tmp_path, name, login, said):
    hub.login(getattr(hub, login) if login else None)
    arguments = [small_recipe, "--output_dir", tmp_path / "run", "--push_to_hub", "--hub_dataset_id", name]
    done = script("recycle.py", *arguments)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
    for token in (hub.token, hub.read_token, hub.bad_token):
        assert token not in done.stderr + done.stdout


def test_a_missing_licence_is_said_before_the_first_stage(script, small_recipe, tmp_path):
    recipe = Path(shutil.copytree(small_recipe, tmp_path / "recipe"))
    settings = yaml.safe_load((recipe / "publish.yaml").read_text())
    settings.pop("license")
    (recipe / "publish.yaml").write_text(yaml.safe_dump(settings))
    done = script("recycle.py", recipe, "--output_dir", tmp_path / "run")
    assert done.returncode == 2 and "states no licence that could be passed on" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_whole_run_publishes_when_it_is_resumed(hub, script, small_recipe, run):
    arguments = [small_recipe, "--output_dir", run, "--push_to_hub", *IDS]
    done = script("recycle.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "[score] up to date" in done.stdout and done.stdout.count("read back: ") == 3
    assert hub.repo("dataset", "tester/small")["private"] and hub.repo("model", "tester/small-model")["private"]
    again = script("recycle.py", *arguments)
    assert again.returncode == 0 and again.stdout.count("is there already") == 3


def test_each_stage_publishes_its_own_result(hub, script, small_recipe, run, tmp_path):
    push = ("--push_to_hub", "True", "--license", "cc-by-nc-4.0", "--hub_dataset_id")

    def stage(name, stage_name, *flags):
        done = script(name, "--config", small_recipe / f"{stage_name}.yaml", "--output_dir", run / stage_name, *flags)
        assert done.returncode == 0, done.stderr
        assert "up to date" in done.stdout and "read back" in done.stdout

    stage("reflect.py", "reflect", *push, "tester/reflected")
    assert (
        load_dataset("tester/reflected", "reflect_both", split="train")["reflection"][:]
        == (load_from_disk(run / "reflect")["reflect_both"]["reflection"][:])
    )
    text = DatasetCard.load("tester/reflected").text
    assert "[New Instruction]" in text  # the prompts are in the card
    stage("score.py", "score", "--dataset", str(run / "reflect"), *push, "tester/scored")
    assert "ifd_ppl" in load_dataset("tester/scored", "original", split="train").column_names
    stage("select_rows.py", "select", "--dataset", str(run / "score"), *push, "tester/chosen")
    assert get_dataset_config_names("tester/chosen") == ["selected", "decisions"]
    assert load_dataset("tester/chosen", split="train")["prompt"][0].startswith("A chat between")
    model = ("--push_to_hub", "true", "--hub_model_id", "tester/trained")
    stage("sft.py", "sft", "--dataset", str(run / "select"), *model, "--license", "cc-by-nc-4.0")
    assert ModelCard.load("tester/trained").data.eval_results is None
    stage("evaluate_model.py", "evaluate", "--model_name_or_path", str(run / "sft"), *model)
    assert "## Evaluation" in ModelCard.load("tester/trained").text
    assert hub.read("model", "tester/trained", "evaluation/report.md")


def test_an_evaluation_goes_to_the_very_model_that_it_measured(hub, publish, script, small_recipe, run, quickstart):
    """With the title, licence and links of the published card; and it stays when the model is published again."""

    def evaluate(model):
        places = ["--model_name_or_path", model, "--output_dir", run / "evaluate", "--limit", "1"]
        push = ["--push_to_hub", "true", "--hub_model_id", "tester/small-model"]
        return script("evaluate_model.py", "--config", small_recipe / "evaluate.yaml", *places, *push)

    shutil.rmtree(run / "evaluate")
    assert publish(*IDS, "--push_to_hub", "True", "--title", "My own title").returncode == 0
    done = evaluate(run / "sft")
    assert done.returncode == 0, done.stderr
    card = ModelCard.load("tester/small-model")
    assert "# My own title" in card.text and "## Evaluation" in card.text and card.data.datasets == ["tester/small"]
    assert str(run) not in hub.read("model", "tester/small-model", "evaluation/report.md").decode()
    push = ["--push_to_hub", "true", "--hub_model_id", "tester/trained", "--license", "cc-by-nc-4.0"]
    for place, said in (
        (quickstart / "student", "was not trained by recipes/sft.py"),
        (run / "other", "another model"),
    ):
        if place.name == "other":
            shutil.copytree(run / "sft", place)
            (*records, last) = read_records(place)
            write_records(place, [*records, replace(last, config={**last.config, "max_steps": 9})])
        refused = evaluate(place)
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr
    training = ["--config", small_recipe / "sft.yaml", "--dataset", run / "select", "--output_dir", run / "sft"]
    for _ in range(2):
        done = script("sft.py", *training, *push)
        assert done.returncode == 0, done.stderr
        places = ["--model_name_or_path", run / "sft", "--output_dir", run / "evaluate", "--limit", "1", *push[:4]]
        assert script("evaluate_model.py", "--config", small_recipe / "evaluate.yaml", *places).returncode == 0
    assert "is there already" in script("sft.py", *training, *push).stdout
    assert "## Evaluation" in ModelCard.load("tester/trained").text


def test_no_place_of_this_machine_is_published(hub, publish, run):
    assert publish(*IDS, "--push_to_hub", "True").returncode == 0
    for kind, name in (
        ("dataset", "tester/small"),
        ("dataset", "tester/small-statistics"),
        ("model", "tester/small-model"),
    ):
        for path in hub.repo(kind, name)["files"]:
            if not path.endswith((".parquet", ".safetensors", ".png")):
                assert str(run.parent).encode() not in hub.read(kind, name, path), (name, path)


def test_stages_read_what_was_published_at_its_commit(hub, publish, script, small_recipe, run, quickstart, tmp_path):
    assert publish(*IDS, "--push_to_hub", "True").returncode == 0
    commit = hub.repo("dataset", "tester/small")["head"]
    hub.fresh_cache()
    selection = ["--config", small_recipe / "select.yaml", "--dataset", "tester/small"]
    selection += ["--statistics", "tester/small-statistics", "--dataset_revision", commit[:12]]
    done = script("select_rows.py", *selection, "--output_dir", tmp_path / "select")
    assert done.returncode == 0, done.stderr
    assert (
        load_from_disk(tmp_path / "select")["selected"]["row_id"][:]
        == (load_from_disk(run / "select")["selected"]["row_id"][:])
    )
    record = read_records(tmp_path / "select")[-1]
    assert record.inputs["dataset"].revision == commit and record.inputs["statistics"].revision
    hub.go_offline()
    again = script("select_rows.py", *selection, "--output_dir", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert read_records(tmp_path / "again")[-1].fingerprint == record.fingerprint


def test_a_token_is_in_nothing_that_is_written_or_printed(hub, publish, run):
    done = publish(*IDS, "--push_to_hub", "True")
    said = done.stdout + done.stderr
    hub.fault("POST", "/preupload/", status=403, message="no")
    failed = publish(*IDS, "--push_to_hub", "True")
    assert failed.returncode == 2 and "your token may not push (no)" in failed.stderr
    assert hub.token not in said + failed.stdout + failed.stderr
    for path in [path for path in run.rglob("*") if path.is_file()]:
        assert hub.token.encode() not in path.read_bytes(), path
    for kind, name in (("dataset", "tester/small"), ("model", "tester/small-model")):
        for path in hub.repo(kind, name)["files"]:
            assert hub.token.encode() not in hub.read(kind, name, path), path


def test_a_key_in_a_card_is_found_before_it_is_pushed(hub, publish, run):
    """Also one that was not there yet when the card was made."""
    with (run / "publish/model/README.md").open("a") as card:
        card.write(f"\nmade with {hub.token}\n")
    done = publish(*IDS, "--push_to_hub", "True")
    assert done.returncode == 2 and "holds one of your keys" in done.stderr and hub.token not in done.stderr
    assert hub.repo("dataset", "tester/small") is None


def test_a_push_that_was_killed_goes_on(hub, root, small_recipe, run):
    """kill -9 between the repositories of a run: the same command finishes the others."""
    hub.fault("POST", "/api/models/tester/small-model/commit/", times=None, delay=60)
    command = [sys.executable, "recipes/publish.py", "--config", str(small_recipe / "publish.yaml")]
    command += ["--folder", str(run), "--output_dir", str(run / "publish"), *IDS, "--push_to_hub", "True"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        until = time.monotonic() + 120
        while not hub.requests("POST", "/api/models/tester/small-model/preupload/") and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = hub.repo("dataset", "tester/small")
    assert len(before["commits"]) == 2
    hub.clear()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is there already") == 2 and done.stdout.count("read back: ") == 3
    assert hub.repo("dataset", "tester/small")["head"] == before["head"]
    assert len(hub.repo("model", "tester/small-model")["commits"]) == 2
