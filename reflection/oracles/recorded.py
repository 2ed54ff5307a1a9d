"""The `recorded` oracle: completions from a JSONL file, looked up by row and variant. Offline, free, deterministic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.schema import REFLECTED_VARIANTS
from hub_cards.sources import read_file_records
from reflection.oracles.base import Completion, Job, OracleRequest
from reflection.statuses import NOT_RECORDED


class RecordedOracle:
    """Answers from a file of `{"row_id" or "id", "variant", "completion"[, "finish_reason", "model"]}` lines.

    `row_id` is ours, `id` the source's own. A request without a recorded completion gets an error, not an exception.

    Raises:
        BadInputError: the file is missing, or a line lacks a key, has the wrong type or repeats another line's row and
            variant.
    """

    can_resample = False

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise BadInputError(f"--recorded_path {path}: there is no such file")
        self.path = path
        self.completions: dict[tuple[str | None, str], Completion] = {}
        for number, record in enumerate(read_file_records(Path(path)), start=1):
            key = self._key(record, number)
            if key in self.completions:
                raise BadInputError(f"--recorded_path {path}, record {number}: a second completion for {' '.join(key)}")
            self.completions[key] = Completion(
                text=record["completion"],
                finish_reason=record.get("finish_reason", "stop"),
                model=record.get("model", "recorded"),
            )

    def _key(self, record: dict, number: int) -> tuple[str, str]:
        identity = record.get("row_id", record.get("id"))
        if isinstance(identity, int) and not isinstance(identity, bool):
            identity = str(identity)  # as the loader of the rows does with an `id`
        for field, value in (
            ("row_id or id", identity),
            *((name, record.get(name)) for name in ("variant", "completion")),
        ):
            if not isinstance(value, str):
                raise BadInputError(f"--recorded_path {self.path}, record {number}: {field} is {value!r}, not a string")
        for field in ("finish_reason", "model"):
            if not isinstance(record.get(field), str | None):
                raise BadInputError(
                    f"--recorded_path {self.path}, record {number}: {field} is {record[field]!r}, not a string"
                )
        try:
            record["completion"].encode()
        except UnicodeEncodeError as error:
            raise BadInputError(
                f"--recorded_path {self.path}, record {number}: holds half a surrogate pair, which is no valid text"
            ) from error
        if record["variant"] not in REFLECTED_VARIANTS:
            known = ", ".join(REFLECTED_VARIANTS)
            raise BadInputError(
                f"--recorded_path {self.path}, record {number}: variant {record['variant']!r} is none of {known}"
            )
        return identity, record["variant"]

    def run(self, jobs: Callable[[], Iterable[Job]], total: int, jobs_per_row: int = 1) -> None:
        """Nothing to fetch: every answer is at hand."""

    def answer(self, request: OracleRequest) -> Completion:
        """Look a request up, by `row_id` first and by the source's `id` else."""
        keys = (request.row_id, request.variant), (request.source_id, request.variant)
        missing = Completion(None, failure=NOT_RECORDED, model="recorded")
        return next((self.completions[key] for key in keys if key in self.completions), missing)
