"""From hidden states to the losses of target tokens, a chunk at a time: never the logits of a whole batch."""

from __future__ import annotations

from typing import Protocol

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

# Elements of a chunk of logits: on a CPU little more than its caches hold, but rows enough for the matrix product to be
# efficient; on a GPU 0.5 GB of float32.
LEAST_CHUNK_ROWS = 256
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
    """Output embeddings and nothing after them. Logits live in one buffer and are reduced in place."""

    def logits(self, states_NX: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """States times output embeddings, into `out` where it is given."""
        head = self.model.get_output_embeddings()
        logits_NV = torch.mm(states_NX, head.weight.t(), out=out)
        bias = getattr(head, "bias", None)
        return logits_NV if bias is None else logits_NV.add_(bias)

    def losses(self, states_NX: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        """See `Head`. The log-sum-exp is taken in float32 whatever the model's precision."""
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        rows = min(chunk_rows(vocabulary, states_NX.device), len(states_NX))
        buffer = states_NX.new_empty(rows, vocabulary)
        wide = buffer if buffer.dtype == torch.float32 else torch.empty_like(buffer, dtype=torch.float32)
        losses = torch.empty(len(states_NX), dtype=torch.float32, device=states_NX.device)
        for start in range(0, len(states_NX), rows):
            states = states_NX[start : start + rows]
            logits = self.logits(states, out=buffer[: len(states)])
            if wide is not buffer:
                logits = wide[: len(states)].copy_(logits)
            target = logits.gather(1, targets_N[start : start + rows, None])[:, 0]
            highest = logits.amax(1, keepdim=True)
            total = logits.sub_(highest).exp_().sum(1)
            losses[start : start + rows] = total.log_() + highest[:, 0] - target
        return losses


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
