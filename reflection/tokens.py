"""Token counts of a prompt, and cutting a pair so that its prompt fits the oracle's context."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from hub_cards.errors import BadInputError
from reflection.prompts import Messages, ReflectionPrompt

BYTES_PER_TOKEN = 4  # of English text in today's vocabularies
TOKENS_PER_MESSAGE = 8  # what a chat template puts around a message, at most
# What is cut first: the answer is what the oracle will replace, the instruction what it must know.
CUT_FIRST = ("output", "input", "instruction")


class Tokenizer(Protocol):
    """What is used of a Hugging Face tokenizer."""

    def __call__(self, text: str, **options: Any) -> Any: ...


def estimate_tokens(messages: Messages) -> int:
    """A rough count without a tokenizer: a quarter of the UTF-8 bytes."""
    return sum(math.ceil(len(turn["content"].encode()) / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE for turn in messages)


def load_tokenizer(name: str) -> Tokenizer:
    """A fast tokenizer from a folder or the Hub.

    Raises:
        BadInputError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise BadInputError(f"--oracle_tokenizer {name}: cannot be loaded ({str(error).splitlines()[0]})") from error
    if not tokenizer.is_fast:
        raise BadInputError(f"--oracle_tokenizer {name}: has no fast tokenizer (tokenizer.json)")
    tokenizer.model_max_length = int(1e30)  # we count, it must not warn
    return tokenizer


@dataclass(frozen=True)
class PromptLimit:
    """How long a prompt may be.

    Attributes:
        tokenizer: the oracle's.
        tokens: what the context leaves for the prompt: its length less the answer's limit.
    """

    tokenizer: Tokenizer
    tokens: int

    def count(self, messages: Messages) -> int:
        """Tokens of a chat request, with what a chat template adds at most."""
        texts = (turn["content"] for turn in messages)
        return sum(len(self._ids(text)) + TOKENS_PER_MESSAGE for text in texts)

    def fit(self, prompt: ReflectionPrompt, pair: dict[str, str], structured: bool) -> tuple[Messages, bool]:
        """The prompt of a pair, and whether the pair had to be cut at the end of its answer, input or instruction.

        Args:
            pair: `instruction`, `input` and `output`.

        Raises:
            BadInputError: not even an empty pair fits.
        """
        messages = prompt.messages(**pair, structured=structured)
        excess = self.count(messages) - self.tokens
        if excess <= 0:
            return messages, False
        for field in CUT_FIRST:
            while excess > 0 and pair[field]:
                pair = {**pair, field: self._without_last(pair[field], excess)}
                messages = prompt.messages(**pair, structured=structured)
                excess = self.count(messages) - self.tokens
        if excess > 0:
            raise BadInputError(
                f"--oracle_context: leaves {self.tokens} tokens for a prompt, the criteria alone take "
                f"{self.tokens + excess}; lower --max_tokens or take an oracle with a longer context"
            )
        return messages, True

    def _without_last(self, text: str, tokens: int) -> str:
        """The text without its last tokens; always shorter than it was."""
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        kept = len(offsets) - tokens
        return text[: min(offsets[kept - 1][1], len(text) - 1)] if kept > 0 else ""

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]
