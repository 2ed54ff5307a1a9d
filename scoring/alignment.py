"""Do statistics that come without ids belong to these texts, in this order? Judged from the numbers and texts alone.

Two signs, both independent of the model. Texts that occur more than once must have the same loss each time. And how
surprising a text is can be guessed from how rare its spelling is: where a guess that was learned on half of a sample
of rows ranks the other half no better than chance does, the losses are those of other texts.

Seen with the student of the quickstart on 800 rows: z is 21, and at most 2.7 after shifting or shuffling the losses; on
200 rows it is 6 or more, and at most 2.4. A larger student's losses follow the texts more closely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hub_cards.errors import BadInputError

MIN_ROWS = 200  # below it chance and sense cannot be told apart
BLOCKS, BLOCK_ROWS = 4, 128  # the sample: runs of rows, so that a gap in the middle shows
GROUP_ROWS = 32  # levels are compared within these, so that a trend along the data does not pass for alignment
MIN_Z, MIN_BLOCK_SHARE = 4.0, 0.3
MIN_REPEATS, MIN_EQUAL, SAME = 20, 0.8, 0.02
SHORT_ROW, SHORT_TEXT = 1000, 200  # bytes of a row, and of its text; longer rows may have been cut
LOOKED_AT = 1000  # characters of a text
GRAMS, GRAM_BITS = (4, 6), 18
HASH = np.uint64(0x9E3779B97F4A7C15)
RIDGE = 0.02
# Lower case, upper case, digits, space, line end, not ASCII, punctuation; 0 is the rest.
KINDS = (range(97, 123), range(65, 91), range(48, 58), [32], [10], range(128, 256), range(33, 48))
KIND_OF_BYTE = np.zeros(256, int)
for number, members in enumerate(KINDS, start=1):
    KIND_OF_BYTE[list(members)] = number


def ranks(values_N: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties at their mean."""
    _, place, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def rank_correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    """Spearman's correlation; null where one of them is constant or there are fewer than two values."""
    if len(first_N) < 2:
        return None
    return _correlation(ranks(first_N), ranks(second_N))


def equal_share(texts: pa.Array, losses_N: np.ndarray) -> tuple[int, float | None]:
    """Of the rows whose text occurred before, how many have the same loss as that occurrence, as a share.

    Returns:
        How many such rows there are, and the share; null where there are none.
    """
    codes_N = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~np.isnan(losses_N))
    order = rows[np.argsort(codes_N[rows], kind="stable")]
    same_text = codes_N[order[1:]] == codes_N[order[:-1]]
    before, after = losses_N[order[:-1][same_text]], losses_N[order[1:][same_text]]
    if not len(after):
        return 0, None
    return len(after), float(np.mean(np.abs(after - before) <= SAME * np.maximum(np.abs(before), np.abs(after))))


def check_alignment(where: str, texts: Mapping[str, pa.Array], losses: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Refuse losses that are not those of the texts, row by row.

    Args:
        where: what they are, for the message.
        texts: the target texts of all rows: `Q` (instruction and input), `A` (output).
        losses: the loss of each text without context, under the same keys; NaN where it is null.

    Returns:
        What was seen, for the record: `alignment_z`, and `repeated_texts` with `repeated_texts_equal`; empty where
        there are too few rows to tell.

    Raises:
        BadInputError: they are of other rows, or in another order.
    """
    seen = _repeats(texts, losses)
    repeats, equal = seen.get("repeated_texts", 0), seen.get("repeated_texts_equal", 1.0)
    if repeats >= MIN_REPEATS and equal < MIN_EQUAL:
        raise _refusal(where, f"of {repeats:,} texts that occur again only {equal:.0%} have the loss they had before")
    blocks = sample_blocks(len(next(iter(texts.values()))))
    if not blocks:
        return seen
    z, parts = _evidence(texts, losses, blocks)
    if z < MIN_Z and repeats < MIN_REPEATS:
        raise _refusal(where, f"the losses go with the texts no better than by chance (z = {z:.1f})")
    weakest = int(np.argmin(parts))
    if parts[weakest] < min(MIN_Z - 1, MIN_BLOCK_SHARE * z / np.sqrt(len(parts))) and z >= MIN_Z:
        start, stop = blocks[weakest].start, blocks[weakest].stop
        raise _refusal(where, f"from row {start:,} to {stop:,} the losses go with the texts no better than by chance")
    return {**seen, "alignment_z": round(float(z), 1)}


def sample_blocks(n_rows: int) -> list[range]:
    """Runs of rows spread over the data; none where there are fewer than `MIN_ROWS`."""
    if n_rows < MIN_ROWS:
        return []
    if n_rows < BLOCKS * BLOCK_ROWS:
        return [range(n_rows)]
    starts = np.linspace(0, n_rows - BLOCK_ROWS, BLOCKS).astype(int)
    return [range(start, start + BLOCK_ROWS) for start in starts.tolist()]


def text_features(texts: Sequence[str]) -> np.ndarray:
    """What the surprise of a text can be guessed from: its length, how rare its runs of 4 and of 6 bytes are among all
    of these texts, and its kinds of characters. Of shape (N, 11).
    """
    parts = [text[:LOOKED_AT].encode() + b"\n" for text in texts]
    lengths_N = np.array([len(part) for part in parts])
    starts_N = np.cumsum(lengths_N) - lengths_N
    bytes_M = np.frombuffer(b"".join(parts), np.uint8).astype(np.uint64)
    columns = [np.log1p([len(text) for text in texts])]
    for size in GRAMS:
        codes_M = bytes_M.copy()
        for shift in range(1, size):
            codes_M = codes_M * np.uint64(257) + np.concatenate([bytes_M[shift:], np.zeros(shift, np.uint64)])
        buckets_M = (codes_M * HASH >> np.uint64(64 - GRAM_BITS)).astype(np.int64)
        rarity_M = np.log(len(bytes_M)) - np.log(np.bincount(buckets_M)[buckets_M] - 0.5)
        columns.append(np.add.reduceat(rarity_M, starts_N) / lengths_N)
    n_kinds = len(KINDS) + 1
    cells_M = np.repeat(np.arange(len(parts)), lengths_N) * n_kinds + KIND_OF_BYTE[bytes_M]
    shares = np.bincount(cells_M, minlength=n_kinds * len(parts)).reshape(-1, n_kinds) / lengths_N[:, None]
    return np.column_stack([*columns, shares])


def _repeats(texts: Mapping[str, pa.Array], losses: Mapping[str, np.ndarray]) -> dict[str, float]:
    sizes = {key: pc.binary_length(text).to_numpy(zero_copy_only=False) for key, text in texts.items()}
    found = []
    for key in losses:
        short_N = (sum(sizes.values()) <= SHORT_ROW) & (sizes[key] <= SHORT_TEXT)
        found.append(equal_share(texts[key].filter(pa.array(short_N)), losses[key][short_N]))
    repeats = sum(count for count, _ in found)
    if not repeats:
        return {}
    equal = sum(count * share for count, share in found if count) / repeats
    return {"repeated_texts": repeats, "repeated_texts_equal": round(equal, 3)}


def _evidence(
    texts: Mapping[str, pa.Array], losses: Mapping[str, np.ndarray], blocks: list[range]
) -> tuple[float, np.ndarray]:
    """By how many standard deviations the guesses beat chance, questions and answers together: in all, and a block."""
    rows = np.concatenate([np.arange(block.start, block.stop) for block in blocks])
    block_of_row = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    whole, parts = 0.0, np.zeros(len(blocks))
    for key in losses:
        has = ~np.isnan(losses[key][rows])
        if has.sum() < MIN_ROWS / 2:
            continue
        guess, truth = guesses(text_features(texts[key].take(pa.array(rows[has])).to_pylist()), losses[key][rows[has]])
        whole += _z(guess, truth)
        parts += [_z(guess[mine], truth[mine]) for mine in (block_of_row[has] == n for n in range(len(blocks)))]
    return whole / np.sqrt(len(losses)), parts / np.sqrt(len(losses))


def guesses(features_NF: np.ndarray, losses_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Guess the losses of every other group of rows from what the rest teaches, by ridge regression on ranks.

    Returns:
        Guesses and true ranks, both less the mean of their group.
    """
    group_N = np.arange(len(losses_N)) // GROUP_ROWS
    columns = [_within(ranks(column), group_N) for column in (*features_NF.T, losses_N)]
    scaled_NF = np.stack([column / (column.std() or 1) for column in columns], axis=1)
    X, y = scaled_NF[:, :-1], scaled_NF[:, -1]
    guess_N = np.zeros(len(y))
    for half in (0, 1):
        learn = group_N % 2 == half
        gram = X[learn].T @ X[learn] + RIDGE * learn.sum() * np.eye(X.shape[1])
        guess_N[~learn] = X[~learn] @ np.linalg.solve(gram, X[learn].T @ y[learn])
    return guess_N, y


def _within(values_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    means = np.bincount(group_N, values_N) / np.bincount(group_N)
    return values_N - means[group_N]


def _z(first_N: np.ndarray, second_N: np.ndarray) -> float:
    return (_correlation(first_N, second_N) or 0.0) * np.sqrt(max(len(first_N) - 1, 0))


def _correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    first_N, second_N = first_N - first_N.mean(), second_N - second_N.mean()
    size = np.sqrt((first_N**2).sum() * (second_N**2).sum())
    return float((first_N * second_N).sum() / size) if size else None


def _refusal(where: str, reason: str) -> BadInputError:
    return BadInputError(
        f"{where}: these statistics are not of these rows in this order, {reason}; give the revision of the text that "
        "they were made of (--dataset_revision), or statistics with row_id"
    )
