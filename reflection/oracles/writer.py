"""Durable writes that do not hold up an event loop: one commit for everything that waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from reflection.store import Answer, CompletionStore


class StoreWriter:
    """Puts answers into a store from a thread of its own.

    A commit waits for the disk, some milliseconds; what arrives meanwhile is written by the next one together. So the
    cost of durability does not grow with the number of requests in flight.
    """

    def __init__(self, path: str) -> None:
        self.store = CompletionStore(path)  # a connection of its own: readers do not wait for its commits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="completion store")
        self._one_at_a_time = asyncio.Lock()
        self._waiting: list[Answer] = []
        self._next_commit: asyncio.Task | None = None

    async def put(self, answer: Answer) -> None:
        """Store one answer; returns after it is on disk.

        Raises:
            OSError, BadInputError: as `CompletionStore.put`.
        """
        self._waiting.append(answer)
        if self._next_commit is None:
            self._next_commit = asyncio.create_task(self._commit())
        await asyncio.shield(self._next_commit)  # a cancelled caller does not unwrite what was paid for

    async def _commit(self) -> None:
        async with self._one_at_a_time:
            answers, self._waiting, self._next_commit = self._waiting, [], None
            await asyncio.get_running_loop().run_in_executor(self._thread, self.store.put, answers)

    async def close(self) -> None:
        """Finish what is being written, then close the store."""
        while self._next_commit is not None or self._one_at_a_time.locked():
            await asyncio.sleep(0.001)
        self._thread.shutdown()
        self.store.close()
