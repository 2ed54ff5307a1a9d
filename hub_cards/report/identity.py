"""What a report says at its start, what it was made of, and at its end, the digest of all before: asked to keep one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hub_cards.provenance import StepRecord

REPORT_PAGE = "report.html"  # its name in the folder of a run
MARKER = "reflection-tuning report"
START_CHARACTERS = 5_000  # of the file, in which it stands
SEAL, DIGEST_DIGITS, SEAL_END = b"<!-- reflection-tuning report ends ", 64, b" -->\n"
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Identity:
    """What a page was made of.

    Attributes:
        fingerprint: of the record of its making.
        inputs: by role the fingerprint of what was read.
        whole: whether it shows all of that, and not some rows or one variant.
    """

    fingerprint: str
    inputs: Mapping[str, str]
    whole: bool = True

    @classmethod
    def of(cls, record: StepRecord) -> Identity:
        """That of a page that this step makes."""
        inputs = {role: source.fingerprint for role, source in record.inputs.items()}
        return cls(
            record.fingerprint, inputs, record.config.get("limit") is None and record.config.get("config") is None
        )

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


def seal(path: Path) -> str:
    """The last line of a page whose other content is in `path`: with it one sees whether it is whole and unchanged."""
    return (SEAL + _digest(path, path.stat().st_size).encode() + SEAL_END).decode()


def seal_of(path: Path) -> str | None:
    """The digest of the report at `path`, as hex; None where it is cut short, or was changed after it was written."""
    length = len(SEAL) + DIGEST_DIGITS + len(SEAL_END)
    size = path.stat().st_size - length
    if size < 0:
        return None
    with path.open("rb") as file:
        file.seek(size)
        last = file.read()
    digest = last[len(SEAL) : len(SEAL) + DIGEST_DIGITS].decode("ascii", "replace")
    is_sealed = last == SEAL + digest.encode() + SEAL_END
    return digest if is_sealed and digest == _digest(path, size) else None


def _digest(path: Path, size: int) -> str:
    """sha256 of the first `size` bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(CHUNK_BYTES, size))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()
