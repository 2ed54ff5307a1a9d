import os
import subprocess
from pathlib import Path

import pytest
from datasets import load_dataset, load_from_disk
from huggingface_hub import DatasetCard, ModelCard

from hub_cards.provenance import read_records

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
    assert [record.step for record in read_records(published / "statistics")] == ["reflect", "score"]


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
