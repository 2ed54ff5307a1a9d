"""A trained adapter (LoRA, QLoRA) becomes a whole model that every stage and every server loads."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from trl import ModelConfig

ADAPTER_FOLDER = "adapter"
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def merge_adapter(adapter: Path, base: ModelConfig, revision: str | None, trained: PreTrainedModel) -> PreTrainedModel:
    """The base model, loaded anew on the CPU in the training's dtype, with the adapter added to its weights.

    Not the model in training: its weights can be quantized, and a sum with 4-bit weights would be rounded to 4 bits.

    Args:
        adapter: the folder that `save_pretrained` of the trained model wrote.
        trained: the model with its adapter, for the special tokens that training has set.
    """
    from peft import PeftModel  # an extra

    dtype = base.dtype if base.dtype in (None, "auto") else getattr(torch, base.dtype)
    model = AutoModelForCausalLM.from_pretrained(
        base.model_name_or_path, revision=revision or "main", dtype=dtype, device_map="cpu"
    )
    vocabulary = trained.config.get_text_config().vocab_size
    if vocabulary != model.config.get_text_config().vocab_size:  # a chat template brought tokens of its own
        model.resize_token_embeddings(vocabulary)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    for name in TOKEN_IDS:
        setattr(merged.config.get_text_config(), name, getattr(trained.config.get_text_config(), name))
    merged.generation_config = trained.generation_config
    return merged
