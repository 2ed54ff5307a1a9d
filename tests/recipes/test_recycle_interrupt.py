"""Ctrl-C during a recipe: the stage finishes what is paid for, and the same command goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from datasets import load_from_disk

from reflection.store import CompletionStore

CONCURRENCY, ROWS = 3, 9
REPLY = (
    b'{"object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": '
    b'{"role": "assistant", "content": "Weak.\\n[Better Answer] A better one. [End]"}}]}'
)


@pytest.fixture
def service(monkeypatch):
    """A server that holds its answers back until `go` is set."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            with server.lock:
                server.asked += 1
            server.go.wait(60)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(REPLY)))
            self.end_headers()
            self.wfile.write(REPLY)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.lock, server.go = 0, threading.Lock(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_ctrl_c_lets_the_stage_keep_what_is_in_flight(root, quickstart, service, tmp_path):
    recipe, store = tmp_path / "recipe", tmp_path / "store.sqlite"
    recipe.mkdir()
    settings = {
        "dataset": str(quickstart / "data/rows.jsonl"),
        "limit": ROWS,
        "oracle": "openai",
        "oracle_model": "m",
        "base_url": f"http://127.0.0.1:{service.server_port}/v1",
        "store": str(store),
        "variants": ["reflect_response"],
        "concurrency": CONCURRENCY,
    }
    (recipe / "reflect.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "recipes/recycle.py", str(recipe), "--output_dir", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while service.asked < CONCURRENCY and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.asked == CONCURRENCY
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the recipe and to its stage
    for line in process.stdout:
        if "interrupted: waiting for 3 request(s) in flight" in line:
            break
    service.go.set()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from" in errors
    assert "Traceback" not in errors
    assert service.asked == CONCURRENCY
    assert len(list(CompletionStore(str(store)).rows())) == CONCURRENCY

    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert service.asked == ROWS
    assert load_from_disk(tmp_path / "run/reflect")["reflect_response"]["reflect_status"][:] == ["ok"] * ROWS
