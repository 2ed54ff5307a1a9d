"""An OpenAI-compatible server: reflection prompts, judge prompts, texts to go on with; latencies and faults to order.

python tests/benchmarks/fault_server.py '{"latency_ms": 50}'

Prints its port, then serves until its standard input is closed. What it answers to a request depends on the request's
text alone; POST /config replaces the settings and forgets everything counted, GET /counts tells what was counted.
A row is known by the first `#number` in its prompt, which the answers carry on.
"""

import asyncio
import email.utils
import hashlib
import json
import math
import random
import re
import sys
import time
from collections import Counter
from typing import Any

from aiohttp import web

DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "latency_ms": 0.0,  # the mean; 0 for none
    "sigma": 1.0,  # of the lognormal distribution: its tail
    "faults": {},  # probability of each of TRANSIENT, drawn anew for every try of a request
    "max_faults": 4,  # for one request; the storms of 429 come on top
    "lasting": {},  # probability of each of LASTING, the same for every try of a request
    "hang_seconds": 30.0,
    "limit": None,  # requests in flight above which 429 is said
    "limited": None,  # [from, to]: numbers of the requests during which `limit` holds; None: always
    "storms": None,  # [every, length, limit]: the last `length` of every `every` requests know only `limit`
    "retry_after": ["0", "0.2", "date"],  # taken in turn
    "refuse": None,  # {"status", "code", "message", "after"}: every request beyond `after` paid ones
    "slow": {},  # seconds more for prompts that hold the text
    "log": True,  # keep every request
}
TRANSIENT = ("500", "503", "429", "drop", "half", "hang", "drip", "malformed", "no_completion", "html")
LASTING = ("no_choices", "null_content", "content_filter", "truncated", "refusal", "context_overflow")
UNPAID = ("context_overflow",)
SUBJECTS = ("rivers", "bridges", "gardens", "markets", "harbours", "libraries", "orchards", "railways", "theatres")
PLACES = ("the north", "the south", "small towns", "large cities", "the mountains", "old villages", "the islands")


# The two answers in a judge's question.
JUDGED = re.compile(r"\[The Start of Assistant \d's Answer\]\n(.*?)\n\n\[The End of Assistant", re.DOTALL)


def key_of(body: dict) -> str:
    """Names a request; the same hash that the completion store uses."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]


class FaultServer:
    """The settings, the counts, and the answers."""

    def __init__(self, settings: dict) -> None:
        self.configure(settings)

    def configure(self, settings: dict) -> None:
        """Take new settings and count from the beginning."""
        self.settings = {**DEFAULTS, **settings}
        self.random = random.Random(self.settings["seed"])
        self.started = time.monotonic()
        self.requests = self.in_flight = self.peak = self.refused = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.paid: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.about: dict[str, list] = {}
        self.log: list[list] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions and /v1/completions."""
        arrived, raw = time.monotonic(), await request.read()
        self.requests += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        entry = [arrived - self.started, None, None, 0, self.in_flight]
        if self.settings["log"]:
            self.log.append(entry)
        try:
            response, entry[2], entry[3] = await self.answer(request, json.loads(raw))
            return response
        finally:
            self.in_flight -= 1
            entry[1] = time.monotonic() - self.started

    async def answer(self, request: web.Request, body: dict) -> tuple[web.StreamResponse, str, int]:
        """The response, what it is, and the tokens it costs."""
        settings, key = self.settings, key_of(body)
        user = question_of(body)
        if self._over_limit():
            return self._throttle(), "429", 0
        refuse = settings["refuse"]
        if refuse and self.paid.total() >= refuse.get("after", 0):
            said = refuse["message"].replace("{authorization}", request.headers["authorization"])
            echo = {"x-echo": request.headers["authorization"]} if refuse.get("echo") else {}
            return self._error(refuse["status"], said, refuse.get("code"), echo), str(refuse["status"]), 0
        self.seen[key] += 1
        if self.seen[key] <= settings["max_faults"]:
            fault = self._draw(settings["faults"], f"{key} {self.seen[key]}")
            if fault:
                self.faults[fault] += 1
                return await self._fault(fault, request, body), fault, 0
        if settings["latency_ms"]:
            # A lognormal distribution with this mean.
            mu = math.log(settings["latency_ms"] / 1000) - settings["sigma"] ** 2 / 2
            await asyncio.sleep(self.random.lognormvariate(mu, settings["sigma"]))
        for text, seconds in settings["slow"].items():
            if text in user:
                await asyncio.sleep(seconds)
        kind = self._draw(settings["lasting"], key) or "good"
        if settings["log"]:
            self.about[key] = [*row_and_variant(user), body.get("seed"), kind]
        if kind in UNPAID:
            return (
                self._error(400, "This model's maximum context length is 8 tokens", "context_length_exceeded"),
                kind,
                0,
            )
        completion = make_completion(body, kind)
        used = completion["usage"]
        self.paid[key] += 1
        self.prompt_tokens += used["prompt_tokens"]
        self.completion_tokens += used["completion_tokens"]
        return web.json_response(completion), kind, used["total_tokens"]

    def _over_limit(self) -> bool:
        limit, limited, storms = (self.settings[name] for name in ("limit", "limited", "storms"))
        if storms and (self.requests - 1) % storms[0] >= storms[0] - storms[1]:
            limit, limited = storms[2], None
        inside = limited is None or limited[0] <= self.requests <= limited[1]
        return limit is not None and inside and self.in_flight > limit

    def _throttle(self) -> web.Response:
        styles = self.settings["retry_after"]
        style = styles[self.refused % len(styles)]
        self.refused += 1
        if style == "date":
            style = email.utils.formatdate(time.time() + 1, usegmt=True)
        return self._error(429, "Rate limit reached", "rate_limit_exceeded", {"retry-after": style} if style else {})

    def _error(self, status: int, message: str, code: Any = None, headers: dict | None = None) -> web.Response:
        body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
        return web.json_response(body, status=status, headers=headers)

    def _draw(self, weights: dict[str, float], what: str) -> str | None:
        """One of the names by their probabilities, always the same for the same thing; mostly None."""
        digest = hashlib.sha256(f"{self.settings['seed']} {what}".encode()).digest()
        left = int.from_bytes(digest[:8], "big") / 2**64
        for name, weight in weights.items():
            if left < weight:
                return name
            left -= weight
        return None

    async def _fault(self, fault: str, request: web.Request, body: dict) -> web.StreamResponse:
        whole = json.dumps(make_completion(body, "good")).encode()
        if fault == "429":
            return self._throttle()
        if fault in ("500", "503"):
            return self._error(int(fault), "The server had an error")
        if fault == "malformed":
            return web.Response(body=whole[:-20], content_type="application/json")
        if fault == "no_completion":
            return web.json_response({"error": {"message": "upstream is away", "code": 502}})
        if fault == "html":
            return web.Response(text="<html>Bad Gateway</html>", status=502, content_type="text/html")
        if fault == "drop":
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse(headers={"content-type": "application/json"})
        if fault == "half":
            await response.prepare(request)
            await response.write(whole[: len(whole) // 2])
            request.transport.abort()
            return response
        end = time.monotonic() + self.settings["hang_seconds"]
        if fault == "drip":
            await response.prepare(request)
        while time.monotonic() < end and request.transport is not None and not request.transport.is_closing():
            if fault == "drip":  # signs of life, as proxies send them, and never an answer
                try:
                    await response.write(b"\n")
                except ConnectionError:
                    break
            await asyncio.sleep(0.05)
        return response if fault == "drip" else web.Response(status=504)

    async def counts(self, request: web.Request) -> web.Response:
        """GET /counts: the totals; with ?all also every request."""
        found = {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "peak": self.peak,
            "paid_in_all": self.paid.total(),
            "paid_more_than_once": self.paid.total() - len(self.paid),
            "refused": self.refused,
            "faults": self.faults,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        if "all" in request.query:
            found |= {"paid": self.paid, "about": self.about, "log": self.log}
        return web.json_response(found)

    async def set_config(self, request: web.Request) -> web.Response:
        """POST /config; with ?keep the counts stay."""
        settings = await request.json()
        if "keep" in request.query:
            self.settings |= settings
        else:
            self.configure(settings)
        return web.json_response({})


def question_of(body: dict) -> str:
    """The last turn of a chat, or the text to go on with."""
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


def row_and_variant(user: str) -> tuple[int | None, str]:
    """Which row a prompt is about, and for which variant."""
    number = re.search(r"#(\d+)", user)
    if "[New Instruction]" in user:
        variant = "reflect_instruction"
    else:
        variant = "reflect_both" if "reflected anew" in user else "reflect_response"
    return int(number[1]) if number else None, variant


def mark(answer: str) -> str:
    """A mark from 1 to 10 that depends on the answer alone, so that a judge asked in both orders agrees with itself."""
    return str(1 + int(hashlib.sha256(answer.encode()).hexdigest(), 16) % 10)


def make_completion(body: dict, kind: str) -> dict:
    """A completion, of a chat or of a text, that depends on the request alone."""
    digest = int(key_of(body), 16)
    user = question_of(body)
    row, variant = row_and_variant(user)
    name = f"{row}" if row is not None else f"{digest % 10**9}"
    subject, place = SUBJECTS[digest % len(SUBJECTS)], PLACES[digest // 97 % len(PLACES)]
    serial = f"{digest:032x}"[:12]
    new_answer = (
        f"The {subject} of {place} are a good example, and in question #{name} they show what people who live there "
        f"have learned over the years. This is version {serial} of the answer."
    )
    answers = JUDGED.findall(user)
    if "prompt" in body:
        text = f" {new_answer}"
    elif answers:
        text = f"{' '.join(map(mark, answers))}\nThe marks of question {serial}."
    elif variant == "reflect_instruction":
        text = (
            f"1. The question is not clear about {subject}.\n2. [New Instruction] Explain for question #{name}, "
            f"reflected anew as {serial}, how the {subject} of {place} changed and what the reasons were. [End]\n"
            f"3. [New Answer] {new_answer} [End]"
        )
    else:
        text = f"1. The answer says too little about {subject}.\n2. [Better Answer] {new_answer} [End]"
    finish_reason = "stop"
    if kind == "truncated":
        text, finish_reason = text[: -len(" [End]") - 20], "length"
    elif kind == "refusal":
        text = "I'm sorry, but I can't assist with that."
    elif kind == "content_filter":
        text, finish_reason = "", "content_filter"
    written = None if kind == "null_content" else text
    said = {"message": {"role": "assistant", "content": written}} if "messages" in body else {"text": written}
    choices = [{"index": 0, "finish_reason": finish_reason, **said}]
    prompt_tokens, completion_tokens = len(user) // 4, 20 + digest % 50
    return {
        "id": f"chatcmpl-{serial}",
        "object": "chat.completion" if "messages" in body else "text_completion",
        "created": 1,
        "model": "oracle-1-2026",
        "choices": [] if kind == "no_choices" else choices,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


async def serve(settings: dict) -> None:
    """Serve until standard input is closed, as it is when the process that started us ends."""
    server, app = FaultServer(settings), web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_post("/v1/completions", server.complete)
    app.router.add_get("/counts", server.counts)
    app.router.add_post("/config", server.set_config)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
