"""What a run leaves behind when it is killed, interrupted, or not alone."""

import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter

import pytest

from hub_cards.errors import BadInputError, StoppedError
from reflection.oracles import batch_lines, batch_service
from reflection.oracles import openai as live
from reflection.store import CompletionStore

KEY = "sk-test-51f0-do-not-write-me-anywhere"
# A user's process: asks `questions` and, once there is an answer, a second time about it. Run by `exec` in a process
# that is forked from one that has imported everything.
PROGRAM = """
import os
os.environ["OPENAI_API_KEY"] = key
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
from reflection.oracles import batch_lines, batch_service, openai, openai_batch
from reflection.oracles.base import OracleRequest
from reflection.oracles.chat import Sampling
from reflection.store import CompletionStore

batch_service.SETTLE_SECONDS, openai.LONGEST_DELAY, batch_lines.COMMIT = 0, 0.001, 3

def request(question):
    return OracleRequest("row", None, "v", [{"role": "user", "content": question}])

def job(question):
    first = yield request(question)
    if first.text is not None:
        yield request(f"{question}, {first.text}")

def jobs():
    return (job(str(question)) for question in range(questions))

oracle = openai_batch.OpenAIBatchOracle(
    Sampling("m", 64), CompletionStore(path), url, poll_seconds=poll_seconds, max_requests=max_requests
)
oracle.run(jobs, questions)
"""


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reflection.oracles.openai_batch"])
    return context


@pytest.fixture
def settings(batch_endpoint, tmp_path) -> dict:
    path = str(tmp_path / "completions.sqlite")
    shared = {"url": batch_endpoint.url, "path": path, "key": KEY}
    return {**shared, "questions": 12, "max_requests": 8, "poll_seconds": 0.001}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(batch_service, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(live, "LONGEST_DELAY", 0.001)
    monkeypatch.setattr(batch_lines, "COMMIT", 500)


def start(forks, settings):
    process = forks.Process(target=exec, args=(PROGRAM, dict(settings)), daemon=True)
    process.start()
    return process


def expected(settings) -> Counter:
    firsts = [str(number) for number in range(settings["questions"])]
    return Counter(firsts + [f"{question}, answer to {question}" for question in firsts])


def assert_all_is_there(settings) -> None:
    store = CompletionStore(settings["path"])
    assert sum(row["text"] is not None and row["batched"] for row in store.rows()) == 2 * settings["questions"]
    assert list(store.select("SELECT DISTINCT state FROM batches")) == [("collected",)]
    assert list(store.select("SELECT * FROM batch_requests")) == []
    store.close()


def flaky(endpoint) -> None:
    """The service fails some requests the first time, so that there are error files and a wave more."""
    ok = endpoint.answer
    endpoint.answer = lambda q, times: (500, {}) if times == 1 and q in ("1", "9") else ok(q, times)


MOMENTS = [
    *[("upload", number) for number in (1, 2, 3)],
    *[("create", number) for number in (1, 2, 3)],
    *[("retrieve", number) for number in (1, 2, 3)],
    *[("content", number) for number in (1, 2, 3, 4, 5)],
]


class TestKilled:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("call", "number"), MOMENTS)
    def test_at_any_call_it_goes_on_and_submits_nothing_twice(
        self, batch_endpoint, forks, settings, call, number, when
    ):
        flaky(batch_endpoint)
        started = threading.Event()

        def kill(kind, count):
            if (kind, count) == (call, number):
                started.wait()
                os.kill(process.pid, signal.SIGKILL)
                return "drop"
            return None

        setattr(batch_endpoint, when, kill)
        process = start(forks, settings)
        started.set()
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        setattr(batch_endpoint, when, lambda *_: None)
        exec(PROGRAM, dict(settings))
        assert batch_endpoint.submitted == expected(settings) + Counter(["1", "9"])  # which had failed
        assert batch_endpoint.paid == expected(settings)
        assert_all_is_there(settings)

    def test_at_random_moments_it_goes_on_and_submits_nothing_twice(self, batch_endpoint, forks, settings):
        settings |= {"questions": 120, "max_requests": 20, "poll_seconds": 0.02}
        batch_endpoint.polls = 8
        flaky(batch_endpoint)
        chance = random.Random(3)
        process, kills = start(forks, settings), 0
        while kills < 12 and process.exitcode is None:
            calls = sum(batch_endpoint.calls.values())
            while sum(batch_endpoint.calls.values()) == calls and process.is_alive():
                time.sleep(0.001)  # it has only just begun
            process.join(chance.uniform(0.0, 0.1))
            if process.exitcode is None:
                kills += 1
                process.kill()
                process.join()
                process = start(forks, settings)
        process.join(20)
        exec(PROGRAM, dict(settings))
        assert kills >= 5
        assert batch_endpoint.submitted == expected(settings) + Counter(["1", "9"])
        assert batch_endpoint.paid == expected(settings)
        assert_all_is_there(settings)

    def test_after_its_last_answer_the_books_are_closed(self, batch_endpoint, settings):
        exec(PROGRAM, dict(settings))
        store = CompletionStore(settings["path"])
        with store.transaction() as connection:
            connection.execute("UPDATE batches SET state = 'submitted'")
            connection.execute("INSERT INTO batch_requests SELECT batches.id, key, request FROM batches, completions")
        batch_endpoint.calls.clear()
        exec(PROGRAM, dict(settings))
        assert batch_endpoint.calls == {}
        assert_all_is_there(settings)

    def test_a_batch_that_is_gone_from_the_list_is_made_again(self, batch_endpoint, settings):
        """An uploaded file of which the service made no batch: nothing was paid, so it is asked."""
        store = CompletionStore(settings["path"])
        store.connection.execute("INSERT INTO batches VALUES ('x', ?, 'uploaded', 'f', NULL, 0)", (settings["url"],))
        store.connection.execute("INSERT INTO batch_requests VALUES ('x', 'k', '{}')")
        store.connection.commit()
        exec(PROGRAM, dict(settings))
        assert batch_endpoint.submitted == expected(settings)
        assert batch_endpoint.calls["list"] == 1
        assert_all_is_there(settings)


class TestTogether:
    def test_processes_with_one_store_submit_nothing_twice(self, batch_endpoint, forks, settings):
        settings |= {"questions": 60, "max_requests": 20}
        flaky(batch_endpoint)
        processes = [start(forks, settings) for _ in range(3)]
        for process in processes:
            process.join(30)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert batch_endpoint.submitted == expected(settings) + Counter(["1", "9"])
        assert batch_endpoint.paid == expected(settings)
        assert_all_is_there(settings)

    def test_another_endpoint_is_asked_for_itself(self, batch_endpoint, settings):
        store = CompletionStore(settings["path"])
        store.connection.execute("INSERT INTO batches VALUES ('x', 'https://elsewhere', 'submitted', 'f', 'b', 0)")
        store.connection.commit()
        store.close()
        exec(PROGRAM, dict(settings))
        assert batch_endpoint.submitted == expected(settings)
        assert batch_endpoint.calls["list"] == 0

    def test_batches_of_other_jobs_are_left_alone(self, settings):
        store = CompletionStore(settings["path"])
        store.connection.execute("INSERT INTO batches VALUES ('x', ?, 'submitted', 'f', 'b', 0)", (settings["url"],))
        store.connection.execute("INSERT INTO batch_requests VALUES ('x', 'k', '{}')")
        store.connection.commit()
        store.close()
        exec(PROGRAM, dict(settings))
        assert CompletionStore(settings["path"]).connection.execute(
            "SELECT count(*) FROM batch_requests"
        ).fetchone() == (1,)


class TestInterrupted:
    def test_ctrl_c_leaves_the_batches_to_the_same_command(self, batch_endpoint, settings, capsys):
        def interrupt(kind, number):
            if (kind, number) == ("retrieve", 1):
                os.kill(os.getpid(), signal.SIGINT)

        batch_endpoint.after = interrupt
        batch_endpoint.polls = 6
        with pytest.raises(KeyboardInterrupt):
            exec(PROGRAM, dict(settings))
        assert (
            "interrupted: 2 batches go on at the service and will be paid for; the same command"
            in capsys.readouterr().out
        )
        exec(PROGRAM, dict(settings))
        assert batch_endpoint.submitted == expected(settings)
        assert_all_is_there(settings)


class TestKey:
    def test_is_in_no_message_and_no_file(self, batch_endpoint, settings, tmp_path, capsys, caplog):
        caplog.set_level("DEBUG")
        body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "x"}}
        batch_endpoint.answer = lambda *_: (400, {"error": {**body["error"], "code": "content_filter"}})
        batch_endpoint.before = lambda _, number: (500, body, {}) if number == 1 else None
        batch_endpoint.end = lambda number: ("x", body["error"]["message"], 1) if number == 2 else "completed"
        with pytest.raises(BadInputError) as refused:
            exec(PROGRAM, dict(settings))
        batch_endpoint.before = lambda *_: (401, body, {})
        with pytest.raises(BadInputError) as unauthorized:
            exec(PROGRAM, dict(settings))
        batch_endpoint.before = lambda *_: (429, body, {"retry-after": "9999"})
        with pytest.raises(StoppedError) as stopped:
            exec(PROGRAM, dict(settings))
        output = capsys.readouterr()
        said = [output.out, output.err, caplog.text, *(str(item.value) for item in (refused, unauthorized, stopped))]
        assert "OPENAI_API_KEY" in str(unauthorized.value)
        assert "Incorrect API key provided" in str(refused.value)
        rows = list(CompletionStore(settings["path"]).rows())
        assert any("Incorrect API key" in (row["detail"] or "") for row in rows)
        files = [path.read_bytes() for path in tmp_path.iterdir()]
        files += [content for name, content in batch_endpoint.files.items() if name.startswith("file-in")]
        assert sqlite3.connect(settings["path"]).execute("SELECT count(*) FROM batches").fetchone()[0] > 0
        assert not any(KEY in text for text in said)
        assert not any(KEY.encode() in content for content in files)
