"""Small chat models, made by the tests: random weights, a trained tokenizer, a chat template."""

from collections.abc import Callable
from pathlib import Path

import pytest

TEXT = "Name three fruits. Write a poem about the sea, in four lines that rhyme, and explain every image in it."
PLAIN = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
TEMPLATES = {
    "plain": PLAIN,
    "refuses system": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No!') }}{% endif %}" + PLAIN,
    "drops system": PLAIN.replace("messages %}", "messages if m['role'] != 'system' %}"),
    "refuses all": "{{ raise_exception('I am\nno chat model') }}",
    "none": None,
}
# What a checkpoint may bring along; none of it may change an answer.
LEAKS = {"repetition_penalty": 1.9, "no_repeat_ngram_size": 2, "top_k": 1, "temperature": 0.3, "do_sample": True}


def save_chat_model(folder: Path, kind: str = "llama", template: str = "plain", positions: int = 256) -> Path:
    """A float32 model (`llama` or `gpt2`) whose answers depend strongly on the prompt and end at various tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        GenerationConfig,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", *(["<pad>"] if kind == "llama" else [])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    names = {"bos_token": "<s>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if kind == "llama" else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **names)
    tokenizer.chat_template = TEMPLATES[template]
    torch.manual_seed(0)
    if kind == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, max_position_embeddings=positions))
    else:
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, n_positions=positions))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight *= 8  # else every prompt is continued alike
    model.generation_config = GenerationConfig(eos_token_id=[1, *range(10, 300, 16)], **LEAKS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chat_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`chat_model_folder(kind, template, positions)` gives the folder of such a model; each is made once a session."""
    made: dict[tuple[str, str, int], Path] = {}

    def make(kind: str = "llama", template: str = "plain", positions: int = 256) -> Path:
        key = kind, template, positions
        if key not in made:
            made[key] = save_chat_model(tmp_path_factory.mktemp("chat-model"), *key)
        return made[key]

    return make
