"""What a report says at its start: what it was made of. Whoever keeps or publishes one asks this, and no more of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hub_cards.provenance import StepRecord

REPORT_PAGE = "report.html"  # its name in the folder of a run
MARKER = "reflection-tuning report"
START_CHARACTERS = 5_000  # of the file, in which it stands


@dataclass(frozen=True)
class Identity:
    """What a page was made of.

    Attributes:
        fingerprint: of the record of its making.
        inputs: by role the fingerprint of what was read.
    """

    fingerprint: str
    inputs: Mapping[str, str]

    @classmethod
    def of(cls, record: StepRecord) -> Identity:
        """That of a page that this step makes."""
        return cls(record.fingerprint, {role: source.fingerprint for role, source in record.inputs.items()})

    def as_line(self) -> str:
        """As it stands in a comment of the page: one line in which nothing can end that, as inputs may be Hub ids."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{MARKER} {text.replace('-', chr(92) + 'u002d').replace('>', chr(92) + 'u003e')}"


def identity_of(path: Path) -> Identity | None:
    """What the report at `path` was made of; None where there is no file, or none of ours that can be read."""
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(START_CHARACTERS)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, UnicodeDecodeError):
        return None
    _, found, rest = start.partition(f"<!-- {MARKER} ")
    try:
        identity = Identity(**json.loads(rest.partition(" -->")[0])) if found else None
    except (json.JSONDecodeError, TypeError):  # somebody else's page about ours
        return None
    return identity if identity and isinstance(identity.inputs, dict) else None
