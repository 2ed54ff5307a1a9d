"""The engine: the loss of every target token, exactly, with every distinct prefix computed once.

It needs torch and transformers only. `scoring.batches` lays the texts out, `scoring.tree_attention` lets a packed token
see its own path, `scoring.heads` makes logits at target positions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from hub_cards.errors import BadInputError, StoppedError
from scoring.batches import Batch, pack_spans, pad_spans
from scoring.heads import find_head
from scoring.spans import TargetSpan
from scoring.tree_attention import UnsupportedAttentionError, attention_over, kernel_for, n_calls, tree_attention

CPU_BATCH_TOKENS = 2048  # measured: below, fewer prefixes meet; far above, results in between leave the caches
GPU_BATCH_TOKENS = 4096  # where the memory cannot be asked
MOST_BATCH_TOKENS = 32768
PROBE_TOKENS = 2048
USABLE_MEMORY = 0.7  # of what is free, to leave room for fragmentation

# How far losses may lie from those of one text at a time before a run is stopped, relative.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
HALF_TOLERANCE = 3e-2

_Measure = Callable[[Batch], torch.Tensor]  # a row of values for each of a batch's N predictions


class LikelihoodEngine:
    """Losses of target tokens under one causal LM.

    Args:
        model: in evaluation mode, on its device.
        max_length: the longest text that will come.
        max_batch_tokens: tokens of one forward pass; found from the free memory where not given, lowered when memory
            runs out. Never changes a result.
        pack: False forces the padded layout, with the attention that the model was loaded with. Otherwise texts are
            packed, if trying shows that the model's attention allows it.

    Attributes:
        is_packed: which layout is used.
        why_padded: the reason where texts are not packed.
        tokens_run, tokens_scored: tokens that went through the model, and predictions made, so far.
    """

    def __init__(
        self, model: PreTrainedModel, max_length: int, max_batch_tokens: int | None = None, pack: bool = True
    ) -> None:
        self.model = model
        self.max_length = max_length
        self.tokens_run = self.tokens_scored = 0
        self.head = find_head(model)
        self.why_padded = self._obstacle() if pack else "asked for"
        self.is_packed = self.why_padded is None
        self.max_batch_tokens = max_batch_tokens or self._find_max_batch_tokens()

    def plan(self, spans: Sequence[TargetSpan]) -> list[Batch]:
        """The batches for these spans. Touches no model: another thread may plan ahead of it."""
        return (pack_spans if self.is_packed else pad_spans)(spans, self.max_batch_tokens)

    def token_losses(self, spans: Sequence[TargetSpan], plan: Sequence[Batch] | None = None) -> list[np.ndarray]:
        """Negative log-likelihood of every target token of every span.

        Args:
            plan: what `plan` returned for these spans.

        Returns:
            One float32 array of length `n_scored` a span, in nats; empty where nothing is left to score. Values may be
            NaN or infinite where the model's are.

        Raises:
            BadInputError: a token id is beyond the model's embeddings.
            StoppedError: a single text does not fit into the memory.
        """
        losses_of = self._measure(spans, plan, self._losses)
        nothing = np.empty(0, dtype=np.float32)
        return [losses_of.get(span, nothing) for span in spans]

    def next_token_probabilities(
        self, spans: Sequence[TargetSpan], token_ids: Sequence[int], plan: Sequence[Batch] | None = None
    ) -> np.ndarray:
        """Probability of some tokens as the next one after each text, by the softmax over the whole vocabulary.

        Args:
            spans: texts whose last token is their only target. It stands for what comes next and is not looked at.
            token_ids: K tokens.
            plan: what `plan` returned for these spans.

        Returns:
            float64 of shape N, K. NaN for a text without tokens, and where the model gives NaN.

        Raises:
            BadInputError: a token id is beyond the model's embeddings.
            StoppedError: a single text does not fit into the memory.
        """
        self._check_highest(max(token_ids))
        losses_of = self._measure(spans, plan, lambda batch: self._losses_of_each(batch, token_ids))
        nothing = np.full((1, len(token_ids)), np.nan)
        losses_NK = np.array([losses_of.get(span, nothing)[-1] for span in spans], dtype=np.float64)
        return np.exp(-losses_NK.reshape(len(spans), len(token_ids)))

    def _measure(
        self, spans: Sequence[TargetSpan], plan: Sequence[Batch] | None, measure: _Measure
    ) -> dict[TargetSpan, np.ndarray]:
        """What `measure` finds for the predictions of every span that has any; batches shrink as the memory asks."""
        batches = list(self.plan(spans) if plan is None else plan)[::-1]
        self._check_ids(batches)
        found: list[tuple[Batch, torch.Tensor]] = []
        with torch.inference_mode(), tree_attention(self.model) if self.is_packed else nullcontext():
            while batches:
                batch = batches.pop()
                try:
                    found.append((batch, measure(batch)))
                except RuntimeError as error:  # torch.OutOfMemoryError is one
                    if not is_out_of_memory(error):
                        raise
                    batches += self._smaller(batch)[::-1]
            # Only now: every copy to the CPU waits for the device.
            return {
                span: self._own(span, values[pick], batch, measure)
                for batch, values in ((batch, values_N.cpu().numpy()) for batch, values_N in found)
                for span, pick in zip(batch.spans, batch.picks, strict=True)
            }

    def _own(self, span: TargetSpan, values: np.ndarray, batch: Batch, measure: _Measure) -> np.ndarray:
        """The values of one span; NaN or infinity of another text that shares a prefix with it does not reach them.

        A masked key still enters the attention as 0 times its value, which is NaN where that is not finite.
        """
        if np.isfinite(values).all() or len(batch.spans) == 1:
            return values
        (alone,) = self.plan([span])
        return measure(alone).cpu().numpy()[alone.picks[0]]

    def check(self, spans: Sequence[TargetSpan]) -> float:
        """Compare with the plainest way there is: one text at a time, full logits, the model's own attention.

        Returns:
            The largest relative difference of a span's mean loss; 0 where nothing could be compared.

        Raises:
            StoppedError: it is more than the precision explains, or no text has a finite loss.
        """
        pairs = [
            (span, float(losses.mean(dtype=np.float64)), self._plain_loss(span))
            for span, losses in zip(spans, self.token_losses(spans), strict=True)
            if len(losses)
        ]
        if pairs and not any(np.isfinite(wanted) for _, _, wanted in pairs):
            raise StoppedError(
                f"self-check: the model gives NaN or infinity for each of {len(pairs)} texts: its weights are damaged, "
                "or too large for --dtype float16 (take bfloat16 or float32)"
            )
        for span, found, wanted in pairs:
            if _difference(found, wanted) > TOLERANCE.get(self.model.dtype, HALF_TOLERANCE):
                raise StoppedError(
                    f"self-check: a text of {len(span.ids)} tokens has a loss of {found:.6g} when scored with others "
                    f"and {wanted:.6g} alone; this model cannot be scored "
                    + ("packed: run again with --attn_implementation sdpa" if self.is_packed else "in batches")
                )
        return max((_difference(found, wanted) for _, found, wanted in pairs), default=0.0)

    @torch.inference_mode()
    def _plain_loss(self, span: TargetSpan) -> float:
        ids_1T = torch.tensor([span.ids], device=self.model.device)
        logits_TV = self.model(input_ids=ids_1T, use_cache=False).logits[0].float()
        first = span.first_scored
        return torch.nn.functional.cross_entropy(logits_TV[first - 1 : -1], ids_1T[0, first:]).item()

    def _losses(self, batch: Batch) -> torch.Tensor:
        """The losses of a batch's predictions, on the device."""
        predictors_N = torch.from_numpy(batch.predictors_N).to(self.model.device)
        targets_N = torch.from_numpy(batch.targets_N).to(self.model.device)
        losses_N = self.head.losses(self._states(batch).flatten(0, 1)[predictors_N], targets_N)
        self.tokens_run += batch.ids_BT.size
        self.tokens_scored += len(targets_N)
        return losses_N

    def _losses_of_each(self, batch: Batch, token_ids: Sequence[int]) -> torch.Tensor:
        """The losses of K tokens where a batch predicts one, of shape N, K, on the device.

        A place's logits are made K times over: with one place a text that is little beside the text itself.
        """
        size, count = len(batch.predictors_N), len(token_ids)
        each = replace(
            batch, predictors_N=batch.predictors_N.repeat(count), targets_N=np.tile(np.array(token_ids), size)
        )
        return self._losses(each).view(size, count)

    def _states(self, batch: Batch, longest: int = 0) -> torch.Tensor:
        """What the head needs of every token of a batch; `longest` may claim longer texts than there are."""
        device = self.model.device
        if batch.tree is None:
            return self.head.states(torch.from_numpy(batch.ids_BT).to(device), None)
        ids_T, tree, kernel = kernel_for(batch.ids_BT[0], batch.tree, self.model)
        ids_1T, positions_1T = (torch.from_numpy(array)[None].to(device) for array in (ids_T, tree.positions_T))
        with attention_over(kernel, max(longest, int(tree.positions_T.max()) + 1)):
            return self.head.states(ids_1T, positions_1T)

    def _smaller(self, batch: Batch) -> list[Batch]:
        """The spans of a batch that did not fit, in smaller ones; later plans are smaller too."""
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if len({span.ids[:-1] for span in batch.spans}) == 1:
            raise StoppedError(
                f"a single text of {batch.ids_BT.size} tokens does not fit into the memory beside the model: lower "
                "--max_length, or take --dtype bfloat16; what was scored is kept"
            )
        self.max_batch_tokens = max(min(self.max_batch_tokens, batch.ids_BT.size) // 2, 1)
        return self.plan(batch.spans)

    @torch.inference_mode()
    def _obstacle(self) -> str | None:
        """Why texts cannot be packed; None where they can.

        Decided by trying, because what a model does with its attention and positions stands in no configuration: it
        must call our attention in every layer, ask nothing of it that a tree cannot do for texts of `max_length`, and
        give texts that share prefixes the states that it gives each text alone.
        """
        spans = [TargetSpan(tuple(ids), 1, truncated=False) for ids in _probe_texts(self.model, self.max_length)]
        (batch,) = pack_spans(spans, PROBE_TOKENS, min_shared=1)
        layers = getattr(self.model.config.get_text_config(), "num_hidden_layers", None)
        try:
            with tree_attention(self.model):
                packed_TX = self._states(batch, longest=self.max_length)[0].float()
                if n_calls() != layers:
                    return "not every layer takes its attention from transformers' interface"
        except UnsupportedAttentionError as error:
            return f"its attention {error}"
        except (TypeError, ValueError):
            return "it takes no positions"
        for span, pick in zip(batch.spans, batch.picks, strict=True):
            alone_TX = self.head.states(torch.tensor([span.ids[:-1]], device=self.model.device), None)[0].float()
            difference = (packed_TX[torch.from_numpy(batch.predictors_N[pick])] - alone_TX).abs().max()
            if not difference <= TOLERANCE.get(self.model.dtype, HALF_TOLERANCE) * alone_TX.abs().max():
                return "its states differ between packed and single texts"
        return None

    @torch.inference_mode()
    def _find_max_batch_tokens(self) -> int:
        """As many tokens as fit: the memory that a small batch takes, scaled up to what is free."""
        device = self.model.device
        if device.type == "cpu":
            return CPU_BATCH_TOKENS
        if device.type != "cuda":
            return GPU_BATCH_TOKENS
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        self._score_probe()
        a_token = (torch.cuda.max_memory_allocated(device) - before) / PROBE_TOKENS
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return batch_tokens_for(free, a_token)

    def _score_probe(self) -> None:
        """Score random texts, `PROBE_TOKENS` in one batch, all of their tokens as targets."""
        self.max_batch_tokens = PROBE_TOKENS
        length = min(128, self.max_length)
        size = (PROBE_TOKENS // length, length)
        texts = torch.randint(_n_embeddings(self.model), size, generator=torch.Generator().manual_seed(0))
        self.token_losses([TargetSpan(tuple(ids), 1, truncated=False) for ids in texts.tolist()])

    def _check_ids(self, batches: Sequence[Batch]) -> None:
        self._check_highest(max((max(batch.ids_BT.max(), batch.targets_N.max()) for batch in batches), default=0))

    def _check_highest(self, token_id: int) -> None:
        n_embeddings = _n_embeddings(self.model)
        if token_id >= n_embeddings:
            raise BadInputError(
                f"the tokenizer gives the token id {token_id}, the model has only {n_embeddings} embeddings: "
                "--model_name_or_path holds a tokenizer and a model that do not belong together"
            )


def batch_tokens_for(free_bytes: float, bytes_per_token: float) -> int:
    """The largest power of two of tokens that fits into `USABLE_MEMORY` of what is free, within bounds."""
    fitting = USABLE_MEMORY * free_bytes / max(bytes_per_token, 1.0)
    return min(max(2 ** int(math.log2(max(fitting, 1.0))), 256), MOST_BATCH_TOKENS)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _difference(found: float, wanted: float) -> float:
    """Relative; none where neither is a number."""
    if not (np.isfinite(found) and np.isfinite(wanted)):
        return 0.0 if np.isfinite(found) == np.isfinite(wanted) else np.inf
    return abs(found - wanted) / max(abs(wanted), 1e-3)


def _n_embeddings(model: PreTrainedModel) -> int:
    return model.get_input_embeddings().weight.shape[0]


def _probe_texts(model: PreTrainedModel, max_length: int) -> list[list[int]]:
    """Random texts: two that share half of their tokens, one that ends soon after, one that shares none."""
    length = max(min(80, max_length), 8)
    ids = torch.randint(_n_embeddings(model), (3 * length,), generator=torch.Generator().manual_seed(0)).tolist()
    prefix, one, other, apart = ids[: length // 2], ids[length : length * 5 // 4], ids[-length // 2 :], ids[-length:]
    return [prefix + one, prefix + other, [*prefix, ids[length]], apart]
