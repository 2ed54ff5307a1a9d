"""What the outcomes of a pairwise judge say: win score, its uncertainty, and the win rate at equal length. Pure.

A win score of 1 means as many wins as losses, 2 nothing but wins, 0 nothing but losses (AlpaGasus, arXiv 2307.08701).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from hub_cards.errors import BadInputError
from hub_cards.tables import TOTAL, Table, as_markdown, judge_table
from training.verdicts import INVALID, LOSE, OUTCOMES, TIE, WIN

CREDIT = {WIN: 1.0, TIE: 0.5, LOSE: 0.0}
RESAMPLES = 10_000
LEVEL = 0.95
# Two numbers are fitted for the length-controlled win rate, and ten pairs for each are the least to fit them from.
MIN_CONTROLLED = 20
# One over the weight of the ridge penalty on the slope. With less of it, where length decides every outcome, the slope
# grows so large that a few pairs near difference 0 make the result; with more, it is felt where length decides little.
INVERSE_PENALTY = 1.0


@dataclass(frozen=True)
class Comparison:
    """A model against its baseline on some questions. What cannot be told is null: everything but the counts at n = 0.

    Attributes:
        n: pairs with a valid verdict, those of `wins`, `ties` and `losses`.
        invalid: pairs without one; they are in no other number.
        win_score: (wins - losses) / n + 1, from 0 to 2.
        win_score_low, win_score_high: its 95 % percentile bootstrap interval over questions, of no width where all
            outcomes are alike.
        p_value: of the two-sided sign test of wins against losses, ties left out.
        win_rate: (wins + ties / 2) / n, a fraction.
        length_controlled_win_rate: the same read at equal lengths, see `length_controlled`.
        mean_length, baseline_mean_length: of the answers, in characters.
    """

    n: int
    wins: int
    ties: int
    losses: int
    invalid: int
    win_score: float | None
    win_score_low: float | None
    win_score_high: float | None
    p_value: float | None
    win_rate: float | None
    length_controlled_win_rate: float | None
    mean_length: float | None
    baseline_mean_length: float | None

    def as_dict(self) -> dict[str, Any]:
        """For a step's record, and back by `Comparison(**values)`."""
        return asdict(self)


def compare(
    outcomes: Sequence[str],
    lengths: Sequence[int | None] | None = None,
    baseline_lengths: Sequence[int | None] | None = None,
    seed: int = 0,
    strata: Sequence[str] | None = None,
) -> Comparison:
    """Count the outcomes of some questions and say how sure they are.

    Args:
        outcomes: one of `verdicts.OUTCOMES` a question.
        lengths, baseline_lengths: of the two answers of each question in characters; null where there is none, which
            is of a pair without a valid verdict. Without both, nothing is said of length.
        seed: of the bootstrap. The order of the questions makes no difference.
        strata: the set that each question is of; questions are resampled within their set, whose size is no chance.

    Raises:
        ValueError: an outcome is unknown, the lists are not as long as each other, or a valid pair has no length.
    """
    columns = [column for column in (lengths, baseline_lengths, strata) if column is not None]
    if any(len(column) != len(outcomes) for column in columns):
        raise ValueError(f"there are {len(outcomes)} outcomes and {[len(column) for column in columns]} other values")
    unknown = set(outcomes) - set(OUTCOMES)
    if unknown:
        raise ValueError(f"outcome {min(map(str, unknown))!r} is unknown; the outcomes are {', '.join(OUTCOMES)}")
    valid = [number for number, outcome in enumerate(outcomes) if outcome != INVALID]
    counts = Counter(outcomes)
    wins, ties, losses, n = counts[WIN], counts[TIE], counts[LOSE], len(valid)
    by_stratum = Counter((strata[number] if strata is not None else "", outcomes[number]) for number in valid)
    low, high = _interval(by_stratum, seed)
    own, others = (_taken(column, valid) for column in (lengths, baseline_lengths))
    credits = np.array([CREDIT[outcomes[number]] for number in valid])
    return Comparison(
        n=n,
        wins=wins,
        ties=ties,
        losses=losses,
        invalid=counts[INVALID],
        win_score=(wins - losses) / n + 1 if n else None,
        win_score_low=low,
        win_score_high=high,
        p_value=_sign_test(wins, losses) if n else None,
        win_rate=(wins + ties / 2) / n if n else None,
        length_controlled_win_rate=None if own is None or others is None else length_controlled(credits, own - others),
        mean_length=None if own is None or not n else float(own.mean()),
        baseline_mean_length=None if others is None or not n else float(others.mean()),
    )


def _taken(column: Sequence[int | None] | None, valid: Sequence[int]) -> np.ndarray | None:
    if column is None:
        return None
    missing = [number for number in valid if column[number] is None]
    if missing:
        raise ValueError(f"pair {missing[0]} has a valid verdict, and one of its lengths is missing")
    return np.array([column[number] for number in valid], dtype=float)


def _interval(by_stratum: Mapping[tuple[str, str], int], seed: int) -> tuple[float | None, float | None]:
    """The bootstrap interval of the win score. Resampling questions is drawing their outcomes from a multinomial."""
    n = sum(by_stratum.values())
    if not n:
        return None, None
    generator = np.random.default_rng(seed)
    balance_R = np.zeros(RESAMPLES)
    for stratum in sorted({stratum for stratum, _ in by_stratum}):
        found = np.array([by_stratum.get((stratum, outcome), 0) for outcome in (WIN, TIE, LOSE)])
        drawn_R3 = generator.multinomial(found.sum(), found / found.sum(), size=RESAMPLES)
        balance_R += drawn_R3[:, 0] - drawn_R3[:, 2]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(balance_R / n + 1, [tail, 1 - tail])
    return float(low), float(high)


def _sign_test(wins: int, losses: int) -> float:
    """The p-value; 1 where there are only ties, for they speak for neither side."""
    from scipy.stats import binomtest  # takes long to import, and a script's --help need not wait for it

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def length_controlled(credits_N: np.ndarray, differences_N: np.ndarray) -> float | None:
    """The win rate that is left where both answers are equally long.

    After AlpacaEval's (arXiv 2404.04475), without its term for the difficulty of each instruction, which needs the
    verdicts on many other models: a logistic regression of the outcome on tanh(difference / its standard deviation),
    with a ridge penalty on the slope so that it stays finite where length decides every outcome, read at difference 0.
    Numbers of AlpacaEval's own are not to be compared with it.

    Args:
        credits_N: 1 for a win, 0.5 for a tie, 0 for a loss.
        differences_N: length of the answer minus that of the baseline's, in any unit.

    Returns:
        A fraction; the plain win rate where all lengths are equal or all outcomes alike. Null for fewer than 20 pairs,
        and where all differences are the same but not 0: then the effect of length cannot be told from the model's.
    """
    if len(credits_N) < MIN_CONTROLLED:
        return None
    if not differences_N.any() or (credits_N == credits_N[0]).all():
        return float(credits_N.mean())
    spread = differences_N.std()
    if spread == 0:
        return None
    from sklearn.linear_model import LogisticRegression  # takes long to import

    scaled_N1 = np.tanh(differences_N / spread)[:, None]
    # A tie is half a win and half a loss.
    won = np.repeat([1, 0], len(credits_N))
    fit = LogisticRegression(C=INVERSE_PENALTY, tol=1e-8, max_iter=1_000)
    fit.fit(np.vstack([scaled_N1, scaled_N1]), won, sample_weight=np.concatenate([credits_N, 1 - credits_N]))
    return float(fit.predict_proba([[0.0]])[0, 1])


def compare_sets(verdicts: Mapping[str, Dataset], seed: int = 0) -> dict[str, Comparison]:
    """Each judge set by itself, and `total`: all questions together, resampled within their sets.

    Args:
        verdicts: a set by its name, with `answer`, `baseline_answer` and `outcome`.

    Raises:
        BadInputError: a set bears the name `total`.
    """
    if TOTAL in verdicts:
        raise BadInputError(f"a judge set is named {TOTAL}, as the line of all sets is; rename its file")
    columns = {name: _columns(rows) for name, rows in verdicts.items()}
    together = [[value for part in columns.values() for value in part[number]] for number in range(3)]
    names = [name for name, part in columns.items() for _ in part[0]]
    return {
        **{name: compare(*part, seed=seed) for name, part in columns.items()},
        TOTAL: compare(*together, seed=seed, strata=names),
    }


def _columns(rows: Dataset) -> tuple[list[str], list[int | None], list[int | None]]:
    lengths = ([None if text is None else len(text) for text in rows[side]] for side in ("answer", "baseline_answer"))
    return list(rows["outcome"]), *lengths


def win_rate_table(comparisons: Mapping[str, Comparison], title: str = "test set") -> Table:
    """Header and one line a comparison.

    Args:
        title: what the names of `comparisons` are: judge sets, or models that were compared with one baseline.
    """
    return judge_table({name: found.as_dict() for name, found in comparisons.items()}, title)


LEGEND = (
    "Every question is judged twice, with the answers in both orders. Win: better in both, or better in one and equal "
    "in the other; tie: equal in both, or better in one and worse in the other. `invalid` pairs have no readable "
    "verdict and are in no other number. Win score: (wins − losses) / n + 1, with a bootstrap interval over questions; "
    "the sign test leaves ties out. The win rate counts a tie as half. Length-controlled: the win rate at equal "
    "lengths, after AlpacaEval's (arXiv 2404.04475) without its term for the instruction's difficulty. Lengths are in "
    "characters."
)


def win_rate_section(
    comparisons: Mapping[str, Comparison], reasons: Mapping[str, Mapping[str, int]], title: str = "test set"
) -> str:
    """The table as Markdown with what its columns mean, and why pairs are invalid, where some are.

    Args:
        reasons: for each set how many pairs are invalid for which reason (`judge.count_reasons`).
    """
    lines = [
        f"- {name}: {', '.join(f'{count:,} {reason}' for reason, count in found.items())}"
        for name, found in reasons.items()
        if found
    ]
    invalid = ["Invalid, and why:\n\n" + "\n".join(lines)] if lines else []
    return "\n\n".join([as_markdown(win_rate_table(comparisons, title)), LEGEND, *invalid])
