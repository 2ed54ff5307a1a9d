"""The files of a Hub data set at one commit: listed, fetched, or read in place; what was seen once serves offline."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import get_ident
from typing import Any, TypeVar

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.hub.client import ask, hub_api

T = TypeVar("T")
LIBRARY = "reflection-tuning"
LISTING = "files.json"
LOOK_UP_TIMEOUT = 30.0  # seconds; the call knows no other than the one it is given
FETCHED_AT_ONCE = 8
OK_WHOLE = 200  # the status of an answer that is the whole file, from a server that knows no ranges
TAIL = 2**16  # what pyarrow reads of a parquet file's end, to find its footer
FIRST_BLOCK, LARGEST_BLOCK = 2**17, 2**23  # of a text that is read line by line


def is_offline(repo_type: str) -> bool:
    """Whether the environment forbids to ask the Hub for repositories of this type."""
    import datasets
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or (repo_type == "dataset" and bool(datasets.config.HF_HUB_OFFLINE))


class NotCachedError(BadInputError):
    """What is asked for offline is not there.

    Attributes:
        variable: the environment's variable that forbids to ask the Hub.
        download: the command that fetches the whole repository, to be run online.
    """

    def __init__(self, message: str, variable: str, download: str) -> None:
        super().__init__(message)
        self.variable, self.download = variable, download


def not_cached(repo_id: str, revision: str | None, repo_type: str, what: str, flag: str) -> NotCachedError:
    """The line for what is asked for offline and is not there."""
    from huggingface_hub import constants

    variable = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "HF_DATASETS_OFFLINE"
    kind = " --repo-type dataset" if repo_type == "dataset" else ""
    at = f" --revision {revision}" if revision else ""
    download = f"hf download {repo_id}{kind}{at}"
    message = f"{flag} {repo_id}: {variable} is set and the cache does not hold {what}; run the same command once "
    return NotCachedError(f"{message}online, or `{download}`", variable, download)


def resolve_commit(repo_id: str, revision: str | None, repo_type: str, flag: str) -> str:
    """The commit that `revision` (default: main) names on the Hub now; of the cache where that cannot be asked.

    Offline the cache is expected. Where the Hub is out of reach, a line says that it is used; where the Hub refuses,
    it never is: who lost access would go on without knowing.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: no such repository or revision, no access, or offline and nothing is cached (`NotCachedError`).
        StoppedError: the Hub is out of reach and nothing is cached.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import validate_repo_id

    where = f"{flag} {repo_id} (no such local path)"

    def look_up() -> Any:
        validate_repo_id(repo_id)
        if is_offline(repo_type):
            raise OfflineModeIsEnabled
        try:
            info = hub_api().repo_info(repo_id, revision=revision, repo_type=repo_type, timeout=LOOK_UP_TIMEOUT)
            if info.gated:  # everybody may look it up, and few may read it
                hub_api().auth_check(repo_id, repo_type=repo_type)
            return info
        except RevisionNotFoundError as error:
            raise BadInputError(
                f"{where}: the repository has no revision {revision!r}; name a branch, a tag or a commit of it"
            ) from error

    try:
        info = ask("look it up", look_up, where)
    except OfflineModeIsEnabled:
        commit = _cached_commit(repo_id, revision, repo_type)
        if commit is None:
            what = f"revision {revision or 'main'} of it"
            raise not_cached(repo_id, revision, repo_type, what, flag) from None
        return commit
    except BadInputError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError) and _is_of_the_other_type(repo_id, repo_type):
            raise _other_type(where, repo_type) from error
        raise
    except StoppedError as error:
        commit = _cached_commit(repo_id, revision, repo_type)
        if commit is None:
            raise
        reason = next(iter(str(error.__cause__).strip().splitlines()), type(error.__cause__).__name__)
        _say(f"the Hub is out of reach ({reason}): using commit {commit[:7]} of {repo_id} from the cache")
        return commit
    files = {file.rfilename for file in info.siblings or []}
    if repo_type == "model" and "adapter_config.json" in files and "config.json" not in files:
        raise BadInputError(f"{where}: holds an adapter and no whole model; merge it into its base model first")
    _remember(repo_id, revision, repo_type, info.sha)
    return info.sha


def _is_of_the_other_type(repo_id: str, repo_type: str) -> bool:
    """Whether the Hub has a model of this name where a data set is wanted, or the other way round; asked once."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    try:
        return hub_api().repo_exists(repo_id, repo_type="model" if repo_type == "dataset" else "dataset")
    except (HfHubHTTPError, httpx.TransportError):  # the refusal stands without this hint
        return False


def _other_type(where: str, repo_type: str) -> BadInputError:
    wanted, found = ("data set", "model") if repo_type == "dataset" else ("model", "data set")
    return BadInputError(f"{where}: is a {found}, not a {wanted}; name a {wanted} on the Hub, or a local path")


def _say(message: str) -> None:
    from hub_cards.cli import say  # it imports the parser, which none but a script has to wait for

    say("hub", message)


def _repository_cache(repo_id: str, repo_type: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=repo_type)


def _remember(repo_id: str, revision: str | None, repo_type: str, commit: str) -> None:
    """Note what a revision names, where the clients look for it: we download by commit, and they note only others."""
    name = revision or "main"
    path = _repository_cache(repo_id, repo_type) / "refs" / name
    if name != commit and not (path.is_file() and path.read_text() == commit):
        write_whole(path, commit.encode())


def _cached_commit(repo_id: str, revision: str | None, repo_type: str) -> str | None:
    from huggingface_hub.errors import HFValidationError, RevisionResolutionError

    try:
        resolved = hub_api().resolve_revision(repo_id, repo_type=repo_type, revision=revision, local_files_only=True)
    except (HFValidationError, RevisionResolutionError):
        return None
    commit = resolved.resolved
    snapshot = _repository_cache(repo_id, repo_type) / "snapshots" / commit
    is_listed = repo_type == "dataset" and (_assets(repo_id, commit) / LISTING).is_file()
    return commit if snapshot.is_dir() or is_listed else None


def _assets(repo_id: str, commit: str) -> Path:
    from huggingface_hub import cached_assets_path

    return cached_assets_path(LIBRARY, namespace=f"datasets--{repo_id.replace('/', '--')}", subfolder=commit)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of a cache that others may read right now: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass
class HubFolder:
    """A data set's repository at one commit, whose files never change: what is in the cache is not asked for again.

    Attributes:
        flag: where the user named it, for the messages.
        moved: bytes that were taken from the Hub through it.
    """

    repo_id: str
    commit: str
    flag: str = "--dataset"
    moved: int = 0
    _sizes: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        """Flag and name, for the messages."""
        return f"{self.flag} {self.repo_id}"

    def sizes(self) -> dict[str, int]:
        """The bytes of every file, by its path; offline of those in the cache.

        Raises:
            BadInputError: offline, and nothing of it is cached.
            StoppedError: the Hub is out of reach.
        """
        if not self._sizes:
            self._sizes.update(self._read_sizes())
        return self._sizes

    def _read_sizes(self) -> dict[str, int]:
        from huggingface_hub.errors import OfflineModeIsEnabled

        path = self.assets / LISTING
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        try:
            sizes = self._ask("list its files", self._list)
        except OfflineModeIsEnabled:
            found = {one.relative_to(self.snapshot).as_posix(): one for one in self.snapshot.rglob("*")}
            sizes = {name: one.stat().st_size for name, one in found.items() if one.is_file()}
            if not sizes:
                raise self._not_cached(f"commit {self.commit[:7]} of it") from None
            return sizes
        write_whole(path, json.dumps(sizes).encode())
        return sizes

    def _list(self) -> dict[str, int]:
        from huggingface_hub.hf_api import RepoFile

        tree = hub_api().list_repo_tree(self.repo_id, recursive=True, revision=self.commit, repo_type="dataset")
        return {one.path: one.size for one in tree if isinstance(one, RepoFile)}

    @property
    def assets(self) -> Path:
        """Where we keep what is not a file of the repository: its listing, single columns."""
        return _assets(self.repo_id, self.commit)

    @property
    def snapshot(self) -> Path:
        """Where the clients keep the files that were fetched; may not exist."""
        return _repository_cache(self.repo_id, "dataset") / "snapshots" / self.commit

    def cached(self, path: PurePosixPath) -> Path | None:
        """The local copy of a file that was fetched before, else None."""
        local = self.snapshot / path
        return local if local.exists() else None

    def fetch(self, paths: Iterable[PurePosixPath]) -> list[Path]:
        """Local copies of files, downloaded where the cache lacks them.

        Raises:
            BadInputError: the Hub says no; or offline, and a file is not cached.
            StoppedError: the Hub is out of reach.
        """
        with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
            fetched = list(pool.map(self._fetch, paths))
        self.moved += sum(size for _, size in fetched)
        return [path for path, _ in fetched]

    def _fetch(self, path: PurePosixPath) -> tuple[Path, int]:
        from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

        local = self.cached(path)
        if local is not None:
            return local, 0

        def download() -> str:
            return hub_api().hf_hub_download(self.repo_id, str(path), repo_type="dataset", revision=self.commit)

        try:
            local = Path(self._ask(f"download {path}", download))
        except (OfflineModeIsEnabled, LocalEntryNotFoundError):
            raise self._not_cached(str(path)) from None
        return local, local.stat().st_size

    def in_place(self, paths: Iterable[PurePosixPath]) -> list[RemoteFile]:
        """The files to be read from the Hub as far as they are needed, without keeping them."""
        return [RemoteFile(self, str(path), self.sizes()[str(path)]) for path in paths]

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """The bytes `start` up to `end` (not included) of a file; raises as `fetch`."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.errors import OfflineModeIsEnabled
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(self.repo_id, path, repo_type="dataset", revision=self.commit)

        def get() -> bytes:
            hub_api()  # sets the session's timeouts
            headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}"}
            response = get_session().get(url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
            hf_raise_for_status(response)
            self.moved += len(response.content)
            found = response.content[start:end] if response.status_code == OK_WHOLE else response.content
            if len(found) != end - start:
                raise ConnectionError(f"{len(found)} of {end - start} bytes came")
            return found

        try:
            return self._ask(f"read {path}", get)
        except OfflineModeIsEnabled:
            raise self._not_cached(path) from None

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        from huggingface_hub.errors import OfflineModeIsEnabled

        if is_offline("dataset"):
            raise OfflineModeIsEnabled
        return ask(what, call, self.where)

    def _not_cached(self, what: str) -> NotCachedError:
        return not_cached(self.repo_id, self.commit, "dataset", what, self.flag)


@dataclass(frozen=True)
class RemoteFile:
    """A file that is read where it lies; has of `Path` what reading needs."""

    folder: HubFolder
    path: str
    size: int

    def __str__(self) -> str:
        return f"{self.folder.repo_id}/{self.path}"

    @property
    def suffix(self) -> str:
        """As that of a path."""
        return PurePosixPath(self.path).suffix

    def open(self, _mode: str = "rb") -> io.BufferedReader:
        """Its bytes from the start on, in blocks that grow as more of it is read."""
        return io.BufferedReader(RangeReader(self, FIRST_BLOCK))

    def open_at_random(self) -> RangeReader:
        """Its bytes as they are asked for, and its end at once, where a parquet file says what it holds."""
        return RangeReader(self)

    def read_bytes(self) -> bytes:
        """All of it."""
        return self.folder.read_range(self.path, 0, self.size) if self.size else b""


class RangeReader(io.RawIOBase):
    """A remote file as Python reads one; every read that its buffer does not hold is one request.

    Args:
        block: bytes that the first request takes at least; the next ones twice as many each. 0: what is asked for.
    """

    def __init__(self, file: RemoteFile, block: int = 0) -> None:
        super().__init__()
        self.file, self.block = file, block
        self.position, self.start, self.held = 0, 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.file.size}[whence]
        return self.position

    def size(self) -> int:
        return self.file.size

    def readinto(self, target: Any) -> int:
        wanted = min(len(target), self.file.size - self.position)
        if wanted <= 0:
            return 0
        found = self._read(self.position, self.position + wanted)
        target[:wanted] = found
        self.position += wanted
        return wanted

    def _read(self, start: int, end: int) -> bytes:
        if not self.start <= start <= end <= self.start + len(self.held):
            if not self.block and end < self.file.size - TAIL:
                return self.file.folder.read_range(self.file.path, start, end)
            last = min(self.file.size, max(end, start + self.block))
            self.start, self.held = start, self.file.folder.read_range(self.file.path, start, last)
            self.block = min(2 * self.block, LARGEST_BLOCK)
        return self.held[start - self.start : end - self.start]


def parquet_source(path: Path | RemoteFile) -> Path | RangeReader:
    """A parquet file as pyarrow takes it."""
    return path.open_at_random() if isinstance(path, RemoteFile) else path
