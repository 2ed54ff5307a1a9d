"""The tokens of a response and what each cost the student: the texts that the kept losses lack. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from hub_cards.errors import BadInputError
from hub_cards.hub.client import shortened
from hub_cards.provenance import StepRecord
from scoring.spans import PUBLISHED, encode_pairs
from scoring.templates import PromptTemplate, get_template

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

BATCH_ROWS = 256
ALONE, GIVEN = "token_losses_A_direct", "token_losses_A_condition"
# Text, nats without and with the instruction.
Piece = tuple[str, float | None, float | None]


def load_tokenizer(record: StepRecord) -> PreTrainedTokenizerBase:
    """The tokenizer of the student that a step has scored with.

    Args:
        record: of the scores.

    Raises:
        BadInputError: no student has scored, it is no longer where it was, out of reach, or has no fast tokenizer.
    """
    source = record.inputs.get("model")
    if source is None:
        raise BadInputError(f"the record of step {record.step} names no student (inputs.model), so no tokenizer")
    where = f"the tokenizer of {source.location}"
    if source.kind == "folder" and not Path(source.location).is_dir():
        raise BadInputError(f"{where}: the student's folder is not here; put it back, or start where it is")
    return open_tokenizer(source.location, source.revision, where)


def open_tokenizer(location: str, revision: str | None, where: str) -> PreTrainedTokenizerBase:
    """A fast tokenizer, without a limit of its own, from a folder or the Hub.

    Args:
        where: what the messages name: a flag and the model, for instance.

    Raises:
        BadInputError: it cannot be loaded, or is no fast one.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(location, revision=revision)
    except (OSError, ValueError, ImportError, StrictDataclassError) as error:  # OSError: the Hub is out of reach, too
        raise BadInputError(f"{where}: cannot be loaded ({shortened(error)})") from error
    if not tokenizer.is_fast:
        raise BadInputError(f"{where}: has no fast tokenizer (tokenizer.json)")
    tokenizer.model_max_length = int(1e30)  # texts are cut by us, after their tokens are counted
    return tokenizer


def response_tokens(
    tokenizer: PreTrainedTokenizerBase, rows: Dataset, template: str, max_length: int, span: str
) -> Iterator[list[Piece] | None]:
    """What each piece of a response cost the student, without and with the instruction, row by row.

    A piece is a token where both texts have the same one there. Where they are cut up differently, at the boundary
    between prompt and response say, and where tokens are bytes of one character, it is the shortest part at whose ends
    tokens of both begin and end, and its losses are summed. A number is null where a text has no loss of all of the
    piece: its token has merged with the prompt, nothing precedes it, or the length limit has cut it away. Tokens that
    hold nothing of the response (EOS) are in no piece.

    Args:
        rows: `row_id`, `instruction`, `output`, `token_losses_A_direct`, `token_losses_A_condition` and, if there is
            any, `input`.
        template, max_length, span: as the rows were scored with.

    Yields:
        A row's pieces, text and two sums of nats; joined they are the response, or the beginning that was scored. None
        where the row has no losses. Nothing for no rows.

    Raises:
        BadInputError: a column is missing, or the tokens are not as many as the losses.
    """
    columns = ["row_id", "instruction", "output", ALONE, GIVEN]
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise BadInputError(f"the rows have no column {missing[0]}: score them with --keep_token_losses true")
    rows = rows.select_columns([*columns, *(["input"] if "input" in rows.column_names else [])])
    reader = _Reader(tokenizer, get_template(template, tokenizer), max_length, span)
    for batch in rows.with_format("arrow").iter(BATCH_ROWS):
        yield from reader.pieces(batch)


@dataclass(frozen=True)
class _Reader:
    """How rows were tokenized when they were scored."""

    tokenizer: PreTrainedTokenizerBase
    template: PromptTemplate
    max_length: int
    span: str

    def pieces(self, batch: pa.Table) -> Iterator[list[Piece] | None]:
        """Of each row of a batch."""
        answers = [text or "" for text in batch["output"].to_pylist()]
        inputs = batch["input"].to_pylist() if "input" in batch.column_names else [""] * len(answers)
        questions = zip(batch["instruction"].to_pylist(), inputs, strict=True)
        contexts = [self.template.prompt(instruction, input or "") for instruction, input in questions]
        pairs = encode_pairs(self.tokenizer, contexts, answers, self.max_length, self.span)
        backend = self.tokenizer.backend_tokenizer  # `encode_pairs` has told it not to cut or pad
        alone = backend.encode_batch(answers)
        whole = map(str.__add__, contexts, answers)
        # Where they are tokenized apart, the response has the same tokens after its prompt.
        joint = backend.encode_batch(list(whole)) if self.span == PUBLISHED else alone
        losses = zip(*(map(_usable, batch[name].to_numpy()) for name in (ALONE, GIVEN)), strict=True)
        for row, (without, given) in enumerate(losses):
            if without is None and given is None:
                yield None
                continue
            pair = pairs[row]
            for target, values in ((pair.direct, without), (pair.condition, given)):
                self._check(batch["row_id"][row], target.n_scored, values)
            kept, before = len(pair.direct.ids), 0
            sides = [_response_losses(alone[row], kept, before, without)]
            if self.span == PUBLISHED:
                kept, before = len(pair.condition.ids), len(contexts[row])
            sides.append(_response_losses(joint[row], kept, before, given))
            yield _cut(answers[row], *sides)

    def _check(self, row_id: object, n_scored: int, losses: np.ndarray | None) -> None:
        if losses is not None and len(losses) != n_scored:
            raise BadInputError(
                f"row_id {row_id}: it has {len(losses)} token losses where {n_scored} tokens would be scored here: the "
                f"tokenizer ({self.tokenizer.name_or_path}) is not the one that scored, or template, max_length or "
                "span are others"
            )


def _usable(losses: np.ndarray | None) -> np.ndarray | None:
    """None where there are none."""
    return losses if losses is not None and len(losses) else None


@dataclass(frozen=True)
class _Losses:
    """The T tokens of a response that were kept in a text, without special ones.

    Attributes:
        begins_T, ends_T: their characters in the response; neither ever goes back, and they leave nothing out.
        nats_T: NaN for a token that was not scored.
    """

    begins_T: np.ndarray
    ends_T: np.ndarray
    nats_T: np.ndarray

    def straddle(self, places_P: np.ndarray) -> np.ndarray:
        """Which of these places lie within a token."""
        before_P = np.searchsorted(self.begins_T, places_P)
        return np.append(self.ends_T, 0)[before_P - 1] > places_P

    def sums(self, cuts: np.ndarray) -> np.ndarray:
        """Nats of each part between two cuts; NaN where not all of it was scored."""
        parts_T = np.searchsorted(cuts, self.begins_T, side="right") - 1
        sums = np.bincount(np.minimum(parts_T, len(cuts) - 2), self.nats_T, len(cuts) - 1)
        return np.where(cuts[1:] <= self.ends_T.max(initial=0), sums, np.nan)


def _response_losses(encoding: Encoding, n_tokens: int, n_before: int, losses: np.ndarray | None) -> _Losses:
    """The tokens of the response.

    Args:
        n_tokens: tokens that the length limit has left; the last ones of them are those that were scored.
        n_before: characters before the response.
    """
    offsets_T2 = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:n_tokens] - n_before
    nats_T = np.full(n_tokens, np.nan)
    if losses is not None:
        nats_T[n_tokens - len(losses) :] = losses
    mine_T = offsets_T2[:, 1] > 0  # and not the prompt's, nor BOS and EOS, which hold no character
    begins_T, ends_T = np.maximum.accumulate(offsets_T2[mine_T].clip(0)).T
    # What a normalizer drops before a token, and spaces that some tokenizers do not count, are the token's.
    begins_T = np.minimum(begins_T, np.append(0, ends_T[:-1]))
    return _Losses(begins_T, ends_T, nats_T[mine_T])


def _cut(text: str, without: _Losses, given: _Losses) -> list[Piece]:
    """The text cut where no token of either side is cut."""
    places = np.unique(np.concatenate([[0], without.begins_T, without.ends_T, given.begins_T, given.ends_T]))
    cuts = places[~(without.straddle(places) | given.straddle(places))]
    sums = ([None if math.isnan(value) else value for value in side.sums(cuts).tolist()] for side in (without, given))
    texts = (text[begin:end] for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
    return list(zip(texts, *sums, strict=True))
