import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles import Completion
from reflection.store import Answer, CompletionStore

REQUEST = {
    "model": "oracle-1",
    "messages": [{"role": "system", "content": "Be picky."}, {"role": "user", "content": "Why?"}],
    "temperature": 0,
    "top_p": 1,
    "max_tokens": 64,
    "seed": 0,
}


def request(**changes):
    return {**REQUEST, **changes}


def key_count(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT count(*) FROM completions").fetchone()[0]


def put(store: CompletionStore, asked: dict, completion: Completion, seconds: float | None = 0.1) -> None:
    store.put([Answer(asked, completion, seconds)])


def get(store: CompletionStore, asked: dict) -> Completion | None:
    return store.get(store.key(asked))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "completions.sqlite"


@pytest.mark.parametrize(
    "completion",
    [
        Completion("Because.", "stop", None, "oracle-1-2026", None, 12, 3),
        Completion("", "length", None, "m", None, 0, 0, batched=True),
        Completion("é😀\u2028\x00'\";--\r\n\t{x}"),
        Completion(None, None, "context_overflow", "m", "9000 tokens are too many", None, None),
        Completion(None, "content_filter", "content_filter", "m", None, 12, 0, batched=True),
    ],
    ids=["all known", "empty text, zero tokens, batched", "hostile text, nothing known", "too long", "filtered"],
)
def test_what_was_put_comes_back_in_another_process_life_marked_as_paid(path, completion):
    put(CompletionStore(str(path)), request(), completion, seconds=1.5)
    found = get(CompletionStore(str(path)), request())
    assert found == replace(completion, from_store=True)


def test_what_was_never_put_is_none(path):
    store = CompletionStore(str(path))
    assert get(store, request()) is None
    put(store, request(), Completion("Because."))
    assert get(store, request(seed=1)) is None


@pytest.mark.parametrize("first", [Completion("first"), Completion(None, failure="no_choices")])
def test_the_first_answer_to_a_request_stays_so_that_all_who_ask_go_on_with_the_same_one(path, first):
    store = CompletionStore(str(path))
    put(store, request(), first)
    put(CompletionStore(str(path)), request(), Completion("second"))
    store.put([Answer(request(), Completion("third"), 0.1), Answer(request(seed=1), Completion("other"), 0.1)])
    assert get(store, request()) == replace(first, from_store=True)
    assert get(store, request(seed=1)).text == "other"
    assert key_count(path) == 2


def test_missing_folders_above_the_store_are_made(tmp_path):
    deep = tmp_path / "a/b/c.sqlite"
    put(CompletionStore(str(deep)), request(), Completion("x"))
    assert key_count(deep) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "oracle-2"},
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "system", "content": "Be picky."}, {"role": "user", "content": "Why? "}]},
        {"temperature": 1},
        {"top_p": 0.5},
        {"max_tokens": 65},
        {"seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_key_depends_on_model_messages_and_sampling(changes):
    assert CompletionStore.key(request(**changes)) != CompletionStore.key(request())


def test_the_key_does_not_depend_on_the_order_of_fields_nor_on_the_process():
    backwards = dict(reversed(list(REQUEST.items())))
    assert list(backwards) != list(REQUEST)
    assert CompletionStore.key(backwards) == CompletionStore.key(REQUEST)
    # sha256 of '{"a": 1, "b": "\\u00e9"}', taken with sha256sum: an old store must stay readable
    assert CompletionStore.key({"b": "é", "a": 1}) == "fb0782fb7a8a00c6a46d1f2aadc5c94b"


KILLED_WRITER = """
import sys
import threading
from reflection.oracles import Completion
from reflection.store import Answer, CompletionStore

store = CompletionStore(sys.argv[1])
for number in range(1_000_000):
    request = {"model": "m", "number": number}
    store.put([Answer(request, Completion(f"answer {number} " + "x" * 2000), 0.1)])
    print(number, store.key(request), flush=True)
"""


def test_every_answer_whose_put_returned_is_there_after_kill_9(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=python_env()
    )
    try:
        lines = [writer.stdout.readline() for _ in range(50)]
    finally:
        os.kill(writer.pid, signal.SIGKILL)
    lines += [line for line in writer.stdout if line.endswith("\n")]
    assert writer.wait(timeout=30) == -signal.SIGKILL
    printed = [line.split() for line in lines]
    assert len(printed) >= 50
    store = CompletionStore(str(path))
    for number, key in printed:
        asked = {"model": "m", "number": int(number)}
        assert store.key(asked) == key
        assert get(store, asked).text == f"answer {number} " + "x" * 2000
    assert key_count(path) - len(printed) in (0, 1)  # at most the one whose key was still to be printed


def test_every_commit_is_synced_so_that_a_power_cut_loses_nothing_either(path):
    store = CompletionStore(str(path))
    assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# Forks, all at one signal, so that they open a store that does not exist yet at the same moment.
WRITERS_AT_ONCE = """
import os, sys
from reflection.oracles import Completion
from reflection.store import Answer, CompletionStore

def write(folder, trial, writer, start):
    os.read(start, 1)
    store = CompletionStore(f"{folder}/{trial}.sqlite")
    for number in range(5):
        store.put([Answer({"writer": writer, "number": number}, Completion(f"{writer} {number}"), 0.1)])

failed = 0
for trial in range(int(sys.argv[2])):
    start, go = os.pipe()
    children = []
    for writer in range(3):
        child = os.fork()
        if not child:
            try:
                write(sys.argv[1], trial, writer, start)
            except BaseException as error:
                print(type(error).__name__, error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.write(go, b"123")
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
sys.exit(min(failed, 1))
"""


def test_processes_that_make_and_fill_one_store_at_once_do_not_disturb_each_other(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITERS_AT_ONCE, str(tmp_path), "15"],
        capture_output=True,
        text=True,
        timeout=120,
        env=python_env(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for trial in range(15):
        store = CompletionStore(str(tmp_path / f"{trial}.sqlite"))
        found = [get(store, {"writer": w, "number": n}).text for w in range(3) for n in range(5)]
        assert found == [f"{w} {n}" for w in range(3) for n in range(5)]


@pytest.mark.parametrize("statement", range(1, 7))  # the sixth begins a transaction, which keeps others out
def test_a_store_that_another_process_makes_while_we_open_it_is_taken_as_it_is(path, monkeypatch, statement):
    """The other process comes in right before the `statement`-th statement of ours."""
    connect = sqlite3.connect
    executed = 0

    class Interrupted(sqlite3.Connection):
        def execute(self, *arguments):
            nonlocal executed
            executed += 1
            if executed == statement:
                with monkeypatch.context() as patch:
                    patch.setattr(sqlite3, "connect", connect)
                    put(CompletionStore(str(path)), request(seed=1), Completion("theirs"))
            return super().execute(*arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **kwargs, factory=Interrupted))
    store = CompletionStore(str(path))
    put(store, request(seed=2), Completion("ours"))
    assert executed >= statement
    assert get(store, request(seed=1)).text == "theirs"
    assert get(store, request(seed=2)).text == "ours"


def test_opening_waits_while_another_process_holds_the_file(path):
    """SQLite's own busy timeout does not cover the change to the write-ahead log."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    put(CompletionStore(str(path)), request(), Completion("x"))
    release.join()
    assert get(CompletionStore(str(path)), request()).text == "x"


def test_opening_does_not_wait_for_ever(path, monkeypatch):
    monkeypatch.setattr("reflection.store.BUSY_SECONDS", 0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BadInputError, match="database is locked"):
        CompletionStore(str(path))
    other.rollback()


def test_two_open_stores_see_each_others_answers(path):
    one, two = CompletionStore(str(path)), CompletionStore(str(path))
    put(one, request(seed=1), Completion("from one"))
    put(two, request(seed=2), Completion("from two"))
    assert get(two, request(seed=1)).text == "from one"
    assert get(one, request(seed=2)).text == "from two"


def other_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.execute("INSERT INTO bookmarks VALUES ('http://127.0.0.1')")
    connection.close()


def same_table_of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE completions (key TEXT PRIMARY KEY, text TEXT)")
    connection.close()


def another_version(path: Path) -> None:
    store = CompletionStore(str(path))
    put(store, request(), Completion("x"))
    store.connection.execute("PRAGMA user_version=99")
    store.connection.execute("PRAGMA journal_mode=DELETE")
    store.connection.close()


def truncated_store(path: Path) -> None:
    store = CompletionStore(str(path))
    for number in range(200):
        put(store, request(seed=number), Completion("x" * 500))
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.connection.execute("PRAGMA journal_mode=DELETE")
    store.connection.close()
    content = path.read_bytes()
    assert len(content) > 100_000
    path.write_bytes(content[:50_000])


def cut_inside_the_header(path: Path) -> None:
    truncated_store(path)
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    "make",
    [
        other_sqlite,
        same_table_of_another_program,
        another_version,
        truncated_store,
        cut_inside_the_header,
        lambda path: path.write_text("The quarterly report.\n" * 400, encoding="utf-8"),
        lambda path: path.write_text("short", encoding="utf-8"),
        lambda path: path.write_bytes(bytes(range(256)) * 64),
    ],
    ids=[
        "another program's SQLite",
        "the same table of another program",
        "another version",
        "a truncated store",
        "a store cut inside its header",
        "a text",
        "a short text",
        "other bytes",
    ],
)
def test_what_is_no_store_of_ours_is_refused_in_one_line_and_left_as_it_is(path, make):
    make(path)
    before = path.read_bytes()
    with pytest.raises(BadInputError) as error:
        CompletionStore(str(path))
    assert str(error.value).startswith(f"--store {path}: cannot be used as a completion store (")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(BadInputError, match=r"--store .*: cannot be used as a completion store") as error:
        CompletionStore(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_path_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"--store .*: cannot be used as a completion store") as error:
        CompletionStore(str(tmp_path / "file/store.sqlite"))
    assert "\n" not in str(error.value)


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    put(CompletionStore(str(path)), request(), Completion("x"))
    assert get(CompletionStore(str(path)), request()).text == "x"


def python_env() -> dict[str, str]:
    """This checkout's packages, for a child that is started elsewhere."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
