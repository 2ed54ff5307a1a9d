"""Load the student: the model whose likelihoods score the rows."""

from __future__ import annotations

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.sources import Source, find_model
from scoring.config import check_scorer
from scoring.ifd import Scorer
from scoring.likelihood import LikelihoodEngine
from scoring.spans import PUBLISHED
from scoring.templates import check_template_name, get_template
from scoring.tokens import open_tokenizer

# ImportError: a kernel that is not installed.
LOADING_ERRORS = (OSError, ValueError, ImportError, SafetensorError, StrictDataclassError)
# Rotary embeddings that change with the longest text seen: a row's loss would depend on its neighbours.
CHANGING_ROPE = ("dynamic", "longrope")


def load_scorer(
    model_name_or_path: str,
    *,
    template: str = "vicuna",
    dtype: str = "float32",
    max_length: int = 2048,
    span: str = PUBLISHED,
    keep_token_losses: bool = False,
    attn_implementation: str | None = None,
    max_batch_tokens: int | None = None,
    source: Source | None = None,
    device: torch.device | str | None = None,
) -> Scorer:
    """The student in evaluation mode, in the precision asked for (not the checkpoint's).

    Args:
        template: the prompt template that the student will be trained with.
        max_length: tokens kept of context and target together.
        span: `published` or `aligned` (`scoring.spans.encode_pairs`).
        keep_token_losses: keep the loss of every target token beside the scores.
        attn_implementation: a kernel of transformers; texts are then padded and not packed.
        max_batch_tokens: tokens of one forward pass; found by itself where not given.
        source: the resolved model, where it is known already; a Hub id is resolved to a commit.
        device: where to run; the accelerator if there is one, else the CPU.

    Raises:
        BadInputError: a setting is unknown, the files are no causal LM with a fast tokenizer, or `max_length` exceeds
            the model's positions.
    """
    check_template_name(template)
    check_scorer(dtype, span, max_length)
    if max_batch_tokens is not None and max_batch_tokens < 1:
        raise BadInputError(f"max_batch_tokens {max_batch_tokens}: must be at least 1")
    source = source or find_model(model_name_or_path)
    device = torch.device(device or torch.accelerator.current_accelerator() or "cpu")
    logging.disable_progress_bar()
    tokenizer = open_tokenizer(model_name_or_path, source.revision, f"--model_name_or_path {model_name_or_path}")
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            model_name_or_path,
            revision=source.revision,
            dtype=getattr(torch, dtype),
            attn_implementation=attn_implementation,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are looked at below
        )
    except LOADING_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInputError(f"--model_name_or_path {model_name_or_path}: cannot be loaded ({reason})") from error
    made_up = sorted([*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])])
    if made_up:
        raise BadInputError(
            f"--model_name_or_path {model_name_or_path}: {len(made_up)} of the model's weights are not in its files or "
            f"have another shape there, {made_up[0]} for one; random ones would stand in for them"
        )
    check_positions(model.config, max_length)
    engine = LikelihoodEngine(model.to(device).eval(), max_length, max_batch_tokens, pack=attn_implementation is None)
    return Scorer(
        engine,
        tokenizer,
        get_template(template, tokenizer),
        max_length,
        span,
        keep_token_losses,
        model_identity=fingerprint_of([source.fingerprint, dtype]),
    )


def runs_bfloat16_slowly(model: PreTrainedModel) -> bool:
    """Whether the model is in bfloat16 on a CPU that has no instructions for it."""
    if model.dtype != torch.bfloat16 or model.device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    known = torch.cpu.get_capabilities()
    return known.get("architecture") == "x86_64" and not (known.get("amx_bf16") or known.get("avx512_bf16"))


def check_positions(config: PreTrainedConfig, max_length: int) -> None:
    """Refuse texts longer than the model has positions, or than it treats alike.

    Raises:
        BadInputError: `max_length` is too large.
    """
    text_config = config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise BadInputError(
            f"--max_length {max_length}: the model has only {positions} positions; pass --max_length {positions}"
        )
    rope = getattr(text_config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else [kind for kind in rope.values() if isinstance(kind, dict)]
    for kind in kinds:
        original = kind.get("original_max_position_embeddings") or positions
        if kind.get("rope_type") in CHANGING_ROPE and original is not None and max_length > original:
            raise BadInputError(
                f"--max_length {max_length}: beyond {original} tokens this model's positions depend on the longest "
                f"text seen (rope type {kind['rope_type']}), and so would a row's score; pass --max_length {original}"
            )
