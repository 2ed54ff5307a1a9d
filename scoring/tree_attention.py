"""Attention over a pack: every token sees its own path in the token tree and nothing else.

Registered with transformers as one more attention implementation, so that models run unchanged. On a CPU it is a loop
over texts of `scaled_dot_product_attention`; on a GPU one compiled FlexAttention kernel with a block mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from scoring.batches import Run, Tree

IMPLEMENTATION = "token_tree"
QUERIES = 96  # in one call on a CPU; measured, 64 to 128 are alike

# What models tell their attention and a tree already knows or does not change.
HARMLESS = frozenset(
    ("position_ids", "cache_position", "is_causal", "use_cache", "output_attentions", "output_hidden_states")
)


class UnsupportedAttentionError(Exception):
    """A model's attention cannot be computed over a packed tree; the message says why, as `its attention …`."""


class TreeKernel(Protocol):
    """Computes the attention of one pack in every layer of a model."""

    def __call__(
        self, query_1HTD: torch.Tensor, key_1KTD: torch.Tensor, value_1KTD: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """The attention's output, of shape 1, T, H, D."""
        ...


@dataclass(frozen=True)
class _Piece:
    """Consecutive queries of a run: where they stand in the pack, how many of the run's keys they see, and the mask."""

    start: int
    stop: int
    n_keys: int
    mask: torch.Tensor | None


class RunKernel:
    """A loop over the texts of a pack. Few and long calls: right for a CPU, launch-bound on a GPU."""

    def __init__(self, tree: Tree, dtype: torch.dtype, device: torch.device) -> None:
        self.runs = [(run, list(_pieces(run, dtype, device))) for run in tree.runs]

    def __call__(self, query_1HTD, key_1KTD, value_1KTD, scale):
        grouped = query_1HTD.shape[1] != key_1KTD.shape[1]
        outputs = []
        for run, pieces in self.runs:
            key, value = (_gathered(states, run) for states in (key_1KTD, value_1KTD))
            for piece in pieces:
                output_1HTD = scaled_dot_product_attention(
                    query_1HTD[:, :, piece.start : piece.stop],
                    key[:, :, : piece.n_keys],
                    value[:, :, : piece.n_keys],
                    attn_mask=piece.mask,
                    is_causal=piece.mask is None,
                    scale=scale,
                    enable_gqa=grouped,
                )
                outputs.append(output_1HTD.transpose(1, 2))
        return torch.cat(outputs, 1)


def _gathered(states_1KTD: torch.Tensor, run: Run) -> torch.Tensor:
    """The keys or values of a run's text: its earlier tokens, then its new ones."""
    new = states_1KTD[:, :, run.start : run.stop]
    return torch.cat([*(states_1KTD[:, :, a:b] for a, b in run.before), new], 2) if run.before else new


def _pieces(run: Run, dtype: torch.dtype, device: torch.device) -> Iterator[_Piece]:
    """A run's queries, some at a time: the first ones are then not multiplied with the last keys, only to be masked."""
    n_before = sum(stop - start for start, stop in run.before)
    for start in range(run.start, run.stop, QUERIES):
        stop = min(start + QUERIES, run.stop)
        n_earlier = n_before + start - run.start  # keys that all queries of the piece see
        n_keys = n_earlier + stop - start
        mask = None
        if n_earlier:
            mask = torch.full((stop - start, n_keys), float("-inf"), dtype=dtype, device=device).triu_(n_earlier + 1)
        yield _Piece(start, stop, n_keys, mask)


def has_flex(device: torch.device) -> bool:
    """Whether FlexAttention is compiled into a fast kernel there."""
    return device.type == "cuda" and find_spec("triton") is not None


def kernel_for(ids_T: np.ndarray, tree: Tree, model: PreTrainedModel) -> tuple[np.ndarray, Tree, TreeKernel]:
    """The kernel for a pack on the model's device, and the pack as that kernel wants it."""
    if not has_flex(model.device):
        return ids_T, tree, RunKernel(tree, model.dtype, model.device)
    from scoring.flex import FlexKernel, flex_width  # only now: it brings the compiler, seconds of imports

    tree = tree.padded(flex_width(len(ids_T)))
    return np.pad(ids_T, (0, len(tree.ends_T) - len(ids_T))), tree, FlexKernel(tree, model.device)


_kernel: TreeKernel | None = None
_longest = 0
_calls = 0


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **asked: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in every layer. A window that no text outgrows is no window."""
    global _calls
    if sliding_window is not None and sliding_window < _longest:
        raise UnsupportedAttentionError("asks for a sliding window")
    unknown = [name for name, value in asked.items() if not (value is None or value is False or name in HARMLESS)]
    if unknown or dropout or not getattr(module, "is_causal", True):
        raise UnsupportedAttentionError(f"asks for {', '.join(unknown) or 'more than causal attention'}")
    if _kernel is None:
        raise RuntimeError(f"the attention {IMPLEMENTATION!r} runs inside attention_over() only")
    _calls += 1
    return _kernel(query, key, value, scaling), None


AttentionInterface.register(IMPLEMENTATION, _attend)
AttentionMaskInterface.register(IMPLEMENTATION, lambda *_, **__: None)


@contextmanager
def tree_attention(model: PreTrainedModel) -> Iterator[None]:
    """Give every layer of `model` this attention; on leaving, the one it had."""
    before = model.config._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def attention_over(kernel: TreeKernel, longest: int) -> Iterator[None]:
    """Let the attention see the pack of `kernel`, whose texts have at most `longest` tokens, for one forward pass."""
    global _kernel, _longest, _calls
    _kernel, _longest, _calls = kernel, longest, 0
    try:
        yield
    finally:
        _kernel = None


def n_calls() -> int:
    """How many layers called this attention in the last forward pass."""
    return _calls
