"""The `evaluate` metric `win_rate`: how often a pairwise judge preferred a model's answers to a baseline's.

`evaluate` copies this file alone into its cache of modules, so it reads no file beside itself. Its reader of imports
takes one module a line.
"""

import datasets
import evaluate

from training.verdicts import outcome, parse_marks
from training.win_rate import compare

DESCRIPTION = """
Win rate of a model against a baseline by a pairwise judge that was asked in both orders. The marks are read strictly
from the first line of each review. A pair is won that is better in both orders, or in one and equal in the other.
"""
INPUTS_DESCRIPTION = """
Args:
    reviews (list of str or None): the judge's replies with the model's answer shown first. The first line holds the two
        marks, from 0 to 10, in the order shown (`8 7`). None where the judge gave no reply.
    reviews_reverse (list of str or None): its replies with the baseline's answer shown first, as many.
    answers, baseline_answers (list of str or None, optional): both sides' answers, for the lengths; give both or none.
    seed (int): of the bootstrap, 0 by default.
Returns:
    n, wins, ties, losses, invalid (int): pairs; n are those with a valid verdict, invalid those without.
    win_score (float or None): (wins - losses) / n + 1, from 0 to 2; None where n is 0, as all that follows.
    win_score_low, win_score_high: its 95 % bootstrap interval over pairs.
    p_value: of the two-sided sign test of wins against losses.
    win_rate: (wins + ties / 2) / n, a fraction.
    length_controlled_win_rate: the same read at equal lengths; None without answers, or where it cannot be told.
    mean_length, baseline_mean_length: of the answers of valid pairs, in characters; None without answers.
    outcomes (list of str): win, tie, lose or invalid, a value a pair.
Examples:
    >>> win_rate = evaluate.load("training/metrics/win_rate")
    >>> results = win_rate.compute(reviews=["8 7", "6 6"], reviews_reverse=["7 7", "nine"])
    >>> results["outcomes"], results["win_score"]
    (['win', 'invalid'], 2.0)
"""
CITATION = """
@article{chen2023alpagasus,
  title={AlpaGasus: Training A Better Alpaca with Fewer Data},
  author={Chen, Lichang and others}, journal={arXiv preprint arXiv:2307.08701}, year={2023}
}
@article{dubois2024length,
  title={Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators},
  author={Dubois, Yann and others}, journal={arXiv preprint arXiv:2404.04475}, year={2024}
}
"""


class WinRate(evaluate.Metric):
    """Win rate, win score and their uncertainty, from the judge's reviews."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS_DESCRIPTION,
            # Without the answers: evaluate demands every feature in every call.
            features=datasets.Features({"reviews": text, "reviews_reverse": text}),
            reference_urls=["https://arxiv.org/abs/2307.08701", "https://arxiv.org/abs/2404.04475"],
        )

    def add_batch(self, *, predictions=None, references=None, **columns) -> None:
        """Take in pairs; `compute` calls it with what it was given.

        Raises:
            ValueError: a column is missing, has another length than the other, or holds something that is no text.
        """
        texts = {name: _texts(name, columns.get(name)) for name in self._feature_names()}
        _check_lengths(texts)
        # evaluate takes no None in a column of texts; an empty review is as invalid as none.
        filled = {name: [text or "" for text in column] for name, column in texts.items()}
        super().add_batch(predictions=predictions, references=references, **{**columns, **filled})

    def add(self, *, prediction=None, reference=None, **columns) -> None:
        """Take in one pair; raises `ValueError` as `add_batch` does."""
        texts = {name: _texts(name, [columns.get(name)])[0] or "" for name in self._feature_names()}
        super().add(prediction=prediction, reference=reference, **{**columns, **texts})

    def _compute(
        self,
        reviews: list[str],
        reviews_reverse: list[str],
        answers: list[str | None] | None = None,
        baseline_answers: list[str | None] | None = None,
        seed: int = 0,
    ) -> dict[str, int | float | list[str] | None]:
        if not reviews:
            raise ValueError("there are no reviews")
        if (answers is None) != (baseline_answers is None):
            raise ValueError("answers and baseline_answers: give both or none")
        outcomes = [outcome(*map(parse_marks, pair)) for pair in zip(reviews, reviews_reverse, strict=True)]
        if answers is None:
            return {**compare(outcomes, seed=seed).as_dict(), "outcomes": outcomes}
        sides = {"answers": answers, "baseline_answers": baseline_answers}
        texts = {name: _texts(name, values) for name, values in sides.items()}
        _check_lengths({"reviews": reviews, **texts})
        lengths = ([None if text is None else len(text) for text in column] for column in texts.values())
        return {**compare(outcomes, *lengths, seed=seed).as_dict(), "outcomes": outcomes}


def _texts(name: str, values: object) -> list[str | None]:
    """A column as a list of texts and None."""
    if values is None or isinstance(values, str | bytes):
        raise ValueError(f"{name}: must be a list of texts, not {'missing' if values is None else 'one text'}")
    texts = list(values)
    for number, text in enumerate(texts):
        if not isinstance(text, str | None):
            raise ValueError(f"{name}: row {number} is {text!r}, which is no text")
    return texts


def _check_lengths(columns: dict[str, list]) -> None:
    if len({len(values) for values in columns.values()}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in columns.items())
        raise ValueError(f"there are {found}; they must be as many")
