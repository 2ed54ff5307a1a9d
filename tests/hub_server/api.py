"""The routes below /api that read and settle: who, what, which revisions, which files; uploads are elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlencode

import yaml
from accounts import Caller, who_am_i
from answers import Answer, RefusalError, Request
from card_metadata import read_metadata, validate
from hub import Hub
from repositories import Commit, Repository, entry, list_tree

# What `expand` of the information of a repository adds to its id; all others are never told.
ALWAYS = ("_id", "id")


def whoami(hub: Hub, caller: Caller, request: Request) -> Answer:
    """GET /api/whoami-v2"""
    return Answer.of(who_am_i(caller))


def create(hub: Hub, caller: Caller, request: Request) -> Answer:
    """POST /api/repos/create; a refusal because the name is taken carries the url too."""
    repository = hub.create(caller, request.json())
    return Answer.of({"url": hub.url + repository.web_path, "name": repository.id, "id": repository.id})


def delete(hub: Hub, caller: Caller, request: Request) -> Answer:
    """DELETE /api/repos/delete"""
    asked = request.json()
    kind, namespace = asked.get("type") or "model", asked.get("organization") or caller.name
    repository = hub.own(caller, kind, f"{namespace}/{asked.get('name')}")
    del hub.repositories[kind, repository.id]
    return Answer.of({"success": True})


def settings(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str) -> Answer:
    """PUT R/settings"""
    repository = hub.own(caller, kind, repo_id)
    visibility = request.json().get("visibility")
    if visibility is not None:
        repository.private = visibility == "private"
    return Answer.of({"private": repository.private})


def check_access(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, write: str | None) -> Answer:
    """GET R/auth-check[/write]"""
    (hub.own if write else hub.find)(caller, kind, repo_id)
    return Answer.of({})


def validate_card(hub: Hub, caller: Caller, request: Request) -> Answer:
    """POST /api/validate-yaml: the one call that needs no token."""
    errors, warnings = ([{"message": text} for text in texts] for texts in validate(request.json().get("content", "")))
    return Answer.of({"errors": errors, "warnings": warnings}, 400 if errors else 200)


def information(
    hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str | None = None
) -> Answer:
    """GET R and GET R/revision/{rev}"""
    repository = hub.find(caller, kind, repo_id)
    commit = repository.resolve("main" if revision is None else unquote(revision))
    told = describe(repository, commit, request.flag("blobs"))
    wanted = request.parameters().get("expand") or request.parameters().get("expand[]")
    if wanted:
        told = {name: value for name, value in told.items() if name in (*ALWAYS, *wanted)}
    return Answer.of(told)


def describe(repository: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
    """The information about a repository at a commit; with `blobs`, sizes and hashes of its files."""
    siblings = []
    for path, file in sorted(commit.files.items()):
        sibling: dict[str, Any] = {"rfilename": path}
        if blobs:
            sibling |= {"blobId": file.oid, "size": len(file.content)}
        if blobs and file.lfs:
            held = {"sha256": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
            sibling["lfs"] = held
        siblings.append(sibling)
    card = card_data(commit)
    told = {
        "_id": f"id-of-{repository.kind}-{repository.id}",
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [*_tags(card), "region:us"],
        "usedStorage": sum(len(content) for content in repository.objects.values()),
        "siblings": siblings,
        **({"cardData": card} if card else {}),
    }
    if repository.kind == "model":
        told |= {
            "modelId": repository.id,
            **{name: card[name] for name in ("library_name", "pipeline_tag") if name in card},
        }
        told |= {"model-index": card.get("model-index")}
    return told


def card_data(commit: Commit) -> dict[str, Any]:
    """The metadata of the card of a commit; empty where there is none, or none that can be read."""
    card = commit.files.get("README.md")
    try:
        read = read_metadata(card.content.decode()) if card else None
        # Dates and the like are texts in JSON.
        return json.loads(json.dumps(read or {}, default=str))
    except (UnicodeDecodeError, yaml.YAMLError, TypeError):
        return {}


def _tags(card: dict[str, Any]) -> list[str]:
    tags = list(card.get("tags") or [])
    for name in ("task_categories", "language", "license", "size_categories", "base_model", "datasets"):
        value = card.get(name)
        start = {"datasets": "dataset"}.get(name, name)
        tags += [f"{start}:{one}" for one in (value if isinstance(value, list) else [value] if value else [])]
    return tags


def refs(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str) -> Answer:
    """GET R/refs"""
    repository = hub.find(caller, kind, repo_id)
    told = {"converts": [], "pullRequests": []}
    for name, place, held in (("branches", "heads", repository.branches), ("tags", "tags", repository.tags)):
        told[name] = [{"name": ref, "ref": f"refs/{place}/{ref}", "targetCommit": held[ref].oid} for ref in held]
    return Answer.of(told)


def commits(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str) -> Answer:
    """GET R/commits/{rev}, newest first, page by page."""
    repository = hub.find(caller, kind, repo_id)
    told = [
        {"id": one.oid, "title": one.title, "message": one.message, "date": one.date, "authors": [{"user": one.author}]}
        for one in repository.resolve(unquote(revision)).history()
    ]
    return page(hub, request, told, hub.settings["page_size"])


def page(
    hub: Hub, request: Request, entries: list[Any], size: int, tell: Callable[[Any], Any] = lambda entry: entry
) -> Answer:
    """What there is to tell of the entries from where the query says; the header Link leads to those that follow."""
    parameters = request.parameters()
    start = int(parameters.get("cursor", ["0"])[0])
    answer = Answer.of([tell(entry) for entry in entries[start : start + size]])
    if start + size < len(entries):
        query = urlencode({**parameters, "cursor": start + size}, doseq=True)
        answer.headers["Link"] = f'<{hub.url}{request.path}?{query}>; rel="next"'
    return answer


def tree(
    hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str, folder: str | None
) -> Answer:
    """GET R/tree/{rev}[/folder]: files and folders below a folder; pages are smaller where entries are expanded."""
    commit = hub.find(caller, kind, repo_id).resolve(unquote(revision))
    expand = request.flag("expand")
    paths = list_tree(commit, unquote(folder or ""), request.flag("recursive"), unquote(revision))
    size = max(1, hub.settings["page_size"] // 20) if expand else hub.settings["page_size"]
    answer = page(hub, request, paths, size)
    return Answer(
        200, answer.headers, json.dumps([entry(commit, path, expand) for path in json.loads(answer.body)]).encode()
    )


def paths_info(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str) -> Answer:
    """POST R/paths-info/{rev}: the same of given paths; those that are not there are left out."""
    commit = hub.find(caller, kind, repo_id).resolve(unquote(revision))
    form = request.form()
    expand = form.get("expand", [""])[0].lower() == "true"
    told = (entry(commit, path.strip("/"), expand) for path in form.get("paths", []))
    return Answer.of([one for one in told if one is not None])


def branch(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, name: str) -> Answer:
    """POST and DELETE R/branch/{branch}"""
    repository, name = hub.own(caller, kind, repo_id), unquote(name)
    if request.method == "DELETE":
        if name == "main":
            raise RefusalError(403, "Cannot delete the main branch")
        repository.head(name)
        del repository.branches[name]
        return Answer.of({"success": True})
    if name.startswith("refs/"):
        raise RefusalError(400, f"Invalid reference for a branch: {name}")
    if name in repository.branches:
        raise RefusalError(409, f"Reference already exists: refs/heads/{name}")
    repository.branches[name] = repository.resolve(request.json().get("startingPoint") or "main")
    return Answer.of({"success": True})


def tag(hub: Hub, caller: Caller, request: Request, kind: str, repo_id: str, revision: str) -> Answer:
    """POST R/tag/{rev} and DELETE R/tag/{tag}"""
    repository, revision = hub.own(caller, kind, repo_id), unquote(revision)
    if request.method == "DELETE":
        if revision not in repository.tags:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        del repository.tags[revision]
        return Answer.of({"success": True})
    asked = request.json()
    name = asked.get("tag")
    if not name or quote(name, safe="/._-+") != name:
        raise RefusalError(400, f"Invalid tag name: {name}")
    commit = repository.resolve(revision)
    if name in repository.tags:
        raise RefusalError(409, f"Tag reference exists already: refs/tags/{name}")
    repository.tags[name] = commit
    repository.tag_messages[name] = asked.get("message", "")
    return Answer.of({"success": True})
