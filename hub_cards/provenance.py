"""The record of a step: what it was given, what it did, what came out. Its cache key and its paragraph in the card.

`datasets` hashes an imported function by reference and a model by pickling it, so its own fingerprints go stale or
never hit. Here the key is explicit: (inputs, step, step version, configuration).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datasets import Dataset

from hub_cards.sources import Source

PROVENANCE_FILE = "provenance.json"
LIBRARIES = (
    *("reflection-tuning", "datasets", "transformers", "tokenizers", "torch", "accelerate", "trl", "openai"),
    *("peft", "bitsandbytes", "lm-eval"),
)


@dataclass(frozen=True)
class StepRecord:
    """One step of a run.

    Attributes:
        step, version: the step's name and the version of its meaning; the version is raised when the code of a step
            changes what comes out.
        config: the settings that decide the result (batch sizes and paths of results do not).
        inputs: what was read, by role (`dataset`, `model`, …).
        counts: what came out, as the step counted it.
        libraries: the versions it ran with.
        seconds: how long it took; for a resumed step, its last run.
        result: digest of what came out, where inputs and configuration do not settle it (an oracle's answers).
        unfinished: rows that another run of the same command may still mend.
    """

    step: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, Source]
    counts: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    result: str | None = None
    unfinished: int = 0

    @property
    def fingerprint(self) -> str:
        """32 hex digits over inputs, step, version and configuration: the whole cache key."""
        inputs = {role: source.fingerprint for role, source in self.inputs.items()}
        return fingerprint_of([self.step, self.version, self.config, inputs])

    @property
    def result_fingerprint(self) -> str:
        """What identifies the result for the step that reads it."""
        return self.fingerprint if self.result is None else fingerprint_of([self.fingerprint, self.result])

    def finished(self, counts: Mapping[str, Any], seconds: float, **outcome: Any) -> StepRecord:
        """The same record with what came out; `outcome` may give `result` and `unfinished`."""
        return replace(self, counts=dict(counts), libraries=library_versions(), seconds=round(seconds, 1), **outcome)


def fingerprint_of(value: Any) -> str:
    """32 hex digits of the sha256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest_of(dataset: Dataset) -> str:
    """32 hex digits of the sha256 of all values of a data set, whatever shards it lies in."""
    digest = hashlib.sha256(json.dumps(dataset.column_names).encode())
    for batch in dataset.iter(1000):
        digest.update(json.dumps(batch, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that a result can depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_records(folder: Path, records: list[StepRecord]) -> None:
    """Write the lineage of `folder`'s content, oldest step first."""
    content = [{"fingerprint": record.fingerprint, **asdict(record)} for record in records]
    (folder / PROVENANCE_FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_records(folder: Path) -> list[StepRecord]:
    """The lineage of a folder; empty where there is no (readable) provenance of ours."""
    try:
        content = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
        return [_record(entry) for entry in content]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError, json.JSONDecodeError):
        return []
    except (AttributeError, KeyError, TypeError):  # somebody else's provenance.json
        return []


def _record(entry: dict[str, Any]) -> StepRecord:
    entry = {key: value for key, value in entry.items() if key != "fingerprint"}
    entry["inputs"] = {role: Source(**source) for role, source in entry["inputs"].items()}
    return StepRecord(**entry)
