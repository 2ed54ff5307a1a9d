"""The completion store: every paid answer is on disk before anything else happens to it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.storage import is_disk_full
from reflection.oracles.base import Completion

SCHEMA_VERSION = 2
APPLICATION_ID = 0x52544653  # "RTFS": marks the file as ours
BUSY_SECONDS = 60  # how long to wait for another process that is writing
IN_MEMORY = ":memory:"
COLUMNS = (
    *("key", "request", "text", "failure", "detail", "finish_reason", "model"),
    *("prompt_tokens", "completion_tokens", "batched", "seconds", "created_at"),
)
# `key` hashes `request`; exactly one of `text` and `failure` is null.
_TABLES = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT, failure TEXT, detail TEXT, finish_reason TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, batched INTEGER NOT NULL DEFAULT 0, seconds REAL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, state TEXT NOT NULL, file_id TEXT, batch_id TEXT,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_requests (
    batch TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (batch, key)
) WITHOUT ROWID;
"""
_OLD = "key, request, text, finish_reason, model, prompt_tokens, completion_tokens, seconds, created_at"
_FROM_VERSION_1 = f"""
ALTER TABLE completions RENAME TO completions_1;
{_TABLES}
INSERT INTO completions ({_OLD}) SELECT {_OLD} FROM completions_1;
DROP TABLE completions_1;
"""


class Answer(NamedTuple):
    """One answer to keep.

    Attributes:
        request: model, messages and sampling parameters, as the key hashes them.
        seconds: from asking to having it.
    """

    request: dict[str, Any]
    completion: Completion
    seconds: float | None


class CompletionStore:
    """Completions in SQLite (write-ahead log, synced at every commit), keyed by what was asked.

    The key hashes model, messages and sampling parameters; the endpoint and its key are not part of it. Several
    processes may share a file on a local disk (SQLite's write-ahead log does not work over a network file system).

    Raises:
        BadInputError: the path holds something that is no store of ours; it is left as it is.
        OSError: the disk is full (from every method that writes).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with self._errors("cannot be used as a completion store"):
            if path != IN_MEMORY:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            # One thread uses a connection at a time; the writer's is opened by another thread than the one it works in.
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
            try:
                self._open()
            except sqlite3.Error:
                self.connection.close()  # it may hold a lock
                raise

    @contextmanager
    def _errors(self, what: str = "cannot be read or written") -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path) from error
            raise BadInputError(f"--store {self.path}: {what} ({error})") from error
        except OSError as error:
            if is_disk_full(error):
                raise
            raise BadInputError(f"--store {self.path}: {what} ({error.strerror})") from error

    def _open(self) -> None:
        # Tables first: a process that is making the store right now marks the file before it makes the table.
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self.connection.execute("PRAGMA application_id").fetchone()[0]
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if tables and (application != APPLICATION_ID or not 1 <= version <= SCHEMA_VERSION):
            raise sqlite3.DatabaseError("it is a SQLite file of another kind or version")
        self._write_ahead()
        self.connection.execute("PRAGMA synchronous=FULL")
        if version < SCHEMA_VERSION:
            self._make_tables()

    def _make_tables(self) -> None:
        """Make the tables, or bring those of an earlier version to this one, all or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        statements = _FROM_VERSION_1 if version == 1 else _TABLES
        for statement in statements.split(";") if version < SCHEMA_VERSION else ():
            self.connection.execute(statement)
        self.connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self.connection.commit()

    def _write_ahead(self) -> None:
        """Switch to the write-ahead log. SQLite itself does not wait here while another process opens the store."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @staticmethod
    def key(request: dict[str, Any]) -> str:
        """The hash of a request: model, messages and sampling parameters."""
        return fingerprint_of(request)

    def get(self, key: str) -> Completion | None:
        """The stored answer to the request with this key, or None."""
        with self._errors():
            row = self.connection.execute(
                "SELECT text, finish_reason, failure, model, detail, prompt_tokens, completion_tokens, batched"
                " FROM completions WHERE key = ?",
                (key,),
            ).fetchone()
        return None if row is None else Completion(*row[:-1], batched=bool(row[-1]), from_store=True)

    def put(self, answers: Iterable[Answer]) -> None:
        """Store answers durably, all or none; returns after they are on disk.

        What another process has answered meanwhile stays as it is: read the answer again to go on with the same one.
        """
        rows = [
            (
                self.key(request),
                json.dumps(request, ensure_ascii=False, sort_keys=True),
                *(completion.text, completion.failure, completion.detail, completion.finish_reason, completion.model),
                *(completion.prompt_tokens, completion.completion_tokens, completion.batched),
                seconds,
                time.time(),
            )
            for request, completion, seconds in answers
        ]
        self.insert(rows)

    def insert(self, rows: Iterable[tuple]) -> int:
        """Insert rows of `COLUMNS`, all or none; an answer that is already there stays.

        Returns:
            How many were inserted.
        """
        places = ",".join("?" * len(COLUMNS))
        with self._errors(), self.connection:
            sql = f"INSERT OR IGNORE INTO completions ({','.join(COLUMNS)}) VALUES ({places})"
            return self.connection.executemany(sql, rows).rowcount

    def select(self, sql: str, parameters: tuple = ()) -> Iterator[tuple]:
        """The rows of a query, one after the other."""
        with self._errors():
            yield from self.connection.execute(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done inside is durable together or not at all; no other process writes meanwhile."""
        with self._errors(), self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection

    def rows(self) -> Iterator[dict[str, Any]]:
        """Everything in the table of completions, oldest first, as mappings of `COLUMNS`."""
        with self._errors():
            sql = f"SELECT {','.join(COLUMNS)} FROM completions ORDER BY created_at, key"
            for row in self.connection.execute(sql):
                yield dict(zip(COLUMNS, row, strict=True))

    def close(self) -> None:
        """Close the file; further use is an error."""
        self.connection.close()
