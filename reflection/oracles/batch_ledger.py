"""The books of the Batch API in the completion store: which request is in which batch, and how far that batch is."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from reflection.store import IN_MEMORY, CompletionStore

# A batch's life. Each state is on disk before the next step towards the service is taken.
PREPARED = "prepared"  # its requests are recorded, the service knows nothing
UPLOADED = "uploaded"  # the service has its file, and perhaps more: the process may have died before it heard back
SUBMITTED = "submitted"  # the service works on it
COLLECTED = "collected"  # every answer is among the completions
CHUNK = 500  # requests recorded in one commit
_OPEN = f"('{PREPARED}', '{UPLOADED}', '{SUBMITTED}')"


class KnownBatch(NamedTuple):
    """One line of the books.

    Attributes:
        id: ours; the service keeps it in the batch's metadata.
        file_id, batch_id: the service's, as far as they are known.
    """

    id: str
    state: str
    file_id: str | None
    batch_id: str | None


_COLUMNS = ", ".join(KnownBatch._fields)


class BatchLedger:
    """The batches that one endpoint has of a store; those of other endpoints are not touched.

    Args:
        endpoint: its address, free of credentials.
    """

    def __init__(self, store: CompletionStore, endpoint: str) -> None:
        self.store, self.endpoint = store, endpoint

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Be the only process that submits or collects batches of this store.

        The lock is the kernel's and dies with its process: whoever holds it knows that a batch that is prepared or
        uploaded was left so by a process that is gone.

        Args:
            on_wait: called once where another process holds it now.
        """
        if self.store.path == IN_MEMORY:
            yield
            return
        lock = FileLock(f"{self.store.path}.batches.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()

    def record(self, batch: str, requests: dict[str, dict[str, Any]]) -> int:
        """Put requests, by their keys, into a batch that is being prepared, unless they are answered or under way.

        Returns:
            How many were put there.
        """
        with self.store.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO batches (id, endpoint, state, created_at) VALUES (?, ?, ?, ?)",
                (batch, self.endpoint, PREPARED, time.time()),
            )
            return connection.executemany(
                "INSERT INTO batch_requests (batch, key, request) SELECT :batch, :key, :request"
                " WHERE NOT EXISTS (SELECT 1 FROM completions WHERE key = :key) AND NOT EXISTS (SELECT 1"
                " FROM batch_requests WHERE key = :key AND batch IN"
                f" (SELECT id FROM batches WHERE endpoint = :endpoint AND state IN {_OPEN}))",
                [
                    {"batch": batch, "key": key, "request": json.dumps(request), "endpoint": self.endpoint}
                    for key, request in requests.items()
                ],
            ).rowcount

    def set_uploaded(self, batch: str, file_id: str) -> None:
        """The service has the file."""
        with self.store.transaction() as connection:
            connection.execute("UPDATE batches SET state = ?, file_id = ? WHERE id = ?", (UPLOADED, file_id, batch))

    def set_submitted(self, batch: str, batch_id: str) -> None:
        """The service has taken the batch."""
        with self.store.transaction() as connection:
            connection.execute("UPDATE batches SET state = ?, batch_id = ? WHERE id = ?", (SUBMITTED, batch_id, batch))

    def set_collected(self, batch: str) -> None:
        """Everything there was to have is among the completions; what got no answer may be asked again."""
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM batch_requests WHERE batch = ?", (batch,))
            connection.execute("UPDATE batches SET state = ? WHERE id = ?", (COLLECTED, batch))

    def release(self, batch: str) -> None:
        """Strike out a batch that the service never took; its requests may be asked again."""
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM batch_requests WHERE batch = ?", (batch,))
            connection.execute("DELETE FROM batches WHERE id = ?", (batch,))

    def unfinished(self) -> list[KnownBatch]:
        """The batches of which it is not known whether the service has taken them."""
        sql = f"SELECT {_COLUMNS} FROM batches WHERE endpoint = ? AND state IN (?, ?)"
        return [KnownBatch(*row) for row in self.store.select(sql, (self.endpoint, PREPARED, UPLOADED))]

    def answered(self) -> list[str]:
        """The submitted batches with nothing left to bring: a process died between the last answer and the books."""
        sql = (
            f"SELECT id FROM batches WHERE endpoint = ? AND state = '{SUBMITTED}' AND NOT EXISTS (SELECT 1"
            " FROM batch_requests WHERE batch = batches.id AND NOT EXISTS"
            " (SELECT 1 FROM completions WHERE completions.key = batch_requests.key))"
        )
        return [row[0] for row in self.store.select(sql, (self.endpoint,))]

    def under_way(self, key: str) -> KnownBatch | None:
        """The batch that this request is in now, or None."""
        sql = (
            f"SELECT {_COLUMNS} FROM batches WHERE id = (SELECT batch FROM batch_requests WHERE key = ? AND batch IN"
            f" (SELECT id FROM batches WHERE endpoint = ? AND state IN {_OPEN}))"
        )
        return next((KnownBatch(*row) for row in self.store.select(sql, (key, self.endpoint))), None)

    def state(self, batch: str) -> str | None:
        """How far a batch is; None where there is none such."""
        return next((row[0] for row in self.store.select("SELECT state FROM batches WHERE id = ?", (batch,))), None)

    def size(self, batch: str) -> int:
        """How many requests a batch holds."""
        return next(self.store.select("SELECT count(*) FROM batch_requests WHERE batch = ?", (batch,)))[0]

    def requests(self, batch: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The requests of a batch with their keys, one after the other."""
        for key, request in self.store.select("SELECT key, request FROM batch_requests WHERE batch = ?", (batch,)):
            yield key, json.loads(request)

    def request(self, batch: str, key: str) -> dict[str, Any] | None:
        """One request of a batch, or None where it holds none with this key."""
        sql = "SELECT request FROM batch_requests WHERE batch = ? AND key = ?"
        return next((json.loads(row[0]) for row in self.store.select(sql, (batch, key))), None)

    def unanswered(self, batch: str) -> list[str]:
        """The keys of a batch's requests that are not among the completions."""
        sql = "SELECT key FROM batch_requests WHERE batch = ? AND key NOT IN (SELECT key FROM completions)"
        return [row[0] for row in self.store.select(sql, (batch,))]


class Draft:
    """A batch that is being filled; its requests go into the books in chunks and are not kept in memory.

    Attributes:
        requests, bytes: how much is in it.
        complete: False once another process was faster with one of its requests.
    """

    def __init__(self, ledger: BatchLedger) -> None:
        self.ledger = ledger
        self.id = uuid.uuid4().hex
        self.requests = self.bytes = 0
        self.complete = True
        self._chunk: dict[str, dict[str, Any]] = {}

    def __contains__(self, key: str) -> bool:
        """Whether the books do not tell yet that this request is in the batch."""
        return key in self._chunk

    def add(self, key: str, request: dict[str, Any], size: int) -> None:
        """Take one request more, of `size` bytes in the file."""
        self._chunk[key] = request
        self.requests += 1
        self.bytes += size
        if len(self._chunk) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Record what is in memory."""
        if self._chunk:
            missing = len(self._chunk) - self.ledger.record(self.id, self._chunk)
            self.requests -= missing
            self.complete = self.complete and not missing
            self._chunk = {}
