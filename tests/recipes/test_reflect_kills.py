"""Runs of the real script that end early, by a signal or by a refusal: what was paid for is kept, the key is not."""

import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from datasets import load_from_disk

ROWS, CONCURRENCY, KILLS = 80, 16, 10
BIND = {"latency_ms": 40, "faults": {"500": 0.02, "drop": 0.02, "malformed": 0.02, "429": 0.01}, "seed": 3}
LASTING = dict.fromkeys(("no_choices", "null_content", "content_filter", "truncated", "context_overflow"), 0.03)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"instruction": f"Tell me about place #{n}.", "input": "", "output": f"It is place {n} of many."}
        for n in range(1000, 1000 + ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def start(root: Path, data: Path, fault_server) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the script: `start(folder, *flags, **environment)`; whatever still runs at the end is ended."""
    started: list[subprocess.Popen] = []

    def call(folder: Path, *flags: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, str(root / "recipes/reflect.py"), "--dataset", str(data), "--oracle", "openai"]
        command += ["--oracle_model", "oracle-1", "--base_url", fault_server.url, "--concurrency", str(CONCURRENCY)]
        command += ["--output_dir", str(folder / "out"), "--store", str(folder / "store.sqlite"), *flags]
        variables = {**os.environ, "OPENAI_API_KEY": "sk-any", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=root, env=variables, **pipes))
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for(server, process: subprocess.Popen, requests: int) -> bool:
    """Until the server has seen so many requests in all; whether it came to that before the process ended."""
    while process.poll() is None:
        if server.counts()["requests"] >= requests:
            return True
        time.sleep(0.002)
    return False


def wait_until_idle(server) -> dict:
    """The counts after the requests that a dead process left behind are answered."""
    while (counts := server.counts())["in_flight"]:
        time.sleep(0.01)
    return counts


def content(folder: Path) -> dict[str, list[dict]]:
    return {name: part.to_list() for name, part in load_from_disk(folder / "out").items()}


def stored(folder: Path) -> int:
    import sqlite3

    with sqlite3.connect(folder / "store.sqlite") as connection:
        return connection.execute("SELECT count(*) FROM completions").fetchone()[0]


def test_killed_ten_times_and_resumed_it_makes_the_same_and_pays_for_little_more(fault_server, start, tmp_path):
    fault_server.configure(**BIND, lasting=LASTING)
    code, _, err = finish(start(tmp_path / "undisturbed"))
    assert code == 0, err
    undisturbed = fault_server.everything()
    assert undisturbed["paid_more_than_once"] == 0
    needed = undisturbed["paid_in_all"]

    fault_server.configure(**BIND, lasting=LASTING)
    moments, kills, extra = random.Random(7), 0, []
    for _ in range(KILLS):
        before = fault_server.counts()
        process = start(tmp_path / "killed")
        further = moments.randint(1, 2 * needed // KILLS)
        assert wait_for(fault_server, process, before["requests"] + further), process.communicate()
        time.sleep(moments.uniform(0, 0.05))  # between two requests too, and while their answers are stored
        process.kill()
        process.wait()
        kills += 1
        lost = wait_until_idle(fault_server)["paid_more_than_once"]
        extra.append(lost)
    code, _, err = finish(start(tmp_path / "killed"))
    assert code == 0, err
    seen = fault_server.everything()
    assert kills == KILLS
    assert content(tmp_path / "killed") == content(tmp_path / "undisturbed")
    assert set(seen["paid"]) == set(undisturbed["paid"])
    assert 0 < seen["paid_in_all"] - needed <= KILLS * CONCURRENCY
    steps = [after - before for before, after in zip([0, *extra], [*extra, seen["paid_more_than_once"]], strict=True)]
    assert max(steps) <= CONCURRENCY  # of one kill, seen in the run after it
    records = [json.loads((tmp_path / name / "out/provenance.json").read_text()) for name in ("killed", "undisturbed")]
    assert records[0][-1]["counts"]["reflect_status"] == records[1][-1]["counts"]["reflect_status"]
    assert records[0][-1]["counts"]["usage"] == records[1][-1]["counts"]["usage"]


class TestInterrupt:
    def test_once_finishes_what_is_in_flight_and_keeps_it(self, fault_server, start, tmp_path):
        fault_server.configure(latency_ms=300, sigma=0.3)
        process = start(tmp_path)
        assert wait_for(fault_server, process, 40)
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
        assert code == 130
        assert "in flight" in out
        assert err.splitlines()[-1].startswith("error: interrupted")
        assert "Traceback" not in err
        counts = fault_server.counts()
        assert counts["in_flight"] == 0
        assert 40 <= counts["paid_in_all"] <= 40 + 2 * CONCURRENCY
        assert stored(tmp_path) == counts["paid_in_all"]
        assert not (tmp_path / "out/dataset_dict.json").exists()

        fault_server.change(latency_ms=0)
        code, _, err = finish(start(tmp_path))
        assert code == 0, err
        assert fault_server.counts()["paid_more_than_once"] == 0
        assert fault_server.counts()["paid_in_all"] == 3 * ROWS

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_twice_stops_without_waiting(self, fault_server, start, tmp_path, number):
        fault_server.configure(slow={"#": 60})
        process = start(tmp_path)
        assert wait_for(fault_server, process, CONCURRENCY)
        process.send_signal(number)
        assert "once more stops now" in process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        code, _, err = finish(process)  # far sooner than any answer
        assert code == 130
        assert err.splitlines()[-1].startswith("error: interrupted")
        assert "Traceback" not in err
        assert fault_server.counts()["paid_in_all"] == 0
        fault_server.configure()


class TestSecrets:
    @pytest.mark.parametrize(
        ("status", "after", "code"),
        [
            (401, 40, 2),
            (400, 40, 2),
            (500, 40, 130),
            (403, 0, 2),
            (None, 0, 0),
            ("killed", 40, -9),
        ],
    )
    def test_the_key_is_written_nowhere(self, fault_server, start, tmp_path, status, after, code):
        key = f"sk-proj-{secrets.token_urlsafe(24)}"
        said = "refused: {authorization}; send another header than 'Authorization: {authorization}'"
        refuse = {"status": status, "after": after, "message": said, "echo": True}
        refuse = refuse if status in (400, 401, 403, 500) else None
        fault_server.configure(refuse=refuse, faults={"500": 0.05, "drop": 0.05}, lasting=LASTING, latency_ms=5)
        process = start(tmp_path / "run", OPENAI_API_KEY=key, OPENAI_LOG="debug", PYTHONASYNCIODEBUG="1")
        # The retries of a server that always fails take minutes; an interrupt ends them, as a user would.
        if status == 500:
            assert wait_for(fault_server, process, 3 * CONCURRENCY + after)
            process.send_signal(signal.SIGINT)
        if status == "killed":  # the write-ahead log is still there
            assert wait_for(fault_server, process, 2 * CONCURRENCY + after)
            process.kill()
        ended, out, err = finish(process)
        assert ended == code, err[-2000:]
        assert "HTTP Response" in err  # the package's own log is on
        assert stored(tmp_path / "run") >= after
        written = {str(file): file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
        written |= {"stdout": out.encode(), "stderr": err.encode()}
        # Where a header is repeated, nothing but an ellipsis is left of the key in it.
        patterns = (re.escape(key), re.escape(key[:16]), re.escape(key[-12:]), r"Bearer (?!…)", r"sk-proj")
        for pattern in patterns:
            assert [name for name, raw in written.items() if re.search(pattern.encode(), raw, re.IGNORECASE)] == []
