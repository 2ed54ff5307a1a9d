"""Score rows: the four losses of a row and their ratios. A pure step on a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import numpy as np
from datasets import Dataset, Features
from transformers import PreTrainedTokenizerBase

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import SCORE_COLUMNS, TOKEN_LOSS_COLUMNS, Column, features
from scoring.batches import Batch as TokenBatch
from scoring.config import SCORE_VERSION
from scoring.likelihood import LikelihoodEngine
from scoring.ratios import LOSS_KEYS, is_usable, loss_columns, mean_loss
from scoring.spans import PUBLISHED, PairSpans, TargetSpan, encode_pairs
from scoring.templates import PromptTemplate, reverse_prompt

Batch = dict[str, list[Any]]

OK = "ok"
EMPTY_OUTPUT = "empty_output"
EMPTY_INSTRUCTION = "empty_instruction"
TARGET_TRUNCATED = "target_truncated"
TARGET_LOST = "target_lost"
ERROR = "error"


@dataclass(frozen=True)
class Scorer:
    """The student and how it reads a row.

    Attributes:
        max_length: tokens kept of context and target together.
        span: which tokens count as the target's: `published` or `aligned`.
        keep_token_losses: whether the loss of every target token is kept beside the scores.
        model_identity: digest of the model's files and precision; empty where the model was made by hand.
    """

    engine: LikelihoodEngine
    tokenizer: PreTrainedTokenizerBase
    template: PromptTemplate
    max_length: int = 2048
    span: str = PUBLISHED
    keep_token_losses: bool = False
    model_identity: str = ""

    @property
    def identity(self) -> str:
        """Digest of all that decides the scores; another one each time where the model has none."""
        template = [self.template.prompt("{instruction}"), self.template.prompt("{instruction}", "{input}")]
        model = self.model_identity or uuid4().hex
        return fingerprint_of([model, SCORE_VERSION, template, self.max_length, self.span, self.keep_token_losses])

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that scoring adds."""
        return (*SCORE_COLUMNS, *(TOKEN_LOSS_COLUMNS if self.keep_token_losses else ()))


@dataclass(frozen=True)
class EncodedRows:
    """Rows ready for the model.

    Attributes:
        questions, answers: the target texts of every row.
        pairs: the spans of every row's question (`Q`) and answer (`A`).
        plan: the model's batches for all of them.
    """

    questions: list[str]
    answers: list[str]
    pairs: dict[str, list[PairSpans]]
    plan: list[TokenBatch]

    def spans(self, key: str) -> list[TargetSpan]:
        """The texts of one of `LOSS_KEYS`."""
        side, kind = key.split("_")
        return [getattr(pair, kind) for pair in self.pairs[side]]

    def all_spans(self) -> list[TargetSpan]:
        """The texts of all rows for the first key, then for the second, and so on."""
        return [span for key in LOSS_KEYS for span in self.spans(key)]


def encode_rows(rows: Batch, scorer: Scorer) -> EncodedRows:
    """Tokenize rows and plan their batches; touches no model, so that it can run ahead of it.

    Args:
        rows: `instruction`, `output` and, if there are any, `input`.
    """
    instructions, answers = rows["instruction"], list(rows["output"])
    inputs = [text or "" for text in rows.get("input", [""] * len(answers))]
    questions = [instruction + input for instruction, input in zip(instructions, inputs, strict=True)]
    contexts = {
        "Q": [reverse_prompt(scorer.template, answer) for answer in answers],
        "A": [scorer.template.prompt(*question) for question in zip(instructions, inputs, strict=True)],
    }
    pairs = {
        side: encode_pairs(scorer.tokenizer, contexts[side], targets, scorer.max_length, scorer.span)
        for side, targets in (("Q", questions), ("A", answers))
    }
    encoded = EncodedRows(questions, answers, pairs, [])
    return replace(encoded, plan=scorer.engine.plan(encoded.all_spans()))


def score_batch(rows: Batch, scorer: Scorer, encoded: EncodedRows | None = None) -> Batch:
    """The score columns of a batch of rows.

    Args:
        rows: `instruction`, `output` and, if there are any, `input`.
        encoded: what `encode_rows` made of them.

    Returns:
        The columns of `scorer.columns`, a value or null a row. A loss is null where its target is empty, was cut away
        entirely or came out of the model as NaN or infinite; `score_status` says which.
    """
    encoded = encoded or encode_rows(rows, scorer)
    losses = scorer.engine.token_losses(encoded.all_spans(), encoded.plan)
    size = len(encoded.answers)
    by_key = {key: losses[number * size : (number + 1) * size] for number, key in enumerate(LOSS_KEYS)}
    scored: Batch = {column.name: [] for column in scorer.columns}
    for row in range(size):
        values = _score_row(encoded, row, {key: by_key[key][row] for key in LOSS_KEYS})
        for name, column in scored.items():
            column.append(values[name])
    return scored


def _score_row(encoded: EncodedRows, row: int, token_losses: dict[str, np.ndarray]) -> dict[str, Any]:
    found = {key: mean_loss(values) for key, values in token_losses.items()}
    usable = {key: loss if loss is not None and is_usable(loss) else None for key, loss in found.items()}
    return {
        **loss_columns(usable),
        **{f"token_losses_{key}": None if usable[key] is None else token_losses[key] for key in LOSS_KEYS},
        "n_tokens_Q": encoded.pairs["Q"][row].n_target,
        "n_tokens_A": encoded.pairs["A"][row].n_target,
        "score_status": _status(encoded, row, found, usable),
    }


def _status(encoded: EncodedRows, row: int, found: dict[str, float | None], usable: dict[str, float | None]) -> str:
    if found != usable:
        return ERROR
    if not encoded.answers[row]:
        return EMPTY_OUTPUT
    if not encoded.questions[row]:
        return EMPTY_INSTRUCTION
    if any(loss is None for loss in found.values()):
        return TARGET_LOST
    pairs = [encoded.pairs[side][row] for side in ("Q", "A")]
    return TARGET_TRUNCATED if any(pair.condition.truncated or pair.direct.truncated for pair in pairs) else OK


def score_dataset(dataset: Dataset, scorer: Scorer, batch_size: int = 256) -> Dataset:
    """Add the score columns to a `datasets.Dataset`, cached by `datasets` under the scorer's identity.

    Args:
        dataset: columns `instruction`, `output` and, if there are any, `input`.
        batch_size: rows whose common prefixes are computed once; does not change a score.

    Raises:
        BadInputError: it is no `Dataset`, a column is missing, holds no text or holds a null, or there are no rows.
    """
    if not isinstance(dataset, Dataset):
        raise BadInputError(
            f"score_dataset takes a datasets.Dataset, not a {type(dataset).__name__}: pick a split, load it without "
            "streaming"
        )
    dataset = dataset.with_format(None)
    for name in ("instruction", "output", "input"):
        if name not in dataset.column_names:
            if name == "input":
                continue
            raise BadInputError(f"the data set has no column {name!r}; it has {', '.join(dataset.column_names)}")
        if getattr(dataset.features[name], "dtype", None) not in ("string", "large_string", "null"):
            raise BadInputError(f"the column {name!r} holds no text but {dataset.features[name]}")
        if name == "input":
            continue  # a null is no input
        nulls = sum(part[name].null_count for part in dataset.with_format("arrow").select_columns(name).iter(10_000))
        if nulls:
            raise BadInputError(f"the column {name!r} holds {nulls} nulls; text that is missing is an empty string")
    if not len(dataset):
        raise BadInputError("the data set has no rows")
    return dataset.map(
        lambda batch: score_batch(batch, scorer),
        batched=True,
        batch_size=batch_size,
        features=Features({**dataset.features, **features(scorer.columns)}),
        new_fingerprint=fingerprint_of([dataset._fingerprint, scorer.identity]),
        desc="score",
    )
