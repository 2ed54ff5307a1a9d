"""Statistics without ids: accepted where they are the rows' own, refused where shifted, shuffled or others'."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from hub_cards.errors import BadInputError
from scoring.alignment import (
    BLOCK_ROWS,
    BLOCKS,
    check_alignment,
    equal_share,
    rank_correlation,
    ranks,
    sample_blocks,
    text_features,
)

ROWS = 400


@pytest.fixture(scope="module")
def real(root) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Texts of 400 rows and the losses that the quickstart's student gives them."""
    with (root / "recipes/quickstart/data/student_rows.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(ROWS), file, strict=False)]
    losses = json.loads((Path(__file__).parent / "student_losses.json").read_text())
    texts = {"Q": [row["instruction"] + row["input"] for row in rows], "A": [row["output"] for row in rows]}
    return texts, {key: np.array(losses[f"loss_{key}_direct"], float) for key in texts}


def check(texts, losses, rows=slice(None)) -> dict:
    arrays = {key: pa.array(values[rows]) for key, values in texts.items()}
    return check_alignment("here", arrays, {key: values[rows] for key, values in losses.items()})


def refused(texts, losses, rows=slice(None)) -> str:
    with pytest.raises(BadInputError) as caught:
        check(texts, losses, rows)
    assert str(caught.value).startswith("here: these statistics are not of these rows in this order, ")
    return str(caught.value)


class TestRealLosses:
    def test_of_the_rows_themselves_are_accepted(self, real):
        assert check(*real)["alignment_z"] > 8
        for start in (0, 100, 200):
            assert check(*real, slice(start, start + 200))["alignment_z"] > 5

    @pytest.mark.parametrize("shift", [1, -1, 2, 7, 200])
    @pytest.mark.parametrize("rows", [200, 400])
    def test_shifted_are_refused(self, real, shift, rows):
        texts, losses = real
        assert "no better than by chance" in refused(
            texts, {key: np.roll(values, shift) for key, values in losses.items()}, slice(rows)
        )

    @pytest.mark.parametrize("seed", range(10))
    def test_shuffled_are_refused(self, real, seed):
        texts, losses = real
        order = np.random.default_rng(seed).permutation(ROWS)
        refused(texts, {key: values[order] for key, values in losses.items()})

    def test_one_side_is_enough(self, real):
        texts, losses = real
        assert check(texts, {"A": losses["A"]})["alignment_z"] > 5
        refused(texts, {"A": np.roll(losses["A"], 1)})

    def test_null_losses_do_not_matter(self, real):
        texts, losses = real
        holed = {key: values.copy() for key, values in losses.items()}
        holed["A"][::5] = np.nan
        assert check(texts, holed)["alignment_z"] > 8

    def test_a_row_that_is_lost_midway_is_found(self, real):
        """The last quarter is shifted: as a whole the losses still go with the texts."""
        texts, losses = ({key: list(values) * 6 for key, values in side.items()} for side in real)
        order = np.concatenate([np.random.default_rng(n).permutation(ROWS) + n * ROWS for n in range(6)])
        texts = {key: [f"{values[n]} {n}" for n in order] for key, values in texts.items()}
        losses = {key: np.array(values)[order] for key, values in losses.items()}
        assert check(texts, losses)["alignment_z"] > 8
        middle = len(order) * 3 // 4
        shifted = {key: np.concatenate([v[:middle], v[middle + 1 :], v[:1]]) for key, v in losses.items()}
        assert "from row " in refused(texts, shifted)

    def test_too_few_rows_are_not_judged(self, real):
        texts, losses = real
        assert "alignment_z" not in check(texts, {key: np.roll(v, 1) for key, v in losses.items()}, slice(199))


class TestRepeats:
    def test_share_of_the_texts_that_have_the_loss_they_had_before(self):
        texts = pa.array(["a", "b", "a", "a", "b", "c"])
        #          a before 2.0: 2.03 is within 2 %, 2.2 is not; b: equal
        losses = np.array([2.0, 1.0, 2.03, 2.2, 1.0, 9.0])
        assert equal_share(texts, losses) == (3, pytest.approx(2 / 3))

    def test_null_is_no_loss(self):
        assert equal_share(pa.array(["a", "a", "a"]), np.array([1.0, np.nan, 1.0])) == (1, 1.0)

    def test_without_repeats_there_is_no_share(self):
        assert equal_share(pa.array(["a", "b"]), np.array([1.0, 1.0])) == (0, None)

    def test_repeated_texts_with_other_losses_are_refused(self):
        answers = [str(n % 30) for n in range(90)]
        texts = {"Q": [f"question {n}" for n in range(90)], "A": answers}
        own = {"A": np.array([1 + int(answer) / 10 for answer in answers])}
        assert check(texts, own) == {"repeated_texts": 60, "repeated_texts_equal": 1.0}
        other = {"A": np.random.default_rng(0).permutation(own["A"])}
        assert "of 60 texts that occur again only " in refused(texts, other)

    def test_long_texts_may_differ_for_they_may_have_been_cut(self):
        texts = {"Q": ["q"] * 90, "A": [str(n % 3) * 300 for n in range(90)]}
        assert check(texts, {"A": np.arange(90.0)}) == {}


def test_blocks_are_spread_over_the_data_and_lie_within():
    assert sample_blocks(199) == []
    assert sample_blocks(200) == [range(200)]
    blocks = sample_blocks(52_002)
    assert len(blocks) == BLOCKS and {len(block) for block in blocks} == {BLOCK_ROWS}
    assert blocks[0].start == 0 and blocks[-1].stop == 52_002


def test_rare_spelling_and_length_are_features():
    features = text_features(["the cat the cat the cat", "the cat the cat", "xyzzy qwpo", "", "AB12 é\n."])
    assert features.shape == (5, 11) and np.isfinite(features).all()
    assert features[0, 0] == np.log1p(23)
    assert features[2, 1] > features[0, 1]
    np.testing.assert_allclose(features[:, 3:].sum(axis=1), 1)


def test_ranks_and_their_correlation_are_scipys():
    numbers = np.random.default_rng(0)
    first, second = numbers.integers(0, 9, 50).astype(float), numbers.normal(size=50)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert ranks(np.array([3.0, 1.0, 3.0])).tolist() == [1.5, 0.0, 1.5]
    assert rank_correlation(np.ones(3), second[:3]) is None and rank_correlation(first[:1], second[:1]) is None
