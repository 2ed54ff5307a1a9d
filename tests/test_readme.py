"""The README's commands for one's own data are run as they stand, against a local server."""

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

KEY = "sk-only-in-the-environment-0123456789"
STUDENT_IN_README = "HuggingFaceTB/SmolLM2-135M"
ON_THIS_MACHINE = {
    "reflect.py": "--base_url {url}",
    "sft.py": "--max_steps 2 --use_cpu true --bf16 false --report_to none --save_strategy no",
}


@pytest.fixture
def oracle():
    """An OpenAI-compatible server that answers both prompts; its `requests` counts them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests += 1
            wants_instruction = "New Instruction" in asked["messages"][1]["content"]
            text = "Weak.\n[Better Answer] A better answer, the long one. [End]"
            if wants_instruction:
                text = "Vague.\n[New Instruction] Name three red fruits. [End]\n[New Answer] Cherry, apple, plum. [End]"
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
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


def test_the_commands_for_ones_own_data_run(root: Path, quickstart: Path, oracle, tmp_path: Path):
    (tmp_path / "recipes").symlink_to(root / "recipes")
    rows = [{"instruction": f"Name {n} fruits.", "output": "Apple."} for n in range(1, 7)]
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
    assert oracle.requests == 6 * 3
    run([*lines[0][:-1], "runs/mine/again"])  # another folder: every answer comes from the store
    assert oracle.requests == 6 * 3
    # The rows are too much alike for the bundled student to keep any; without that, there is nothing to train on.
    lines[2] += ["--require_reflected_response", "false"]
    for line in lines[1:]:
        run(line)
    selected = load_dataset(str(tmp_path / "runs/mine/publish/dataset"), "selected", split="train")
    assert selected["prompt"][0].startswith("Below is an instruction that describes a task.")
    assert KEY not in "".join(
        path.read_text(errors="ignore") for path in (tmp_path / "runs").rglob("*") if path.is_file()
    )
