"""A Hugging Face Hub in one process, in memory, for the tests: what its clients need, and faults to order.

python tests/hub_server/server.py [FD]

Serves on the bound socket that was handed over as the file descriptor FD, or on a free port; and on a second port the
LFS bytes, as the Hub keeps them on another host. Prints both ports, then serves until its standard input is closed.
Needs the standard library and PyYAML. The routes are in api.py, uploads.py, downloads.py and shelves.py, what can go
wrong in faults.py, the orders of a test in control.py.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import api
import control
import downloads
import shelves
import uploads
from accounts import Caller, caller_of
from answers import Answer, RefusalError, Request
from faults import Fault, corrupted
from hub import Hub

Routes = list[tuple[str, str, Callable[..., Answer]]]

KIND, NAME, REV = "(?P<kind>model|dataset)s", "(?P<repo_id>[^/]+(?:/[^/]+)?)", "(?P<revision>[^/]+)"
REPO = f"/api/{KIND}/{NAME}"
PAGE = f"(?:/(?P<kind>dataset)s)?/{NAME}"  # models have no prefix
SHELF = "/api/collections/(?P<slug>[^/]+/[^/]+)"
ITEM = f"{SHELF}/items/(?P<number>[^/]+)"
OBJECT = f"/{KIND}/{NAME}/(?P<sha256>[0-9a-f]{{64}})"
# The paths are those of the requests as they were sent: a branch a/b is one segment, a%2Fb.
ROUTES: Routes = [
    ("GET", "/api/whoami-v2", api.whoami),
    ("POST", "/api/repos/create", api.create),
    ("DELETE", "/api/repos/delete", api.delete),
    ("POST", "/api/validate-yaml", api.validate_card),
    ("GET", f"{REPO}/revision/{REV}", api.information),
    ("PUT", f"{REPO}/settings", api.settings),
    ("GET", f"{REPO}/auth-check(?P<write>/write)?", api.check_access),
    ("GET", f"{REPO}/refs", api.refs),
    ("GET", f"{REPO}/commits/{REV}", api.commits),
    ("GET", f"{REPO}/tree/{REV}(?:/(?P<folder>.+))?", api.tree),
    ("POST", f"{REPO}/paths-info/{REV}", api.paths_info),
    ("POST|DELETE", f"{REPO}/branch/(?P<name>[^/]+)", api.branch),
    ("POST|DELETE", f"{REPO}/tag/{REV}", api.tag),
    ("POST", f"{REPO}/preupload/{REV}", uploads.preupload),
    ("POST", f"{REPO}/commit/{REV}", uploads.commit),
    ("POST", rf"{PAGE}\.git/info/lfs/objects/batch", uploads.batch),
    ("POST", rf"{PAGE}\.git/info/lfs/verify", uploads.verify),
    ("POST", rf"{PAGE}\.git/info/lfs/complete", uploads.complete),
    ("GET|HEAD", f"{PAGE}/resolve/{REV}/(?P<path>.+)", downloads.resolve),
    ("GET", "/api/collections", shelves.find_all),
    ("POST", "/api/collections", shelves.create),
    ("GET", SHELF, shelves.find),
    ("PATCH", SHELF, shelves.update),
    ("DELETE", SHELF, shelves.delete),
    ("POST", f"{SHELF}/items", shelves.add_item),
    ("PATCH", ITEM, shelves.update_item),
    ("DELETE", ITEM, shelves.remove_item),
    ("GET", REPO, api.information),  # last: a name without a namespace would swallow the others
]
STORAGE_ROUTES: Routes = [
    ("PUT", OBJECT, uploads.store),
    ("GET|HEAD", f"{OBJECT}/(?P<path>.+)", downloads.fetch),
]


def answer(hub: Hub, caller: Caller, request: Request, routes: Routes) -> Answer:
    """What the Hub says, when nothing goes wrong. Raises what it refuses."""
    for methods, pattern, route in routes:
        found = re.fullmatch(pattern, request.path)
        if found and request.method in methods.split("|"):
            where = found.groupdict()
            if "kind" in where:
                where["kind"] = where["kind"] or "model"
            try:
                with hub.lock:
                    return route(hub, caller, request, **where)
            except (KeyError, TypeError, ValueError) as error:
                raise RefusalError(400, f"The request is malformed: {error!r}") from error
    raise RefusalError(404, "Sorry, we can't find the page you are looking for.")


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, kept open from request to request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet where they are small
    server: Server

    def handle_request(self) -> None:
        """An order of a test, or a request that is logged and that a fault may befall."""
        request = self.read_request()
        if request.path.startswith(control.PLACE):
            self.send(request, control.obey(self.server.hubs, request))
            return
        hub = self.server.hubs[-1]
        fault = request.fault = hub.faults.take(request)
        line = log_line(self.server.name, request, fault)
        with hub.lock:
            hub.log.append(line)
        if fault is not None and fault.delay is not None:
            hub.faults.over.wait(fault.delay)
        if fault is not None and fault.drop == "before":
            self.cut()
            return
        made = fault.refusal() if fault is not None and fault.status else self.do(hub, request, line)
        # Written before it is sent: a test reads the log as soon as it has the answer.
        line["status"] = made.status
        if fault is not None and fault.drop == "after":
            self.cut()
            return
        self.send_body(hub, request, made, line)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def read_request(self) -> Request:
        """The request with all of its body."""
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, path, query, headers, body)

    def do(self, hub: Hub, request: Request, line: dict[str, Any]) -> Answer:
        """What is answered, and in the log who asked."""
        try:
            if self.server.name == "storage":
                return answer(hub, Caller(), request, STORAGE_ROUTES)
            caller = caller_of(request)
            line["user"], line["role"] = caller.name, caller.role
            return answer(hub, caller, request, ROUTES)
        except RefusalError as refused:
            return refused.answer()

    def send_body(self, hub: Hub, request: Request, made: Answer, line: dict[str, Any]) -> None:
        """Send an answer, unless a fault mangles its body or cuts it short."""
        mangled = made.body and made.status < 300 and request.method == "GET"
        fault = hub.faults.take(request, has_body=True) if mangled else None
        line["sent"] = 0 if request.method == "HEAD" else len(made.body)
        if fault is None:
            self.send(request, made)
            return
        line["fault"] = True
        if fault.corrupt:
            made.body = corrupted(made.body)
        if fault.truncate:
            line["sent"] //= 2
        self.send(request, made, line["sent"])
        if fault.truncate:
            self.cut()

    def send(self, request: Request, made: Answer, count: int | None = None) -> None:
        """Send an answer; of its body the first `count` bytes."""
        self.send_response(made.status)
        for name, value in made.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(made.body)))
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(made.body[:count])
        self.wfile.flush()

    def cut(self) -> None:
        """End the connection as a crash would."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        """Clients may leave at any time."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal: a test asks for the log."""


def log_line(server: str, request: Request, fault: Fault | None) -> dict[str, Any]:
    """What is written down of a request; of the token, only that there was one and whose it was."""
    return {
        "server": server,
        "method": request.method,
        "path": unquote(request.path),
        "query": unquote(request.query),
        "status": None,
        "received": len(request.body),
        "sent": 0,
        "range": request.headers.get("range"),
        "authorization": "authorization" in request.headers,
        "user": None,
        "role": None,
        "fault": fault is not None,
    }


class Server(ThreadingHTTPServer):
    """One of the two ports. Both serve the one Hub in `hubs`, which a reset replaces."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str, bound: socket.socket, hubs: list[Hub]) -> None:
        super().__init__(bound.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()  # its own, in place of which it takes the one that is bound already
        self.name, self.socket, self.hubs = name, bound, hubs
        self.server_activate()


def bind() -> socket.socket:
    """A socket on a free port of the loopback, not listening yet."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def main() -> None:
    """Serve until the standard input ends."""
    bound = {"hub": socket.socket(fileno=int(sys.argv[1])) if len(sys.argv) > 1 else bind(), "storage": bind()}
    ports = [place.getsockname()[1] for place in bound.values()]
    hubs = [Hub(*(f"http://127.0.0.1:{port}" for port in ports))]
    for name, place in bound.items():
        threading.Thread(target=Server(name, place, hubs).serve_forever, daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
