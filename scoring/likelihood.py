"""The engine: per-token losses of a target text after a context text, in batches, exactly.

Tokenization and spans follow the published implementations, so that scores stay comparable with published statistics:
context and target are tokenized as one text, and the target begins at token number `len(tokenize(context))`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hub_cards.errors import BadInputError

HEAD_CHUNK = 256  # logits are made for so many target positions at a time, never for a whole batch


@dataclass(frozen=True)
class TargetSpan:
    """One text to score.

    Attributes:
        ids: token ids of context and target, special tokens included, cut to the length limit.
        start: index of the target's first token in `ids`; tokens from `max(start, 1)` on are scored, because a first
            token has nothing to be predicted from.
        truncated: whether the limit cut target tokens away.
    """

    ids: tuple[int, ...]
    start: int
    truncated: bool

    @property
    def n_scored(self) -> int:
        """Number of target tokens with a prediction."""
        return max(len(self.ids) - max(self.start, 1), 0)


def encode_spans(
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    targets: Sequence[str],
    max_lengths: Sequence[int],
) -> list[TargetSpan]:
    """Tokenize context + target jointly and mark the target (arXiv 2402.10110's published semantics).

    Args:
        max_lengths: how many tokens of each joint text are kept.

    Returns:
        One span a pair. A target that the limit cut away entirely has `n_scored == 0`.
    """
    starts = count_tokens(tokenizer, contexts)
    joint = tokenizer([context + target for context, target in zip(contexts, targets, strict=True)])["input_ids"]
    return [
        TargetSpan(tuple(ids[:limit]), start, truncated=len(ids) > limit)
        for ids, start, limit in zip(joint, starts, max_lengths, strict=True)
    ]


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Number of tokens of each text, special tokens included."""
    return [len(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []


@torch.inference_mode()
def token_losses(model: PreTrainedModel, spans: Sequence[TargetSpan], max_batch_tokens: int) -> list[np.ndarray]:
    """Negative log-likelihood of every target token of every span.

    Equal spans are computed once. The rest is sorted by length and padded on the right without a mask: causal attention
    never looks right, so padding cannot change a number.

    Args:
        model: a causal LM in evaluation mode.
        max_batch_tokens: padded tokens in one forward pass; a single longer text is a batch of its own.

    Returns:
        One float32 array of length `n_scored` a span, in nats; empty where nothing is left to score. Values may be NaN
        or infinite where the model's are.

    Raises:
        BadInputError: a token id is beyond the model's embeddings.
    """
    n_embeddings = model.get_input_embeddings().weight.shape[0]
    highest = max((max(span.ids) for span in spans if span.ids), default=0)
    if highest >= n_embeddings:
        raise BadInputError(
            f"the tokenizer gives the token id {highest}, the model has only {n_embeddings} embeddings: "
            "--model_name_or_path holds a tokenizer and a model that do not belong together"
        )
    plain_head = has_plain_head(model)
    unique = sorted({span for span in spans if span.n_scored}, key=lambda span: (len(span.ids), span.ids, span.start))
    found: dict[TargetSpan, np.ndarray] = {}
    for batch in _batches(unique, max_batch_tokens):
        found |= zip(batch, _batch_losses(model, batch, plain_head), strict=True)
    nothing = np.empty(0, dtype=np.float32)
    return [found.get(span, nothing) for span in spans]


def _batches(spans: Sequence[TargetSpan], max_batch_tokens: int) -> Iterator[list[TargetSpan]]:
    """Consecutive spans of a length-sorted list, as many as fit when padded to the longest."""
    batch: list[TargetSpan] = []
    for span in spans:
        if batch and (len(batch) + 1) * len(span.ids) > max_batch_tokens:
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


@torch.inference_mode()
def has_plain_head(model: PreTrainedModel) -> bool:
    """Whether the model's logits are its output embeddings applied to its last hidden state, with nothing after.

    Some kinds cap or scale their logits; those are asked for their logits themselves, at the price of memory.
    """
    head = model.get_output_embeddings()
    if head is None:
        return False
    probe = torch.arange(4, device=model.device)[None]
    hidden = model.base_model(input_ids=probe, use_cache=False).last_hidden_state
    if hidden.shape[-1] != head.weight.shape[-1]:
        return False
    logits = model(input_ids=probe, use_cache=False).logits.float()
    return torch.allclose(head(hidden).float(), logits, rtol=1e-3, atol=1e-3)


def _batch_losses(model: PreTrainedModel, batch: Sequence[TargetSpan], plain_head: bool) -> list[np.ndarray]:
    device = model.device
    width = max(len(span.ids) for span in batch) - 1  # the last token is only ever predicted
    inputs_BT = torch.zeros(len(batch), width, dtype=torch.long)
    for row, span in enumerate(batch):
        inputs_BT[row, : len(span.ids) - 1] = torch.tensor(span.ids[:-1])

    # Position p predicts token p + 1; N is the number of target tokens of the whole batch.
    positions = [
        row * width + p - 1 for row, span in enumerate(batch) for p in range(max(span.start, 1), len(span.ids))
    ]
    targets = [token for span in batch for token in span.ids[max(span.start, 1) :]]
    positions_N = torch.tensor(positions, device=device)
    targets_N = torch.tensor(targets, device=device)
    inputs_BT = inputs_BT.to(device)
    if plain_head:
        head = model.get_output_embeddings()
        states_BTX = model.base_model(input_ids=inputs_BT, use_cache=False).last_hidden_state
    else:
        head = torch.nn.Identity()
        states_BTX = model(input_ids=inputs_BT, use_cache=False).logits
    states_NX = states_BTX.flatten(0, 1)[positions_N]
    losses = [
        torch.nn.functional.cross_entropy(head(states).float(), target, reduction="none")
        for states, target in zip(states_NX.split(HEAD_CHUNK), targets_N.split(HEAD_CHUNK), strict=True)
    ]
    return np.split(torch.cat(losses).cpu().numpy(), np.cumsum([span.n_scored for span in batch])[:-1])
