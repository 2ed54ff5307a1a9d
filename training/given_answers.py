"""Answers that are there already, as a baseline: an earlier evaluation's, or a file's. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, load_from_disk

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.rows import row_id
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, features
from hub_cards.sources import FILE_TYPES, Source, hash_file, read_file_records
from training.generate import EMPTY, OK, STEP

FLAG = "--baseline"
FOLDER = "answers"
NOT_GIVEN = "not_given"  # the baseline has no answer to the question
_NAMES = tuple(column.name for column in ANSWER_COLUMNS)

Answer = dict[str, Any]


def find_answers(location: str) -> Source | None:
    """Where answers are that a baseline names; None where it names a model.

    Args:
        location: the folder of an earlier evaluation, a .json, .jsonl or .parquet file of `instruction`, `output`
            (`input`, `generator`) rows, such as AlpacaEval's outputs; or a model.

    Raises:
        BadInputError: it is a file of another kind, or a folder with neither answers nor a model.
    """
    path = Path(location)
    if not path.exists() and path.suffix in FILE_TYPES:
        raise BadInputError(f"{FLAG} {location}: there is no such file")
    if path.is_file():
        if path.suffix not in FILE_TYPES:
            raise BadInputError(f"{FLAG} {location}: unknown file type {path.suffix!r}; use {', '.join(FILE_TYPES)}")
        return Source("file", location, hash_file(path))
    if (path / FOLDER / "dataset_dict.json").is_file():
        files = sorted((path / FOLDER).rglob("*.arrow"))
        content = [[file.relative_to(path).as_posix(), hash_file(file)] for file in files]
        return Source("folder", location, fingerprint_of(content))
    if path.is_dir() and not (path / "config.json").is_file():
        raise BadInputError(
            f"{FLAG} {location}: the folder holds neither a model (config.json) nor an evaluation's {FOLDER}/"
        )
    return None


def read_answers(location: str, questions: DatasetDict) -> DatasetDict:
    """The answers that are at `location` to these questions, joined by content; says how many questions have none.

    Args:
        location: as `find_answers`, which finds answers there.
        questions: by set, columns of `QUESTION_COLUMNS`.

    Returns:
        By set, the questions with `ANSWER_COLUMNS`; null and `not_given` where the baseline has no answer.

    Raises:
        BadInputError: a row of the file is none, or the baseline answers none of the questions.
    """
    path = Path(location)
    given = _from_file(path) if path.is_file() else _from_folder(path / FOLDER)
    missing = dict.fromkeys(_NAMES) | {"answer_status": NOT_GIVEN}
    made = DatasetDict()
    for name, rows in questions.items():
        answered = [{**row, **(_find(row, given) or missing)} for row in rows]
        made[name] = Dataset.from_list(answered, features=features((*QUESTION_COLUMNS, *ANSWER_COLUMNS)))
    lacking = {name: rows["answer_status"][:].count(NOT_GIVEN) for name, rows in made.items()}
    total, lost = sum(map(len, made.values())), sum(lacking.values())
    if lost == total:
        raise BadInputError(f"{FLAG} {location}: answers none of the {total:,} questions of {', '.join(questions)}")
    if lost:
        where = ", ".join(f"{name} {count:,}" for name, count in lacking.items() if count)
        say(STEP, f"{FLAG} {location}: {lost:,} of {total:,} questions have no answer there ({where})")
    return made


def _find(question: dict[str, Any], given: dict[str, Answer]) -> Answer | None:
    """By content; AlpacaEval's outputs have an input below the instruction, in one text."""
    instruction, input = question["instruction"], question["input"]
    merged = [row_id(f"{instruction}{gap}{input}", "", "") for gap in ("\n", "\n\n")] if input else []
    keys = (question["row_id"], row_id(instruction, input, ""), *merged)
    return next((given[key] for key in keys if key in given), None)


def _from_folder(folder: Path) -> dict[str, Answer]:
    given: dict[str, Answer] = {}
    for rows in load_from_disk(folder).values():
        for row in rows:
            given.setdefault(row["row_id"], {name: row[name] for name in _NAMES})
    return given


def _from_file(path: Path) -> dict[str, Answer]:
    given: dict[str, Answer] = {}
    repeats = 0
    for number, record in enumerate(read_file_records(path)):
        texts = {name: record.get(name, "") for name in ("instruction", "input", "output")}
        for name, text in texts.items():
            if name not in record and name != "input":
                raise BadInputError(f"{FLAG} {path}, row {number}: field {name!r} is missing")
            if not isinstance(text or "", str):
                raise BadInputError(f"{FLAG} {path}, row {number}: {name} is {str(text)[:40]!r}, not a string")
        answer = None if texts["output"] is None else texts["output"].strip()
        generator = record.get("generator") or path.stem
        status = NOT_GIVEN if answer is None else OK if answer else EMPTY
        values = (answer, status, None, str(generator))
        key = row_id(texts["instruction"] or "", texts["input"] or "", "")
        repeats += key in given
        given.setdefault(key, dict(zip(_NAMES, values, strict=True)))
    if repeats:
        say(STEP, f"warning: {FLAG} {path}: {repeats:,} row(s) answer a question anew; the first answer counts")
    return given
