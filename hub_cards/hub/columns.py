"""Some columns of parquet files on the Hub, by ranged reads; what was read once serves the next time, and offline."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from hub_cards.hub.remote import TAIL, HubFolder, parquet_source, write_whole
from hub_cards.parts import different_columns, parquet_schema, read_parquet
from hub_cards.sources import no_parquet
from hub_cards.storage import is_disk_full

Choose = Callable[[Sequence[str]], Sequence[str]]


@dataclass
class ColumnReader:
    """Reads columns of a repository's files, and counts what that moves.

    Attributes:
        read, found: the columns that were read, and those that the files have.
        size: bytes of the files.
    """

    folder: HubFolder
    read: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    size: int = 0

    def table(self, paths: Sequence[PurePosixPath], choose: Choose) -> tuple[pa.Table, list[str]]:
        """The rows of files, one after the other, of the columns that `choose` takes of those that a file has.

        Returns:
            The table, and all columns of the first file.

        Raises:
            BadInputError: a file is damaged or has other columns than the first, the Hub says no, or offline and a
                column is not cached.
            StoppedError: the Hub is out of reach.
        """
        tables, names = zip(*(self._read(path, choose) for path in paths), strict=True)
        try:
            return pa.concat_tables(tables), names[0]
        except pa.ArrowException as error:
            raise different_columns(self.folder.where, error) from error

    def whole(self, paths: Sequence[PurePosixPath]) -> list[Path]:
        """Local copies of files that have no columns to choose from."""
        self.size += sum(self.folder.sizes()[str(path)] for path in paths)
        return self.folder.fetch(paths)

    def line(self) -> str:
        """What was read, and how many bytes of how many moved."""
        moved, size = (f"{count / 1e6:.2f} MB" for count in (self.folder.moved, self.size))
        cached = "" if self.folder.moved else ", as all was in the cache"
        columns = f"{len(self.read)} of {len(self.found)} columns" if self.found else "all"
        return f"read {columns} of {self.folder.repo_id} at {self.folder.commit[:7]}: {moved} of {size} moved{cached}"

    def _read(self, path: PurePosixPath, choose: Choose) -> tuple[pa.Table, list[str]]:
        size = self.folder.sizes()[str(path)]
        copy = self.folder.cached(path)
        if copy is None and size <= TAIL:  # to see which columns it has is to read all of it
            (copy,) = self.folder.fetch([path])
        names, wanted, table = self._of_copy(copy, choose) if copy else self._of_columns(path, choose)
        self.read.update(wanted)
        self.found.update(names)
        self.size += size
        return table, names

    def _of_copy(self, copy: Path, choose: Choose) -> tuple[list[str], Sequence[str], pa.Table]:
        names = parquet_schema(copy).names
        wanted = choose(names)
        return names, wanted, read_parquet([copy], wanted)

    def _of_columns(self, path: PurePosixPath, choose: Choose) -> tuple[list[str], Sequence[str], pa.Table]:
        kept = _KeptColumns(self.folder.assets / hashlib.sha256(str(path).encode()).hexdigest()[:16])
        (remote,) = self.folder.in_place([path])
        try:
            source = parquet_source(remote)
            footer = kept.footer() or kept.keep_footer(pq.read_metadata(source))
            names = footer.schema.to_arrow_schema().names
            wanted = choose(names)
            missing = kept.missing(wanted)
            if missing and set(wanted) == set(names):
                (copy,) = self.folder.fetch([path])
                return self._of_copy(copy, choose)
            if missing:
                kept.keep(pq.ParquetFile(source, metadata=footer, pre_buffer=True).read(columns=missing))
            return names, wanted, kept.table(wanted)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            raise no_parquet(remote, error) from error


@dataclass(frozen=True)
class _KeptColumns:
    """The columns of one file that are in the cache, a file each, and its footer."""

    folder: Path

    def footer(self) -> pq.FileMetaData | None:
        """What the file says of itself, whichever columns are kept; None where it was not read yet."""
        path = self.folder / "footer.parquet"
        return pq.read_metadata(path) if path.is_file() else None

    def keep_footer(self, footer: pq.FileMetaData) -> pq.FileMetaData:
        sink = io.BytesIO()
        footer.write_metadata_file(sink)
        write_whole(self.folder / "footer.parquet", sink.getvalue())
        return footer

    def missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self._path(name).is_file()]

    def keep(self, columns: pa.Table) -> None:
        for name in columns.column_names:
            column = columns.select([name])
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, column.schema) as writer:
                writer.write_table(column)
            write_whole(self._path(name), sink.getvalue())

    def table(self, names: Sequence[str]) -> pa.Table:
        read = [pa.ipc.open_file(pa.memory_map(str(self._path(name)))).read_all() for name in names]
        return pa.table({name: table[name] for name, table in zip(names, read, strict=True)})

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe='')}.arrow"
