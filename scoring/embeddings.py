"""Vectors of rows: sentence embeddings, coherence of question and answer, and the student's own view of a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import COHERENCE_COLUMNS, EMBEDDING_COLUMNS, PROMPT_EMBEDDING_COLUMNS, Column
from hub_cards.sources import Source, find_model
from scoring.batches import Batch as TokenBatch
from scoring.config import SENTENCE_EMBEDDER
from scoring.ifd import Scorer
from scoring.likelihood import is_out_of_memory
from scoring.ratios import is_usable, mean_loss
from scoring.spans import NOTHING, TargetSpan

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Batch = dict[str, list[Any]]

# Beside files that are missing or damaged: modules that are not there or do not fit, weights of another shape.
LOADING_ERRORS = (OSError, ValueError, ImportError, KeyError, TypeError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class SentenceEmbedder:
    """A sentence-transformers model.

    Attributes:
        model: in float32, on its device.
        model_identity: digest of the model's files; empty where the model was made by hand.
    """

    model: SentenceTransformer
    model_identity: str = ""

    def encode(self, texts: Sequence[str | None]) -> list[np.ndarray | None]:
        """The embedding of each text, float32 and of length 1; null for null, and where the model gives NaN.

        Pooling is the model's own (all-MiniLM-L6-v2 takes the mean over tokens). A text is cut at the model's
        `max_seq_length`, 256 tokens for all-MiniLM-L6-v2. The same text is computed once a call; texts are batched by
        length, and what else is in a batch changes an embedding by rounding only (about 1e-7).
        """
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        if not distinct:
            return [None] * len(texts)
        vectors_ND = self.model.encode(distinct, normalize_embeddings=True, show_progress_bar=False)
        found = {
            text: vector if np.isfinite(vector).all() else None
            for text, vector in zip(distinct, vectors_ND.astype(np.float32, copy=False), strict=True)
        }
        return [None if text is None else found[text] for text in texts]


def load_sentence_embedder(
    name_or_path: str = SENTENCE_EMBEDDER,
    revision: str | None = None,
    device: torch.device | str | None = None,
    source: Source | None = None,
) -> SentenceEmbedder:
    """Load a sentence-transformers model, in float32 whatever the checkpoint's precision.

    Args:
        name_or_path: a folder or a Hub id.
        revision: of the Hub id; resolved to a commit.
        device: where to run; the accelerator if there is one, else the CPU.
        source: the resolved model, where it is known already.

    Raises:
        BadInputError: there is no such model, or its files cannot be loaded as one.
    """
    from sentence_transformers import SentenceTransformer  # two seconds, which the student's measure can do without

    flag = "--embedding_model"
    source = source or find_model(name_or_path, revision, flag)
    if source.kind == "folder" and not (Path(name_or_path) / "modules.json").is_file():
        raise BadInputError(f"{flag} {name_or_path}: holds no sentence-transformers model (it has no modules.json)")
    device = torch.device(device or torch.accelerator.current_accelerator() or "cpu")
    try:
        model = SentenceTransformer(
            name_or_path, revision=source.revision, device=str(device), model_kwargs={"dtype": torch.float32}
        )
    except LOADING_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInputError(f"{flag} {name_or_path}: cannot be loaded as a sentence embedder ({reason})") from error
    return SentenceEmbedder(model.eval(), fingerprint_of([source.fingerprint]))


@dataclass(frozen=True)
class EmbeddingMeasure:
    """One vector a row: the sentence embedding of instruction, input and output, a line each where they are not empty.

    Superfiltering with diversity (arXiv 2402.00530) picks rows by these.
    """

    embedder: SentenceEmbedder
    columns: ClassVar[tuple[Column, ...]] = EMBEDDING_COLUMNS

    def prepare(self, rows: Batch) -> list[str | None]:
        """The text of every row; touches no model.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
        """
        return [_joined(*row) for row in _rows(rows)]

    def compute(self, rows: Batch, prepared: list[str | None] | None = None) -> Batch:
        """The column `embedding`, see `SentenceEmbedder.encode`; null where the whole text is empty or white space."""
        return {"embedding": self.embedder.encode(prepared or self.prepare(rows))}


@dataclass(frozen=True)
class CoherenceMeasure:
    """How near the answer is to its question: the cosine of their sentence embeddings (arXiv 2310.11716, Table 3).

    The question is the instruction and, on a line of its own, the input.
    """

    embedder: SentenceEmbedder
    columns: ClassVar[tuple[Column, ...]] = COHERENCE_COLUMNS

    def prepare(self, rows: Batch) -> list[tuple[str | None, str | None]]:
        """Question and answer of every row; touches no model.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
        """
        return [(_joined(instruction, input), _joined(output)) for instruction, input, output in _rows(rows)]

    def compute(self, rows: Batch, prepared: list[tuple[str | None, str | None]] | None = None) -> Batch:
        """The column `coherence`, from -1 to 1; null where question or answer is empty or white space."""
        pairs = [pair if None not in pair else (None, None) for pair in prepared or self.prepare(rows)]
        vectors = self.embedder.encode([text for pair in pairs for text in pair])
        return {"coherence": [_cosine(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]}


@dataclass(frozen=True)
class EncodedPrompts:
    """Rows ready for the student.

    Attributes:
        spans: the prompt of every row with all of its tokens as targets; without tokens where nothing is asked.
        plan: the model's batches for their losses.
    """

    spans: list[TargetSpan]
    plan: list[TokenBatch]


@dataclass(frozen=True)
class PromptEmbeddingMeasure:
    """How the student sees a prompt, and how much it expects it: Cherry's pre-experience picks rows by both.

    The prompt is P(instruction, input), in the scorer's template, special tokens included, cut at the scorer's
    `max_length`. Its embedding is the mean over all of its tokens of the last hidden state, which is the one after the
    model's final norm (arXiv 2308.12032, section 2.1).
    """

    scorer: Scorer
    columns: ClassVar[tuple[Column, ...]] = PROMPT_EMBEDDING_COLUMNS

    def prepare(self, rows: Batch) -> EncodedPrompts:
        """Tokenize prompts and plan their batches; touches no model, so that it can run ahead of it.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
        """
        asked = [(instruction, input) for instruction, input, _ in _rows(rows)]
        prompts = [self.scorer.template.prompt(*question) for question in asked]
        limit = self.scorer.max_length
        ids_of = self.scorer.tokenizer(prompts)["input_ids"] if prompts else []
        spans = [
            TargetSpan(tuple(ids[:limit]), 1, truncated=len(ids) > limit) if _joined(*question) else NOTHING
            for question, ids in zip(asked, ids_of, strict=True)
        ]
        return EncodedPrompts(spans, self.scorer.engine.plan(spans))

    def compute(self, rows: Batch, prepared: EncodedPrompts | None = None) -> Batch:
        """The student's columns of a batch of rows.

        Args:
            rows: `instruction`, `output` and, if there are any, `input`.
            prepared: what `prepare` made of them.

        Returns:
            `prompt_embedding`, float32 of the model's width, and `loss_prompt` and `ppl_prompt` over all tokens but the
            first, which has nothing to be predicted from. All null where instruction and input are empty or white
            space; a number is null where the model gives NaN or infinity, the loss of a prompt of one token too.

        Raises:
            BadInputError: a token id is beyond the model's embeddings.
            StoppedError: a single prompt does not fit into the memory.
        """
        prepared = prepared or self.prepare(rows)
        means = [mean_loss(losses) for losses in self.scorer.engine.token_losses(prepared.spans, prepared.plan)]
        losses = [loss if loss is not None and is_usable(loss) else None for loss in means]
        embeddings = mean_states(self.scorer, [span.ids for span in prepared.spans])
        return {
            "prompt_embedding": embeddings,
            "loss_prompt": losses,
            "ppl_prompt": [None if loss is None else math.exp(loss) for loss in losses],
        }


@torch.inference_mode()
def mean_states(scorer: Scorer, texts: Sequence[tuple[int, ...]]) -> list[np.ndarray | None]:
    """The mean over tokens of the last hidden state of every text, summed in float32.

    Texts of similar length share a forward pass, padded on the right and masked; equal texts are computed once.

    Args:
        texts: token ids.

    Returns:
        One float32 vector a text; null where the text has no tokens or the model gives NaN or infinity.
    """
    waiting = _batches_by_length(texts, scorer.engine.max_batch_tokens)[::-1]
    found: dict[tuple[int, ...], np.ndarray] = {}
    while waiting:
        batch = waiting.pop()
        try:
            found.update(zip(batch, _mean_states(scorer, batch), strict=True))
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not is_out_of_memory(error) or len(batch) == 1:
                raise
            if scorer.engine.model.device.type == "cuda":
                torch.cuda.empty_cache()
            waiting += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
    return [found[ids] if ids in found and np.isfinite(found[ids]).all() else None for ids in texts]


def _batches_by_length(texts: Sequence[tuple[int, ...]], max_batch_tokens: int) -> list[list[tuple[int, ...]]]:
    """The distinct texts that have tokens, shortest first; a text too long for a batch is one by itself."""
    batches: list[list[tuple[int, ...]]] = []
    for ids in sorted({ids for ids in texts if ids}, key=lambda ids: (len(ids), ids)):
        if batches and (len(batches[-1]) + 1) * len(ids) <= max_batch_tokens:
            batches[-1].append(ids)
        else:
            batches.append([ids])
    return batches


def _mean_states(scorer: Scorer, batch: list[tuple[int, ...]]) -> np.ndarray:
    """Of one batch, which the model sees as any of its users would: padded, with a mask, without our attention."""
    model, longest = scorer.engine.model, max(map(len, batch))
    ids_BT = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in batch], device=model.device)
    lengths_B = torch.tensor([len(ids) for ids in batch], device=model.device)
    mask_BT = (torch.arange(longest, device=model.device) < lengths_B[:, None]).long()
    if model.base_model is model:
        states_BTX = model(
            input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, output_hidden_states=True
        ).hidden_states[-1]
    else:
        states_BTX = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
    # Not a product with the mask: what padding gives may be infinite.
    states_BTX = states_BTX.float().masked_fill(mask_BT[..., None] == 0, 0.0)
    return (states_BTX.sum(1) / lengths_B[:, None]).cpu().numpy()


def _rows(rows: Batch) -> list[tuple[str, str, str]]:
    """Instruction, input and output of every row; a null is an empty text."""
    outputs = rows["output"]
    inputs = rows.get("input", [""] * len(outputs))
    return [
        (instruction or "", input or "", output or "")
        for instruction, input, output in zip(rows["instruction"], inputs, outputs, strict=True)
    ]


def _joined(*parts: str) -> str | None:
    """The parts that are not empty, a line each; null where nothing but white space is left."""
    text = "\n".join(part for part in parts if part)
    return text if text.strip() else None


def _cosine(one: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Of vectors of length 1; rounding does not take it beyond 1."""
    if one is None or other is None:
        return None
    return min(1.0, max(-1.0, float(one.astype(np.float64) @ other.astype(np.float64))))
