"""A local causal LM of `transformers`: answers to tokenized prompts, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.utils import logging

from hub_cards.errors import BadInputError
from reflection.oracles.chat import before_stop
from reflection.oracles.config import Flags

FLAGS = Flags(oracle="--oracle transformers")


class Draw(NamedTuple):
    """How a prompt is answered: greedily at temperature 0, else by a sample that the seed determines."""

    temperature: float
    seed: int


class Prompt(NamedTuple):
    """What is answered.

    Attributes:
        limit: tokens that the answer may have, at least 1; with the prompt's no more than the model has positions.
        stop: texts that end the answer and are no part of it.
    """

    tokens: Sequence[int]
    draw: Draw
    limit: int
    stop: tuple[str, ...] = ()


class Reply(NamedTuple):
    """What the model wrote.

    Attributes:
        text: up to the stop text where it wrote one.
        tokens: with the end-of-text token or the stop text, without padding.
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
        self.draws = [
            (place, draw.temperature, torch.Generator(device).manual_seed(draw.seed))
            for place, draw in enumerate(draws)
            if draw.temperature > 0
        ]
        self.keep(range(len(draws)))

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these of the rows, in this order."""
        row_of = {place: row for row, place in enumerate(places)}
        self.rows = [(row_of[place], *draw) for place, *draw in self.draws if place in row_of]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The logits, those of sampled rows replaced by scores whose largest is the sample."""
        scores = scores.clone() if self.rows else scores
        for row, temperature, generator in self.rows:
            noise = torch.empty_like(scores[row]).exponential_(generator=generator)
            scores[row] = (scores[row] / temperature).softmax(-1) / noise
        return scores


class StopTexts(StoppingCriteria):
    """Ends a row as soon as its answer holds one of its stop texts.

    By the decoded answer, and not as `stop_strings` of transformers does, by the pieces of the vocabulary and the
    prompt's end: so it ends where the text is cut.

    Args:
        rows: the prompts, and what of each answer is written already.
        width: tokens of the padded prompts.

    Attributes:
        lengths: tokens that a row had written from `width` on when it was ended.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[Prompt, list[int]]], width: int
    ) -> None:
        self.tokenizer, self.rows, self.width = tokenizer, rows, width
        # A token writes at least a byte, so a stop text that was just completed lies within so many tokens.
        self.reach = max((len(one.encode()) for prompt, _ in rows for one in prompt.stop), default=0) + 1
        self.lengths: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Which rows are ended, as a bool for each."""
        new = input_ids.shape[1] - self.width
        if self.reach > 1:
            tails = input_ids[:, max(self.width, input_ids.shape[1] - self.reach) :].tolist()
            for row, tail in enumerate(tails):
                if row not in self.lengths and self._is_ended(row, tail, new):
                    self.lengths[row] = new
        ended = [row in self.lengths for row in range(len(input_ids))]
        return torch.tensor(ended, device=input_ids.device)

    def _is_ended(self, row: int, tail: list[int], new: int) -> bool:
        prompt, written = self.rows[row]
        text = decode(self.tokenizer, [*written, *tail][-self.reach :])
        if len(written) + new <= self.reach:
            return before_stop(text, prompt.stop) is not None
        return any(one in text for one in prompt.stop)


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text of an answer's tokens."""
    return tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class LocalModel:
    """A causal LM. The weights are loaded when they are first needed.

    Args:
        flags: what the user set it by.
        dtype: its precision; `auto` is its checkpoint's.

    Attributes:
        positions: how many tokens prompt and answer may have together; None where the model has no limit.

    Raises:
        BadInputError: there is no such model, or it has no fast tokenizer.
    """

    def __init__(
        self, name: str, revision: str | None, device: torch.device, flags: Flags = FLAGS, dtype: str = "auto"
    ) -> None:
        self.name, self.revision, self.device, self.flag = name, revision, device, flags.model
        self.dtype = dtype
        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
            config = AutoConfig.from_pretrained(name, revision=revision)
        except (OSError, ValueError) as error:
            raise BadInputError(f"{self.flag} {name}: cannot be loaded ({str(error).splitlines()[0]})") from error
        if not self.tokenizer.is_fast:
            raise BadInputError(f"{self.flag} {name}: has no fast tokenizer (tokenizer.json)")
        self.tokenizer.model_max_length = int(1e30)  # lengths are checked by us, it must not warn
        self.positions = getattr(config.get_text_config(), "max_position_embeddings", None)

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text to go on with, as in training: with what the tokenizer puts before it, and no end."""
        tokens, own = (self.tokenizer(text, add_special_tokens=special)["input_ids"] for special in (True, False))
        return tokens[:-1] if tokens[-1:] != own[-1:] else tokens

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model on its device."""
        out_of_memory = False
        try:
            model = AutoModelForCausalLM.from_pretrained(self.name, revision=self.revision, dtype=self.dtype)
            model = model.to(self.device).eval()
        except torch.OutOfMemoryError:
            out_of_memory = True  # raised outside, where nothing of what was loaded hangs on the traceback
        except (OSError, ValueError, SafetensorError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadInputError(f"{self.flag} {self.name}: cannot be loaded ({reason})") from error
        if out_of_memory:
            raise BadInputError(f"{self.flag} {self.name}: its weights do not fit into the memory of {self.device}")
        stored = model.generation_config.eos_token_id
        ids = stored if isinstance(stored, list) else [stored]
        self.eos_ids = sorted({token for token in [*ids, self.tokenizer.eos_token_id] if token is not None})
        # `generate` takes what a request leaves open from here: a checkpoint's penalties must not change our answers.
        model.generation_config = GenerationConfig()
        return model

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answer prompts together, each as it would be answered alone (up to the rounding of floats).

        Raises:
            torch.OutOfMemoryError: they are too many for the device.
        """
        sampler = SampleByRow([prompt.draw for prompt in prompts], self.device)
        written: list[list[int]] = [[] for _ in prompts]
        ended = [False] * len(prompts)
        unfinished = list(range(len(prompts)))
        while unfinished:
            sampler.keep(unfinished)
            # Beyond its own limit a row may have no positions, ended or not: all pause at the first one's limit.
            steps = min(prompts[place].limit - len(written[place]) for place in unfinished)
            rows = [(prompts[place], written[place]) for place in unfinished]
            for place, (tokens, has_ended) in zip(unfinished, self._write(rows, steps, sampler), strict=True):
                written[place] += tokens
                ended[place] = has_ended
            unfinished = [p for p in unfinished if not ended[p] and len(written[p]) < prompts[p].limit]
        return [self._reply(*one) for one in zip(prompts, written, ended, strict=True)]

    def _write(
        self, rows: Sequence[tuple[Prompt, list[int]]], steps: int, sampler: SampleByRow
    ) -> list[tuple[list[int], bool]]:
        """At most `steps` tokens more for every prompt and what it has got, and whether that has ended."""
        model = self.model
        before = [[*prompt.tokens, *written] for prompt, written in rows]
        width = max(map(len, before))
        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else (self.eos_ids or [0])[0]
        # On the left: an answer must follow its prompt at once.
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in before], device=self.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in before], device=self.device)
        settings: dict[str, Any] = {"eos_token_id": self.eos_ids or None, "pad_token_id": pad}
        stopper = StopTexts(self.tokenizer, rows, width)
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=GenerationConfig(max_new_tokens=steps, do_sample=False, use_cache=True, **settings),
            logits_processor=LogitsProcessorList([sampler]),
            stopping_criteria=StoppingCriteriaList([stopper]),
        )
        return [self._until_end(row, stopper.lengths.get(i)) for i, row in enumerate(made[:, width:].tolist())]

    def _until_end(self, tokens: list[int], stopped: int | None) -> tuple[list[int], bool]:
        """A row's tokens without the padding behind its end, and whether it has one."""
        ends = (place + 1 for place, token in enumerate(tokens) if token in self.eos_ids)
        end = min((length for length in (next(ends, None), stopped) if length is not None), default=None)
        return tokens[:end], end is not None

    def _reply(self, prompt: Prompt, tokens: list[int], ended: bool) -> Reply:
        text = decode(self.tokenizer, tokens)
        kept = before_stop(text, prompt.stop)
        return Reply(text if kept is None else kept, len(tokens), ended or kept is not None)
