"""IFD and reversed IFD: the four losses of a row and their ratios. A pure step on a batch.

IFD is Cherry LLM's (arXiv 2308.12032), r-IFD that of Selective Reflection-Tuning (arXiv 2402.10110).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hub_cards.schema import SCORE_COLUMNS
from scoring.likelihood import TargetSpan, count_tokens, encode_spans, token_losses
from scoring.templates import PromptTemplate, reverse_prompt

Batch = dict[str, list[Any]]

OK = "ok"
EMPTY_OUTPUT = "empty_output"
EMPTY_INSTRUCTION = "empty_instruction"
TARGET_TRUNCATED = "target_truncated"
TARGET_LOST = "target_lost"
ERROR = "error"
LOSS_KEYS = ("Q_direct", "A_direct", "Q_condition", "A_condition")
RATIOS = {"ifd": ("A_condition", "A_direct"), "rifd": ("Q_condition", "Q_direct")}


@dataclass(frozen=True)
class Scorer:
    """The student and how it reads a row.

    Attributes:
        max_length: tokens kept of context and target together.
        max_batch_tokens: padded tokens in one forward pass; does not change a result.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: PromptTemplate
    max_length: int = 2048
    max_batch_tokens: int = 2048


def score_batch(rows: Batch, scorer: Scorer) -> Batch:
    """The score columns of a batch of rows.

    Args:
        rows: at least `instruction`, `input`, `output`.

    Returns:
        The columns of `SCORE_COLUMNS`, a value or null a row. A loss is null where its target is empty, was cut away
        entirely or came out of the model as NaN or infinite; `score_status` says which.
    """
    questions = [i + n for i, n in zip(rows["instruction"], rows["input"], strict=True)]
    answers = list(rows["output"])
    spans = encode_row_spans(rows["instruction"], rows["input"], answers, scorer)
    losses = token_losses(scorer.model, [span for key in LOSS_KEYS for span in spans[key]], scorer.max_batch_tokens)
    means = [_mean(values) for values in losses]
    size = len(answers)
    by_key = {key: means[number * size : (number + 1) * size] for number, key in enumerate(LOSS_KEYS)}

    n_special = scorer.tokenizer.num_special_tokens_to_add()
    scored: Batch = {column.name: [] for column in SCORE_COLUMNS}
    n_Q, n_A = count_tokens(scorer.tokenizer, questions), count_tokens(scorer.tokenizer, answers)
    for row in range(size):
        row_losses = {key: by_key[key][row] for key in LOSS_KEYS}
        usable = {key: loss if loss is not None and _is_usable(loss) else None for key, loss in row_losses.items()}
        values: dict[str, Any] = loss_columns(usable)
        values["n_tokens_Q"], values["n_tokens_A"] = n_Q[row] - n_special, n_A[row] - n_special
        row_spans = {key: spans[key][row] for key in LOSS_KEYS}
        values["score_status"] = _status(questions[row], answers[row], row_spans, row_losses)
        for name, column in scored.items():
            column.append(values[name])
    return scored


def encode_row_spans(
    instructions: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], scorer: Scorer
) -> dict[str, list[TargetSpan]]:
    """The four texts of every row. An empty target has an empty span.

    The direct text is cut at `max_length - min(len(tokenize(context)), max_length) + 1` tokens, with the context of the
    conditional text, so that both sides see the same number of target tokens.
    """
    questions = [i + n for i, n in zip(instructions, inputs, strict=True)]
    contexts = {
        "A": [scorer.template.prompt(i, n) for i, n in zip(instructions, inputs, strict=True)],
        "Q": [reverse_prompt(scorer.template, output) for output in outputs],
    }
    spans: dict[str, list[TargetSpan]] = {}
    for side, targets in (("Q", questions), ("A", outputs)):
        limits = [scorer.max_length] * len(targets)
        conditional = encode_spans(scorer.tokenizer, contexts[side], targets, limits)
        # A conditional span starts where its context ends, so its start is the context's length.
        direct_limits = [scorer.max_length - min(span.start, scorer.max_length) + 1 for span in conditional]
        direct = encode_spans(scorer.tokenizer, [""] * len(targets), targets, direct_limits)
        nothing = TargetSpan((), 0, truncated=False)
        for key, found in ((f"{side}_condition", conditional), (f"{side}_direct", direct)):
            spans[key] = [span if target else nothing for span, target in zip(found, targets, strict=True)]
    return spans


def loss_columns(losses: dict[str, float | None]) -> dict[str, float | None]:
    """Losses, perplexities and ratios of one row from its four losses (nats a token); null in, null out."""
    columns: dict[str, float | None] = {}
    for key in LOSS_KEYS:
        columns[f"loss_{key}"] = losses[key]
        columns[f"ppl_{key}"] = None if losses[key] is None else math.exp(losses[key])
    for name, (condition, direct) in RATIOS.items():
        for unit in ("ppl", "loss"):
            columns[f"{name}_{unit}"] = _ratio(columns[f"{unit}_{condition}"], columns[f"{unit}_{direct}"])
    return columns


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _mean(losses: np.ndarray) -> float | None:
    """Mean over the target's tokens, summed in float64; null where there are none."""
    return float(losses.mean(dtype=np.float64)) if len(losses) else None


def _status(question: str, answer: str, spans: dict[str, TargetSpan], losses: dict[str, float | None]) -> str:
    if any(loss is not None and not _is_usable(loss) for loss in losses.values()):
        return ERROR
    if not answer:
        return EMPTY_OUTPUT
    if not question:
        return EMPTY_INSTRUCTION
    if any(loss is None for loss in losses.values()):
        return TARGET_LOST
    return TARGET_TRUNCATED if any(span.truncated for span in spans.values()) else OK


def _is_usable(loss: float) -> bool:
    return math.isfinite(loss) and loss < 700  # beyond it exp() leaves float64
