"""LoRA and QLoRA, trained: what is saved is a whole model that says what the adapter on its base says."""

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig, SFTConfig

from training.sft import format_rows, train


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    columns = {
        "instruction": ["Name a fruit.", "Add up."],
        "input": ["", "1 and 2"],
        "output": ["An apple.", "It is 3."],
    }
    return format_rows(Dataset.from_dict(columns), "vicuna", "key", tmp_path_factory.mktemp("rows"))


@pytest.fixture
def trained(quickstart, rows, tmp_path):
    """`trained(load_in_4bit=True)`: the folder of a model trained by an adapter for a few steps."""

    def run(steps=3, **of_model):
        usual = {"dtype": "float32", "use_peft": True, "lora_target_modules": ["q_proj", "down_proj"]}
        model = ModelConfig(str(quickstart / "student"), **{**usual, **of_model})
        sft = SFTConfig(
            output_dir=str(tmp_path / "work"),
            max_steps=steps,
            save_steps=2,
            learning_rate=1e-2,
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        )
        counts = train(rows, sft, model, "vicuna", None, tmp_path / "model")
        assert counts["steps"] == steps
        return tmp_path / "model"

    return run


def logits(model, folder):
    text = "A chat. USER: Name a fruit. ASSISTANT: An apple."
    with torch.no_grad():
        return model.eval()(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")).logits


def with_adapter(base, folder, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return logits(model, folder), logits(PeftModel.from_pretrained(model, folder / "adapter"), folder)


def test_the_merged_model_says_what_base_and_adapter_say(trained, quickstart):
    folder = trained()
    untrained, adapted = with_adapter(quickstart / "student", folder)
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert merged.dtype == torch.float32 and merged.config.pad_token_id == 2
    torch.testing.assert_close(logits(merged, folder), adapted, atol=1e-4, rtol=1e-4)
    assert (adapted - untrained).abs().max() > 0.1
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "adapter", "training_log.jsonl"} <= names
    assert "adapter_config.json" not in names  # a whole model for every loader: transformers would look for its base


def test_the_saved_names_are_those_of_the_base(trained, quickstart):
    folder = trained(steps=1)
    assert load_file(folder / "model.safetensors").keys() == load_file(quickstart / "student/model.safetensors").keys()


def test_an_adapter_goes_on_from_its_checkpoint(trained, tmp_path):
    whole = load_file(trained(steps=3) / "adapter/adapter_model.safetensors")
    assert {path.name for path in (tmp_path / "work").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    (tmp_path / "work/checkpoint-3/trainer_state.json").unlink()
    (tmp_path / "model").rename(tmp_path / "first")
    resumed = load_file(trained(steps=3) / "adapter/adapter_model.safetensors")
    assert all(resumed[name].equal(whole[name]) for name in whole)


def test_an_adapter_on_4_bits_is_added_to_the_base_in_the_dtype_of_training(trained, quickstart):
    pytest.importorskip("bitsandbytes")
    folder = trained(load_in_4bit=True)
    untrained, adapted = with_adapter(quickstart / "student", folder)
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert merged.dtype == torch.float32 and not hasattr(merged.config, "quantization_config")
    torch.testing.assert_close(logits(merged, folder), adapted, atol=1e-4, rtol=1e-4)
    assert (adapted - untrained).abs().max() > 0.1
    base, saved = load_file(quickstart / "student/model.safetensors"), load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.k_proj.weight"  # has no adapter: as it was, not rounded to 4 bits
    assert saved[name].equal(base[name].float())
