import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from datasets import load_dataset, load_from_disk
from huggingface_hub import DatasetCard, ModelCard

from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.sources import Source

CONFIGS = ("selected", "original", "reflect_instruction", "reflect_response", "reflect_both")


@pytest.fixture(scope="module")
def published(small_run: Path) -> Path:
    return small_run / "publish"


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_loads_as_it_was_saved(published, small_run, config):
    loaded = load_dataset(str(published / "dataset"), config, split="train")
    stage = "select" if config == "selected" else "score"
    saved = load_from_disk(small_run / stage)[config]
    for column in saved.column_names:
        assert loaded[column][:] == saved[column][:], column


def test_the_report_goes_with_the_data(published, small_run):
    page = published / "dataset/report.html"
    assert page.read_bytes() == (small_run / "report.html").read_bytes()
    assert "[`report.html`](report.html) shows every row" in (published / "dataset/README.md").read_text()
    listed = json.loads((published / "dataset/published_files.json").read_text())["files"]
    assert listed["report.html"]["size"] == page.stat().st_size
    assert not (published / "statistics/report.html").exists()


def test_the_selection_is_the_default_and_carries_prompt_and_completion(published):
    selected = load_dataset(str(published / "dataset"), split="train")
    assert len(selected) > 0 and all(selected["selected"])
    row = selected[0]
    assert row["prompt"].startswith("A chat between") and row["prompt"].endswith("ASSISTANT:")
    assert row["completion"] == " " + row["output"]


def test_each_variant_says_which_of_its_rows_were_kept_and_why(published, small_run):
    chosen = {row["row_id"]: row["variant"] for row in load_from_disk(small_run / "select")["selected"]}
    for config in CONFIGS[1:]:
        rows = load_dataset(str(published / "dataset"), config, split="train")
        kept = {row["row_id"] for row in rows if row["selected"]}
        assert kept == {identity for identity, variant in chosen.items() if variant == config}
        assert None not in rows["select_reason"][:]


def test_the_cards_tell_the_truth(published):
    card = DatasetCard.load(published / "dataset/README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == list(CONFIGS)
    assert "not fact-checked" in card.text and "`vicuna`" in card.text and "{{" not in card.text
    model = ModelCard.load(published / "model/README.md")
    assert model.data.base_model is None and model.data.license == "cc-by-nc-4.0"
    assert "recipes/quickstart/student" in model.text and "{{" not in model.text


def test_the_statistics_are_the_scores_without_the_texts(published, small_run):
    for config in CONFIGS[1:]:
        loaded = load_dataset(str(published / "statistics"), config, split="train")
        saved = load_from_disk(small_run / "score")[config]
        assert loaded.column_names[0] == "row_id" and "score_status" in loaded.column_names
        assert not {"instruction", "input", "output", "reflection", "variant"} & set(loaded.column_names)
        for column in loaded.column_names:
            assert loaded[column][:] == saved[column][:], column
    assert not (published / "statistics/selected").exists()


def test_the_statistics_say_whose_they_are(published, small_run):
    card = DatasetCard.load(published / "statistics/README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert "| `vicuna` |" in card.text and "`recipes/quickstart/student`" in card.text and "{{" not in card.text
    assert "recipes/select_rows.py" in card.text and "recipes/verify_statistics.py" in card.text
    assert [record.step for record in read_records(published / "statistics")] == ["reflect", "score", "publish"]


@pytest.fixture(scope="module")
def evaluated_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with a finished evaluation of its model, in another place."""
    run = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("publish", "evaluate", ".*"))
    comparison = {"n": 3, "wins": 2, "ties": 0, "losses": 1, "invalid": 0, "win_score": 4 / 3, "win_rate": 2 / 3}
    benchmark = {"task": "arc_challenge", "suite": None, "metric": "acc_norm", "value": 0.25, "stderr": 0.01}
    benchmark |= {"shots": 25, "version": 1.0, "n": 1172, "n_all": 1172, "dataset": "allenai/ai2_arc"}
    inputs = {"model": Source("folder", "sft", "f"), "baseline": Source("file", "other.jsonl", "f")}
    record = StepRecord("evaluate", 1, {"template": "vicuna", "judge": "gpt-4"}, inputs).finished(
        {"answers": {"vicuna": {"ok": 3}}, "judge": {"vicuna": comparison}, "benchmarks": [benchmark]}, 1
    )
    (run / "evaluate").mkdir()
    write_records(run / "evaluate", [*read_records(run / "sft"), record])
    for name in ("report.md", "chart.svg"):
        (run / "evaluate" / name).write_text(name)
    return run


def test_an_evaluation_goes_into_the_card_and_its_report_beside_it(script, small_recipe, evaluated_run):
    def publish():
        arguments = ["--config", small_recipe / "publish.yaml", "--folder", evaluated_run]
        done = script("publish.py", *arguments, "--output_dir", evaluated_run / "publish")
        assert done.returncode == 0, done.stderr
        return done.stdout

    publish()
    model = evaluated_run / "publish/model"
    card = ModelCard.load(model / "README.md")
    results = {(one.dataset_type, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert results[("allenai/ai2_arc", "acc_norm")] == 0.25 and results[("vicuna", "win_score")] == 1.3333
    assert "| vicuna | 3 | 2 | 0 | 1 | 0 | 1.333 |" in card.text and "](evaluation/chart.svg)" in card.text
    assert (model / "evaluation/report.md").read_text() == "report.md"
    assert "up to date" in publish()
    records = read_records(evaluated_run / "evaluate")
    write_records(evaluated_run / "evaluate", [*records[:-1], StepRecord("evaluate", 1, {"judge": "other"}, {})])
    assert "up to date" not in publish()
    assert ModelCard.load(model / "README.md").data.eval_results is None


def test_the_example_of_the_model_card_runs_on_the_published_model(published, capsys):
    text = ModelCard.load(published / "model/README.md").text
    code = text.split("```python\n")[1].split("```")[0]
    assert "USER: Give three tips for staying healthy. ASSISTANT:" in code
    code = code.replace("<this repository or folder>", str(published / "model"))
    exec(code.replace("max_new_tokens=256", "max_new_tokens=3, min_new_tokens=3"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_trl_trains_on_the_published_selection_as_it_is(published, quickstart, tmp_path):
    trl = Path(os.sys.executable).parent / "trl"
    flags = {
        "dataset_name": published / "dataset",
        "dataset_config": "selected",
        "model_name_or_path": quickstart / "student",
        "output_dir": tmp_path / "model",
        "dtype": "float32",
        "max_steps": 2,
        "per_device_train_batch_size": 1,
        "max_length": 256,
        "use_cpu": "true",
        "bf16": "false",
        "activation_checkpointing": "false",
        "report_to": "none",
        "save_strategy": "no",
    }
    arguments = [str(part) for flag, value in flags.items() for part in (f"--{flag}", value)]
    done = subprocess.run([trl, "sft", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/model.safetensors").is_file()
