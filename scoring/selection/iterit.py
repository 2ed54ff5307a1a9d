"""IterIT, its one-shot form: difficult rows whose responses say something new (arXiv 2412.17365)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hub_cards.errors import BadInputError
from scoring.selection.base import KEPT, UNSCORED, Outcome, reasons_of
from scoring.selection.cherry import IFD_NOT_BELOW_1
from scoring.selection.share import Share, keep_picked
from scoring.selection.table import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NOT_PICKED = "not_picked"
LONGEST_N_GRAM = 3


@dataclass(frozen=True)
class IterIT(Share):
    """Rows picked one after the other by IFD times what their response adds.

    What a response adds is the TF-IDF of its 1- to 3-grams, summed (term frequencies relative to its length, so that
    long ones do not win by length); an n-gram of a row that was picked counts `decay` of it from then on. Rows whose
    IFD is 1 or more are never picked.
    """

    decay: float = field(default=0.1, metadata={"help": "what an n-gram still counts once a picked row has it"})
    reasons: ClassVar[dict[str, str]] = {
        UNSCORED: "the row has no IFD",
        IFD_NOT_BELOW_1: "its IFD is 1 or more: the instruction does not help the response",
        NOT_PICKED: "others were more difficult, or said more that is new",
        KEPT: "kept",
    }
    reads: ClassVar[tuple[str, ...]] = ("ifd_ppl",)
    needs: ClassVar[tuple[str, ...]] = ("output",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("iterit")
        if not 0 <= self.decay <= 1:
            raise BadInputError(f"strategy iterit: decay {self.decay}: must be from 0 to 1")

    def decide(self, rows: Rows) -> Outcome:
        """See `Strategy`."""
        ifd_N = rows.numbers(*self.reads)
        reasons_N = reasons_of(len(rows), NOT_PICKED)
        reasons_N[ifd_N >= 1] = IFD_NOT_BELOW_1
        reasons_N[np.isnan(ifd_N)] = UNSCORED
        left = np.flatnonzero(ifd_N < 1)
        left = left[np.argsort(rows.ids[left])]
        n_wanted = self.of(len(rows), len(left))
        texts = rows.texts("output")
        picks, scores = pick_new([texts[row] for row in left], ifd_N[left], n_wanted, self.decay)
        return keep_picked(reasons_N, left[picks], scores)


def pick_new(texts: list[str], ifd_N: np.ndarray, count: int, decay: float) -> tuple[list[int], list[float]]:
    """The greedy picks in their order, and what each was worth when it was picked; of equal ones the first.

    A row's worth only falls, so only the row at the head of the queue has to be looked at again.
    """
    tf_idf = tf_idf_of(texts)
    weights = np.ones(tf_idf.shape[1])

    def worth(row: int) -> float:
        own = slice(tf_idf.indptr[row], tf_idf.indptr[row + 1])
        return float(ifd_N[row] * (tf_idf.data[own] @ weights[tf_idf.indices[own]]))

    queue = [(-worth(row), row) for row in range(len(texts))]
    heapq.heapify(queue)
    picks, scores = [], []
    while len(picks) < count:
        row = queue[0][1]
        now = worth(row)
        if -now > queue[0][0]:
            heapq.heapreplace(queue, (-now, row))
            continue
        heapq.heappop(queue)
        picks.append(row)
        scores.append(now)
        weights[tf_idf.indices[tf_idf.indptr[row] : tf_idf.indptr[row + 1]]] = decay
    return picks, scores


def tf_idf_of(texts: list[str]) -> csr_matrix:
    """TF-IDF of the 1- to 3-grams of words: frequencies relative to the text's n-grams, scikit-learn's smooth idf."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.preprocessing import normalize

    try:
        counts = CountVectorizer(ngram_range=(1, LONGEST_N_GRAM), token_pattern=r"(?u)\w+").fit_transform(texts)
    except ValueError as error:  # its way to say that no text has a word
        raise BadInputError("strategy iterit: no response holds a single word") from error
    idf = TfidfTransformer(norm=None).fit(counts).idf_
    return normalize(counts.astype(np.float64), norm="l1").multiply(idf).tocsr()
