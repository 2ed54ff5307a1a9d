"""Stores of the first version, whole and in use; full disks; and what a store gives out and takes in as rows."""

import errno
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles import Completion, OracleRequest
from reflection.oracles.chat import Sampling
from reflection.store import COLUMNS, IN_MEMORY, Answer, CompletionStore

# As the first version made them.
VERSION_1 = """
PRAGMA journal_mode=WAL;
PRAGMA application_id=1381254739;
PRAGMA user_version=1;
CREATE TABLE completions (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL, created_at REAL NOT NULL
);
"""
MESSAGES = [{"role": "system", "content": "Be picky."}, {"role": "user", "content": "Größe?"}]
OLD_COLUMNS = "key, request, text, finish_reason, model, prompt_tokens, completion_tokens, seconds, created_at"


def old_request(seed: int) -> dict:
    """What the first version asked, and hashed."""
    return {"model": "m", "messages": MESSAGES, "temperature": 0, "top_p": 1, "max_tokens": 64, "seed": seed}


def old_row(seed: int) -> tuple:
    request = old_request(seed)
    key = hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]
    text = json.dumps(request, ensure_ascii=False, sort_keys=True)
    return key, text, f"answer {seed}\x00é", "stop" if seed else None, "m-2026", seed, None, 0.25 * seed, 1000.5 + seed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "completions.sqlite"


@pytest.fixture
def old_rows(path: Path) -> list[tuple]:
    """What stands in a store of the first version at `path`."""
    rows = [old_row(seed) for seed in range(50)]
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    with connection:
        connection.executemany(f"INSERT INTO completions ({OLD_COLUMNS}) VALUES ({','.join('?' * 9)})", rows)
    connection.close()
    return rows


class TestVersion1:
    def test_every_answer_is_found_under_its_old_key_and_nothing_of_it_is_lost(self, path, old_rows):
        store = CompletionStore(str(path))
        found = store.connection.execute(f"SELECT {OLD_COLUMNS} FROM completions ORDER BY created_at").fetchall()
        assert found == old_rows
        assert store.get(old_rows[0][0]) == Completion(
            "answer 0\x00é", None, model="m-2026", prompt_tokens=0, from_store=True
        )
        assert store.get(old_rows[7][0]) == Completion(
            "answer 7\x00é", "stop", model="m-2026", prompt_tokens=7, from_store=True
        )

    def test_what_is_asked_today_has_the_same_key(self, path, old_rows):
        request = OracleRequest("r", None, "reflect_response", MESSAGES)
        key = CompletionStore.key(Sampling("m", 64, 0.0).request(request))
        assert key == old_rows[0][0]
        assert CompletionStore(str(path)).get(key).text == "answer 0\x00é"

    @pytest.mark.usefixtures("old_rows")
    def test_it_takes_new_answers_and_failures_and_is_opened_again(self, path):
        CompletionStore(str(path)).put([Answer({"new": 1}, Completion(None, failure="null_content"), None)])
        store = CompletionStore(str(path))
        assert store.get(store.key({"new": 1})).failure == "null_content"
        assert len(list(store.rows())) == 51
        assert store.connection.execute("PRAGMA user_version").fetchone() == (2,)
        tables = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {"completions", "batches", "batch_requests"}

    @pytest.mark.parametrize("fail_at", range(1, 9))
    def test_it_stays_as_it_was_where_its_conversion_breaks_off(self, path, old_rows, monkeypatch, fail_at):
        connect, executed = sqlite3.connect, 0

        class Breaking(sqlite3.Connection):
            def execute(self, sql, *parameters):
                nonlocal executed
                if self.in_transaction:
                    executed += 1
                if executed == fail_at:
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *parameters)

        opened = []
        with monkeypatch.context() as patch:
            patch.setattr(
                sqlite3,
                "connect",
                lambda *args, **kwargs: opened.append(connect(*args, **kwargs, factory=Breaking)) or opened[-1],
            )
            with pytest.raises(BadInputError, match="disk I/O error"):
                CompletionStore(str(path))
        opened[0].close()  # as at the end of its process
        assert executed == fail_at
        raw = sqlite3.connect(path)
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
        assert raw.execute(f"SELECT {OLD_COLUMNS} FROM completions ORDER BY created_at").fetchall() == old_rows
        raw.close()
        assert len(list(CompletionStore(str(path)).rows())) == 50


class TestFullDisk:
    @pytest.fixture
    def full(self, path) -> Iterator[CompletionStore]:
        """A store with one answer that cannot grow."""
        store = CompletionStore(str(path))
        store.put([Answer({"n": 0}, Completion("here"), None)])
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count={pages}")
        yield store
        store.close()

    def test_is_the_error_of_a_full_disk_and_keeps_what_was_there(self, full, path):
        with pytest.raises(OSError) as error:
            full.put([Answer({"n": 1}, Completion("x" * 100_000), None)])
        assert error.value.errno == errno.ENOSPC
        assert error.value.filename == str(path)
        assert full.get(full.key({"n": 0})).text == "here"
        assert full.get(full.key({"n": 1})) is None

    def test_takes_all_answers_of_a_put_or_none(self, full):
        answers = [Answer({"n": n}, Completion("x" * n), None) for n in (1, 100_000)]
        with pytest.raises(OSError, match="No space left"):
            full.put(answers)
        assert [row["text"] for row in full.rows()] == ["here"]
        full.connection.execute("PRAGMA max_page_count=100000")  # some space was made
        full.put(answers)
        assert len(list(full.rows())) == 3
        assert full.get(full.key({"n": 100_000})).text == "x" * 100_000

    def test_in_a_transaction_undoes_it(self, full):
        def fill():
            with full.transaction() as connection:
                connection.execute("INSERT INTO batches VALUES ('b', 'e', 's', NULL, NULL, 1)")
                connection.execute("INSERT INTO batch_requests VALUES ('b', 'k', ?)", ("x" * 100_000,))

        with pytest.raises(OSError, match="No space left"):
            fill()
        assert list(full.select("SELECT * FROM batches")) == []


class TestRows:
    def test_are_everything_oldest_first(self, path):
        store = CompletionStore(str(path))
        texts = {"b": Completion("B", "stop", model="m", prompt_tokens=1, completion_tokens=2, batched=True)}
        texts["a"] = Completion(None, failure="context_overflow", detail="too long")
        for name, completion in texts.items():
            store.put([Answer({"name": name, "é": 1}, completion, 0.5)])
        b, a = store.rows()
        created = b.pop("created_at"), a.pop("created_at")
        assert created == tuple(sorted(created))
        assert b == {
            "key": store.key({"name": "b", "é": 1}),
            "request": '{"name": "b", "é": 1}',
            "text": "B",
            "failure": None,
            "detail": None,
            "finish_reason": "stop",
            "model": "m",
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "batched": 1,
            "seconds": 0.5,
        }
        assert (a["text"], a["failure"], a["detail"], a["batched"]) == (None, "context_overflow", "too long", 0)
        assert {*b, "created_at"} == set(COLUMNS)

    def test_can_be_put_into_another_store_and_what_stands_there_stays(self, path, tmp_path):
        store, other = CompletionStore(str(path)), CompletionStore(str(tmp_path / "other.sqlite"))
        for n in range(3):
            store.put([Answer({"n": n}, Completion(f"first {n}"), None)])
        other.put([Answer({"n": 1}, Completion("mine"), None)])
        rows = [tuple(row[name] for name in COLUMNS) for row in store.rows()]
        assert other.insert(rows) == 2
        assert other.insert(rows) == 0
        assert {row["text"] for row in other.rows()} == {"first 0", "mine", "first 2"}

    def test_nothing_is_inserted_where_one_row_cannot_be(self, path):
        store = CompletionStore(str(path))
        good = (store.key({}), "{}", "x", *[None] * 6, 0, None, 1.0)
        with pytest.raises(BadInputError, match=r"--store .*: cannot be read or written") as error:
            store.insert([good, good[:-1]])
        assert "\n" not in str(error.value)
        assert list(store.rows()) == []


def test_a_store_in_memory_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = CompletionStore(IN_MEMORY)
    store.put([Answer({"n": 1}, Completion("x"), None)])
    assert store.get(store.key({"n": 1})).text == "x"
    assert list(tmp_path.iterdir()) == []


def test_damage_found_while_it_is_read_is_one_line(path):
    store = CompletionStore(str(path))
    store.put([Answer({"n": n}, Completion("x" * 3000), None) for n in range(100)])
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    content = bytearray(path.read_bytes())
    content[8192 : len(content)] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    damaged = CompletionStore(str(path))
    with pytest.raises(BadInputError, match=r"--store .*: cannot be read or written") as error:
        list(damaged.rows())
    assert "\n" not in str(error.value)
