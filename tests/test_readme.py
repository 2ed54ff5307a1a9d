"""The README's commands and snippets are run as they stand, against a local server and with the bundled student."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from datasets import load_dataset

from reflection.extract import extract_instruction

ROWS = 10
KEY = "sk-only-in-the-environment-0123456789"
STUDENT_IN_README = "HuggingFaceTB/SmolLM2-135M"
ON_THIS_MACHINE = {
    "reflect.py": "--base_url {url}",
    "sft.py": "--max_steps 2 --use_cpu true --bf16 false --report_to none --save_strategy no",
}


@pytest.fixture
def rows(quickstart: Path) -> list[dict[str, str]]:
    """Some real rows, as a user has them."""
    lines = (quickstart / "data/rows.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    return [json.loads(line) for line in lines]


@pytest.fixture
def answers(quickstart: Path, rows) -> dict[tuple[str, bool], str]:
    """The recorded completions by what they are asked for: the first line of the question, and whether it asks for a
    new instruction.
    """
    lines = (quickstart / "data/completions.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = {(line["id"], line["variant"]): line["completion"] for line in map(json.loads, lines)}
    found = {}
    for row in rows:
        new_instruction = extract_instruction(recorded[row["id"], "reflect_instruction"]).instruction
        found[first_line(row["instruction"]), True] = recorded[row["id"], "reflect_instruction"]
        found[first_line(row["instruction"]), False] = recorded[row["id"], "reflect_response"]
        found[first_line(new_instruction), False] = recorded[row["id"], "reflect_both"]
    return found


def first_line(text: str) -> str:
    return text.split("\n")[0]


@pytest.fixture
def oracle(answers):
    """An OpenAI-compatible server that gives the recorded completions; its `requests` counts them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests += 1
            question = asked["messages"][1]["content"]
            key = first_line(question.removeprefix("[Instruction]\n")), "[New Instruction] your" in question
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answers[key]}}
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def commands(readme: str) -> list[list[str]]:
    """The command lines of the section on one's own data."""
    section = readme.split("## Your own data, oracle and student")[1].split("\n## ")[0]
    block = re.search(r"```bash\n(.*?)```", section, re.S)[1]
    return [shlex.split(line) for line in block.splitlines() if line.startswith("python ")]


def test_the_commands_for_ones_own_data_run(root: Path, quickstart: Path, oracle, rows, tmp_path: Path):
    (tmp_path / "recipes").symlink_to(root / "recipes")
    (tmp_path / "my_rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    url = f"http://127.0.0.1:{oracle.server_port}/v1"

    def run(command: list[str]) -> None:
        extra = ON_THIS_MACHINE.get(Path(command[1]).name, "").format(url=url)
        student = str(quickstart / "student")
        line = [part.replace(STUDENT_IN_README, student) for part in command[1:]]
        done = subprocess.run(
            [sys.executable, *line, *extra.split()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    lines = commands((root / "README.md").read_text(encoding="utf-8"))
    assert [Path(line[1]).name for line in lines] == [
        *("reflect.py", "score.py", "select_rows.py", "sft.py", "publish.py")
    ]
    run(lines[0])
    assert oracle.requests == ROWS * 3
    run([*lines[0][:-1], "runs/mine/again"])  # another folder: every answer comes from the store
    assert oracle.requests == ROWS * 3
    for line in lines[1:]:
        run(line)
    selected = load_dataset(str(tmp_path / "runs/mine/publish/dataset"), "selected", split="train")
    assert selected["prompt"][0].startswith("A chat between a curious user")
    assert KEY not in "".join(
        path.read_text(errors="ignore") for path in (tmp_path / "runs").rglob("*") if path.is_file()
    )


def snippets(text: str) -> list[str]:
    """The Python blocks that score."""
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "load_scorer" in block]


@pytest.mark.parametrize("guide", ["README.md", "scoring/README.md"])
def test_the_scoring_snippets_run(root: Path, quickstart: Path, rows, guide: str, tmp_path: Path):
    (tmp_path / "recipes").symlink_to(root / "recipes")
    (tmp_path / "my_rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = snippets((root / guide).read_text(encoding="utf-8"))
    assert found
    for snippet in found:
        command = [sys.executable, "-c", snippet.replace(STUDENT_IN_README, str(quickstart / "student"))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        ifd, rifd, status = done.stdout.splitlines()[-1].split()
        assert float(ifd) > 0 and float(rifd) > 0 and status == "ok"
