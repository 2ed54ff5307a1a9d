"""The training recipes hold the published hyperparameters, on however many devices; test_yamls.py parses them."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from training.global_batch import share_out

RECIPES = Path(__file__).parents[2] / "recipes"
LLAMA_7B, LLAMA_13B = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf"
MISTRAL, SMOL = "mistralai/Mistral-7B-v0.1", "HuggingFaceTB/SmolLM2-135M"
FULL, ADAPTERS = ("sft",), ("sft", "sft_lora", "sft_qlora")

# Of each recipe: its trainings, the student, the learning rate of the full one, epochs, max_length, template.
TABLE = {
    "recycled-alpaca-llama2-7b": (ADAPTERS, LLAMA_7B, 2e-5, 3, 2048, "vicuna"),
    "recycled-alpaca-llama2-13b": (ADAPTERS, LLAMA_13B, 2e-5, 3, 2048, "vicuna"),
    "recycled-wizardlm-llama2-7b": (ADAPTERS, LLAMA_7B, 2e-5, 3, 2048, "vicuna"),
    "recycled-wizardlm-llama2-13b": (ADAPTERS, LLAMA_13B, 2e-5, 3, 2048, "vicuna"),
    "alpaca-cherry": (FULL, LLAMA_7B, 2e-5, 3, 512, "alpaca"),
    "wizardlm-cherry": (FULL, LLAMA_7B, 2e-5, 3, 1024, "wizardlm"),
    "alpaca-cherry-llama2-7b": (ADAPTERS, LLAMA_7B, 2e-5, 3, 2048, "vicuna"),
    "alpaca-cherry-llama2-13b": (ADAPTERS, LLAMA_13B, 1e-5, 5, 2048, "vicuna"),
    "alpaca-superfiltering": (FULL, LLAMA_7B, 2e-5, 3, 512, "alpaca"),
    "alpaca-selectit": (ADAPTERS, LLAMA_7B, 2e-5, 3, 4096, "alpaca"),
    "alpaca-selectit-mistral-7b": (ADAPTERS, MISTRAL, 2e-5, 1, 4096, "alpaca"),
    "alpaca-cherry-smollm2-135m": (ADAPTERS, SMOL, 1e-3, 3, 1024, "vicuna"),
}
CASES = [(recipe, name) for recipe, (names, *_) in TABLE.items() for name in names]
# What an adapter's YAML may say otherwise than its sft.yaml, besides what makes it one.
MAY_DIFFER = {"output_dir", "dtype", "learning_rate", "per_device_train_batch_size", "save_steps"}
LORA = {
    "use_peft": True,
    "lora_r": 64,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "lora_target_modules": "all-linear",
}
QUANTIZED = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
COLUMNS = ("template", "learning rate", "epochs", "max length")


def settings(recipe: str, name: str = "sft") -> dict:
    return yaml.safe_load((RECIPES / recipe / f"{name}.yaml").read_text(encoding="utf-8"))


def header(recipe: str, name: str) -> list[str]:
    """The words of the command in the first line."""
    line = (RECIPES / recipe / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    return shlex.split(line.removeprefix("# "))


def test_all_training_recipes_are_in_the_table():
    found = {(path.parent.name, path.stem) for path in RECIPES.rglob("sft*.yaml")}
    assert found == {*CASES, ("quickstart", "sft"), ("quickstart-comparison", "sft")}


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_it_holds_the_published_hyperparameters(recipe, name):
    _, student, learning_rate, epochs, max_length, template = TABLE[recipe]
    expected = {
        "model_name_or_path": student,
        "template": template,
        "global_batch_size": 128,
        "learning_rate": learning_rate if name == "sft" else 2e-4,
        "num_train_epochs": epochs,
        "max_length": max_length,
        "weight_decay": 0.0,
        "warmup_steps": 0.03,  # below 1: a fraction
        "lr_scheduler_type": "cosine",
    }
    given = settings(recipe, name)
    assert {key: given[key] for key in expected} == expected
    # What would take the place of any of these, or of the loss on every row.
    assert given.keys().isdisjoint({"max_steps", "gradient_accumulation_steps", "packing", "limit", "curriculum"})


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_128_rows_a_step_can_be_had_on_1_to_16_devices(recipe, name):
    given = settings(recipe, name)
    for processes in (1, 2, 4, 8, 16):
        assert share_out(128, given["per_device_train_batch_size"], processes).size == 128


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_a_killed_run_goes_on(recipe, name):
    given = settings(recipe, name)
    assert given["save_strategy"] == "steps" and given["save_total_limit"] == 2
    assert 0 < given["save_steps"] <= 0.5  # the share of the run that is lost at most


@pytest.mark.parametrize(("recipe", "name"), [case for case in CASES if case[1] != "sft"])
def test_an_adapter_is_trained_as_the_whole_model_is(recipe, name):
    full, own = settings(recipe), settings(recipe, name)
    extra = {**LORA, **(QUANTIZED if name == "sft_qlora" else {})}
    assert {key: own.get(key) for key in extra} == extra
    differing = {key for key in full | own if full.get(key) != own.get(key)} - extra.keys() - MAY_DIFFER
    assert differing <= ({"bf16", "activation_checkpointing"} if TABLE[recipe][1] == SMOL else set())


@pytest.mark.parametrize(("recipe", "name"), [*CASES, ("alpaca-cherry", "experience_sft")])
class TestHeader:
    def test_names_what_the_yaml_names(self, recipe, name):
        words, given = header(recipe, name), settings(recipe, name)
        assert words[words.index("--output_dir") + 1] == given["output_dir"] == f"runs/{recipe}/{name}"
        if "--dataset" in words:
            assert words[words.index("--dataset") + 1] == given["dataset"]
            selecting = RECIPES / given["dataset"].removeprefix("runs/").replace("experience_select", "select")
            assert selecting.with_suffix(".yaml").is_file()
        else:
            assert given["dataset"].startswith("umd-zhou-lab/sRecycled_")

    def test_starts_what_one_gpu_cannot_hold_by_fsdp2_with_float32_weights(self, recipe, name):
        words, given = header(recipe, name), settings(recipe, name)
        is_large = given["model_name_or_path"] != SMOL
        if is_large and "use_peft" not in given:
            assert words[:4] == ["accelerate", "launch", "--config_file", "recipes/accelerate_configs/fsdp2.yaml"]
            # At a learning rate of 2e-5 most updates are lost in the rounding of bfloat16 weights.
            assert given["dtype"] == "float32" and given["bf16"] is True
        else:
            assert words[:2] == ["python", "recipes/sft.py"]

    def test_says_that_its_time_and_memory_are_estimated(self, recipe, name):
        lines = (RECIPES / recipe / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        text = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
        assert re.search(r"Estimated, not yet run.*: .*GB", text)


def test_the_guide_has_every_recipe_with_its_numbers(root):
    lines = (root / "training/README.md").read_text(encoding="utf-8").splitlines()
    rows = [re.fullmatch(r"\| \[`[^`]+`\]\(\.\./recipes/([^)]+)\) \| (.+) \|", line) for line in lines]
    shown = {row[1]: row[2].split(" | ")[: len(COLUMNS)] for row in rows if row}
    expected = {
        recipe: [template, f"{rate:.0e}".replace("e-0", "e-"), str(epochs), f"{length:,}"]
        for recipe, (_, _, rate, epochs, length, template) in TABLE.items()
    }
    assert shown == expected
