"""IterIT by hand, and against a greedy choice that computes everything anew for each pick."""

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from hub_cards.errors import BadInputError
from scoring.selection.iterit import pick_new, tf_idf_of

PATTERN = r"(?u)\w+"


def test_tf_idf_by_hand():
    dense = tf_idf_of(["a b", "a", "c"]).toarray()
    # n-grams in the order of the alphabet: "a", "a b", "b", "c"; idf = ln(4 / (1 + df)) + 1
    once, twice = math.log(4 / 2) + 1, math.log(4 / 3) + 1
    expected = [[twice / 3, once / 3, once / 3, 0], [twice, 0, 0, 0], [0, 0, 0, once]]
    np.testing.assert_allclose(dense, expected)


def test_a_long_text_does_not_win_by_length():
    sums = tf_idf_of(["x y z", "x y z " * 50, "q"]).sum(axis=1)
    assert np.asarray(sums).max() < 2.5


OUTPUT = ["red", "red", "blue", "red", ""]
IFD = [0.9, 0.8, 0.5, 1.0, None]


class TestByHand:
    def test_what_was_said_counts_less(self, decide):
        found = decide("iterit count=3", output=OUTPUT, ifd_ppl=IFD)
        red, blue = math.log(4 / 3) + 1, math.log(4 / 2) + 1  # of the three rows whose IFD is below 1
        assert found.ranks == {"a": 1, "c": 2, "b": 3}
        assert found.scores == pytest.approx({"a": 0.9 * red, "c": 0.5 * blue, "b": 0.8 * 0.1 * red})
        assert found.reasons == {**dict.fromkeys("abc", "kept"), "d": "ifd_not_below_1", "e": "unscored"}

    def test_only_what_is_picked_is_ranked(self, decide):
        found = decide("iterit count=2", output=OUTPUT, ifd_ppl=IFD)
        assert found.ranks == {"a": 1, "c": 2} and found.reasons["b"] == "not_picked"

    def test_without_decay_it_is_ifd_times_tf_idf(self, decide):
        found = decide("iterit count=3 decay=1", output=OUTPUT, ifd_ppl=IFD)
        assert found.ranks == {"a": 1, "b": 2, "c": 3}

    def test_of_equal_rows_the_smallest_id_is_picked(self, decide):
        found = decide("iterit count=2", row_id=["z", "y", "x"], output=["red", "red", "red"], ifd_ppl=[0.5] * 3)
        assert found.ranks == {"x": 1, "y": 2}

    def test_a_null_is_an_empty_text_and_comes_last(self, decide):
        found = decide("iterit count=3", output=[None, "red", ""], ifd_ppl=[0.9, 0.1, 0.9])
        assert found.ranks == {"b": 1, "a": 2, "c": 3} and found.scores["a"] == 0

    def test_no_word_at_all_is_refused(self, decide):
        with pytest.raises(BadInputError, match="strategy iterit: no response holds a single word"):
            decide("iterit count=1", output=["", "…"], ifd_ppl=[0.5, 0.5])

    def test_more_than_there_are_is_refused(self, decide):
        with pytest.raises(BadInputError, match="count 4, but of the 5 rows only 3 can be kept"):
            decide("iterit count=4", output=OUTPUT, ifd_ppl=IFD)


def naive_picks(texts, ifd_N, count, decay):
    """Every worth anew for every pick, on a dense matrix of scikit-learn's own TF-IDF."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), token_pattern=PATTERN, norm=None)
    dense = vectorizer.fit_transform(texts).toarray()
    counts = dense / vectorizer.idf_
    dense = dense / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    said = np.zeros(dense.shape[1], dtype=bool)
    picks, scores = [], []
    for _ in range(count):
        worth_N = ifd_N * (dense * np.where(said, decay, 1.0)).sum(axis=1)
        worth_N[picks] = -1
        picks.append(int(worth_N.argmax()))
        scores.append(worth_N[picks[-1]])
        said |= counts[picks[-1]] > 0
    return picks, scores


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_is_the_naive_greedy_choice(seed, decay):
    numbers = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(25)]
    lengths = numbers.integers(0, 12, 60)
    texts = [" ".join(words[int(25 * x**2)] for x in numbers.random(length)) for length in lengths]
    ifd_N = numbers.uniform(0.05, 1, len(texts))
    picks, scores = pick_new(texts, ifd_N, 45, decay)
    naive, naive_scores = naive_picks(texts, ifd_N, 45, decay)
    assert scores == pytest.approx(naive_scores)
    assert picks == naive
    assert (np.diff(scores) <= 1e-12).all()
