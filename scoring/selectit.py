"""SelectIT (arXiv 2402.16705): a model rates each row, and is believed as far as it is sure. Imports no torch.

A rating prompt shows the model a row and asks for a score from 1 to K. What counts is not what it would answer, but the
probability of every answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hub_cards.cli import read_yaml
from hub_cards.errors import BadInputError
from hub_cards.schema import SELECTIT_COLUMNS, Column
from scoring.batches import Batch as TokenBatch
from scoring.spans import NOTHING, SpecialTokens, TargetSpan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from scoring.likelihood import LikelihoodEngine

Batch = dict[str, list[Any]]

PUBLISHED_ALPHA = 0.2
OUR_PROMPTS = Path(__file__).parent / "rating_prompts.yaml"
ENDING = "The answer is:"
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
PLACEHOLDERS = ("instruction", "input", "output")
SCALES = range(2, 10)  # one digit a score


def digit_weights(probabilities_K: np.ndarray) -> np.ndarray:
    """The P_k of the paper: the softmax over the K probabilities themselves, so that they lie close together.

    The published code divides the probabilities by their sum before the softmax, and its first version leaves out the
    exponential; we take the paper's formula.
    """
    exponentials_K = np.exp(probabilities_K)
    return exponentials_K / exponentials_K.sum()


def token_score(probabilities_K: np.ndarray) -> float | None:
    """Token level: the likeliest score, times its mean distance in weight to the others.

    Args:
        probabilities_K: of the answers 1..K as next token, of shape K. Of equal ones the lowest score counts.

    Returns:
        S_token between 0 and K; None where a probability is NaN or infinite.
    """
    if not np.isfinite(probabilities_K).all():
        return None
    weights_K = digit_weights(np.asarray(probabilities_K, dtype=np.float64))
    best = int(weights_K.argmax())
    return float((best + 1) * np.abs(weights_K - weights_K[best]).sum() / (len(weights_K) - 1))


def sentence_score(token_scores: Sequence[float | None]) -> float | None:
    """Sentence level: the mean over rating prompts, less where they disagree (population standard deviation).

    Returns:
        None where any score is, or there is none.
    """
    if not token_scores or None in token_scores:
        return None
    return float(np.mean(token_scores) / (1 + PUBLISHED_ALPHA * np.std(token_scores)))


def model_score(sentence_scores: Sequence[float | None], n_parameters: Sequence[int]) -> float | None:
    """Model level: the mean over raters, weighted by their numbers of parameters.

    Returns:
        None where any rater's score is.
    """
    if None in sentence_scores:
        return None
    return float(np.average(sentence_scores, weights=n_parameters))


def combine_raters(
    sentence_scores_by_model: Sequence[Sequence[float | None]], n_parameters: Sequence[int]
) -> list[float | None]:
    """The column `selectit_model`: `model_score` of every row.

    Args:
        sentence_scores_by_model: the column `selectit_sentence` of each rater, for the same rows in the same order.
        n_parameters: of each rater.
    """
    return [model_score(scores, n_parameters) for scores in zip(*sentence_scores_by_model, strict=True)]


@dataclass(frozen=True)
class RatingPrompts:
    """What a rater is asked.

    Attributes:
        prompts: texts with `{instruction}`, `{input}` and `{output}` in them, each ending with `The answer is:`.
        input: the text, with `{input}` in it, that stands for `{input}` where a row has one.
        scale: the highest score, K; 1 is the lowest.
    """

    prompts: tuple[str, ...]
    input: str
    scale: int

    def texts(self, instruction: str, input: str, output: str) -> list[str]:
        """All prompts for one row. Braces in a row are text like any other."""
        own = {"instruction": instruction, "input": _filled(self.input, {"input": input}) if input else ""}
        return [_filled(prompt, {**own, "output": output}) for prompt in self.prompts]


def _filled(text: str, values: dict[str, str]) -> str:
    """In one pass, so that what a row holds is never filled in itself."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def load_rating_prompts(path: str | None = None) -> RatingPrompts:
    """The rating prompts of a YAML file; ours by default (`rating_prompts.yaml` says what a file holds).

    White space after `The answer is:` is cut.

    Raises:
        BadInputError: the file cannot be read, or is not of the shape that ours has.
    """
    place = f"--rating_prompts {path or OUR_PROMPTS}"
    try:
        content = read_yaml(path or str(OUR_PROMPTS))
    except BadInputError as error:  # it names the flag of the recipes
        raise BadInputError(f"--rating_prompts {str(error).removeprefix('--config ')}") from error
    if set(content) != {"scale", "input", "prompts"}:
        found = ", ".join(map(str, content)) or "nothing"
        raise BadInputError(f"{place}: must hold `scale`, `input` and `prompts` and nothing else; it holds {found}")
    scale, input, prompts = content["scale"], content["input"], content["prompts"]
    if type(scale) is not int or scale not in SCALES:
        raise BadInputError(f"{place}: `scale` is {scale!r}; it must be a whole number from 2 to 9")
    if not isinstance(prompts, list) or not prompts:
        raise BadInputError(f"{place}: `prompts` must be a list of 1 text or more")
    _check_text(f"{place}: `input`", input, ("input",))
    for number, prompt in enumerate(prompts, 1):
        name = f"{place}: prompt {number}"
        _check_text(name, prompt, PLACEHOLDERS)
        if not prompt.rstrip().endswith(ENDING):
            raise BadInputError(f"{name} ends with {prompt.rstrip()[-len(ENDING) :]!r}; it must end with {ENDING!r}")
    return RatingPrompts(tuple(prompt.rstrip() for prompt in prompts), input, scale)


def _check_text(name: str, text: Any, wanted: Sequence[str]) -> None:
    if not isinstance(text, str):
        raise BadInputError(f"{name} is {text!r}; it must be a text")
    held = PLACEHOLDER.findall(text)
    for placeholder in wanted:
        if placeholder not in held:
            raise BadInputError(f"{name} has no {{{placeholder}}}; write it where the row's {placeholder} belongs")
    for placeholder in held:
        if placeholder not in wanted:
            raise BadInputError(
                f"{name} holds {{{placeholder}}}, which is unknown; known are "
                + ", ".join(f"{{{known}}}" for known in wanted)
            )


@dataclass(frozen=True)
class DigitTokens:
    """How a tokenizer writes a score after a rating prompt.

    Attributes:
        before: tokens between the prompt and the digit: a space, where it has a token of its own.
        ids: the token of each score 1..K.
    """

    before: tuple[int, ...]
    ids: tuple[int, ...]


def find_digits(tokenizer: PreTrainedTokenizerBase, prompts: RatingPrompts, name: str) -> DigitTokens:
    """How the tokenizer goes on after `The answer is:` with a score, found by tokenizing every prompt with each score.

    A space and the digit are taken where they are one token (` 3`) or two (` `, `3`), else the digit without a space.

    Args:
        name: of the model, for the message.

    Raises:
        BadInputError: a score is not one token of its own, or not the same one after every prompt.
    """
    texts = prompts.texts("Say it.", "", "It.")
    for space in (" ", ""):
        found = {_digits_after(tokenizer, text, space, prompts.scale) for text in texts}
        if len(found) == 1 and None not in found:
            return found.pop()
    ids = _ids(tokenizer, [f"{ENDING} {score}" for score in range(1, prompts.scale + 1)])
    written = "; ".join(" ".join(tokenizer.convert_ids_to_tokens(list(one[-3:]))) for one in ids)
    raise BadInputError(
        f"{name}: its tokenizer has no token of its own for each of the scores 1 to {prompts.scale} after {ENDING!r}: "
        f"with them the texts end in the tokens {written}; rate with another model"
    )


def _digits_after(tokenizer: PreTrainedTokenizerBase, text: str, space: str, scale: int) -> DigitTokens | None:
    digits = [str(score) for score in range(1, scale + 1)]
    context, *whole = _ids(tokenizer, [text, *(text + space + digit for digit in digits)])
    before = whole[0][len(context) : -1]
    if any(ids[:-1] != context + before for ids in whole):
        return None
    ids = tuple(one[-1] for one in whole)
    written = [tokenizer.decode([token]).strip() for token in ids]  # not an unknown token, nor a part of a digit
    return DigitTokens(before, ids) if written == digits else None


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """With BOS, without EOS: the texts are to be continued."""
    after = SpecialTokens.of(tokenizer).after
    encoded = tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]
    return [tuple(ids[: len(ids) - after]) for ids in encoded]


@dataclass(frozen=True)
class RatingTexts:
    """Rows ready for the model.

    Attributes:
        spans: for every row one text a prompt, followed by a token that stands for the score and is not looked at;
            `NOTHING` where there is nothing to rate.
        plan: the model's batches for all of them.
    """

    spans: list[TargetSpan]
    plan: list[TokenBatch]


@dataclass(frozen=True)
class Rater:
    """A model and how it is asked to rate a row.

    Attributes:
        max_length: tokens of the longest rating text; a longer one is not cut, which would lose the question, but left
            unrated.
        name: what the model is called.
        n_parameters: `model.num_parameters()`, the rater's weight among others.
        digits: found from the tokenizer.

    Raises:
        BadInputError: the tokenizer has no token for each score.
    """

    engine: LikelihoodEngine
    tokenizer: PreTrainedTokenizerBase
    prompts: RatingPrompts
    max_length: int
    name: str
    n_parameters: int
    digits: DigitTokens = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digits", find_digits(self.tokenizer, self.prompts, self.name))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that one rater adds; `selectit_model` takes all of them (`combine_raters`)."""
        return tuple(column for column in SELECTIT_COLUMNS if column.name != "selectit_model")

    def prepare(self, rows: Batch) -> RatingTexts:
        """Tokenize rows and plan their batches; touches no model, so that it can run ahead of it.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
        """
        outputs = rows["output"]
        inputs = rows.get("input", [""] * len(outputs))
        texts = [
            text
            for instruction, input, output in zip(rows["instruction"], inputs, outputs, strict=True)
            for text in self.prompts.texts(instruction, input or "", output)
        ]
        has_output = np.repeat([bool(output) for output in outputs], len(self.prompts.prompts))
        contexts = [(*ids, *self.digits.before) for ids in _ids(self.tokenizer, texts)]
        spans = [
            TargetSpan((*ids, self.digits.ids[0]), len(ids), truncated=False)
            if rated and len(ids) <= self.max_length
            else NOTHING
            for ids, rated in zip(contexts, has_output, strict=True)
        ]
        return RatingTexts(spans, self.engine.plan(spans))

    def compute(self, rows: Batch, prepared: RatingTexts | None = None) -> Batch:
        """The score columns of a batch of rows.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
            prepared: what `prepare` made of them.

        Returns:
            `selectit_token`, the token-level score under the first prompt, and `selectit_sentence` over all of them.
            Null where the output is empty, a rating text is longer than `max_length`, or the model gives NaN.
        """
        prepared = prepared or self.prepare(rows)
        probabilities_NK = self.engine.next_token_probabilities(prepared.spans, self.digits.ids, prepared.plan)
        scores = [token_score(probabilities_K) for probabilities_K in probabilities_NK]
        size = len(self.prompts.prompts)
        by_row = [scores[start : start + size] for start in range(0, len(scores), size)]
        return {
            "selectit_token": [row[0] for row in by_row],
            "selectit_sentence": [sentence_score(row) for row in by_row],
        }
