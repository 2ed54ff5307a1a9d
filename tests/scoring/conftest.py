"""The shipped student, small random models of other kinds, and the naive reference that the engine is held against."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
Rows = dict[str, list[str]]


@pytest.fixture(scope="session")
def student(quickstart: Path):
    """The shipped student in float32, and its tokenizer."""
    folder = quickstart / "student"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@pytest.fixture(scope="session")
def real_rows(quickstart: Path) -> Rows:
    """The 96 rows of the quickstart."""
    rows = [json.loads(line) for line in (quickstart / "data/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    return {name: [row[name] for row in rows] for name in ("instruction", "input", "output")}


def make_tokenizer(texts: list[str], bos: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session", params=["llama-bos", "gpt2-no-bos", "gemma2-capped-logits", "mistral-sliding-window"])
def random_model(request: pytest.FixtureRequest, real_rows: Rows):
    """A small random model of each kind whose code paths differ, and a tokenizer with or without BOS."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(real_rows["output"], bos=request.param != "gpt2-no-bos")
    vocab = {"vocab_size": len(tokenizer)}
    if request.param == "gpt2-no-bos":
        config = GPT2Config(**vocab, n_embd=32, n_layer=2, n_head=4, n_positions=1024)
        return GPT2LMHeadModel(config).eval(), tokenizer
    if request.param == "gemma2-capped-logits":
        config = Gemma2Config(**vocab, **SIZES, num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0)
        return Gemma2ForCausalLM(config).eval(), tokenizer
    if request.param == "mistral-sliding-window":
        config = MistralConfig(**vocab, **SIZES, num_key_value_heads=2, sliding_window=16)
        return MistralForCausalLM(config).eval(), tokenizer
    config = LlamaConfig(**vocab, **SIZES, tie_word_embeddings=False)
    return LlamaForCausalLM(config).eval(), tokenizer


@torch.no_grad()
def naive_loss(model, tokenizer, context: str, target: str, limit: int) -> float | None:
    """methods as written, one sequence at a time: tokenize jointly, full logits, mean over the target's tokens."""
    if not target:
        return None
    start = len(tokenizer(context)["input_ids"])
    ids = tokenizer(context + target)["input_ids"][:limit]
    scored = list(range(max(start, 1), len(ids)))
    if not scored:
        return None
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    log_probabilities = logits[scored[0] - 1 : -1].double().log_softmax(-1)
    return -sum(log_probabilities[n, ids[position]].item() for n, position in enumerate(scored)) / len(scored)


def naive_row_losses(model, tokenizer, template, row: tuple[str, str, str], max_length: int) -> dict[str, float | None]:
    """The four losses of one (instruction, input, output)."""
    instruction, input, output = row
    reverse = template.prompt(
        "Below is the response to an instruction, please guess the corresponding instruction for the given response.\n"
        f"{output}\nGenerate the instruction for the above response."
    )
    losses = {}
    for side, context, target in (
        ("A", template.prompt(instruction, input), output),
        ("Q", reverse, instruction + input),
    ):
        context_length = len(tokenizer(context)["input_ids"])
        direct_limit = max_length - min(context_length, max_length) + 1
        losses[f"{side}_direct"] = naive_loss(model, tokenizer, "", target, direct_limit)
        losses[f"{side}_condition"] = naive_loss(model, tokenizer, context, target, max_length)
    return losses


@pytest.fixture(scope="session")
def naive() -> Callable[..., dict[str, float | None]]:
    """The naive reference, which computes each row of each model once a session."""
    done: dict[tuple, dict[str, float | None]] = {}

    def once(model, tokenizer, template, row, max_length):
        key = (id(model), template.name, row, max_length)
        if key not in done:
            done[key] = naive_row_losses(model, tokenizer, template, row, max_length)
        return done[key]

    return once
