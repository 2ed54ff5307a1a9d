"""Repositories as git keeps them: files, commits that each keep their tree, branches and tags, with git's own ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from answers import RefusalError, no_entry, no_revision
from card_metadata import VOCABULARY

LFS_SUFFIXES = VOCABULARY["lfs_suffixes"]
# A repository begins with this file, as on the Hub.
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


def git_oid(kind: str, content: bytes) -> str:
    """The name that git gives an object: its SHA-1, hexadecimal."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a tree: its bytes, and whether git holds only a pointer to them."""

    content: bytes
    lfs: bool

    def __post_init__(self) -> None:
        # Hashed once: a tree is written at every commit.
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())
        object.__setattr__(self, "oid", git_oid("blob", self.pointer if self.lfs else self.content))

    @property
    def pointer(self) -> bytes:
        """What git holds of an LFS file."""
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @property
    def etag(self) -> str:
        """The name under which clients cache the content."""
        return self.sha256 if self.lfs else self.oid


@dataclass
class Commit:
    """A commit with its whole tree: every revision stays readable."""

    oid: str
    parent: Commit | None
    files: dict[str, File]
    author: str
    title: str
    message: str
    date: str  # UTC, with milliseconds and a Z: nothing else is read by the clients

    def history(self) -> Iterator[Commit]:
        """This commit and those before it, newest first."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def last_change(self, path: str) -> Commit:
        """The last commit that changed a file or anything below a folder."""
        kept = self.below(path)
        last = self
        for commit in self.history():
            if commit.below(path) != kept:
                return last
            last = commit
        return last

    def below(self, path: str) -> dict[str, str]:
        """The ids of the files at or below a path."""
        return {name: file.oid for name, file in self.files.items() if name == path or name.startswith(f"{path}/")}


def now() -> str:
    """The time as the Hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def tree_oid(files: dict[str, File], folder: str = "") -> str:
    """The id of the tree of a folder, by git's own rules."""
    entries: dict[str, tuple[bytes, str]] = {}
    start = f"{folder}/" if folder else ""
    for path, file in files.items():
        if not path.startswith(start):
            continue
        name, _, rest = path.removeprefix(start).partition("/")
        if rest:
            entries.setdefault(f"{name}/", (b"40000 " + name.encode(), ""))
        else:
            entries[name] = (b"100644 " + name.encode(), file.oid)
    lines = [
        head + b"\0" + bytes.fromhex(oid or tree_oid(files, start + name.rstrip("/")))
        for name, (head, oid) in sorted(entries.items())
    ]
    return git_oid("tree", b"".join(lines))


@dataclass
class Repository:
    """A model or data set: its commits, branches and tags, and the LFS objects that were uploaded to it."""

    kind: str  # "model" or "dataset"
    id: str
    private: bool
    created: str = field(default_factory=now)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    tag_messages: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # by sha256
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)  # of the objects that are on their way

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": File(ATTRIBUTES, lfs=False)}, self.namespace, "initial commit")

    @property
    def namespace(self) -> str:
        """The user or organisation that owns it."""
        return self.id.split("/")[0]

    @property
    def web_path(self) -> str:
        """The path of its page."""
        return f"/{self.id}" if self.kind == "model" else f"/{self.kind}s/{self.id}"

    def resolve(self, revision: str) -> Commit:
        """The commit of a branch, tag, or commit id of at least seven digits.

        Raises:
            RefusalError: 404, RevisionNotFound.
        """
        for refs, start in ((self.branches, "refs/heads/"), (self.tags, "refs/tags/")):
            found = refs.get(revision) or (
                refs.get(revision.removeprefix(start)) if revision.startswith(start) else None
            )
            if found:
                return found
        found = [commit for oid, commit in self.commits.items() if len(revision) >= 7 and oid.startswith(revision)]
        if len(found) != 1:
            raise no_revision(revision)
        return found[0]

    def head(self, branch: str) -> Commit:
        """The last commit of a branch; nothing can be committed to a tag or a commit. Raises a 404."""
        if branch.removeprefix("refs/heads/") not in self.branches:
            raise no_revision(branch)
        return self.branches[branch.removeprefix("refs/heads/")]

    def commit(
        self, branch: str, files: dict[str, File], author: str, title: str, message: str = "", same_too: bool = False
    ) -> Commit:
        """Put a whole tree on a branch. A tree that is there already makes no commit, unless `same_too`."""
        branch = branch.removeprefix("refs/heads/")
        parent = self.branches.get(branch)
        if parent is not None and parent.files == files and not same_too:
            return parent
        date = now()
        head = f"tree {tree_oid(files)}\n" + (f"parent {parent.oid}\n" if parent else "")
        text = f"{head}author {author} {date}\ncommitter {author} {date}\n\n{title}\n\n{message}"
        made = Commit(git_oid("commit", text.encode()), parent, files, author, title, message, date)
        self.commits[made.oid] = self.branches[branch] = made
        return made

    def lfs_file(self, sha256: str) -> File:
        """The file of an uploaded object. Raises a 400 where it was not uploaded."""
        if sha256 not in self.objects:
            message = "Your push was rejected because an LFS pointer pointed to a file that does not exist."
            raise RefusalError(400, f"{message} Offending oid: {sha256}")
        return File(self.objects[sha256], lfs=True)


def entry(commit: Commit, path: str, expand: bool) -> dict[str, Any] | None:
    """A file or folder as `tree` and `paths-info` tell of it; None where there is no such thing."""
    file = commit.files.get(path)
    if file is not None:
        told: dict[str, Any] = {"type": "file", "oid": file.oid, "size": len(file.content), "path": path}
        if file.lfs:
            told["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    elif any(name.startswith(f"{path}/") for name in commit.files):
        told = {"type": "directory", "oid": tree_oid(commit.files, path), "size": 0, "path": path}
    else:
        return None
    if expand:
        last = commit.last_change(path)
        told["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return told


def list_tree(commit: Commit, folder: str, recursive: bool, revision: str) -> list[str]:
    """The paths below a folder, folders too, in order. Raises a 404 where there is no such folder."""
    start = f"{folder}/" if folder else ""
    found = set()
    for path in commit.files:
        if path.startswith(start):
            parts = path.removeprefix(start).split("/")
            depth = len(parts) if recursive else 1
            found |= {start + "/".join(parts[:count]) for count in range(1, depth + 1)}
    if not found and folder:
        raise no_entry(folder, revision, commit.oid)
    return sorted(found)
