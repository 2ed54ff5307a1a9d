"""A local chat model of `transformers`: prompts by its chat template, answers in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.utils import logging

from hub_cards.errors import BadInputError
from reflection.prompts import Messages
from reflection.tokens import TOKENS_PER_MESSAGE, PromptLimit

FLAG = "--oracle_model"
_PROBE = [{"role": "system", "content": "a system text"}, {"role": "user", "content": "a question"}]


class Draw(NamedTuple):
    """How a prompt is answered: greedily at temperature 0, else by a sample that the seed determines."""

    temperature: float
    seed: int


class Reply(NamedTuple):
    """What the model wrote.

    Attributes:
        tokens: with the end-of-text token, without padding.
        ended: whether the model itself ended its answer.
    """

    text: str
    tokens: int
    ended: bool


class SampleByRow(LogitsProcessor):
    """Makes greedy search sample, every row with random numbers of its own, so that no row depends on its batch.

    The largest of `probability / exponential noise` is a sample of the probabilities; `torch.multinomial` draws in the
    same way, so a row gets the tokens that `generate` would sample for it alone after `torch.manual_seed(seed)`.
    """

    def __init__(self, draws: Sequence[Draw], device: torch.device) -> None:
        self.rows = [
            (row, draw.temperature, torch.Generator(device).manual_seed(draw.seed))
            for row, draw in enumerate(draws)
            if draw.temperature > 0
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The logits, those of sampled rows replaced by scores whose largest is the sample."""
        scores = scores.clone() if self.rows else scores
        for row, temperature, generator in self.rows:
            noise = torch.empty_like(scores[row]).exponential_(generator=generator)
            scores[row] = (scores[row] / temperature).softmax(-1) / noise
        return scores


class ChatModel:
    """A causal LM with a chat template. The weights are loaded when they are first needed.

    Attributes:
        positions: how many tokens prompt and answer may have together; None where the model has no limit.
        template_tokens: what the chat template puts around a system and a user turn.

    Raises:
        BadInputError: there is no such model, or its tokenizer has no chat template that takes a user's turn.
    """

    def __init__(self, name: str, revision: str | None, device: torch.device) -> None:
        self.name, self.revision, self.device = name, revision, device
        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
            config = AutoConfig.from_pretrained(name, revision=revision)
        except (OSError, ValueError) as error:
            raise BadInputError(f"{FLAG} {name}: cannot be loaded ({str(error).splitlines()[0]})") from error
        if not self.tokenizer.is_fast:
            raise BadInputError(f"{FLAG} {name}: has no fast tokenizer (tokenizer.json)")
        self.tokenizer.model_max_length = int(1e30)  # lengths are checked by us, it must not warn
        self.positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        self.takes_system = self._takes_system()
        texts = (self.tokenizer(turn["content"], add_special_tokens=False)["input_ids"] for turn in _PROBE)
        self.template_tokens = len(self.encode(_PROBE)) - sum(len(ids) for ids in texts)

    def prompt_limit(self, context: int, max_tokens: int) -> PromptLimit:
        """How long prompts may be in a context of so many tokens, of which the answer takes `max_tokens`.

        Raises:
            BadInputError: the model has not so many positions.
        """
        if self.positions is not None and context > self.positions:
            raise BadInputError(
                f"--oracle_context {context}: {FLAG} {self.name} has only {self.positions} positions; "
                f"pass --oracle_context {self.positions}"
            )
        # The limit's own count adds a constant to each of the two turns; some templates write more around them.
        unseen = max(0, self.template_tokens - 2 * TOKENS_PER_MESSAGE)
        return PromptLimit(self.tokenizer, context - max_tokens - unseen)

    def _takes_system(self) -> bool:
        """Whether the chat template has a place for a system turn: some refuse it, some leave it out."""
        try:
            if _PROBE[0]["content"] in self._render(_PROBE):
                return True
        except TemplateError:
            pass  # what it says of a user's turn alone is told below
        except ValueError as error:
            raise BadInputError(
                f"{FLAG} {self.name}: its tokenizer has no chat template; take an instruction-tuned model"
            ) from error
        try:
            self._render(_PROBE[1:])
        except TemplateError as error:
            raise BadInputError(f"{FLAG} {self.name}: its chat template cannot be used ({error})") from error
        return False

    def _render(self, messages: Messages) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def encode(self, messages: Messages) -> list[int]:
        """The prompt's tokens; without a place for it, the system text stands in front of the user's."""
        if not self.takes_system and messages[0]["role"] == "system":
            system, user, *others = messages
            messages = [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]
        return self.tokenizer(self._render(messages), add_special_tokens=False)["input_ids"]

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model on its device, in the precision of its checkpoint."""
        out_of_memory = False
        try:
            model = AutoModelForCausalLM.from_pretrained(self.name, revision=self.revision, dtype="auto")
            model = model.to(self.device).eval()
        except torch.OutOfMemoryError:
            out_of_memory = True  # raised outside, where nothing of what was loaded hangs on the traceback
        except (OSError, ValueError, SafetensorError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadInputError(f"{FLAG} {self.name}: cannot be loaded ({reason})") from error
        if out_of_memory:
            raise BadInputError(f"{FLAG} {self.name}: its weights do not fit into the memory of {self.device}")
        stored = model.generation_config.eos_token_id
        ids = stored if isinstance(stored, list) else [stored]
        self.eos_ids = sorted({token for token in [*ids, self.tokenizer.eos_token_id] if token is not None})
        # `generate` takes what a request leaves open from here: a checkpoint's penalties must not change our answers.
        model.generation_config = GenerationConfig()
        return model

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], draws: Sequence[Draw], max_tokens: int) -> list[Reply]:
        """Answer prompts together, each as it would be answered alone (up to the rounding of floats).

        Raises:
            torch.OutOfMemoryError: they are too many for the device.
        """
        model = self.model
        width = max(len(prompt) for prompt in prompts)
        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else (self.eos_ids or [0])[0]
        # On the left: an answer must follow its prompt at once.
        ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.device)
        settings: dict[str, Any] = {"eos_token_id": self.eos_ids or None, "pad_token_id": pad}
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=GenerationConfig(max_new_tokens=max_tokens, do_sample=False, use_cache=True, **settings),
            logits_processor=LogitsProcessorList([SampleByRow(draws, self.device)]),
        )
        return [self._read(row) for row in written[:, width:].tolist()]

    def _read(self, tokens: list[int]) -> Reply:
        ends = (place for place, token in enumerate(tokens) if token in self.eos_ids)
        end = next(ends, None)
        tokens = tokens if end is None else tokens[: end + 1]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text, len(tokens), end is not None)
