import math

import numpy as np
import pytest

from scoring.ratios import LOSS_KEYS, columns_of_token_losses, is_usable, loss_columns, mean_loss

LOSSES = {"Q_direct": 2.0, "A_direct": 4.0, "Q_condition": 1.0, "A_condition": 3.0}


def test_by_hand():
    columns = loss_columns(LOSSES)
    assert columns["ppl_A_direct"] == pytest.approx(54.598150033)
    assert columns["ifd_ppl"] == pytest.approx(0.367879441)  # e^(3-4)
    assert columns["rifd_ppl"] == pytest.approx(0.367879441)
    assert columns["ifd_loss"] == 0.75
    assert columns["rifd_loss"] == 0.5
    assert {key: columns[f"loss_{key}"] for key in LOSS_KEYS} == LOSSES


@pytest.mark.parametrize(
    ("missing", "nulls"),
    [
        ("A_condition", {"loss_A_condition", "ppl_A_condition", "ifd_ppl", "ifd_loss"}),
        ("A_direct", {"loss_A_direct", "ppl_A_direct", "ifd_ppl", "ifd_loss"}),
        ("Q_condition", {"loss_Q_condition", "ppl_Q_condition", "rifd_ppl", "rifd_loss"}),
        ("Q_direct", {"loss_Q_direct", "ppl_Q_direct", "rifd_ppl", "rifd_loss"}),
    ],
)
def test_a_null_makes_null_what_needs_it_and_nothing_else(missing, nulls):
    columns = loss_columns({**LOSSES, missing: None})
    assert {name for name, value in columns.items() if value is None} == nulls


def test_a_loss_of_zero_has_a_perplexity_and_no_ratio_of_losses():
    columns = loss_columns({**LOSSES, "A_direct": 0.0})
    assert columns["ppl_A_direct"] == 1.0
    assert columns["ifd_ppl"] == pytest.approx(math.exp(3))
    assert columns["ifd_loss"] is None


def test_means_are_taken_in_float64():
    """2**24 + 1 is no float32."""
    values = np.array([2**24, 1.0, 1.0, 1.0], dtype=np.float32)
    assert mean_loss(values) == (2**24 + 3) / 4
    assert mean_loss(values.tolist()) == (2**24 + 3) / 4


@pytest.mark.parametrize("nothing", [None, [], np.empty(0, dtype=np.float32)])
def test_no_tokens_have_no_mean(nothing):
    assert mean_loss(nothing) is None


@pytest.mark.parametrize(
    ("loss", "usable"),
    [(0.0, True), (699.9, True), (700.0, False), (math.nan, False), (math.inf, False), (-math.inf, False)],
)
def test_a_usable_loss_has_a_perplexity(loss, usable):
    assert is_usable(loss) == usable


def test_all_columns_follow_from_the_token_losses():
    tokens = {"Q_direct": [1.0, 3.0], "A_direct": [4.0], "Q_condition": [0.5, 1.5], "A_condition": [2.0, 3.0, 4.0]}
    row = {f"token_losses_{key}": values for key, values in tokens.items()}
    assert columns_of_token_losses(row) == loss_columns(LOSSES)
    assert columns_of_token_losses({**row, "token_losses_A_direct": None}) == loss_columns({**LOSSES, "A_direct": None})
