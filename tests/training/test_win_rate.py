"""The statistics of outcomes against hand counts, other libraries and naive transcriptions."""

import math

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import bootstrap

from hub_cards.errors import BadInputError
from training.win_rate import (
    MIN_CONTROLLED,
    Comparison,
    compare,
    compare_sets,
    length_controlled,
    win_rate_section,
    win_rate_table,
)

FEW = ["win"] * 5 + ["tie"] * 2 + ["lose"] * 1 + ["invalid"] * 2


def outcomes(wins: int, ties: int, losses: int) -> list[str]:
    return ["win"] * wins + ["tie"] * ties + ["lose"] * losses


def verdicts(found: list[str], answer: str | None = "four", baseline_answer: str = "six...") -> Dataset:
    columns = {"answer": [answer], "baseline_answer": [baseline_answer]}
    features = Features(dict.fromkeys((*columns, "outcome"), Value("string")))
    return Dataset.from_dict({**{k: v * len(found) for k, v in columns.items()}, "outcome": found}, features=features)


class TestCounts:
    def test_by_hand(self):
        found = compare(FEW, [10] * 8 + [None, 99], [30] * 8 + [5, None])
        assert (found.n, found.wins, found.ties, found.losses, found.invalid) == (8, 5, 2, 1, 2)
        assert found.win_score == 1.5  # (5 - 1) / 8 + 1
        assert found.win_rate == 0.75  # (5 + 1) / 8
        assert (found.mean_length, found.baseline_mean_length) == (10, 30)

    def test_without_a_valid_verdict_only_the_counts_are_there(self):
        for found in (compare(["invalid"] * 3, [None] * 3, [None] * 3), compare([], [], [])):
            numbers = {name: value for name, value in found.as_dict().items() if value is not None}
            assert numbers == {"n": 0, "wins": 0, "ties": 0, "losses": 0, "invalid": found.invalid}

    def test_go_into_a_record_and_back(self):
        found = compare(FEW, [1] * 10, [2] * 10)
        assert Comparison(**found.as_dict()) == found
        assert all(value is None or type(value) in (int, float) for value in found.as_dict().values())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((["win", "won"],), "outcome 'won' is unknown"),
            ((["win"], [1, 2], [1]), r"1 outcomes and \[2, 1\]"),
            ((["win", "invalid"], [None, 1], [1, 1]), "pair 0 has a valid verdict, and one of its lengths is missing"),
        ],
    )
    def test_wrong_arguments_are_errors(self, arguments, said):
        with pytest.raises(ValueError, match=said):
            compare(*arguments)


class TestSignTest:
    @pytest.mark.parametrize(("wins", "losses"), [(44, 21), (21, 44), (5, 1), (3, 3), (1, 0), (0, 6), (102, 62)])
    def test_is_the_exact_binomial_one_whatever_the_ties(self, wins, losses):
        n = wins + losses
        exact = min(1, 2 * sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n)
        for ties in (0, 7):
            assert compare(outcomes(wins, ties, losses)).p_value == pytest.approx(exact, rel=1e-9)

    def test_of_ties_alone_says_nothing(self):
        assert compare(["tie"] * 9).p_value == 1


class TestInterval:
    def test_is_that_of_scipys_bootstrap(self):
        found = compare(outcomes(44, 15, 21))
        values = np.repeat([2.0, 1.0, 0.0], [44, 15, 21])
        drawn = bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, random_state=1)
        assert found.win_score_low == pytest.approx(drawn.confidence_interval.low, abs=0.02)
        assert found.win_score_high == pytest.approx(drawn.confidence_interval.high, abs=0.02)

    def test_covers_the_truth_about_as_often_as_it_says(self):
        generator = np.random.default_rng(5)
        chances, runs = [0.5, 0.2, 0.3], 200
        drawn = [compare(outcomes(*generator.multinomial(80, chances).tolist())) for _ in range(runs)]
        covered = sum(found.win_score_low <= 1.2 <= found.win_score_high for found in drawn)
        assert 0.89 * runs <= covered <= 0.99 * runs  # within four standard deviations of 95 %

    def test_depends_on_the_seed_and_not_on_the_order(self):
        found = compare(FEW, seed=3)
        assert compare(FEW[::-1], seed=3) == found
        assert compare(outcomes(44, 15, 21), seed=3) != compare(outcomes(44, 15, 21), seed=4)

    def test_has_no_width_where_all_outcomes_are_alike(self):
        found = compare(["win"] * 30)
        assert (found.win_score_low, found.win_score_high) == (2, 2)

    def test_resamples_within_the_strata(self):
        """Two sets of opposite, certain results: between them nothing is left to chance."""
        split = ["win"] * 50 + ["lose"] * 50
        apart = compare(split, strata=["a"] * 50 + ["b"] * 50)
        assert (apart.win_score_low, apart.win_score_high) == (1, 1)
        assert compare(split).win_score_low < 0.9


def naive_controlled(credits, differences) -> float:
    """The penalised likelihood as it is written down, minimised by another library."""
    scaled = np.tanh(np.array(differences) / np.std(differences))

    def loss(parameters):
        won = 1 / (1 + np.exp(-(parameters[0] + parameters[1] * scaled)))
        likelihood = credits * np.log(won) + (1 - credits) * np.log(1 - won)
        return -likelihood.sum() + 0.5 * parameters[1] ** 2

    return 1 / (1 + math.exp(-minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-7}).x[0]))


def simulate(judge: str, n: int = 1_000, longer: float = 150.0, seed: int = 0):
    """Credits and differences of length; the answers are longer than the baseline's by 150 characters on average."""
    generator = np.random.default_rng(seed)
    differences = generator.normal(longer, 300, n).round()
    chance = {
        "length": (differences > 0).astype(float),
        "length by chance": 1 / (1 + np.exp(-np.tanh(differences / differences.std()) * 2)),
        "quality": np.full(n, 0.65),
        "both": 1 / (1 + np.exp(-0.8 - np.tanh(differences / differences.std()) * 2)),
    }[judge]
    return (generator.random(n) < chance).astype(float), differences


class TestLengthControlled:
    @pytest.mark.parametrize("judge", ["length", "length by chance"])
    def test_judge_that_prefers_length_alone_is_seen_through(self, judge):
        credits, differences = simulate(judge)
        assert credits.mean() > 0.6
        assert length_controlled(credits, differences) == pytest.approx(0.5, abs=0.04)

    def test_judge_that_prefers_quality_alone_is_believed(self):
        credits, differences = simulate("quality")
        assert length_controlled(credits, differences) == pytest.approx(credits.mean(), abs=0.03)

    def test_of_both_only_the_quality_is_left(self):
        credits, differences = simulate("both", n=4_000)
        assert credits.mean() > 0.72
        assert length_controlled(credits, differences) == pytest.approx(1 / (1 + math.exp(-0.8)), abs=0.03)

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-900, 900)), min_size=MIN_CONTROLLED).filter(
            lambda pairs: len({pair[0] for pair in pairs}) > 1 and len({pair[1] for pair in pairs}) > 1
        )
    )
    def test_is_that_of_a_naive_fit(self, pairs):
        credits, differences = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
        found = length_controlled(credits, differences)
        assert found == pytest.approx(naive_controlled(credits, differences), abs=1e-4)
        # Seen from the other side it is what is left.
        assert length_controlled(1 - credits, -differences) == pytest.approx(1 - found, abs=1e-5)
        # No matter what lengths are counted in.
        assert length_controlled(credits, 3 * differences) == pytest.approx(found, abs=1e-5)

    def test_where_length_explains_every_outcome_it_is_finite_and_near_a_half(self):
        differences = np.array([-400, -300, -200, -100, 100, 200, 300, 400] * 5, dtype=float)
        assert length_controlled((differences > 0).astype(float), differences) == pytest.approx(0.5, abs=1e-6)

    def test_where_there_is_nothing_to_control_it_is_the_plain_one(self):
        credits = np.array([1.0] * 15 + [0.5] * 5)
        assert length_controlled(credits, np.zeros(20)) == 0.875
        assert length_controlled(np.ones(20), np.arange(20.0)) == 1.0

    def test_where_it_cannot_be_told_it_is_null(self):
        credits = np.array([1.0, 0.0] * 10)
        assert length_controlled(credits, np.full(20, 7.0)) is None
        assert length_controlled(credits[:19], np.arange(19.0)) is None
        assert compare(["win", "lose"] * 20).length_controlled_win_rate is None  # no lengths given

    def test_takes_the_lengths_of_valid_pairs_alone(self):
        credits, differences = simulate("length", n=60)
        found = ["win" if credit else "lose" for credit in credits]
        lengths = (1_000 + differences).tolist()
        without = compare(found, lengths, [1_000] * 60)
        assert without.length_controlled_win_rate == length_controlled(credits, differences)
        beside = compare([*found, "invalid"], [*lengths, 10**6], [1_000] * 60 + [None])
        assert {**beside.as_dict(), "invalid": 0} == without.as_dict()


class TestSets:
    def test_each_by_itself_and_together(self):
        sets = {"one": verdicts(FEW), "two": verdicts(["lose"] * 4, answer="", baseline_answer="a" * 20)}
        found = compare_sets(sets)
        assert list(found) == ["one", "two", "total"]
        total = found["total"]
        assert (total.n, total.wins, total.ties, total.losses, total.invalid) == (12, 5, 2, 5, 2)
        assert (found["one"].mean_length, found["two"].mean_length) == (4, 0)
        assert total.baseline_mean_length == pytest.approx((8 * 6 + 4 * 20) / 12)
        assert total == compare(
            [*FEW, *["lose"] * 4],
            [4] * 10 + [0] * 4,
            [6] * 10 + [20] * 4,
            strata=["one"] * 10 + ["two"] * 4,
        )

    def test_of_answers_that_are_missing(self):
        found = compare_sets({"one": verdicts(["invalid"] * 2, answer=None)})
        assert (found["total"].n, found["total"].invalid) == (0, 2)

    def test_a_set_without_questions_and_no_set_at_all(self):
        assert compare_sets({"one": verdicts([])})["total"].n == 0
        assert compare_sets({})["total"].n == 0

    def test_name_total_is_taken(self):
        with pytest.raises(BadInputError, match="named total"):
            compare_sets({"total": verdicts(FEW)})


class TestTable:
    def test_has_a_line_a_set(self):
        found = {"vicuna": compare(outcomes(44, 15, 21), [1234] * 80, [1234] * 80), "none": compare(["invalid"])}
        header, vicuna, none = win_rate_table(found, "model")
        assert header[:3] == ["model", "n", "win"] and len(header) == len(vicuna) == len(none)
        assert vicuna[:7] == ["vicuna", "80", "44", "15", "21", "0", "1.288"]
        assert vicuna[8:] == ["0.006", "64.4 %", "64.4 %", "1,234", "1,234"]
        low, high = map(float, vicuna[7].split(" to "))
        assert low < 1.2875 < high
        assert none == ["none", "0", "0", "0", "0", "1", *["–"] * 7]

    def test_small_p_values_are_no_zero(self):
        assert win_rate_table({"a": compare(["win"] * 40)})[1][8] == "<0.001"

    def test_section_says_why_pairs_are_invalid(self):
        text = win_rate_section({"one": compare(FEW)}, {"one": {"no_marks": 2, "oracle_error": 1}, "two": {}})
        assert "| one | 8 | 5 | 2 | 1 | 2 | 1.500 |" in text
        assert "- one: 2 no_marks, 1 oracle_error" in text
        assert "two" not in text
        assert "Invalid" not in win_rate_section({"one": compare(FEW)}, {"one": {}})
