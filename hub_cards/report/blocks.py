"""What is large in a report: columns and blocks of rows, compressed, as text that may stand in HTML."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

import numpy as np

BLOCK_BYTES = 2**19  # of JSON: what is decoded to see one row
LEVEL = 6
AHEAD = 4  # blocks for each core, being compressed while the next are made
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def packed(content: bytes) -> str:
    """Gzip and base64: no character of it means anything in HTML. The same content gives the same text."""
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode("ascii")


def packed_numbers(values: np.ndarray) -> str:
    """An array as its bytes, little-endian."""
    return packed(values.astype(values.dtype.newbyteorder("<")).tobytes())


def packed_json(value: Any) -> str:
    """A value as JSON; raises `ValueError` for NaN, which JSON does not have."""
    return packed(_json(value))


def element(identity: str, content: str) -> str:
    """Packed content as an element of the page, which no browser shows or runs."""
    return f'<script type="text/plain" id="{identity}">{content}</script>\n'


def write_blocks(file: IO[str], kind: str, entries: Iterable[Any]) -> list[int]:
    """Write rows as blocks, compressed by all cores.

    Args:
        kind: the blocks are the elements `<kind>-0`, `<kind>-1` …
        entries: one JSON value a row.

    Returns:
        The first row of each block; nothing where there are no rows.
    """
    starts: list[int] = []
    waiting: deque[Future[str]] = deque()
    cores = os.cpu_count() or 1

    def write_first() -> None:
        file.write(element(f"{kind}-{len(starts) - len(waiting)}", waiting.popleft().result()))

    with ThreadPoolExecutor(cores) as pool:
        for first, content in _blocks(entries):
            starts.append(first)
            waiting.append(pool.submit(packed, content))
            if len(waiting) > AHEAD * cores:
                write_first()
        while waiting:
            write_first()
    return starts


def _blocks(entries: Iterable[Any]) -> Iterator[tuple[int, bytes]]:
    """The first row of each block and its JSON array."""
    held: list[bytes] = []
    size = first = 0
    for row, entry in enumerate(entries):
        if size >= BLOCK_BYTES:
            yield first, _array(held)
            held, size, first = [], 0, row
        held.append(_json(entry))
        size += len(held[-1])
    if held:
        yield first, _array(held)


def _array(values: list[bytes]) -> bytes:
    return b"[%s]" % b",".join(values)


def _json(value: Any) -> bytes:
    """In UTF-8; half a surrogate pair, which that cannot hold, becomes a question mark."""
    return _ENCODER.encode(value).encode("utf-8", "replace")
