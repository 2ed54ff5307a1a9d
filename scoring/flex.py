"""Tree attention on a GPU: one compiled FlexAttention kernel with a block mask made from the tree."""

from __future__ import annotations

import numpy as np
import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from scoring.batches import Tree
from scoring.tree_attention import UnsupportedAttentionError

BLOCK = 128  # FlexAttention's tile


class FlexKernel:
    """FlexAttention with a block mask made from the tree; its shapes are few, so that it is compiled a few times."""

    compiled = staticmethod(torch.compile(flex_attention, dynamic=False))

    def __init__(self, tree: Tree, device: torch.device) -> None:
        # One graph a width: beyond its limit the compiler would quietly fall back to all scores at once.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        self.mask = block_mask(tree.ends_T, device)

    def __call__(self, query_1HTD, key_1KTD, value_1KTD, scale):
        grouped = query_1HTD.shape[1] != key_1KTD.shape[1]
        try:
            output_1HTD = self.compiled(
                query_1HTD, key_1KTD, value_1KTD, block_mask=self.mask, scale=scale, enable_gqa=grouped
            )
        except TorchDynamoException as error:  # no kernel for these sizes, or no compiler
            raise UnsupportedAttentionError(f"could not be compiled ({str(error).splitlines()[0]})") from error
        return output_1HTD.transpose(1, 2)


def flex_width(n_tokens: int) -> int:
    """The next of 128, 256, 384, 512, 768, 1024, 1536, …: few widths, so that few kernels are compiled."""
    width = BLOCK
    while width < n_tokens:
        if width >= 2 * BLOCK and width * 3 // 2 >= n_tokens:
            return width * 3 // 2
        width *= 2
    return width


def block_mask(ends_T: np.ndarray, device: torch.device) -> BlockMask:
    """The tree as FlexAttention's mask; T must be a multiple of `BLOCK`.

    Token q sees token k if k <= q < ends_T[k]. So a block of keys matters to a later block of queries if the last of
    its ends lies beyond that block's first query, and needs no look at single tokens if the first of its ends lies
    beyond that block's last.
    """
    n_blocks = len(ends_T) // BLOCK
    ends = ends_T.reshape(n_blocks, BLOCK)
    block = np.arange(n_blocks)
    earlier_QK = block[None, :] < block[:, None]
    seen_QK = (earlier_QK & (ends.max(1)[None, :] > block[:, None] * BLOCK)) | np.eye(n_blocks, dtype=bool)
    whole_QK = earlier_QK & (ends.min(1)[None, :] >= (block[:, None] + 1) * BLOCK)
    ends_on_device = torch.from_numpy(ends_T).to(device, torch.int32)

    def sees(_batch, _head, q, k):
        return (k <= q) & (q < ends_on_device[k])

    return BlockMask.from_kv_blocks(
        *_listed(seen_QK & ~whole_QK, device),
        *_listed(whole_QK, device),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(len(ends_T), len(ends_T)),
        compute_q_blocks=False,
    )


def _listed(chosen_QK: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks each row chooses, and which: the chosen ones first, in order."""
    order = np.argsort(~chosen_QK, axis=1, kind="stable")
    counts = chosen_QK.sum(1)
    return tuple(torch.from_numpy(a.astype(np.int32)).to(device)[None, None] for a in (counts, order))
