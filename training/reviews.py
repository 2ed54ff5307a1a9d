"""Judge logs in the JSON format of the papers' repositories, read as verdicts of the contract.

A log is `{"Meta_Info": …, "data": [record, …]}`. A record holds its question under the name that its test set gives it,
`Answer1`, `Answer2`, and two reviews: `review` with `Answer1` shown first, `review_reverse` with `Answer2` shown first.
`scores` and `scores_reverse` are what the log's own program read in them, in the order shown, not swapped back. The
marks are read again here, and `scores` only checked against them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from hub_cards.errors import BadInputError
from hub_cards.rows import number_duplicates, row_id
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, VERDICT_COLUMNS, features
from training.judge_sets import QUESTION_FIELDS
from training.verdicts import Marks, parse_marks, verdict_columns

FEATURES = features((*QUESTION_COLUMNS, *ANSWER_COLUMNS, *VERDICT_COLUMNS))
ANSWERS = ("Answer1", "Answer2")
REVIEWS = {"review": "scores", "review_reverse": "scores_reverse"}


@dataclass(frozen=True)
class ReviewLog:
    """One judge log.

    Attributes:
        verdicts: in the order of the log, with all columns of questions, answers and verdicts; `answer` is `Answer1`.
            Who answered and who judged is null: a log does not say it.
        disagreements: where the log's own scores are not the marks in its reviews, one line each.
    """

    verdicts: Dataset
    disagreements: list[str]


def read_reviews(path: Path, flag: str = "--reviews") -> ReviewLog:
    """Read a log.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: it is no such log, or a record lacks a field or has one of the wrong type.
    """
    where = f"{flag} {path}"
    records = _records(path, where)
    rows, disagreements = [], []
    for number, record in enumerate(records):
        place = f"{where}: record {number}"
        row, marks = _read_record(record, place)
        rows.append(row)
        for (_, scores), found in zip(REVIEWS.items(), marks, strict=True):
            if scores in record and not _agrees(record[scores], found):
                said = "no marks" if isinstance(found, str) else f"{found.first:g} {found.second:g}"
                disagreements.append(f"record {number}: {scores} is {record[scores]!r}, the review says {said}")
    for row, identity in zip(rows, number_duplicates(row["row_id"] for row in rows), strict=True):
        row["row_id"] = identity
    return ReviewLog(Dataset.from_list(rows, features=FEATURES), disagreements)


def _records(path: Path, where: str) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{where}: is not JSON ({error})") from error
    records = content.get("data") if isinstance(content, dict) else None
    if not isinstance(records, list) or not records:
        raise BadInputError(f'{where}: is no judge log, which is an object with a list "data" of reviewed answers')
    return records


def _read_record(record: Any, place: str) -> tuple[dict[str, Any], list[Marks | str]]:
    """A row of the contract and the marks of both reviews."""
    if not isinstance(record, dict):
        raise BadInputError(f"{place} is {json.dumps(record)[:60]}, not an object with named fields")
    question = next((record[name] for name in QUESTION_FIELDS if name in record), None)
    if not isinstance(question, str):
        raise BadInputError(
            f"{place}: has no question as a text in {', '.join(QUESTION_FIELDS)}; it has {', '.join(record)}"
        )
    for name in (*ANSWERS, *REVIEWS):
        # A judge that did not answer left null; a log without the field is of another kind.
        if name not in record or not isinstance(record[name], str if name in ANSWERS else str | None):
            raise BadInputError(f"{place}: field {name!r} is {_kind(record, name)}, not a text")
    marks = [parse_marks(record[name]) for name in REVIEWS]
    row = {
        **dict.fromkeys(FEATURES),
        "row_id": row_id(question, "", ""),
        "instruction": question,
        "input": "",
        "answer": record["Answer1"],
        "answer_status": "ok",
        "baseline_answer": record["Answer2"],
        **{name: record[name] for name in REVIEWS},
        **verdict_columns(*marks),
    }
    return row, marks


def _kind(record: Mapping[str, Any], name: str) -> str:
    return json.dumps(record[name])[:60] if name in record else "missing"


def _agrees(scores: Any, marks: Marks | str) -> bool:
    """Whether a log's scores, a list or its text, are these marks; where there are no marks none can agree."""
    try:
        values = json.loads(scores) if isinstance(scores, str) else scores
    except ValueError:
        return False
    return isinstance(marks, Marks) and values == list(marks)
