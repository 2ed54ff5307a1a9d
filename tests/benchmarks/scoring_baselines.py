"""What the scoring benchmark compares: ours, the published scripts' way, and plain padded batches.

Each takes rows and a scorer and gives the mean losses of every row, NaN where there is nothing to score. Each does its
own tokenization.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from scoring.batches import pack_spans
from scoring.ifd import Scorer, encode_rows, score_batch
from scoring.ratios import LOSS_KEYS, mean_loss
from scoring.spans import TargetSpan, encode_pairs
from scoring.templates import reverse_prompt

Rows = dict[str, list[str]]
Losses = dict[str, list[float]]
Way = Callable[[Rows, Scorer, tuple[str, ...]], Losses]

BOTH, ANSWER = ("Q", "A"), ("A",)
PADDED_BATCH = 16
OURS_BATCH = 64  # rows in one plan; the shards of recipes/score.py hold about as many


def count(rows: Rows) -> int:
    return len(rows["output"])


def part(rows: Rows, chosen: slice) -> Rows:
    return {name: column[chosen] for name, column in rows.items()}


def _encode(rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> Iterator[tuple[int, str, list[int], int]]:
    """Row by row and text by text, as the published scripts do: row, key, ids, and where the target begins."""
    texts = zip(*(rows[name] for name in ("instruction", "input", "output")), strict=True)
    for row, (instruction, input, output) in enumerate(texts):
        targets = {"Q": instruction + input, "A": output}
        contexts = {"Q": reverse_prompt(scorer.template, output), "A": scorer.template.prompt(instruction, input)}
        for side in sides:
            start = len(scorer.tokenizer(contexts[side])["input_ids"])
            limit = scorer.max_length - min(start, scorer.max_length) + 1
            yield row, f"{side}_direct", scorer.tokenizer(targets[side])["input_ids"][:limit], 1
            whole = scorer.tokenizer(contexts[side] + targets[side])["input_ids"] if targets[side] else []
            yield row, f"{side}_condition", whole[: scorer.max_length], start


def _keys(sides: tuple[str, ...]) -> list[str]:
    return [key for key in LOSS_KEYS if key[0] in sides]


@torch.inference_mode()
def seeds(rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> Losses:
    """One sequence at a time, a forward pass for each loss; the context is masked in the labels (-100), so that logits
    and log-probabilities are made of every token, and the loss is the model's own.
    """
    model = scorer.engine.model
    losses: Losses = {key: [float("nan")] * count(rows) for key in _keys(sides)}
    for row, key, ids, start in _encode(rows, scorer, sides):
        if len(ids) > start:
            ids_1T = torch.tensor([ids], device=model.device)
            labels_1T = ids_1T.clone()
            labels_1T[0, :start] = -100
            losses[key][row] = model(input_ids=ids_1T, labels=labels_1T, use_cache=False).loss.item()
    return losses


@torch.inference_mode()
def padded_16(rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> Losses:
    """Sixteen rows at a time in the order of the data, one forward pass for each of their losses, full logits."""
    model = scorer.engine.model
    losses: Losses = {key: [float("nan")] * count(rows) for key in _keys(sides)}
    for first in range(0, count(rows), PADDED_BATCH):
        encoded = list(_encode(part(rows, slice(first, first + PADDED_BATCH)), scorer, sides))
        for key, found in losses.items():
            batch = [(row, ids, start) for row, its_key, ids, start in encoded if its_key == key and len(ids) > start]
            if not batch:
                continue
            ids_BT = torch.zeros(len(batch), max(len(ids) for _, ids, _ in batch), dtype=torch.long)
            mask_BT = torch.zeros_like(ids_BT)
            for number, (_, ids, _) in enumerate(batch):
                ids_BT[number, : len(ids)] = torch.tensor(ids)
                mask_BT[number, : len(ids)] = 1
            ids_BT, mask_BT = ids_BT.to(model.device), mask_BT.to(model.device)
            logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
            for number, (row, ids, start) in enumerate(batch):
                logits_TV = logits_BTV[number, start - 1 : len(ids) - 1].float()
                found[first + row] = cross_entropy(logits_TV, ids_BT[number, start : len(ids)]).item()
            del logits_BTV  # before the next batch's: both together are twice the memory
    return losses


def ours(rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> Losses:
    """What recipes/score.py does with a shard; of one side alone, the engine on that side's texts."""
    losses: Losses = {key: [] for key in _keys(sides)}
    for first in range(0, count(rows), OURS_BATCH):
        batch = part(rows, slice(first, first + OURS_BATCH))
        if sides == BOTH:
            scored = score_batch(batch, scorer)
            means = [loss for key in losses for loss in scored[f"loss_{key}"]]
        else:
            means = [mean_loss(found) for found in scorer.engine.token_losses(_spans(batch, scorer, sides))]
        for number, found in enumerate(losses.values()):
            these = means[number * count(batch) : (number + 1) * count(batch)]
            found += [float("nan") if mean is None else mean for mean in these]
    return losses


WAYS: dict[str, Way] = {"ours": ours, "seeds": seeds, "padded_16": padded_16}


def _spans(rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> list[TargetSpan]:
    """The texts of all rows for the first key, then for the second."""
    if sides == BOTH:
        return encode_rows(rows, scorer).all_spans()
    contexts = list(map(scorer.template.prompt, rows["instruction"], rows["input"]))
    pairs = encode_pairs(scorer.tokenizer, contexts, rows["output"], scorer.max_length, scorer.span)
    return [getattr(pair, key.split("_")[1]) for key in _keys(sides) for pair in pairs]


@dataclass(frozen=True)
class Needed:
    """The least that any layout has to compute for some rows.

    Attributes:
        tokens: distinct prefixes of all texts.
        predictions: distinct pairs of such a prefix and the token that follows it.
        tokens_apart: tokens of all texts, one by one.
    """

    tokens: int
    predictions: int
    tokens_apart: int

    @classmethod
    def of(cls, rows: Rows, scorer: Scorer, sides: tuple[str, ...]) -> "Needed":
        """Counted in one pack of everything, where every common prefix is shared."""
        spans = _spans(rows, scorer, sides)
        (pack,) = pack_spans(spans, max_batch_tokens=2**40, min_shared=1)
        return cls(pack.ids_BT.size, len(pack.targets_N), sum(len(span.ids) for span in spans if span.n_scored))

    def flops(self, model: torch.nn.Module) -> float:
        """Of the matrix products with weights; attention, which a layout may do in several ways, is not counted."""
        body, head = matrix_sizes(model)
        return 2.0 * (self.tokens * body + self.predictions * head)

    def flops_apart(self, model: torch.nn.Module) -> float:
        """The same for texts one by one with the logits of every token."""
        return 2.0 * self.tokens_apart * sum(matrix_sizes(model))


def matrix_sizes(model: torch.nn.Module) -> tuple[int, int]:
    """Parameters of the body, embeddings not counted, and of the head."""
    head = model.get_output_embeddings().weight
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    body = sum(weight.numel() for weight in model.parameters() if id(weight) not in {*tables, id(head)})
    return body, head.numel()
