"""Lay spans out in batches of tokens. Plans only: numpy, no model, so that it can run ahead of the model.

Two layouts give the same numbers. *Packed*: the texts of many rows form a token trie; one long row holds every distinct
prefix once, and a tree attention (`scoring.tree_attention`) lets each token see its own path only. *Padded*: texts of
similar length side by side, padded on the right, for models whose attention cannot be packed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoring.spans import TargetSpan

# A shorter common prefix costs more in attention with gathered keys than it saves.
MIN_SHARED_TOKENS = 16

_Text = tuple[np.ndarray, list[TargetSpan]]  # input ids, and the spans that need them


@dataclass(frozen=True)
class Run:
    """Consecutive new tokens `[start, stop)` of one text in a pack.

    Attributes:
        before: the ranges of the pack that hold the text's earlier tokens, which other texts share.
    """

    start: int
    stop: int
    before: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tree:
    """Which token of a pack sees which.

    The tokens stand in depth-first order, so those that descend from token k are the ones up to `ends_T[k]`: token q
    sees token k exactly if k <= q < ends_T[k].

    Attributes:
        positions_T: how many tokens precede each token in its own text.
        ends_T: see above.
        runs: the same as ranges, one run a text.
    """

    positions_T: np.ndarray
    ends_T: np.ndarray
    runs: tuple[Run, ...]

    def padded(self, width: int) -> Tree:
        """With further tokens that see themselves only, for kernels that want certain widths."""
        size = len(self.ends_T)
        new = np.arange(size, width)
        return Tree(np.pad(self.positions_T, (0, width - size)), np.concatenate([self.ends_T, new + 1]), self.runs)


@dataclass(frozen=True)
class Batch:
    """One forward pass.

    Attributes:
        ids_BT: input ids; a last token of a text, which is only ever predicted, is not among them.
        tree: the layout of a pack (then B is 1); None for padded texts.
        predictors_N, targets_N: a prediction is made at token `predictors_N[n]` of the flattened `ids_BT`, for the
            token id `targets_N[n]`; each such pair once.
        picks: for each of `spans`, which of the N predictions are its tokens'.
    """

    ids_BT: np.ndarray
    tree: Tree | None
    predictors_N: np.ndarray
    targets_N: np.ndarray
    spans: tuple[TargetSpan, ...]
    picks: tuple[np.ndarray, ...]


def pack_spans(spans: Sequence[TargetSpan], max_batch_tokens: int, min_shared: int = MIN_SHARED_TOKENS) -> list[Batch]:
    """Packs that hold every distinct prefix of `min_shared` tokens or more once.

    Args:
        max_batch_tokens: tokens of one pack; a single longer text is a pack of its own.

    Returns:
        Batches that hold every distinct span with something to score exactly once.
    """
    texts = _texts(spans, key=lambda text: text.astype(">u4").tobytes())  # lexicographic: prefixes come together
    packs: list[_Pack] = []
    before = np.empty(0, dtype=np.int64)
    for text, owners in texts:
        shared = _common(before, text)
        shared = shared if shared >= min_shared else 0
        if not packs or packs[-1].size + len(text) - shared > max_batch_tokens:
            packs.append(_Pack())
            shared = 0
        packs[-1].add(text, shared, owners)
        before = text
    return [pack.finished() for pack in packs]


def pad_spans(spans: Sequence[TargetSpan], max_batch_tokens: int) -> list[Batch]:
    """Texts of similar length, padded on the right. Causal attention never looks right: padding changes no number.

    Args:
        max_batch_tokens: padded tokens of one batch; a single longer text is a batch of its own.
    """
    batches: list[list[_Text]] = []
    for text in _texts(spans, key=len):
        batch = batches[-1] if batches else []
        if batch and (len(batch) + 1) * len(text[0]) <= max_batch_tokens:
            batch.append(text)
        else:
            batches.append([text])
    return [_padded(batch) for batch in batches]


def _texts(spans: Sequence[TargetSpan], key: Callable[[np.ndarray], Any]) -> list[_Text]:
    """The distinct inputs (all tokens but the last) in order of `key`, each with the spans that need it."""
    owners: dict[tuple[int, ...], list[TargetSpan]] = {}
    for span in dict.fromkeys(spans):
        if span.n_scored:
            owners.setdefault(span.ids[:-1], []).append(span)
    texts = [(np.array(ids, dtype=np.int64), found) for ids, found in owners.items()]
    return sorted(texts, key=lambda text: key(text[0]))


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Length of the common prefix."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    return int(differ.argmax()) if differ.any() else size


class _Pack:
    """A pack that grows text by text, in lexicographic order."""

    def __init__(self) -> None:
        self.size = 0
        self.ids: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self.runs: list[Run] = []
        self.closed: list[tuple[np.ndarray, int]] = []  # tokens, and where their descendants end
        self.path = np.empty(0, dtype=np.int64)  # where the current text's tokens stand
        self.owned: list[tuple[TargetSpan, np.ndarray]] = []

    def add(self, text: np.ndarray, shared: int, owners: Sequence[TargetSpan]) -> None:
        """Append a text of which the first `shared` tokens are those of the text before."""
        self.closed.append((self.path[shared:], self.size))
        new = np.arange(self.size, self.size + len(text) - shared)
        self.runs.append(Run(self.size, self.size + len(new), tuple(_ranges(self.path[:shared]))))
        self.path = np.concatenate([self.path[:shared], new])
        self.ids.append(text[shared:])
        self.positions.append(np.arange(shared, len(text)))
        self.size += len(new)
        self.owned += [(span, self.path[span.first_scored - 1 :]) for span in owners]

    def finished(self) -> Batch:
        ends_T = np.empty(self.size, dtype=np.int64)
        for tokens, end in [*self.closed, (self.path, self.size)]:
            ends_T[tokens] = end
        tree = Tree(np.concatenate(self.positions), ends_T, tuple(self.runs))
        return _batch(np.concatenate(self.ids)[None], tree, self.owned)


def _ranges(indices: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ascending indices as ranges."""
    for part in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
        if len(part):
            yield int(part[0]), int(part[-1]) + 1


def _padded(texts: Sequence[_Text]) -> Batch:
    width = max(len(text) for text, _ in texts)
    ids_BT = np.zeros((len(texts), width), dtype=np.int64)
    owned = []
    for row, (text, owners) in enumerate(texts):
        ids_BT[row, : len(text)] = text
        places = np.arange(row * width, row * width + len(text))
        owned += [(span, places[span.first_scored - 1 :]) for span in owners]
    return _batch(ids_BT, None, owned)


def _batch(ids_BT: np.ndarray, tree: Tree | None, owned: Sequence[tuple[TargetSpan, np.ndarray]]) -> Batch:
    predictors = np.concatenate([places for _, places in owned])
    targets = np.concatenate([np.array(span.ids[span.first_scored :], dtype=np.int64) for span, _ in owned])
    distinct, places = np.unique((predictors << 32) | targets, return_inverse=True)
    return Batch(
        ids_BT,
        tree,
        predictors_N=distinct >> 32,
        targets_N=distinct & 0xFFFFFFFF,
        spans=tuple(span for span, _ in owned),
        picks=tuple(np.split(places, np.cumsum([len(found) for _, found in owned])[:-1])),
    )
