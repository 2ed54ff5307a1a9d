"""The pairwise judge: a model gives marks to both answers of a question, asked in both orders (arXiv 2307.08701).

A review is made by one generator, `review_pair`. It runs twice, as reflection's do: first among many others while the
judge answers (`ask`), then again with the answers that were kept (`assemble`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from hub_cards.cli import read_yaml
from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, VERDICT_COLUMNS, features
from hub_cards.shards import apply_step
from reflection.oracles import OPEN, Completion, Job, Oracle, OracleRequest
from reflection.oracles.base import replay
from training.verdicts import INVALID, OUTCOMES, UNREADABLE, Marks, parse_marks, verdict_columns

Row = Mapping[str, Any]
Batch = dict[str, list[Any]]

PUBLISHED_PROMPT = Path(__file__).parent / "judge_prompt.yaml"
PLACEHOLDERS = ("{question}", "{first_answer}", "{second_answer}")
_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))

ANSWERED = tuple(column.name for column in (*QUESTION_COLUMNS, *ANSWER_COLUMNS))
PAIR_FEATURES = features((*QUESTION_COLUMNS, *ANSWER_COLUMNS, *VERDICT_COLUMNS[:2]))
FEATURES = features((*QUESTION_COLUMNS, *ANSWER_COLUMNS, *VERDICT_COLUMNS))
# The columns of the two reviews, and the `variant` of their requests.
REVIEW, REVIEW_REVERSE = "review", "review_reverse"

NO_ANSWER, NO_BASELINE_ANSWER = "no_answer", "no_baseline_answer"
# Why a pair was never shown to the judge.
NOT_SHOWN = {
    NO_ANSWER: "the model's answer is missing: nothing was asked",
    NO_BASELINE_ANSWER: "the baseline's answer is missing: nothing was asked",
}
# The oracle's words for a reply without a text, which may come with one when it is asked again; a test compares them.
WITHOUT_TEXT = ("no_choices", "null_content")


@dataclass(frozen=True)
class JudgePrompt:
    """What the judge is asked: `user` holds the placeholders of `PLACEHOLDERS`."""

    system: str
    user: str

    @property
    def fingerprint(self) -> str:
        """Changes with every word."""
        return fingerprint_of(asdict(self))

    def messages(self, instruction: str, input: str, first: str, second: str) -> list[dict[str, str]]:
        """The chat request about two answers in this order; the input, if any, stands on a line below the question."""
        question = f"{instruction}\n{input}" if input else instruction
        texts = dict(zip(PLACEHOLDERS, (question, first, second), strict=True))
        # In one pass: an answer may hold a placeholder's text.
        user = _PLACEHOLDER.sub(lambda found: texts[found[0]], self.user)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def load_judge_prompt(path: str | None = None) -> JudgePrompt:
    """The prompt of a YAML file; ours by default.

    Raises:
        BadInputError: the file cannot be read, lacks `system` or `user`, or a placeholder is not in `user`.
    """
    try:
        content = read_yaml(path or str(PUBLISHED_PROMPT))
    except BadInputError as error:  # it names the flag of the recipes
        raise BadInputError(f"--judge_prompt_file {str(error).removeprefix('--config ')}") from error
    unknown = sorted(map(str, set(content) - {"system", "user"}))
    if unknown:
        raise BadInputError(f"--judge_prompt_file {path}: unknown {', '.join(unknown)}; it holds `system` and `user`")
    if not all(isinstance(content.get(key), str) for key in ("system", "user")):
        raise BadInputError(f"--judge_prompt_file {path}: must hold the texts `system` and `user`")
    missing = [name for name in PLACEHOLDERS if name not in content["user"]]
    if missing:
        raise BadInputError(f"--judge_prompt_file {path}: `user` lacks {', '.join(missing)}; the texts stand there")
    return JudgePrompt(content["system"], content["user"])


@dataclass(frozen=True)
class Review:
    """One reply of the judge.

    Attributes:
        text: None where it gave none.
        marks: in the order in which the answers were shown, or the reason why there are none: one of `UNREADABLE`,
            `NOT_SHOWN` or the oracle's failures.
    """

    text: str | None
    marks: Marks | str
    model: str | None = None


def pair_up(answers: DatasetDict, baseline: DatasetDict) -> DatasetDict:
    """Put the baseline's answers beside the model's, joined by `row_id` within each set.

    Args:
        answers, baseline: a judge set by its name, with `QUESTION_COLUMNS` and `ANSWER_COLUMNS`. The baseline may hold
            more sets and more questions.

    Returns:
        The sets, questions and order of `answers`, with `baseline_answer` and `baseline_generator`.

    Raises:
        BadInputError: the baseline lacks a set or a question, or holds a question twice.
    """
    return DatasetDict({name: _pair_set(name, rows, baseline) for name, rows in answers.items()})


def _pair_set(name: str, answers: Dataset, baseline: DatasetDict) -> Dataset:
    if name not in baseline:
        raise BadInputError(f"--baseline: has no answers to {name}, only to {', '.join(baseline)}; answer it there too")
    others = {row["row_id"]: row for row in baseline[name]}
    if len(others) < len(baseline[name]):
        raise BadInputError(f"--baseline: a row_id stands twice in {name}; answer that set again")
    missing = [row_id for row_id in answers["row_id"] if row_id not in others]
    if missing:
        raise BadInputError(
            f"--baseline: has no row for {len(missing)} of {len(answers)} questions of {name} (row_id {missing[0]}); "
            "answer the same questions there"
        )
    joined = [others[row_id] for row_id in answers["row_id"]]
    columns = {
        **{name: answers[name][:] for name in ANSWERED},
        "baseline_answer": [row["answer"] for row in joined],
        "baseline_generator": [row["generator"] for row in joined],
    }
    return Dataset.from_dict(columns, features=PAIR_FEATURES)


def not_shown(pair: Row) -> str | None:
    """Why a pair is not shown to the judge; None where it is. An empty answer is an answer."""
    if pair["answer"] is None:
        return NO_ANSWER
    return NO_BASELINE_ANSWER if pair["baseline_answer"] is None else None


def review_pair(pair: Row, variant: str, prompt: JudgePrompt, can_resample: bool) -> Job[Review]:
    """One review of a pair that can be shown: ask, and ask once more where no marks can be read.

    Equal answers are judged like all others: what the judge says of them shows how much the order alone does.
    """
    texts = pair["answer"], pair["baseline_answer"]
    first, second = texts if variant == REVIEW else reversed(texts)
    messages = prompt.messages(pair["instruction"], pair["input"], first, second)

    def ask(attempt: int) -> Job[Review]:
        completion = yield OracleRequest(pair["row_id"], pair["source_id"], variant, messages, attempt)
        return read_review(completion)

    review = yield from ask(attempt=0)
    if can_resample and review.marks in (*UNREADABLE, *WITHOUT_TEXT):
        again = yield from ask(attempt=1)
        if isinstance(again.marks, Marks):
            return again
        if again.marks in OPEN:  # the pair is not done: another run asks the second question again
            return Review(review.text, again.marks, review.model)
    return review


def read_review(completion: Completion) -> Review:
    """The judge's reply with its marks, or with the reason why there are none."""
    if completion.text is None:
        return Review(None, completion.failure, completion.model)
    return Review(completion.text, parse_marks(completion.text, completion.finish_reason == "length"), completion.model)


def pair_jobs(pairs: DatasetDict, prompt: JudgePrompt, can_resample: bool) -> Iterator[Job[Review]]:
    """The two jobs of every pair that can be shown, made as they are taken."""
    for rows in pairs.values():
        for pair in rows:
            if not_shown(pair) is None:
                for variant in (REVIEW, REVIEW_REVERSE):
                    yield review_pair(pair, variant, prompt, can_resample)


def ask(pairs: DatasetDict, oracle: Oracle, prompt: JudgePrompt) -> None:
    """Have the judge review all pairs in both orders; the oracle keeps the answers.

    Args:
        pairs: of `pair_up`.
    """
    shown = sum(not_shown(pair) is None for rows in pairs.values() for pair in rows)
    oracle.run(lambda: pair_jobs(pairs, prompt, oracle.can_resample), 2 * shown, 2)


def assemble(
    pairs: DatasetDict, oracle: Oracle, prompt: JudgePrompt, key: str, work_dir: Path
) -> tuple[DatasetDict, dict[str, Any]]:
    """Make the verdicts from the reviews that the oracle kept.

    Args:
        pairs: of `pair_up`.
        key, work_dir: cache key and place of finished shards. Shards of a run that left pairs open lack their reviews:
            empty the place before a run that may have more of them.

    Returns:
        The pairs in their order with all columns of the contract, and counts: `outcomes` and `invalid_reasons` by set,
        `unfinished` (pairs that another run may mend) and, where the oracle keeps an account, `usage`.
    """
    verdicts = {
        name: apply_step(
            rows,
            lambda batch: judge_batch(batch, oracle, prompt),
            key=f"{key} verdicts {name}",
            features=FEATURES,
            work_dir=work_dir,
        )
        for name, rows in pairs.items()
    }
    reasons = {name: count_reasons(rows) for name, rows in verdicts.items()}
    counts = {
        "outcomes": {name: count_outcomes(rows) for name, rows in verdicts.items()},
        "invalid_reasons": reasons,
        "unfinished": sum(found.get(status, 0) for found in reasons.values() for status in OPEN),
    }
    usage = getattr(oracle, "usage", None)
    return DatasetDict(verdicts), counts if usage is None else {**counts, "usage": usage.for_record()}


def judge_pairs(
    answers: DatasetDict, baseline: DatasetDict, oracle: Oracle, prompt: JudgePrompt, key: str, work_dir: Path
) -> tuple[DatasetDict, dict[str, Any]]:
    """Join, ask and assemble in one process; see `pair_up` and `assemble`."""
    pairs = pair_up(answers, baseline)
    ask(pairs, oracle, prompt)
    return assemble(pairs, oracle, prompt, key, work_dir)


def judge_batch(pairs: Batch, oracle: Oracle, prompt: JudgePrompt) -> Batch:
    """The verdicts on a batch of pairs, from the reviews that the oracle kept."""
    rows = [dict(zip(pairs, values, strict=True)) for values in zip(*pairs.values(), strict=True)]
    judged = [judge_row(row, oracle, prompt) for row in rows]
    return {name: [row[name] for row in judged] for name in FEATURES}


def judge_row(pair: Row, oracle: Oracle, prompt: JudgePrompt) -> dict[str, Any]:
    """One pair with its verdict."""
    reason = not_shown(pair)
    if reason is not None:
        reviews = [Review(None, reason)] * 2
    else:
        reviews = [
            replay(review_pair(pair, variant, prompt, oracle.can_resample), oracle.answer)
            for variant in (REVIEW, REVIEW_REVERSE)
        ]
    verdict = verdict_columns(*(review.marks for review in reviews))
    # What another run may mend is said before what it may not, else the pair would look done.
    pending = [review.marks for review in reviews if review.marks in OPEN]
    return {
        **pair,
        REVIEW: reviews[0].text,
        REVIEW_REVERSE: reviews[1].text,
        **verdict,
        "invalid_reason": pending[0] if pending else verdict["invalid_reason"],
        "judge_model": next((review.model for review in reviews if review.model), None),
    }


def count_outcomes(verdicts: Dataset) -> dict[str, int]:
    """How many questions have each of `OUTCOMES`."""
    found = Counter(verdicts["outcome"])
    return {name: found[name] for name in OUTCOMES}


def count_reasons(verdicts: Dataset) -> dict[str, int]:
    """How many questions are invalid for which reason, the most frequent first."""
    rows = zip(verdicts["outcome"], verdicts["invalid_reason"], strict=True)
    return dict(Counter(reason for outcome, reason in rows if outcome == INVALID).most_common())
