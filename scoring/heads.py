"""From hidden states to the losses of target tokens, a chunk at a time: never the logits of a whole batch."""

from __future__ import annotations

from typing import Protocol

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

# States and tokens of one block of logits. Measured on a CPU: 105 GFLOP/s, where 256 rows of a vocabulary of 50,000
# make 60 to 90, their logits travelling through the memory five times. On a GPU a block is 0.5 GB of float32.
CPU_BLOCK = (1024, 4096)
GPU_BLOCK = (8192, 16384)
# Logits of the whole vocabulary that a head which is not linear makes at a time.
LEAST_CHUNK_ROWS = 64
CPU_CHUNK_ELEMENTS = 2**22
GPU_CHUNK_ELEMENTS = 2**27


class Head(Protocol):
    """Makes logits of hidden states."""

    def states(self, ids_BT: torch.Tensor, positions_BT: torch.Tensor | None) -> torch.Tensor:
        """The model's states of all tokens, of shape B, T, X; `losses` takes some of them."""
        ...

    def losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of each target, float32, in nats."""
        ...


def find_head(model: PreTrainedModel) -> Head:
    """The cheapest way to the model's own logits that gives them exactly, found by trying."""
    for kind in (LinearHead, ModelHead):
        head = kind(model)
        if _gives_the_models_logits(head, model):
            return head
    return WholeModel(model)


@torch.inference_mode()
def _gives_the_models_logits(head: LinearHead | ModelHead, model: PreTrainedModel) -> bool:
    output = model.get_output_embeddings()
    if output is None or model.base_model is model:
        return False
    probe = torch.arange(4, device=model.device)[None]
    states = head.states(probe, None)
    if states.shape[-1] != output.weight.shape[-1]:
        return False
    wanted = model(input_ids=probe, use_cache=False).logits[0].float()
    found = head.logits(states[0]).float()
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-3)


class _BodyAndHead:
    """A model in two parts: its body gives states for all tokens, its head logits for the few that predict a target."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def states(self, ids_BT: torch.Tensor, positions_BT: torch.Tensor | None) -> torch.Tensor:
        """The last hidden state of every token."""
        body = self.model.base_model
        return body(input_ids=ids_BT, use_cache=False, **_positions(positions_BT)).last_hidden_state


class LinearHead(_BodyAndHead):
    """Output embeddings and nothing after them.

    Logits are made for some states and some of the vocabulary at a time, in one buffer that is reduced in place while
    the caches hold it; the log-sum-exp over the whole vocabulary is put together from these blocks.
    """

    def logits(
        self, states_NX: torch.Tensor, tokens: slice = slice(None), out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """States times output embeddings of some of the vocabulary, into `out` where it is given."""
        head = self.model.get_output_embeddings()
        logits_NV = torch.mm(states_NX, head.weight[tokens].t(), out=out)
        bias = getattr(head, "bias", None)
        return logits_NV if bias is None else logits_NV.add_(bias[tokens])

    def losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """See `Head`. The log-sum-exp is taken in float32 whatever the model's precision."""
        rows, _ = CPU_BLOCK if states_NX.device.type == "cpu" else GPU_BLOCK
        parts = zip(states_NX.split(rows), targets_N.split(rows), strict=True)
        return torch.cat([self._losses(states, targets) for states, targets in parts])

    def _losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        size, vocabulary = len(states_NX), self.model.get_output_embeddings().weight.shape[0]
        _, width = CPU_BLOCK if states_NX.device.type == "cpu" else GPU_BLOCK
        buffer = states_NX.new_empty(size * min(width, vocabulary))
        wide = buffer if buffer.dtype == torch.float32 else torch.empty_like(buffer, dtype=torch.float32)
        target_N1, total_N1 = (torch.zeros(size, 1, device=states_NX.device) for _ in range(2))
        # Not -inf: a block of logits that are all -inf would make it NaN.
        highest_N1 = torch.full_like(total_N1, torch.finfo(torch.float32).min)
        for start in range(0, vocabulary, width):
            stop = min(start + width, vocabulary)
            place = (size, stop - start)
            logits = self.logits(states_NX, slice(start, stop), out=buffer[: size * place[1]].view(place))
            if wide is not buffer:
                logits = wide[: size * place[1]].view(place).copy_(logits)
            inside_N1 = ((targets_N >= start) & (targets_N < stop))[:, None]
            found_N1 = logits.gather(1, (targets_N[:, None] - start).clamp(0, place[1] - 1))
            target_N1 = torch.where(inside_N1, found_N1, target_N1)
            before_N1, highest_N1 = highest_N1, torch.maximum(highest_N1, logits.amax(1, keepdim=True))
            total_N1 *= (before_N1 - highest_N1).exp_()
            total_N1 += logits.sub_(highest_N1).exp_().sum(1, keepdim=True)
        return (total_N1.log_() + highest_N1 - target_N1)[:, 0]


class ModelHead(_BodyAndHead):
    """A head that caps or scales its logits: the model's own forward, with its body replaced by the states it made."""

    def logits(self, states_NX: torch.Tensor) -> torch.Tensor:
        """The model's logits for these states."""
        model, prefix = self.model, self.model.base_model_prefix
        body = getattr(model, prefix)
        setattr(model, prefix, _Given(states_NX[None]))
        try:
            ids = torch.zeros(1, len(states_NX), dtype=torch.long, device=states_NX.device)
            return model(input_ids=ids, use_cache=False).logits[0]
        finally:
            setattr(model, prefix, body)

    def losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """See `Head`."""
        rows = chunk_rows(self.model.get_output_embeddings().weight.shape[0], states_NX.device)
        chunks = zip(states_NX.split(rows), targets_N.split(rows), strict=True)
        return torch.cat([_cross_entropy(self.logits(states), targets) for states, targets in chunks])


class WholeModel:
    """The last resort, for models that cannot be taken apart: logits of all tokens."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def states(self, ids_BT: torch.Tensor, positions_BT: torch.Tensor | None) -> torch.Tensor:
        """The logits themselves."""
        return self.model(input_ids=ids_BT, use_cache=False, **_positions(positions_BT)).logits

    def losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """See `Head`."""
        rows = chunk_rows(states_NX.shape[1], states_NX.device)
        chunks = zip(states_NX.split(rows), targets_N.split(rows), strict=True)
        return torch.cat([_cross_entropy(logits, targets) for logits, targets in chunks])


class _Given(torch.nn.Module):
    """Stands in for a model's body and answers with states that are there already."""

    def __init__(self, states_BTX: torch.Tensor) -> None:
        super().__init__()
        self.states_BTX = states_BTX

    def forward(self, *_args, **_kwargs) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=self.states_BTX)


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """How many rows of logits are made at a time."""
    elements = CPU_CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(elements // vocabulary, LEAST_CHUNK_ROWS)


def _cross_entropy(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="none")


def _positions(positions_BT: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Models without position ids are never asked to take some."""
    return {} if positions_BT is None else {"position_ids": positions_BT}
