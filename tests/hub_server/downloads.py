"""The routes that hand out files: small ones from the Hub, LFS ones from the storage, to which the Hub leads."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from accounts import Caller
from answers import Answer, RefusalError, Request, no_entry
from hub import Hub
from uploads import signed_repository

ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def resolve(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Answer:
    """HEAD and GET W/resolve/{rev}/{path}"""
    repository = hub.find(caller, kind, repo_id)
    revision, path = unquote(revision), unquote(path)
    commit = repository.resolve(revision)
    file = commit.files.get(path)
    if file is None:
        raise no_entry(path, revision, commit.oid)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if not file.lfs:
        return ranged(request, file.content, headers)
    # The size and hash are told here, because the client looks at the redirect alone when it leads to another origin.
    headers |= {"X-Linked-Size": str(len(file.content)), "X-Linked-Etag": f'"{file.sha256}"'}
    place = f"{hub.storage_url}/{kind}s/{repo_id}/{file.sha256}/{quote(path)}"
    return Answer(302, {**headers, "Location": f"{place}?signature={hub.signature('GET', repository, file.sha256)}"})


def fetch(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, sha256: str, path: str) -> Answer:
    """GET from the storage; the path is there for whoever reads the log."""
    repository = signed_repository(hub, request, "GET", kind, repo_id, sha256)
    return ranged(request, repository.objects[sha256], {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


def ranged(request: Request, content: bytes, headers: dict[str, str]) -> Answer:
    """All of it, or the range that is asked for.

    Raises:
        RefusalError: 416 where nothing of the range is there.
    """
    headers = {"Content-Type": "application/octet-stream", **headers}
    asked = ONE_RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or asked[0] == "bytes=-" or request.method == "HEAD":
        return Answer(200, headers, content)
    size = len(content)
    if asked[1]:
        start, end = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    else:
        start, end = max(0, size - int(asked[2])), size - 1
    if start > end:
        refused = RefusalError(416, f"The range {asked[0]} is not in {size} bytes")
        refused.headers["Content-Range"] = f"bytes */{size}"
        raise refused
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}, content[start : end + 1])
