"""Durable writes from an event loop."""

import asyncio
import errno
import sqlite3
from pathlib import Path

import pytest

from reflection.oracles import Completion
from reflection.oracles.writer import StoreWriter
from reflection.store import Answer, CompletionStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "completions.sqlite")


def answer(number: int, text: str | None = None) -> Answer:
    return Answer({"n": number}, Completion(text or f"answer {number}"), 0.1)


def texts(path: str) -> set[str]:
    """What another connection reads."""
    connection = sqlite3.connect(path)
    try:
        return {text for (text,) in connection.execute("SELECT text FROM completions")}
    finally:
        connection.close()


def run(path: str, body):
    """`body(writer)` in an event loop, with an open writer."""

    async def main():
        writer = StoreWriter(path)
        try:
            return await body(writer)
        finally:
            await writer.close()

    return asyncio.run(main())


class CountingStore:
    """Hands on to a store, and counts what it is given."""

    def __init__(self, store: CompletionStore) -> None:
        self.store, self.sizes = store, []

    def put(self, answers) -> None:
        self.sizes.append(len(answers))
        self.store.put(answers)

    def close(self) -> None:
        self.store.close()


def test_when_put_returns_another_process_can_read_it(path):
    async def body(writer):
        for number in range(5):
            await writer.put(answer(number))
            assert f"answer {number}" in texts(path)

    run(path, body)
    assert texts(path) == {f"answer {number}" for number in range(5)}


def test_what_arrives_together_is_written_together(path):
    async def body(writer):
        writer.store = CountingStore(writer.store)
        await asyncio.gather(*(writer.put(answer(number)) for number in range(500)))
        return writer.store.sizes

    sizes = run(path, body)
    assert sum(sizes) == 500
    assert len(sizes) <= 3
    assert len(texts(path)) == 500


def test_what_arrives_during_a_commit_is_written_by_the_next_one(path):
    async def body(writer):
        writer.store = CountingStore(writer.store)

        async def one(number: int) -> None:
            for _ in range(number):
                await asyncio.sleep(0)
            await writer.put(answer(number))
            assert f"answer {number}" in texts(path)

        await asyncio.gather(*(one(number) for number in range(100)))
        return writer.store.sizes

    assert sum(run(path, body)) == 100
    assert len(texts(path)) == 100


def test_an_error_reaches_every_caller_and_the_writer_goes_on(path):
    async def body(writer):
        await writer.put(answer(0))
        (pages,) = writer.store.connection.execute("PRAGMA page_count").fetchone()
        writer.store.connection.execute(f"PRAGMA max_page_count={pages}")
        outcomes = await asyncio.gather(
            *(writer.put(answer(number, str(number) * 100_000)) for number in (1, 2)), return_exceptions=True
        )
        assert [(type(error), error.errno) for error in outcomes] == [(OSError, errno.ENOSPC)] * 2
        writer.store.connection.execute("PRAGMA max_page_count=1000000")
        await writer.put(answer(3))

    run(path, body)
    assert texts(path) == {"answer 0", "answer 3"}


def test_the_answer_of_a_caller_that_was_cancelled_is_written_all_the_same(path):
    async def body(writer):
        caller = asyncio.create_task(writer.put(answer(1)))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    run(path, body)  # closing the writer finishes what was begun
    assert texts(path) == {"answer 1"}


def test_one_cancelled_caller_does_not_take_the_others_along(path):
    async def body(writer):
        callers = [asyncio.create_task(writer.put(answer(number))) for number in range(3)]
        await asyncio.sleep(0)
        callers[1].cancel()
        return [type(outcome) for outcome in await asyncio.gather(*callers, return_exceptions=True)]

    assert run(path, body) == [type(None), asyncio.CancelledError, type(None)]
    assert texts(path) == {"answer 0", "answer 1", "answer 2"}


def test_an_unused_writer_can_be_closed(path):
    async def body(writer):
        return None

    run(path, body)
    assert texts(path) == set()
