"""Faults that a test orders: what goes wrong, at which requests, and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote

from answers import Answer, Request


@dataclass
class Fault:
    """What is done to the requests whose method and path match.

    The path is matched as `/path?query`, decoded, anywhere in it. The first `skip` matching requests go well, the next
    `times` do not (None: all that follow). Of several faults that match, the first that is not spent acts.
    """

    method: str = ".*"
    path: str = ""
    times: int | None = 1
    skip: int = 0
    status: int | None = None  # answered instead of doing it
    message: str = "An injected fault"
    retry_after: int | None = None  # seconds, told with the status
    drop: str | None = None  # the connection is cut: "before" the request is done, or "after", when the reply is lost
    delay: float | None = None  # seconds before it is done
    truncate: bool = False  # half of the body, then the connection is cut
    corrupt: bool = False  # the byte in the middle of the body is another
    race: dict[str, str] = field(default_factory=dict)  # of a commit: path -> base64 that another writer commits first
    replace: dict[str, str] = field(default_factory=dict)  # of a commit: path -> base64 that is stored instead
    matched: int = 0

    def __post_init__(self) -> None:
        if self.drop not in (None, "before", "after"):
            raise ValueError(f"drop is {self.drop!r}: give before or after")

    def acts_on_bodies(self) -> bool:
        """Whether it needs an answer with a body to act on: it leaves redirects and HEAD alone."""
        return self.truncate or self.corrupt

    def is_spent(self) -> bool:
        """Whether it acts no more."""
        return self.times is not None and self.matched >= self.skip + self.times

    def matches(self, request: Request) -> bool:
        """Whether the request is of those it is about."""
        path = unquote(request.path) + (f"?{unquote(request.query)}" if request.query else "")
        return bool(re.fullmatch(self.method, request.method) and re.search(self.path, path))

    def refusal(self) -> Answer:
        """What is answered instead."""
        headers = {"X-Error-Message": self.message}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        answer = Answer.of({"error": self.message}, self.status)
        answer.headers |= headers
        return answer


class Faults:
    """The faults that were ordered."""

    def __init__(self) -> None:
        self.ordered: list[Fault] = []
        self.lock = threading.Lock()
        self.over = threading.Event()  # wakes those that are being delayed, at a reset

    def order(self, fault: Fault) -> None:
        """One more."""
        with self.lock:
            self.ordered.append(fault)

    def take(self, request: Request, has_body: bool = False) -> Fault | None:
        """The fault of this request, if any; asked twice, before it is done and of an answer that has a body."""
        with self.lock:
            for fault in self.ordered:
                if fault.acts_on_bodies() == has_body and not fault.is_spent() and fault.matches(request):
                    fault.matched += 1
                    if fault.matched > fault.skip:
                        return fault
        return None


def corrupted(body: bytes) -> bytes:
    """The same with another byte in the middle."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
