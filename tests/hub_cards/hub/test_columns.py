"""Columns of parquet files on the Hub: the right values, few bytes, none the second time, and what goes wrong."""

import io
import random
from functools import cache
from pathlib import PurePosixPath
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_cards.errors import StoppedError
from hub_cards.hub.columns import ColumnReader
from hub_cards.hub.remote import HubFolder

ROWS = 2000
PATHS = [PurePosixPath(f"original/train-0000{shard}-of-00002.parquet") for shard in range(2)]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """What `ask` waits between its tries takes no time."""
    monkeypatch.setattr("hub_cards.hub.client.time", SimpleNamespace(sleep=lambda _: None))


@cache
def shard(number: int, columns: int = 12, rows: int = ROWS) -> pa.Table:
    draw = random.Random(number)
    values = {f"c{column}": [draw.random() for _ in range(rows)] for column in range(columns)}
    return pa.table({"row_id": [f"{number}-{row}" for row in range(rows)], **values})


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=ROWS // 2)
    return sink.getvalue()


@pytest.fixture
def tables() -> list[pa.Table]:
    return [shard(0), shard(1)]


@pytest.fixture
def commit(hub, tables) -> str:
    return hub.put(
        "dataset", "tester/s", {str(path): parquet(table) for path, table in zip(PATHS, tables, strict=True)}
    )


def reader(commit: str) -> ColumnReader:
    return ColumnReader(HubFolder("tester/s", commit, "--statistics"))


def read(columns: ColumnReader, *names: str, paths=PATHS) -> pa.Table:
    return columns.table(paths, lambda found: [name for name in found if name in names])[0]


def moved(hub) -> int:
    return sum(one["sent"] for one in hub.requests("GET", "train-", server="storage"))


def test_the_values_and_what_moves(hub, commit, tables):
    one = reader(commit)
    table, found = one.table(PATHS, lambda _: ["c7", "c2"])
    assert table.equals(pa.concat_tables(tables).select(["c7", "c2"]))
    assert found == tables[0].column_names
    size = sum(len(parquet(table)) for table in tables)
    assert one.size == size and one.folder.moved == moved(hub) < size / 1.8
    assert len(hub.requests("GET", "train-", server="storage")) <= 2 * 5  # per file its end; of two groups two columns
    assert one.line() == (
        f"read 2 of 13 columns of tester/s at {commit[:7]}: {moved(hub) / 1e6:.2f} MB of {size / 1e6:.2f} MB moved"
    )


def test_the_second_time_and_offline_nothing_moves(hub, commit, tables):
    first = read(reader(commit), "row_id", "c3")
    hub.clear()
    again = reader(commit)
    assert read(again, "row_id", "c3").equals(first)
    assert again.line().endswith(": 0.00 MB of 0.48 MB moved, as all was in the cache")
    read(again, "c3", "c4")  # one more column
    assert 0 < again.folder.moved == moved(hub) < 40_000  # the footers are kept
    hub.go_offline()
    assert read(reader(commit), "c4", "row_id").equals(pa.concat_tables(tables).select(["row_id", "c4"]))


def test_offline_a_column_that_is_not_kept(hub, commit, complaint):
    read(reader(commit), "c3")
    hub.go_offline()
    message = complaint(read, reader(commit), "c3", "c5")
    assert message.startswith(f"--statistics tester/s: HF_HUB_OFFLINE is set and the cache does not hold {PATHS[0]}")


def test_a_file_that_is_cached_whole_is_used(hub, commit):
    reader(commit).folder.fetch(PATHS)
    hub.clear()
    one = reader(commit)
    assert read(one, "c3")["c3"].length() == 2 * ROWS
    assert (hub.requests("GET", "train-"), one.folder.moved) == ([], 0)


def test_all_columns_are_the_whole_file(hub, commit, tables):
    one = reader(commit)
    assert read(one, *tables[0].column_names).equals(pa.concat_tables(tables))
    assert one.folder.cached(PATHS[0]) and one.folder.cached(PATHS[1])
    assert one.size < one.folder.moved == moved(hub) < one.size + 2 * 2**16 + 1  # and both ends, to know the columns
    hub.clear()
    assert read(reader(commit), "c1").num_rows == 2 * ROWS and not hub.requests()


def test_a_small_file_is_fetched_whole(hub):
    commit = hub.put("dataset", "tester/s", {"a.parquet": parquet(shard(0, rows=100))})
    one = reader(commit)
    assert read(one, "c1", paths=[PurePosixPath("a.parquet")]).num_rows == 100
    assert one.folder.moved == one.size and one.folder.cached(PurePosixPath("a.parquet"))


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429, "retry_after": 1}, {"drop": "before"}, {"truncate": True}]
)
def test_a_passing_fault(fault, hub, commit, tables):
    hub.fault("GET", "train-", times=3, skip=1, **fault)
    assert read(reader(commit), "c2").equals(pa.concat_tables(tables).select(["c2"]))


def test_a_fault_that_stays_keeps_what_came(hub, commit):
    hub.fault("GET", "train-00001", times=None, status=503)
    with pytest.raises(StoppedError, match=r"--statistics tester/s: cannot read original/train-00001.*503"):
        read(reader(commit), "c2")
    hub.clear()
    read(reader(commit), "c2")
    assert hub.requests("GET", "train-00000") == []


def test_a_hang(hub, commit, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fault("GET", "train-", times=1, delay=1.0)
    assert read(reader(commit), "c2").num_rows == 2 * ROWS


def test_a_damaged_file(hub, complaint):
    commit = hub.put("dataset", "tester/s", {str(PATHS[0]): b"PAR1" + bytes(200_000)})
    assert f"tester/s/{PATHS[0]} cannot be read as parquet" in complaint(read, reader(commit), "c1", paths=PATHS[:1])


def test_files_with_different_columns(hub, complaint):
    files = {str(path): parquet(shard(0, columns)) for path, columns in zip(PATHS, (5, 9), strict=True)}
    commit = hub.put("dataset", "tester/s", files)
    message = complaint(read, reader(commit), "c1", "c7")
    assert message.startswith("--statistics tester/s: its files have different columns (")
