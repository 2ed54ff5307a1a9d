"""All that the local Hub holds, who may reach it, and what a test may ask about it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from typing import Any

from accounts import Caller
from answers import RefusalError, no_repository
from faults import Faults
from repositories import LFS_SUFFIXES, Commit, File, Repository
from shelves import Shelf

MIB = 2**20
SETTINGS = {
    "page_size": 1000,  # entries of a page of a tree, of its half where entries are expanded, and of commits
    "lfs_threshold": 10 * MIB,  # bytes above which any file is LFS
    "part_size": None,  # bytes of the parts in which LFS files are uploaded; None: each in one piece
    "anonymous_status": 401,  # what strangers are told of a repository they may not see; 404 in older versions
}
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
SERVED = ("model", "dataset")


class Hub:
    """One Hub, from one reset to the next."""

    def __init__(self, url: str, storage_url: str) -> None:
        self.url, self.storage_url = url, storage_url  # neither ends with a slash
        self.lock = threading.RLock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.shelves: dict[str, Shelf] = {}  # by slug
        self.faults = Faults()
        self.settings: dict[str, Any] = dict(SETTINGS)
        self.log: list[dict[str, Any]] = []
        self.secret = secrets.token_hex()

    def find(self, caller: Caller, kind: str, repo_id: str) -> Repository:
        """A repository, for reading. Raises the same refusal for one that is not there and one that may not be seen."""
        repository = self.repositories.get((kind, repo_id))
        if repository is None or (repository.private and not caller.may_read(repository.namespace)):
            raise no_repository(caller.anonymous and self.settings["anonymous_status"] == 401)
        return repository

    def own(self, caller: Caller, kind: str, repo_id: str) -> Repository:
        """A repository, for writing. Raises 401 and 404 where it may not be seen, 403 where it may not be changed."""
        repository = self.find(caller, kind, repo_id)
        if caller.anonymous:
            raise RefusalError(401, "Invalid username or password.")
        if caller.belongs_to(repository.namespace) and caller.role != "write":
            raise RefusalError(403, "Forbidden: you must use a write token to upload to a repository.")
        if not caller.may_write(repository.namespace):
            raise RefusalError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository

    def create(self, caller: Caller, asked: dict[str, Any]) -> Repository:
        """A new repository, with its first commit.

        Raises:
            RefusalError: 401, 403, 400 for a bad name, 409 for one that is taken.
        """
        if caller.anonymous:
            raise RefusalError(401, "Invalid username or password.")
        kind, name = asked.get("type") or "model", asked.get("name")
        namespace = asked.get("organization") or caller.name
        if kind not in SERVED:
            raise RefusalError(400, f"Only models and data sets are served here, not {kind}")
        if not caller.may_write(namespace):
            raise RefusalError(403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
        check_name(name)
        if (kind, f"{namespace}/{name}") in self.repositories:
            url = self.url + self.repositories[kind, f"{namespace}/{name}"].web_path
            raise RefusalError(409, f"You already created this {kind} repo", url=url)
        visibility = asked.get("visibility") or ("private" if asked.get("private") else "public")
        return self.add(kind, f"{namespace}/{name}", visibility == "private")

    def add(self, kind: str, repo_id: str, private: bool) -> Repository:
        """Put a new repository there, whoever may own it."""
        repository = Repository(kind, repo_id, private)
        self.repositories[kind, repo_id] = repository
        return repository

    def is_lfs(self, path: str, size: int, sample: bytes) -> bool:
        """Whether a file is kept as LFS. An empty one never is; a binary one always."""
        if size == 0:
            return False
        return path.lower().endswith(LFS_SUFFIXES) or size > self.settings["lfs_threshold"] or b"\0" in sample

    def file_of(self, repository: Repository, path: str, content: bytes) -> File:
        """A file as a push of this content would have stored it, its LFS object with it."""
        file = File(content, self.is_lfs(path, len(content), content[:512]))
        if file.lfs:
            repository.objects[file.sha256] = content
        return file

    def signature(self, method: str, repository: Repository, sha256: str) -> str:
        """What a signed URL of the storage carries in place of a token."""
        text = f"{self.secret} {method} {repository.kind} {repository.id} {sha256}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    # What follows is not part of a Hub: a test puts and reads without tokens.

    def put(self, kind: str, repo_id: str, files: dict[str, str], private: bool | None, author: str | None) -> Commit:
        """Commit files (base64 by path) to main, in a repository that is made, public, where there is none."""
        repository = self.repositories.get((kind, repo_id)) or self.add(kind, repo_id, private=False)
        repository.private = repository.private if private is None else private
        return self.write(repository, "main", files, author or repository.namespace, "Add files")

    def write(
        self,
        repository: Repository,
        branch: str,
        files: dict[str, str],
        author: str,
        title: str,
        same_too: bool = False,
    ) -> Commit:
        """Add files (base64 by path) to a branch; with `same_too` there is a commit even if they are there already."""
        tree = dict(repository.head(branch).files)
        for path, content in files.items():
            tree[path] = self.file_of(repository, path, base64.b64decode(content))
        return repository.commit(branch, tree, author, title, same_too=same_too)

    def describe(self, kind: str, repo_id: str, revision: str) -> dict[str, Any] | None:
        """All of a repository at a revision, without the files' contents; None where there is no such repository."""
        repository = self.repositories.get((kind, repo_id))
        if repository is None:
            return None
        commit = repository.resolve(revision)
        files = {
            path: {"size": len(file.content), "sha256": file.sha256, "oid": file.oid, "lfs": file.lfs}
            for path, file in sorted(commit.files.items())
        }
        commits = [
            {"oid": one.oid, "title": one.title, "message": one.message, "author": one.author, "date": one.date}
            for one in commit.history()
        ]
        return {
            "kind": kind,
            "id": repo_id,
            "private": repository.private,
            "head": commit.oid,
            "files": files,
            "commits": commits,
            "branches": {name: one.oid for name, one in repository.branches.items()},
            "tags": {name: one.oid for name, one in repository.tags.items()},
            "tag_messages": repository.tag_messages,
        }


def check_name(name: Any) -> None:
    """Raises a 400 for a name that no repository may have."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 96:
        raise RefusalError(
            400, f"Invalid repo name: {name} - name must match the pattern [A-Za-z0-9_.-], 96 characters at most"
        )
    if "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        raise RefusalError(400, f"Invalid repo name: {name} - no -- or .., and no .git or .ipynb at the end")
