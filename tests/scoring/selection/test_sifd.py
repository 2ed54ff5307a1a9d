"""S-IFD by hand, and against the definition in plain lists."""

import math

import numpy as np
import pytest

from hub_cards.errors import BadInputError

GIVEN, ALONE = "token_losses_A_condition", "token_losses_A_direct"


def test_by_hand(decide):
    # Differences: a -1 -3, b -2 0.5 (and a first token that has no loss alone), c 4 0, d none.
    found = decide(
        "sifd count=1",
        **{
            GIVEN: [[1.0, 1.0], [9.0, 1.0, 1.5], [5.0, 1.0], [1.0]],
            ALONE: [[2.0, 4.0], [3.0, 1.0], [1.0, 1.0], None],
        },
    )
    # |d| sorted: 0 0.5 1 2 3 4, the median is 1.5: of a -3 counts, of b -2, of c 4.
    assert found.counts["steps"][0]["tau"] == 1.5
    # IFD by losses: a 1 - 3 < 0; b (9 + 1 + 1.5) / 3 - 2 > 0; c 3 - 1 > 0.
    assert found.reasons == {"a": "kept", "b": "ifd_not_below_1", "c": "ifd_not_below_1", "d": "unscored"}
    assert found.scores == {
        "a": pytest.approx(math.exp(-3)),
        "b": pytest.approx(math.exp(-2)),
        "c": pytest.approx(math.exp(4)),
    }
    assert found.ranks == {"a": 1}


def test_a_row_none_of_whose_tokens_counts_has_no_s_ifd(decide):
    found = decide("sifd count=1", **{GIVEN: [[1.0, 1.0], [1.0, 1.0]], ALONE: [[1.1, 1.1], [3.0, 3.0]]})
    assert found.reasons == {"a": "unscored", "b": "kept"}


@pytest.mark.parametrize("nothing", [None, [], [float("nan"), 1.0], [float("inf"), 1.0], [None, 1.0]])
@pytest.mark.parametrize("column", [GIVEN, ALONE])
def test_a_row_without_losses_that_are_numbers_has_none_and_moves_no_other(decide, column, nothing):
    columns = {GIVEN: [[1.0, 1.0], [1.0, 2.0], [1.0, 1.0]], ALONE: [[2.0, 4.0], [2.0, 2.0], [2.0, 2.0]]}
    columns[column][2] = nothing
    found = decide("sifd count=1", **columns)
    assert found.reasons == {"a": "kept", "b": "unscored", "c": "unscored"}
    assert found.counts["steps"][0]["tau"] == 1.0  # of 0 1 1 3
    assert found.kept == ["a"]


def test_rows_whose_ifd_is_null_are_not_kept(decide):
    columns = {GIVEN: [[1.0], [1.0], [1.0, 1.0]], ALONE: [[7.0], [6.0], [2.0, 2.0]]}
    assert decide("sifd count=1", **columns).reasons == {"a": "below_the_cut", "b": "kept", "c": "unscored"}
    found = decide("sifd count=1", **columns, ifd_ppl=[0.5, None, 0.5])
    assert found.reasons == {"a": "kept", "b": "unscored", "c": "unscored"}


def test_says_what_to_do_where_there_are_no_losses_by_token(decide):
    with pytest.raises(BadInputError, match=r"no row has .*: score with --keep_token_losses true"):
        decide("sifd count=1", **{GIVEN: [[], [1.0]], ALONE: [[1.0], []]})
    with pytest.raises(BadInputError, match=f"original has no column {GIVEN}"):
        decide("sifd count=1", ifd_ppl=[0.5])


def percentile(values, part):
    """Between two neighbours in proportion."""
    values = sorted(values)
    place = part * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


@pytest.mark.parametrize("informative", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_is_the_definition_in_plain_lists(decide, seed, informative):
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(0, 9, 40).tolist()
    given = [numbers.gamma(2, 1, length).tolist() for length in lengths]
    # One token less where the tokenizer adds no BOS.
    alone = [numbers.gamma(2, 1.2, max(0, length - number % 2)).tolist() for number, length in enumerate(lengths)]
    differences = [
        [x - y for x, y in zip(a[len(a) - len(b) :], b, strict=True)] for a, b in zip(given, alone, strict=True)
    ]
    tau = percentile([abs(d) for row in differences for d in row], 1 - informative)
    expected = {}
    for number, (a, b, row) in enumerate(zip(given, alone, differences, strict=True)):
        counted = [d for d in row if abs(d) > tau]
        if counted and math.exp(sum(a) / len(a) - sum(b) / len(b)) < 1:
            expected[f"{number:02}"] = math.exp(sum(counted) / len(counted))
    count = len(expected) // 2
    found = decide(
        f"sifd count={count} informative={informative}",
        row_id=[f"{number:02}" for number in range(40)],
        **{GIVEN: given, ALONE: alone},
    )
    assert found.counts["steps"][0]["tau"] == pytest.approx(tau)
    best = sorted(expected, key=expected.get, reverse=True)
    assert sorted(found.ranks, key=found.ranks.get) == best
    assert found.kept == sorted(best[:count])
    assert {row: found.scores[row] for row in expected} == pytest.approx(expected)
