"""Collections: titled lists of repositories that belong to a user or an organisation, and the routes about them."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from accounts import ORGS, Caller, check_login
from answers import Answer, RefusalError, Request
from repositories import now

if TYPE_CHECKING:
    from hub import Hub

LONGEST_TITLE, LONGEST_DESCRIPTION, LONGEST_NOTE = 60, 150, 500


@dataclass
class Item:
    """An entry of a collection."""

    number: str  # its id in the collection, not that of the repository
    id: str
    kind: str
    note: str | None

    def tell(self, position: int) -> dict[str, Any]:
        """As the API tells it."""
        note = {} if self.note is None else {"note": {"html": self.note, "text": self.note}}
        return {"_id": self.number, "id": self.id, "type": self.kind, "position": position, **note}


@dataclass
class Shelf:
    """A collection."""

    slug: str
    title: str
    owner: str
    private: bool
    description: str | None
    updated: str = field(default_factory=now)
    items: list[Item] = field(default_factory=list)

    def tell(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "slug": self.slug,
            "title": self.title,
            "owner": {"name": self.owner, "type": "org" if self.owner in ORGS else "user"},
            "items": [item.tell(place) for place, item in enumerate(self.items)],
            "lastUpdated": self.updated,
            "position": 0,
            "private": self.private,
            "theme": "purple",
            "upvotes": 0,
            "description": self.description,
        }


def visible(hub: Hub, caller: Caller, slug: str) -> Shelf:
    """The collection of a slug. Raises a 404 where the caller may not see it, or it is not there."""
    shelf = hub.shelves.get(slug)
    if shelf is None or (shelf.private and not caller.may_read(shelf.owner)):
        raise RefusalError(404, "Collection not found")
    return shelf


def own(hub: Hub, caller: Caller, slug: str) -> Shelf:
    """The collection of a slug, for writing. Raises 401, 404 and 403."""
    check_login(caller)
    shelf = visible(hub, caller, slug)
    if not caller.may_write(shelf.owner):
        raise RefusalError(403, "You don't have the rights to edit this collection")
    return shelf


def check_length(name: str, value: Any, longest: int) -> None:
    """Raises a 400 for a text that is too long."""
    if len(value or "") > longest:
        raise RefusalError(400, f'"{name}" length must be less than or equal to {longest} characters long')


def create(hub: Hub, caller: Caller, request: Request) -> Answer:
    """POST /api/collections: 409 with the slug of the one of that title in that namespace."""
    check_login(caller)
    asked = request.json()
    title, namespace, description = asked.get("title") or "", asked.get("namespace"), asked.get("description")
    if not caller.may_write(namespace):
        raise RefusalError(403, f'You don\'t have the rights to create a collection under the namespace "{namespace}"')
    if not title:
        raise RefusalError(400, '"title" is required')
    check_length("title", title, LONGEST_TITLE)
    check_length("description", description, LONGEST_DESCRIPTION)
    for shelf in hub.shelves.values():
        if (shelf.title, shelf.owner) == (title, namespace):
            raise RefusalError(409, "This collection already exists", slug=shelf.slug)
    slug = f"{namespace}/{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}-{secrets.token_hex(12)}"
    hub.shelves[slug] = Shelf(slug, title, namespace, bool(asked.get("private")), description)
    return Answer.of(hub.shelves[slug].tell())


def find(hub: Hub, caller: Caller, request: Request, slug: str) -> Answer:
    """GET /api/collections/{slug}"""
    return Answer.of(visible(hub, caller, slug).tell())


def find_all(hub: Hub, caller: Caller, request: Request) -> Answer:
    """GET /api/collections?owner=: those of these owners, or all, as far as the caller may see them.

    As on the Hub, a list tells the first four items, and the place only by the order: the client counts itself.
    """
    owners = request.parameters().get("owner", [])
    told = [
        {**shelf.tell(), "items": [item.tell(place) for place, item in enumerate(shelf.items[:4])]}
        for shelf in hub.shelves.values()
        if (not shelf.private or caller.may_read(shelf.owner)) and (not owners or shelf.owner in owners)
    ]
    return Answer.of([{name: value for name, value in one.items() if name != "position"} for one in told])


def update(hub: Hub, caller: Caller, request: Request, slug: str) -> Answer:
    """PATCH /api/collections/{slug}: another title, description or visibility."""
    shelf, asked = own(hub, caller, slug), request.json()
    check_length("title", asked.get("title"), LONGEST_TITLE)
    check_length("description", asked.get("description"), LONGEST_DESCRIPTION)
    shelf.title = asked.get("title", shelf.title)
    shelf.description = asked.get("description", shelf.description)
    shelf.private = asked.get("private", shelf.private)
    shelf.updated = now()
    return Answer.of({"success": True, "data": shelf.tell()})


def delete(hub: Hub, caller: Caller, request: Request, slug: str) -> Answer:
    """DELETE /api/collections/{slug}"""
    del hub.shelves[own(hub, caller, slug).slug]
    return Answer.of({"success": True})


def add_item(hub: Hub, caller: Caller, request: Request, slug: str) -> Answer:
    """POST /api/collections/{slug}/items: put it at the end; 404 for what is not on the Hub, 409 where it is there."""
    shelf, asked = own(hub, caller, slug), request.json()
    name, kind, note = asked["item"]["id"], asked["item"]["type"], asked.get("note")
    check_length("note", note, LONGEST_NOTE)
    hub.find(caller, kind, name)
    if any((item.id, item.kind) == (name, kind) for item in shelf.items):
        raise RefusalError(409, "Item is already in the collection")
    shelf.items.append(Item(secrets.token_hex(12), name, kind, note))
    shelf.updated = now()
    return Answer.of(shelf.tell())


def item_of(shelf: Shelf, number: str) -> Item:
    """The item of that number. Raises a 404."""
    for item in shelf.items:
        if item.number == number:
            return item
    raise RefusalError(404, "Item not found")


def update_item(hub: Hub, caller: Caller, request: Request, slug: str, number: str) -> Answer:
    """PATCH /api/collections/{slug}/items/{number}: another note or place."""
    shelf, asked = own(hub, caller, slug), request.json()
    item = item_of(shelf, number)
    item.note = asked.get("note", item.note)
    if "position" in asked:
        shelf.items.remove(item)
        shelf.items.insert(asked["position"], item)
    return Answer.of({"success": True})


def remove_item(hub: Hub, caller: Caller, request: Request, slug: str, number: str) -> Answer:
    """DELETE /api/collections/{slug}/items/{number}"""
    shelf = own(hub, caller, slug)
    shelf.items.remove(item_of(shelf, number))
    return Answer.of({"success": True})
