"""A batch service on the loopback: the calls, states and files of OpenAI's Batch API, with faults to order."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
DROP = "drop"  # what a hook answers to have the connection closed without a reply
ENDED = ("completed", "failed", "expired", "cancelled")
Reply = tuple[int, Any, dict[str, str]]


def chat_answer(text: str | None, **changes) -> tuple[int, dict]:
    """Status and body of a normal answer."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return 200, {"id": "c", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": USAGE, **changes}


def error_body(message: str, code: str | None = None) -> dict:
    """The body of an error."""
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


class BatchEndpoint:
    """Serves /v1/files and /v1/batches; a batch ends when it has been looked at `polls` times, some `more_polls` later.

    Attributes:
        answer: what a line gets, of its question and of how many batches it has been in: (status, body), None for no
            line at all, a text for the code of an error without a response, bytes for a line as they are.
        end: the status a batch ends with, of its number (from 1): a status, or (code, message, line) of a failure.
        before, after: called with a call's kind and number (from 1) when it arrives, and when it is done but not
            replied to; may answer a reply to give in place of the real one, or `DROP`.
        room: requests that may be in all batches under way.
        submitted: how many batches that passed the validation each request was in, by its question.
        paid: how many answers were made for it.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str, int], Any] = lambda question, _: chat_answer(f"answer to {question}")
        self.end: Callable[[int], Any] = lambda _: "completed"
        self.before: Callable[[str, int], Reply | str | None] = lambda *_: None
        self.after: Callable[[str, int], Reply | str | None] = lambda *_: None
        self.room: int | None = None
        self.polls = 2
        self.more_polls: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.submitted: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}
        self.lines: dict[str, list[dict]] = {}
        self.complaints: list[str] = []
        self.lock = threading.RLock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20
            disable_nagle_algorithm = True  # else the second half of a reply waits 40 ms

            def log_message(self, *arguments) -> None:
                pass

            def do_GET(self) -> None:
                endpoint.handle(self)

            def do_POST(self) -> None:
                endpoint.handle(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that goes away is no error of the endpoint
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        if len(body) < length:  # the client was killed while it sent the request: it never came
            handler.close_connection = True
            return
        path = handler.path.split("?")[0].removeprefix("/v1").strip("/").split("/")
        kind = {"files": "upload", "batches": "create" if handler.command == "POST" else "list"}[path[0]]
        kind = {1: kind, 2: "retrieve", 3: "content"}[len(path)]
        with self.lock:
            self.calls[kind] += 1
            number = self.calls[kind]
            reply = self.before(kind, number)
            if reply is None:
                done = self.do(kind, path, body, handler)
                reply = self.after(kind, number) or done
        if reply == DROP:
            handler.close_connection = True
            return
        status, answer, headers = reply
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)
        handler.close_connection = "content-length" in headers  # it lied: the reply breaks off

    def do(self, kind: str, path: list[str], body: bytes, handler: BaseHTTPRequestHandler) -> Reply:
        if kind == "upload":
            return 200, self.upload(body, handler.headers["content-type"]), {}
        if kind == "create":
            return 200, self.create(json.loads(body)), {}
        if kind == "list":
            made = list(reversed(self.batches.values()))
            after = handler.path.partition("after=")[2].split("&")[0]
            start = [batch["id"] for batch in made].index(after) + 1 if after else 0
            page = {"data": made[start : start + 2], "has_more": start + 2 < len(made)}
            return 200, {"object": "list", **page}, {}
        known = self.batches if kind == "retrieve" else self.files
        if path[1] not in known:
            return 404, error_body(f"No such thing: {path[1]}"), {}
        if kind == "content":
            return 200, self.files[path[1]], {"content-type": "application/octet-stream"}
        return 200, self.look_at(known[path[1]]), {}

    def upload(self, body: bytes, content_type: str) -> dict:
        parts = body.split(b"--" + content_type.split("boundary=")[1].encode())
        fields = {}
        for head, _, data in (part.partition(b"\r\n\r\n") for part in parts):
            fields["file" if b'name="file"' in head else "purpose" if b'name="purpose"' in head else ""] = data[:-2]
        if fields["purpose"] != b"batch":
            self.complaints.append(f"purpose {fields['purpose']!r}")
        name = f"file-in-{len(self.files)}"
        self.files[name] = fields["file"]
        return {"id": name, "object": "file", "bytes": len(fields["file"]), "purpose": "batch", "status": "processed"}

    def create(self, body: dict) -> dict:
        wanted = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        if body | wanted != body or len({line["custom_id"] for line in lines}) != len(lines) or not lines:
            self.complaints.append(f"{body}, {len(lines)} lines")
        for line in lines:
            if (line["method"], line["url"]) != ("POST", "/v1/chat/completions"):
                self.complaints.append(str(line))
        taken = [batch for batch in self.batches.values() if isinstance(batch["end"], str)]
        enqueued = sum(len(self.lines[batch["id"]]) for batch in taken if batch["status"] not in ENDED)
        batch = {
            "id": f"batch_{len(self.batches) + 1}",
            "object": "batch",
            "created_at": int(time.time()),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "looks": 0,
            **body,
        }
        end = self.end(len(self.batches) + 1)
        if self.room is not None and enqueued + len(lines) > self.room:
            end = ("token_limit_exceeded", "Enqueued token limit reached for m-1.", None)
        batch["end"] = end
        self.batches[batch["id"]], self.lines[batch["id"]] = batch, lines
        if isinstance(end, str):
            self.submitted.update(question_of(line) for line in lines)
        return batch

    def look_at(self, batch: dict) -> dict:
        batch["looks"] += 1
        if batch["status"] in ENDED or batch["looks"] < self.polls + self.more_polls.get(batch["id"], 0):
            return batch
        if isinstance(batch["end"], str):
            batch["status"] = batch["end"]
            self.work(batch)
        else:
            code, message, line = batch["end"]
            error = {"code": code, "message": message, "line": line, "param": None}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [error]}}
        return batch

    def work(self, batch: dict) -> None:
        """Answer the lines, in an order of its own, into an output and an error file."""
        lines = list(self.lines[batch["id"]])
        random.Random(len(self.batches)).shuffle(lines)
        output, errors = [], []
        for line in lines:
            question = question_of(line)
            outcome = self.answer(question, self.submitted[question])
            if outcome is None or isinstance(outcome, bytes):
                output += [outcome] if outcome else []
                continue
            row = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": None}
            if isinstance(outcome, str):
                row["error"] = {"code": outcome, "message": "This request could not be executed."}
                errors.append(row)
                continue
            row["response"] = {"status_code": outcome[0], "request_id": "q", "body": outcome[1]}
            self.paid[question] += outcome[0] == 200
            (output if outcome[0] == 200 else errors).append(row)
        counts = {"total": len(lines), "completed": len(output), "failed": len(errors)}
        batch |= {"request_counts": counts}
        for name, rows in (("output_file_id", output), ("error_file_id", errors)):
            if rows:
                batch[name] = f"file-{name.split('_')[0]}-{batch['id']}"
                raw = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
                self.files[batch[name]] = b"\n".join(raw)


def question_of(line: dict) -> str:
    """What a line of an input file asks."""
    return line["body"]["messages"][-1]["content"]


@pytest.fixture
def batch_endpoint():
    """A `BatchEndpoint`; at the end it must have had no reason to complain."""
    served = BatchEndpoint()
    yield served
    served.server.shutdown()
    served.server.server_close()
    assert served.complaints == []
