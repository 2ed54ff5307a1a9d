"""The orders of a test, below /__control/: what to set up, what to let go wrong, what happened. No Hub has these."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from typing import Any

from answers import Answer, RefusalError, Request
from faults import Fault
from hub import SETTINGS, Hub

PLACE = "/__control/"


def obey(hubs: list[Hub], request: Request) -> Answer:
    """Carry out an order and answer in JSON; 400 with the reason where it cannot be done."""
    asked, hub, name = json.loads(request.body or b"{}"), hubs[-1], request.path.removeprefix(PLACE)
    if name == "reset":
        # A new Hub: what is still under way in the old one can do no harm.
        hubs[:] = [Hub(hub.url, hub.storage_url)]
        hub.faults.over.set()
        return Answer.of({})
    try:
        with hub.lock:
            return Answer.of(ORDERS[name](hub, **asked))
    except (KeyError, TypeError, ValueError, RefusalError) as error:
        return Answer.of({"error": f"{name}: {error!r}"}, 400)


def configure(hub: Hub, **settings: Any) -> None:
    """Change settings. Raises ValueError for one that is not known."""
    if unknown := set(settings) - set(SETTINGS):
        raise ValueError(f"unknown settings: {sorted(unknown)}")
    hub.settings |= settings


def order_fault(hub: Hub, **fault: Any) -> None:
    """One more fault. Raises ValueError for a part that is not known."""
    if unknown := set(fault) - {field.name for field in fields(Fault)}:
        raise ValueError(f"unknown parts of a fault: {sorted(unknown)}")
    hub.faults.order(Fault(**fault))


def clear(hub: Hub) -> None:
    """Forget the log and the faults."""
    hub.log.clear()
    hub.faults.ordered.clear()


def read(hub: Hub, kind: str, repo_id: str, path: str, revision: str) -> str:
    """A file, in base64. Raises KeyError where there is none."""
    return base64.b64encode(hub.repositories[kind, repo_id].resolve(revision).files[path].content).decode()


ORDERS = {
    "configure": configure,
    "fault": order_fault,
    "clear": clear,
    "requests": lambda hub: hub.log,
    "put": lambda hub, **asked: hub.put(**asked).oid,
    "repository": Hub.describe,
    "read": read,
    "collections": lambda hub: [shelf.tell() for shelf in hub.shelves.values()],
}
