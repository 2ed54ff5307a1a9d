"""What is scored: token ids of a context and a target, and where the target begins. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PUBLISHED, ALIGNED = "published", "aligned"
SPANS = (PUBLISHED, ALIGNED)


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
    def first_scored(self) -> int:
        """Index of the first target token that has a prediction."""
        return max(self.start, 1)

    @property
    def n_scored(self) -> int:
        """Number of target tokens with a prediction."""
        return max(len(self.ids) - self.first_scored, 0)


NOTHING = TargetSpan((), 0, truncated=False)


@dataclass(frozen=True)
class PairSpans:
    """A target after its context, and the same target alone.

    Attributes:
        condition, direct: the two texts; both empty where the target is.
        n_target: tokens of the whole target alone, special tokens not counted.
        boundary_merged: the tokenizer joins the end of the context and the start of the target, so that tokenizing them
            together and apart gives different tokens.
        depends_on_span: `published` and `aligned` score different tokens.
    """

    condition: TargetSpan
    direct: TargetSpan
    n_target: int
    boundary_merged: bool
    depends_on_span: bool


@dataclass(frozen=True)
class SpecialTokens:
    """How many tokens the tokenizer puts before and after a text (BOS, EOS)."""

    before: int
    after: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
        """Found by tokenizing a word with and without them."""
        bare = tokenizer("word", add_special_tokens=False)["input_ids"]
        whole = tokenizer("word")["input_ids"]
        extra = len(whole) - len(bare)
        before = next((n for n in range(extra + 1) if whole[n : n + len(bare)] == bare), extra)
        return cls(before, extra - before)

    def strip(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The text's own tokens."""
        return tuple(ids[self.before : len(ids) - self.after])


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    targets: Sequence[str],
    max_length: int,
    span: str = PUBLISHED,
) -> list[PairSpans]:
    """Tokenize targets after their contexts and alone, and mark the target tokens.

    `published` is what the published implementations do (arXiv 2402.10110), so that scores stay comparable with
    published statistics: context and target are tokenized as one text and the target begins at token number
    `len(tokenize(context))`. `aligned` tokenizes them apart and joins the tokens, so that both texts have exactly the
    same target tokens. With either, the text alone keeps at most as many target tokens as `max_length` leaves beside
    the context.

    Args:
        max_length: how many tokens of context and target together are kept.
    """
    special = SpecialTokens.of(tokenizer)
    joint_texts = [context + target for context, target in zip(contexts, targets, strict=True)]
    ids_of = _tokenize(tokenizer, [*contexts, *targets, *joint_texts])
    pairs = []
    for context, target, joint in zip(contexts, targets, joint_texts, strict=True):
        alone = ids_of[target]
        if not target:
            pairs.append(PairSpans(NOTHING, NOTHING, 0, boundary_merged=False, depends_on_span=False))
            continue
        published = _published(ids_of[context], alone, ids_of[joint], max_length)
        aligned = _aligned(ids_of[context], alone, special, max_length)
        apart = (*ids_of[context][: len(ids_of[context]) - special.after], *alone[special.before :])
        pairs.append(
            PairSpans(
                *(published if span == PUBLISHED else aligned),
                n_target=len(alone) - special.before - special.after,
                boundary_merged=ids_of[joint] != apart,
                depends_on_span=_scored(published) != _scored(aligned),
            )
        )
    return pairs


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Every distinct text once, in one call: the tokenizer spreads a batch over the cores.

    Calling the tokenizer itself gives the same ids, and lists of offsets and masks that take as long again.
    """
    distinct = list(dict.fromkeys(texts))
    backend = tokenizer.backend_tokenizer
    if backend.truncation is not None:  # asked first: another thread may be tokenizing, and then it cannot be changed
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()
    return {
        text: tuple(encoding.ids) for text, encoding in zip(distinct, backend.encode_batch_fast(distinct), strict=True)
    }


def _published(
    context: tuple[int, ...], alone: tuple[int, ...], joint: tuple[int, ...], max_length: int
) -> tuple[TargetSpan, TargetSpan]:
    limit = max_length - min(len(context), max_length) + 1
    condition = TargetSpan(joint[:max_length], len(context), truncated=len(joint) > max_length)
    return condition, TargetSpan(alone[:limit], 1, truncated=len(alone) > limit)


def _aligned(
    context: tuple[int, ...], alone: tuple[int, ...], special: SpecialTokens, max_length: int
) -> tuple[TargetSpan, TargetSpan]:
    head = context[: len(context) - special.after]
    target = special.strip(alone)
    kept = target[: max(max_length - len(head), 0)]
    cut = len(kept) < len(target)
    # Without a BOS the text alone cannot predict its first token; then the other side does not count it either.
    first = 0 if special.before else 1
    condition = TargetSpan((*head, *kept)[:max_length], len(head) + first, cut)
    return condition, TargetSpan((*alone[: special.before], *kept), special.before + first, cut)


def _scored(spans: tuple[TargetSpan, TargetSpan]) -> list[tuple[tuple[int, ...], int] | None]:
    return [(span.ids, span.first_scored) if span.n_scored else None for span in spans]
