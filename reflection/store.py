"""The completion store: every paid answer is on disk before anything else happens to it."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from reflection.oracles.base import Completion

SCHEMA_VERSION = 1
APPLICATION_ID = 0x52544653  # "RTFS": marks the file as ours
BUSY_SECONDS = 60  # how long to wait for another process that is writing
_TABLE = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL, created_at REAL NOT NULL
)
"""


class CompletionStore:
    """Completions in SQLite (write-ahead log, synced at every commit), keyed by what was asked.

    The key hashes model, messages and sampling parameters; the endpoint and its key are not part of it. Several
    processes may share a file.

    Raises:
        BadInputError: the path holds something that is no store of ours; it is left as it is.
    """

    def __init__(self, path: str) -> None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
            self._open()
        except (sqlite3.DatabaseError, OSError) as error:
            raise BadInputError(f"--store {path}: cannot be used as a completion store ({error})") from error

    def _open(self) -> None:
        # Tables first: a process that is making the store right now marks the file before it makes the table.
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self.connection.execute("PRAGMA application_id").fetchone()[0]
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if tables and (application != APPLICATION_ID or version != SCHEMA_VERSION):
            raise sqlite3.DatabaseError("it is a SQLite file of another kind or version")
        self._write_ahead()
        self.connection.execute("PRAGMA synchronous=FULL")
        with self.connection:
            self.connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self.connection.execute(_TABLE)

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

    def get(self, request: dict[str, Any]) -> Completion | None:
        """The stored answer to exactly this request, or None."""
        row = self.connection.execute(
            "SELECT text, finish_reason, model, prompt_tokens, completion_tokens FROM completions WHERE key = ?",
            (self.key(request),),
        ).fetchone()
        if row is None:
            return None
        text, finish_reason, model, prompt_tokens, completion_tokens = row
        return Completion(text, finish_reason, None, model, prompt_tokens, completion_tokens, from_store=True)

    def put(self, request: dict[str, Any], completion: Completion, seconds: float) -> None:
        """Store an answer durably; returns after it is on disk."""
        values = (
            self.key(request),
            json.dumps(request, ensure_ascii=False, sort_keys=True),
            completion.text,
            completion.finish_reason,
            completion.model,
            completion.prompt_tokens,
            completion.completion_tokens,
            seconds,
            time.time(),
        )
        with self.connection:
            self.connection.execute(
                f"INSERT OR REPLACE INTO completions VALUES ({','.join('?' * len(values))})", values
            )
