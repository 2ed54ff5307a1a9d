"""Tokenizers and small random models of many kinds, and the naive references that the engine is held against."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from scoring.ifd import Scorer
from scoring.likelihood import LikelihoodEngine
from scoring.spans import TargetSpan
from scoring.templates import get_template

VOCABULARY = 600
# Weights so large that attention is sharp: a token that sees too much or too little changes every number.
SMALL = {"vocab_size": VOCABULARY, "initializer_range": 0.3}
SIZES = {**SMALL, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SIZES, "num_key_value_heads": 2}
OLD = {**SMALL, "n_embd": 32, "n_layer": 2, "n_head": 4}
Rows = dict[str, list[str]]


class NoBody(hf.LlamaForCausalLM):
    """A model that cannot be taken apart: its body is itself."""

    base_model_prefix = "none_such"


KINDS: dict[str, tuple[type, type, dict]] = {
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, {**GROUPED, "tie_word_embeddings": False}),
    "llama-tied": (hf.LlamaForCausalLM, hf.LlamaConfig, {**GROUPED, "tie_word_embeddings": True}),
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config, {**OLD, "n_positions": 1024}),
    "mistral-narrow": (hf.MistralForCausalLM, hf.MistralConfig, {**GROUPED, "sliding_window": 16}),
    "mistral-wide": (hf.MistralForCausalLM, hf.MistralConfig, {**GROUPED, "sliding_window": 4096}),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config, {**GROUPED, "head_dim": 8}),
    "gemma2": (
        hf.Gemma2ForCausalLM,
        hf.Gemma2Config,
        {**GROUPED, "head_dim": 8, "final_logit_softcapping": 2.0},
    ),
    "bloom": (hf.BloomForCausalLM, hf.BloomConfig, {**SMALL, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "opt": (
        hf.OPTForCausalLM,
        hf.OPTConfig,
        {
            "vocab_size": VOCABULARY,
            "init_std": 0.3,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "word_embed_proj_dim": 32,
        },
    ),
    "neox": (hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, SIZES),
    "gptj": (hf.GPTJForCausalLM, hf.GPTJConfig, {**OLD, "rotary_dim": 4}),
    "falcon-alibi": (
        hf.FalconForCausalLM,
        hf.FalconConfig,
        {**SMALL, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    ),
    "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config, {**SIZES, "pad_token_id": 0}),
    "mixtral": (hf.MixtralForCausalLM, hf.MixtralConfig, {**GROUPED, "num_local_experts": 4}),
    "mamba": (hf.MambaForCausalLM, hf.MambaConfig, {**SMALL, "hidden_size": 32, "num_hidden_layers": 2}),
    "cohere": (hf.CohereForCausalLM, hf.CohereConfig, SIZES),
    "granite": (hf.GraniteForCausalLM, hf.GraniteConfig, {**SIZES, "logits_scaling": 3.0}),
    "gptoss": (
        hf.GptOssForCausalLM,
        hf.GptOssConfig,
        {**GROUPED, "head_dim": 8, "num_local_experts": 4},
    ),
    "no-body": (NoBody, hf.LlamaConfig, GROUPED),
}


@pytest.fixture(scope="session")
def make_model() -> Callable[[str], hf.PreTrainedModel]:
    """A small random model of a kind, always with the same weights; a new one each time, so that it may be broken."""

    def make(name: str) -> hf.PreTrainedModel:
        kind, config, settings = KINDS[name]
        torch.manual_seed(0)
        return kind(config(**settings)).eval()

    return make


@pytest.fixture(scope="session")
def model_of(make_model) -> Callable[[str], hf.PreTrainedModel]:
    """The same, made once a session: not to be changed."""
    made: dict[str, hf.PreTrainedModel] = {}

    def one(name: str) -> hf.PreTrainedModel:
        if name not in made:
            made[name] = make_model(name)
        return made[name]

    return one


@pytest.fixture(scope="session", params=list(KINDS))
def any_kind(request: pytest.FixtureRequest) -> str:
    """The name of every kind of model there is here."""
    return request.param


@pytest.fixture(scope="session")
def student(quickstart: Path) -> tuple[hf.PreTrainedModel, hf.PreTrainedTokenizerBase]:
    """The shipped student in float32, and its tokenizer."""
    folder = quickstart / "student"
    model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), hf.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def real_rows(quickstart: Path) -> Rows:
    """The 96 rows of the quickstart."""
    rows = [json.loads(line) for line in (quickstart / "data/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    return {name: [row[name] for row in rows] for name in ("instruction", "input", "output")}


def byte_level() -> tuple[Tokenizer, list[str]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, pre_tokenizers.ByteLevel.alphabet()


def sentencepiece_like() -> tuple[Tokenizer, list[str]]:
    """A text that stands alone gets a dummy space before it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer, []


TOKENIZERS = {
    "byte-level": (byte_level, "$A"),
    "byte-level, BOS": (byte_level, "<s> $A"),
    "byte-level, BOS and EOS": (byte_level, "<s> $A </s>"),
    "SentencePiece-like, BOS": (sentencepiece_like, "<s> $A"),
}


@pytest.fixture(scope="session")
def tokenizer_of(real_rows: Rows) -> Callable[[str], hf.PreTrainedTokenizerFast]:
    """A tokenizer of a kind, trained on the quickstart's answers, of no more tokens than the models have."""
    made: dict[str, hf.PreTrainedTokenizerFast] = {}

    def one(name: str) -> hf.PreTrainedTokenizerFast:
        if name not in made:
            kind, pattern = TOKENIZERS[name]
            tokenizer, alphabet = kind()
            specials = ["<s>", "</s>", "<unk>"]
            trainer = trainers.BpeTrainer(
                vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
            )
            tokenizer.train_from_iterator(real_rows["output"], trainer)
            if pattern != "$A":
                tokenizer.post_processor = processors.TemplateProcessing(
                    single=pattern, special_tokens=[("<s>", 0), ("</s>", 1)]
                )
            made[name] = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
        return made[name]

    return one


@pytest.fixture(scope="session", params=list(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest, tokenizer_of) -> hf.PreTrainedTokenizerFast:
    """Every kind of tokenizer that spans tell apart."""
    return tokenizer_of(request.param)


PAIRS = {
    "llama": "byte-level, BOS",
    "gpt2": "byte-level",
    "gemma2": "SentencePiece-like, BOS",
    "mistral-narrow": "byte-level, BOS and EOS",
}


@pytest.fixture(scope="session", params=list(PAIRS))
def random_student(request: pytest.FixtureRequest, model_of, tokenizer_of):
    """Models whose code paths differ (packed or not, with a plain head or not), each with another tokenizer."""
    return model_of(request.param), tokenizer_of(PAIRS[request.param])


@pytest.fixture(scope="session")
def make_scorer() -> Callable[..., Scorer]:
    """A scorer of a model and its tokenizer."""

    def make(student, template="vicuna", max_length=512, max_batch_tokens=None, pack=True, **settings) -> Scorer:
        model, tokenizer = student
        engine = LikelihoodEngine(model, max_length, max_batch_tokens, pack)
        return Scorer(engine, tokenizer, get_template(template, tokenizer), max_length, **settings)

    return make


@pytest.fixture(scope="session")
def spans() -> list[TargetSpan]:
    """Texts with and without a common beginning, some twice, some that differ in start or last token only."""
    numbers = np.random.default_rng(0)
    beginning = numbers.integers(0, VOCABULARY, 30).tolist()
    found = []
    for number in range(8):
        own = numbers.integers(0, VOCABULARY, int(numbers.integers(2, 60))).tolist()
        ids = beginning[: 10 * number] + own if number % 2 else own
        found.append(TargetSpan(tuple(ids), int(numbers.integers(0, len(ids))), truncated=False))
        found.append(TargetSpan((*ids[:-1], 7), 1, truncated=False))
    return [*found, *found[:3], TargetSpan(found[-1].ids, 3, truncated=False)]


@torch.no_grad()
def token_losses_alone(model: hf.PreTrainedModel, span: TargetSpan) -> np.ndarray:
    """One text, full logits, the softmax in float64."""
    logits = model(input_ids=torch.tensor([span.ids]), use_cache=False).logits[0].double()
    positions = range(max(span.start, 1), len(span.ids))
    return np.array([-logits[p - 1].log_softmax(-1)[span.ids[p]].item() for p in positions])


@pytest.fixture(scope="session")
def alone() -> Callable[[hf.PreTrainedModel, TargetSpan], np.ndarray]:
    """The losses of a text's target tokens, scored by itself."""
    done: dict[tuple, tuple] = {}

    def once(model: hf.PreTrainedModel, span: TargetSpan) -> np.ndarray:
        key = (id(model), span)
        if key not in done:
            done[key] = (model, token_losses_alone(model, span))  # the model too, so that no other gets its id
        return done[key][1]

    return once


def naive_loss(model, tokenizer, context: str, target: str, limit: int, start: int) -> float | None:
    """methods as written, one sequence at a time: tokenize jointly, full logits, mean over the target's tokens."""
    ids = tokenizer(context + target)["input_ids"][:limit]
    span = TargetSpan(tuple(ids), start, truncated=False)
    losses = token_losses_alone(model, span) if len(ids) > max(start, 1) else []
    return sum(losses) / len(losses) if target and len(losses) else None


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
        start = len(tokenizer(context)["input_ids"])
        direct_limit = max_length - min(start, max_length) + 1
        losses[f"{side}_direct"] = naive_loss(model, tokenizer, "", target, direct_limit, 1)
        losses[f"{side}_condition"] = naive_loss(model, tokenizer, context, target, max_length, start)
    return losses


@pytest.fixture(scope="session")
def naive() -> Callable[..., dict[str, float | None]]:
    """The naive reference of a row, which computes each row of each model once a session."""
    done: dict[tuple, tuple] = {}

    def once(model, tokenizer, template, row, max_length):
        key = (id(model), id(tokenizer), template.name, row, max_length)
        if key not in done:
            losses = naive_row_losses(model, tokenizer, template, row, max_length)
            done[key] = (model, tokenizer, losses)
        return done[key][2]

    return once
