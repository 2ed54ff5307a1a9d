"""What a route is given, what it gives back, and the refusals of the Hub in the words that its clients look for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs


@dataclass
class Request:
    """One request, read to its end. `path` is as it was sent: still percent-encoded, without the query."""

    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    fault: Any = None  # the injected fault of this request, for the routes that have a part in it

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises a 400 of the Hub where it is none."""
        try:
            read = json.loads(self.body or b"{}")
        except ValueError:
            raise RefusalError(400, "Invalid JSON in the body of the request") from None
        if not isinstance(read, dict):
            raise RefusalError(400, "The body of the request must be a JSON object")
        return read

    def form(self) -> dict[str, list[str]]:
        """The body as a form."""
        return parse_qs(self.body.decode(), keep_blank_values=True)

    def parameters(self) -> dict[str, list[str]]:
        """The query."""
        return parse_qs(self.query, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        """Whether a parameter of the query is set; the clients send true, True and 1."""
        return self.parameters().get(name, [""])[0].lower() in ("true", "1")


@dataclass
class Answer:
    """A status, headers and a body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, content: Any, status: int = 200, **headers: str) -> Answer:
        """JSON; a header `X_Y` is sent as `X-Y`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **named}, json.dumps(content).encode())


class RefusalError(Exception):
    """A refusal. The clients tell refusals apart by the header X-Error-Code, and show X-Error-Message."""

    def __init__(self, status: int, message: str, code: str | None = None, **content: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.content = status, message, code, content
        self.headers: dict[str, str] = {}

    def answer(self) -> Answer:
        """The same as an answer."""
        headers = {"X-Error-Message": self.message, **({"X-Error-Code": self.code} if self.code else {})}
        answer = Answer.of({"error": self.message, **self.content}, self.status)
        answer.headers |= headers | self.headers
        return answer


def no_repository(anonymous: bool) -> RefusalError:
    """A repository that is not there or may not be seen: the Hub does not tell which, and tells strangers 401."""
    if anonymous:
        return RefusalError(401, "Invalid username or password.", "RepoNotFound")
    return RefusalError(404, "Repository not found", "RepoNotFound")


def no_revision(revision: str) -> RefusalError:
    """A branch, tag or commit that is not there."""
    return RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def no_entry(path: str, revision: str, commit: str) -> RefusalError:
    """A file or folder that is not in a commit; the clients remember this for that commit."""
    refused = RefusalError(404, f'{path} does not exist on "{revision}"', "EntryNotFound")
    refused.headers["X-Repo-Commit"] = commit
    return refused
