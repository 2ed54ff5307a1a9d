"""The list of the files that publishing put into a repository: what a later run may replace, and a reader check."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.hub.client import small_file
from hub_cards.publishing.target import Target
from hub_cards.sources import hash_file

MANIFEST_FILE = "published_files.json"
CARD = "README.md"
# The card holds its owner's words as well, and the list cannot hold itself.
NOT_LISTED = (CARD, MANIFEST_FILE)


@dataclass(frozen=True)
class Manifest:
    """What publishing wrote.

    Attributes:
        kind: as `Target.kind`.
        files: for each path in the repository, with forward slashes, the size in bytes and the sha256 in hex.
    """

    kind: str
    files: dict[str, tuple[int, str]]

    def as_text(self) -> str:
        """The content of the file that it is kept in."""
        files = {name: {"size": size, "sha256": digest} for name, (size, digest) in sorted(self.files.items())}
        return json.dumps({"kind": self.kind, "files": files}, indent=1) + "\n"


def files_below(folder: Path) -> list[str]:
    """The paths of all files below `folder`, as the Hub writes them; hidden ones are nobody's to publish."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def write_manifest(folder: Path, kind: str) -> None:
    """Write the list of `folder`'s files into it."""
    found = {name: folder / name for name in files_below(folder) if name not in NOT_LISTED}
    listed = Manifest(kind, {name: (path.stat().st_size, hash_file(path)) for name, path in found.items()})
    (folder / MANIFEST_FILE).write_text(listed.as_text(), encoding="utf-8")


def read_manifest(path: Path) -> Manifest | None:
    """The list in a file; None where it is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (file["size"], file["sha256"]) for name, file in content["files"].items()}
        return Manifest(content["kind"], files)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None


def read_local_manifest(folder: Path) -> Manifest:
    """The list of a folder that is laid out for the Hub.

    Raises:
        BadInputError: there is none.
    """
    path = folder / MANIFEST_FILE
    manifest = read_manifest(path) if path.is_file() else None
    if manifest is None:
        raise BadInputError(f"{folder}: is not laid out for the Hub: it has no {MANIFEST_FILE}")
    return manifest


def read_remote_manifest(target: Target, commit: str) -> Manifest | None:
    """The list in a repository at a commit; None where publishing has not written there."""
    path = fetch(target, MANIFEST_FILE, commit)
    return None if path is None else read_manifest(path)


def fetch(target: Target, name: str, commit: str) -> Path | None:
    """A small file of a repository at a commit; None where it has no such file."""
    return small_file(target.repo_id, target.repo_type, name, commit, target.where)
