"""Load the student: the model whose likelihoods score the rows."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from hub_cards.errors import BadInputError
from scoring.config import ScoreConfig
from scoring.ifd import Scorer
from scoring.templates import get_template

# On a CPU the intermediate results of larger batches leave its caches.
CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 16384


def load_scorer(config: ScoreConfig, revision: str | None, device: torch.device) -> Scorer:
    """The student in evaluation mode on `device`, in the precision asked for (not the checkpoint's).

    Args:
        revision: the commit that a Hub id was resolved to.

    Raises:
        BadInputError: the files are no causal LM with a fast tokenizer, or `max_length` exceeds the model's positions.
    """
    name = config.model_name_or_path
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, config.dtype),
            attn_implementation=config.attn_implementation,
        )
    except (OSError, ValueError) as error:
        raise BadInputError(f"--model_name_or_path {name}: cannot be loaded ({str(error).splitlines()[0]})") from error
    if not tokenizer.is_fast:
        raise BadInputError(f"--model_name_or_path {name}: has no fast tokenizer (tokenizer.json)")
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and config.max_length > positions:
        raise BadInputError(
            f"--max_length {config.max_length}: the model has only {positions} positions; pass --max_length {positions}"
        )
    tokenizer.model_max_length = int(1e30)  # texts are cut by us, after their tokens are counted
    template = get_template(config.template, tokenizer)
    max_batch_tokens = config.max_batch_tokens or (CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS)
    return Scorer(model.to(device).eval(), tokenizer, template, config.max_length, max_batch_tokens)
