"""The judge sets: questions of several published forms as rows of one form. Imports no torch.

Vicuna's questions come with the package; those of Koala, WizardLM, Self-Instruct and LIMA, or one's own, are read from
files or the Hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.parts import find_parts
from hub_cards.rows import number_duplicates, row_id
from hub_cards.schema import QUESTION_COLUMNS, features
from hub_cards.sources import Source, data_files, download, find_source, hash_file, looks_like_hub_id, read_file_records

FLAG = "--judge_sets"
BUNDLED = {"vicuna": Path(__file__).parent / "data/vicuna.jsonl"}
SUFFIX = "_test_set"
# Where the published sets keep the question, its id and its kind. `instruction` (Self-Instruct) may have an input.
QUESTION_FIELDS = ("instruction", "Instruction", "text", "prompt", "conversations")
ID_FIELDS = ("id", "question_id", "idx")
CATEGORY_FIELDS = ("category", "Skill")

Record = Mapping[str, Any]


def set_name(location: str) -> str:
    """What the set of an entry is called: the file's or repository's name without `_test_set`."""
    name = location.rsplit("/", 1)[-1] if looks_like_hub_id(location) else Path(location).stem
    return name.removesuffix(SUFFIX)


def find_judge_sets(locations: Sequence[str]) -> dict[str, Source]:
    """The sources of judge sets, by the sets' names.

    Args:
        locations: `vicuna`, paths of .json, .jsonl or .parquet files, or Hub ids.

    Raises:
        BadInputError: an entry is nothing of this, or two sets have one name.
    """
    found: dict[str, Source] = {}
    for location in locations:
        name = set_name(location)
        if name in found:
            raise BadInputError(
                f"{FLAG} {location}: {found[name].location} is called {name!r} too; rename one of the files"
            )
        found[name] = _find(location)
    return found


def _find(location: str) -> Source:
    if location in BUNDLED:
        return Source("package", location, hash_file(BUNDLED[location]))
    if not Path(location).is_file() and not looks_like_hub_id(location):
        raise BadInputError(
            f"{FLAG} {location}: there is no such file; give {' or '.join(BUNDLED)}, which is in the package, the path "
            "of a .json, .jsonl or .parquet file, or a Hub id (user/name)"
        )
    return find_source(location, flag=FLAG)


def load_judge_sets(locations: Sequence[str], limit: int | None = None) -> DatasetDict:
    """The questions of judge sets, each under its set's name, with the columns of `QUESTION_COLUMNS`.

    Args:
        locations: as `find_judge_sets`.
        limit: take only the first so many of each set.

    Raises:
        BadInputError: as `find_judge_sets`; or a set is empty, or a record holds no question (the message numbers it).
    """
    return DatasetDict(
        {
            name: _questions(islice(_records(source), limit), source.location)
            for name, source in find_judge_sets(locations).items()
        }
    )


def _records(source: Source) -> Iterator[dict[str, Any]]:
    if source.kind != "hub":
        return read_file_records(BUNDLED.get(source.location) or Path(source.location))
    folder = download(source, FLAG)
    parts = find_parts(folder, data_files(folder))
    wanted = next(iter(parts)) if len(parts) == 1 else "test"
    if wanted not in parts:
        raise BadInputError(
            f"{FLAG} {source.location}: holds {', '.join(parts) or 'no data files'}, so it is not clear where its "
            "questions are; download the file and give its path"
        )
    return chain.from_iterable(read_file_records(path) for path in parts[wanted])


def _questions(records: Iterable[Record], where: str) -> Dataset:
    rows = [_read(record, f"{FLAG} {where}, row {number}") for number, record in enumerate(records)]
    if not rows:
        raise BadInputError(f"{FLAG} {where}: holds no questions")
    ids = number_duplicates(row_id(row["instruction"], row["input"], "") for row in rows)
    rows = [{"row_id": identity, **row} for identity, row in zip(ids, rows, strict=True)]
    return Dataset.from_list(rows, features=features(QUESTION_COLUMNS))


def _read(record: Record, where: str) -> dict[str, str | None]:
    field = next((name for name in QUESTION_FIELDS if name in record), None)
    if field is None:
        raise BadInputError(
            f"{where}: has none of the fields {', '.join(QUESTION_FIELDS)}, of which one is the question"
        )
    texts = {"instruction": record[field], "input": _input(record, where) if field == "instruction" else ""}
    for name, text in texts.items():
        _check_text(text, f"{where}: {field if name == 'instruction' else 'input'}")
    if not texts["instruction"].strip():
        raise BadInputError(f"{where}: {field} is blank; remove the row")
    return {"source_id": _first(record, ID_FIELDS), **texts, "category": _first(record, CATEGORY_FIELDS)}


def _input(record: Record, where: str) -> Any:
    """The input beside an instruction; Self-Instruct has it in a list of instances."""
    instances = record.get("instances")
    if instances is None:
        return record.get("input") or ""
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        raise BadInputError(f"{where}: instances is no list of one instance; write a row for each of them")
    return instances[0].get("input") or ""


def _check_text(text: Any, where: str) -> None:
    if not isinstance(text, str):
        raise BadInputError(f"{where} is {str(text)[:40]!r}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"{where} holds half a surrogate pair, which is no valid text") from error


def _first(record: Record, names: Sequence[str]) -> str | None:
    """The first of these fields that is there, as text."""
    value = next((record[name] for name in names if record.get(name) is not None), None)
    return None if value is None else str(value)
