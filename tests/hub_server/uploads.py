"""The routes that write: which files are LFS, where their bytes go, and the commit."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import unquote

from accounts import Caller
from answers import Answer, RefusalError, Request, no_entry
from card_metadata import validate
from hub import Hub
from repositories import File, Repository

LFS_JSON = "application/vnd.git-lfs+json"
RIVAL = "rival"  # who wins the races


def preupload(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str) -> Answer:
    """POST R/preupload/{rev}: what is LFS; the ids of the files that are there let clients leave out the same ones."""
    repository = hub.own(caller, kind, repo_id)
    refuse_pull_requests(request)
    commit = repository.head(unquote(revision))
    told = []
    for asked in request.json()["files"]:
        path, size = asked["path"], asked["size"]
        lfs = hub.is_lfs(path, size, base64.b64decode(asked["sample"]))
        held = commit.files.get(path)
        oid = {} if held is None else {"oid": held.etag}
        told.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, **oid})
    return Answer.of({"files": told, "commitOid": commit.oid})


def refuse_pull_requests(request: Request) -> None:
    """Raises a 400 for what would open a pull request: there are none here."""
    if request.flag("create_pr"):
        raise RefusalError(400, "Pull requests are disabled for this repository")


def batch(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str) -> Answer:
    """POST W.git/info/lfs/objects/batch: where to put the bytes; nowhere for those that are there."""
    repository = hub.own(caller, kind, repo_id)
    asked = request.json()
    part_size = hub.settings["part_size"] if "multipart" in asked.get("transfers", []) else None
    told = []
    for one in asked["objects"]:
        thing: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
        if one["oid"] not in repository.objects:
            verify = {"href": f"{hub.url}{repository.web_path}.git/info/lfs/verify"}
            upload = _upload(hub, repository, one["oid"], one["size"], part_size)
            thing |= {"authenticated": True, "actions": {"upload": upload, "verify": verify}}
        told.append(thing)
    transfer = "multipart" if part_size else "basic"
    return Answer.of({"transfer": transfer, "objects": told}, Content_Type=LFS_JSON)


def _upload(hub: Hub, repository: Repository, sha256: str, size: int, part_size: int | None) -> dict[str, Any]:
    """A signed address, which needs no token; or one for each part, and where to say that all are there."""
    place = f"{hub.storage_url}/{repository.kind}s/{repository.id}/{sha256}"
    signed = f"signature={hub.signature('PUT', repository, sha256)}"
    if part_size is None:
        return {"href": f"{place}?{signed}"}
    count = -(-size // part_size)
    parts = {f"{number:05d}": f"{place}?part={number}&{signed}" for number in range(1, count + 1)}
    complete = f"{hub.url}{repository.web_path}.git/info/lfs/complete?{signed}"
    return {"href": complete, "header": {"chunk_size": str(part_size), **parts}}


def store(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, sha256: str) -> Answer:
    """PUT to the storage: no token, a signature; the bytes must be those that were announced."""
    repository = signed_repository(hub, request, "PUT", kind, repo_id, sha256)
    part = request.parameters().get("part")
    if part is not None:
        repository.parts.setdefault(sha256, {})[int(part[0])] = request.body
        return Answer(200, {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
    _keep(repository, sha256, request.body)
    return Answer(200, {"ETag": f'"{sha256}"'})


def _keep(repository: Repository, sha256: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RefusalError(400, "BadDigest: the bytes are not those of the SHA-256 that was announced")
    repository.objects[sha256] = content


def signed_repository(hub: Hub, request: Request, method: str, kind: str, repo_id: str, sha256: str) -> Repository:
    """The repository of a signed address. Raises 400 for a token, 403 for another signature, 404."""
    if "authorization" in request.headers:
        raise RefusalError(400, "InvalidArgument: only one way of authentication is allowed")
    repository = hub.repositories.get((kind, repo_id))
    if repository is None:
        raise RefusalError(404, "NoSuchKey")
    if request.parameters().get("signature") != [hub.signature(method, repository, sha256)]:
        raise RefusalError(403, "SignatureDoesNotMatch")
    return repository


def complete(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str) -> Answer:
    """POST after the last part: the parts become the object."""
    asked = request.json()
    repository = signed_repository(hub, request, "PUT", kind, repo_id, asked["oid"])
    parts = repository.parts.get(asked["oid"], {})
    numbers = [part["partNumber"] for part in asked["parts"]]
    if numbers != list(range(1, len(parts) + 1)):
        raise RefusalError(400, "InvalidPart: not all parts are there")
    _keep(repository, asked["oid"], b"".join(parts[number] for number in numbers))
    del repository.parts[asked["oid"]]
    return Answer.of({"success": True})


def verify(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str) -> Answer:
    """POST W.git/info/lfs/verify: whether an upload went well."""
    repository, asked = hub.own(caller, kind, repo_id), request.json()
    if len(repository.objects.get(asked["oid"], b"")) != asked["size"]:
        raise RefusalError(404, f"The object {asked['oid']} was not uploaded")
    return Answer.of({})


def commit(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str) -> Answer:
    """POST R/commit/{rev}: lines of JSON, the first the message, each other an operation; all or nothing.

    Raises:
        RefusalError: 412 where the branch has moved from the parent that the client names.
    """
    repository, branch = hub.own(caller, kind, repo_id), unquote(revision)
    refuse_pull_requests(request)
    head = repository.head(branch)
    if request.fault is not None and request.fault.race:
        head = hub.write(repository, branch, request.fault.race, RIVAL, "Somebody else was faster", same_too=True)
    header, operations = _lines(request)
    if header.get("parentCommit") not in (None, head.oid):
        raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(head.files)
    for key, value in operations:
        _apply(repository, tree, key, value, branch, head.oid)
    _check_card(tree)
    for path, content in (request.fault.replace if request.fault is not None else {}).items():
        if path in tree:
            tree[path] = hub.file_of(repository, path, base64.b64decode(content))
    title, message = header["summary"], header.get("description", "")
    made = repository.commit(branch, tree, caller.name, title, message)
    url = f"{hub.url}{repository.web_path}/commit/{made.oid}"
    return Answer.of({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _lines(request: Request) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    try:
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        read = [(line["key"], line["value"]) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise RefusalError(400, "Invalid NDJSON in the body of the commit") from None
    if not read or read[0][0] != "header" or "summary" not in read[0][1]:
        raise RefusalError(400, "The first line of a commit must be its header, with a summary")
    return read[0][1], read[1:]


def _apply(
    repository: Repository, tree: dict[str, File], key: str, value: dict[str, Any], branch: str, head: str
) -> None:
    """One operation of a commit on its tree."""
    path = value["path"]
    if not path.strip("/") or ".git" in path.split("/") or {".", ".."} & set(path.split("/")):
        raise RefusalError(400, f"Invalid path: {path}")
    if key == "file":
        content = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
        tree[path] = File(content, lfs=False)
    elif key == "lfsFile":
        tree[path] = repository.lfs_file(value["oid"])
    elif key in ("deletedFile", "deletedFolder"):
        start = path.rstrip("/") + "/"
        gone = [name for name in tree if (name == path if key == "deletedFile" else name.startswith(start))]
        if not gone:
            raise no_entry(path, branch, head)
        for name in gone:
            del tree[name]
    else:
        raise RefusalError(400, f"Unknown operation: {key}")


def _check_card(tree: dict[str, File]) -> None:
    """Raises a 400 for a card whose metadata the Hub does not take."""
    card = tree.get("README.md")
    errors = validate(card.content.decode(errors="replace"))[0] if card else []
    if errors:
        raise RefusalError(400, "Invalid metadata in README.md: " + "; ".join(errors))
