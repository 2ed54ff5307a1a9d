"""A local OpenAI-compatible server: an oracle with the quickstart's recorded completions, and a judge."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reflection.extract import extract_instruction

JUDGED = re.compile(r"\[The Start of Assistant \d's Answer\]\n(.*?)\n\n\[The End of Assistant", re.DOTALL)


class Service:
    """Serves /v1/chat/completions on the loopback until it is closed.

    Attributes:
        url, other_url: where, under two names.
        questions: what it was asked.
    """

    def __init__(self, quickstart: Path) -> None:
        self.recorded = recorded_answers(quickstart)
        self.questions: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                question = asked["messages"][-1]["content"]
                service.questions.append(question)
                message = {"role": "assistant", "content": service.answer(question)}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
                reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
                body = json.dumps({**reply, "usage": usage}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url, self.other_url = (
            f"http://{name}:{self.server.server_port}/v1" for name in ("127.0.0.1", "localhost")
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, question: str) -> str:
        """The recorded completion; of two answers their lengths as marks, so that a judge asked twice agrees."""
        judged = JUDGED.findall(question)
        if judged:
            return f"{' '.join(str(min(10, len(answer) // 10)) for answer in judged)}\nThe longer the better."
        key = first_line(question.removeprefix("[Instruction]\n")), "[New Instruction] your" in question
        return self.recorded[key]

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


def recorded_answers(quickstart: Path) -> dict[tuple[str, bool], str]:
    """The recorded completions by what they are asked for: the question's first line, and whether for a new one."""
    rows, completions = (
        [json.loads(line) for line in (quickstart / "data" / name).read_text(encoding="utf-8").splitlines()]
        for name in ("rows.jsonl", "completions.jsonl")
    )
    recorded = {(line["id"], line["variant"]): line["completion"] for line in completions}
    found = {}
    for row in rows:
        new_instruction = extract_instruction(recorded[row["id"], "reflect_instruction"]).instruction
        found[first_line(row["instruction"]), True] = recorded[row["id"], "reflect_instruction"]
        found[first_line(row["instruction"]), False] = recorded[row["id"], "reflect_response"]
        found[first_line(new_instruction), False] = recorded[row["id"], "reflect_both"]
    return found


def first_line(text: str) -> str:
    """Up to the first line end."""
    return text.split("\n")[0]
