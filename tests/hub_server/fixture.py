"""The local Hub as tests see it: its process, its orders, and this process put online with it."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parent / "server.py"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
# Never set in a test, so that neither a developer's login nor a setting of theirs plays a part.
FOREIGN = (
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
    *("HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE", "HF_XET_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE"),
    *("HF_DATASETS_DOWNLOADED_DATASETS_PATH", "HF_DATASETS_EXTRACTED_DATASETS_PATH"),
    *("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"),
)


def reserve() -> socket.socket:
    """A port of the loopback that is this process's own, and the only Hub that the clients know.

    Called before huggingface_hub and datasets are imported, which read the endpoint then. Nothing listens there until
    a test needs the Hub: whatever a test sends by mistake is refused, and none of it can reach the real one.
    """
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{bound.getsockname()[1]}"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"  # else every load asks s3.amazonaws.com
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK"):
        os.environ[name] = "1"
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ[name] = "1"
    return bound


class HubProcess:
    """The server in a process of its own, and the orders that it takes."""

    def __init__(self, bound: socket.socket) -> None:
        command = [sys.executable, str(SERVER), str(bound.fileno())]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[bound.fileno()]
        )
        port, storage = json.loads(self.process.stdout.readline())
        # From here on the socket is the server's alone: when it ends, connections are refused again.
        bound.close()
        self.url, self.storage_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{storage}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def order(self, name: str, **asked: Any) -> Any:
        """One of the orders of the server, and what it answers. Raises ValueError for what it cannot do."""
        try:
            with self.opener.open(f"{self.url}/__control/{name}", json.dumps(asked).encode(), timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class LocalHub:
    """The local Hub in one test. This process and those it starts are online with it, logged in, with empty caches."""

    user, org, read_org, other_user = "tester", "lab", "library", "stranger"
    token, read_token, other_token = (f"hf_{letter * 34}" for letter in "wro")
    bad_token = "hf_" + "x" * 34  # never given out, or no longer valid

    def __init__(self, process: HubProcess, patch: pytest.MonkeyPatch, place: Path) -> None:
        self.process, self.patch, self.place = process, patch, place
        self.url, self.storage_url = process.url, process.storage_url
        self.waits: list[float] = []  # seconds that huggingface_hub would have waited between its tries
        self.home = place / "hf_home_1"
        self.homes = 1

    def reset(self) -> None:
        """An empty Hub without faults, with its settings as they are by default."""
        self.process.order("reset")

    def configure(self, **settings: Any) -> None:
        """Change settings of the server: see SETTINGS in hub.py."""
        self.process.order("configure", **settings)

    def fault(self, method: str = ".*", path: str = "", **what: Any) -> None:
        """Order a fault: see `Fault` in faults.py. `race` and `replace` take files: path -> bytes or text."""
        files = {name: encode(what.pop(name)) for name in ("race", "replace") if name in what}
        self.process.order("fault", method=method, path=path, **what, **files)

    def requests(self, method: str = ".*", path: str = "", **equal: Any) -> list[dict[str, Any]]:
        """The log, in the order in which requests came: those whose method and `path?query` match, and fields equal.

        Fields: server (hub or storage), method, path, query, status (None where the connection was cut before),
        received and sent (bytes of the body), range, authorization (whether a token came), user and role (whose it
        was), fault (whether one befell it).
        """
        return [
            line
            for line in self.process.order("requests")
            if re.fullmatch(method, line["method"])
            and re.search(path, line["path"] + (f"?{line['query']}" if line["query"] else ""))
            and all(line[name] == value for name, value in equal.items())
        ]

    def clear(self) -> None:
        """Forget the log and the faults; the repositories stay."""
        self.process.order("clear")

    def repo(self, kind: str, repo_id: str, revision: str = "main") -> dict[str, Any] | None:
        """A repository as it is on the server, None where there is none.

        Fields: private, head, files at the revision (path -> size, sha256, oid, lfs), commits (newest first: oid,
        title, message, author, date), branches, tags (name -> oid), tag_messages.
        """
        return self.process.order("repository", kind=kind, repo_id=repo_id, revision=revision)

    def read(self, kind: str, repo_id: str, path: str, revision: str = "main") -> bytes:
        """A file as it is on the server."""
        read = self.process.order("read", kind=kind, repo_id=repo_id, path=path, revision=revision)
        return base64.b64decode(read)

    def put(
        self,
        kind: str,
        repo_id: str,
        files: dict[str, bytes | str],
        private: bool | None = None,
        author: str | None = None,
    ) -> str:
        """Commit files to main past all clients, in a repository that is made where there is none; gives the commit.

        A new one is public, an old one stays what it is, unless `private` says otherwise.
        """
        asked = {"files": encode(files), "private": private, "author": author}
        return self.process.order("put", kind=kind, repo_id=repo_id, **asked)

    def put_folder(self, kind: str, repo_id: str, folder: Path, private: bool | None = None) -> str:
        """The same with all files of a folder."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.put(kind, repo_id, files, private)

    def collections(self) -> list[dict[str, Any]]:
        """All collections, as the API tells them."""
        return self.process.order("collections")

    def login(self, token: str | None) -> None:
        """Another token, or none, for this process and those it starts from now on."""
        if token is None:
            self.patch.delenv("HF_TOKEN", raising=False)
        else:
            self.patch.setenv("HF_TOKEN", token)
        forget()

    def fresh_cache(self) -> None:
        """Another empty HF_HOME."""
        self.homes += 1
        self.home = self.place / f"hf_home_{self.homes}"
        self._apply(offline=False)

    def go_offline(self) -> None:
        """No more connections, with the caches as they are."""
        self._apply(offline=True)

    def go_online(self) -> None:
        """The opposite."""
        self._apply(offline=False)

    def _apply(self, offline: bool) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.patch.setenv("HF_HOME", str(self.home))
        if offline:
            self.patch.setenv("HF_HUB_OFFLINE", "1")
        else:
            self.patch.delenv("HF_HUB_OFFLINE", raising=False)
        for target, name, value in read_at_import(self.home, offline):
            self.patch.setattr(target, name, value)
        forget()


def encode(files: dict[str, bytes | str]) -> dict[str, str]:
    """The files' contents in base64."""
    return {
        path: base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        for path, content in files.items()
    }


def read_at_import(home: Path, offline: bool) -> list[tuple[Any, str, Any]]:
    """What the clients read from the environment once, when they are imported, and must be told anew."""
    import datasets.config
    import huggingface_hub.constants as constants
    from huggingface_hub.utils import _cache_assets, _cache_manager

    hub, assets, data = str(home / "hub"), str(home / "assets"), home / "datasets"
    return [
        (constants, "HF_HUB_OFFLINE", offline),
        (constants, "HF_HOME", str(home)),
        (constants, "HF_HUB_CACHE", hub),
        (constants, "HUGGINGFACE_HUB_CACHE", hub),
        (constants, "default_cache_path", hub),
        (constants, "HF_ASSETS_CACHE", assets),
        (constants, "HUGGINGFACE_ASSETS_CACHE", assets),
        (constants, "default_assets_cache_path", assets),
        (constants, "HF_XET_CACHE", str(home / "xet")),
        (constants, "HF_TOKEN_PATH", str(home / "token")),
        (constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens")),
        (constants, "CHECK_FOR_UPDATE_DONE_PATH", str(home / ".check_for_update_done")),
        (constants, "CHECK_FOR_SKILL_UPDATE_DONE_PATH", str(home / ".check_for_skill_update_done")),
        (constants, "AGENT_HARNESSES_PATH", str(home / ".agent_harnesses.json")),
        (_cache_manager, "HF_HUB_CACHE", hub),
        (_cache_assets, "HF_ASSETS_CACHE", assets),
        (datasets.config, "HF_HUB_OFFLINE", offline),
        (datasets.config, "HF_DATASETS_OFFLINE", offline),
        (datasets.config, "HF_CACHE_HOME", str(home)),
        (datasets.config, "HF_DATASETS_CACHE", data),
        (datasets.config, "HF_MODULES_CACHE", home / "modules"),
        (datasets.config, "DOWNLOADED_DATASETS_PATH", data / "downloads"),
        (datasets.config, "EXTRACTED_DATASETS_PATH", data / "downloads" / "extracted"),
        (datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False),
        # Else the dataset viewer is asked, on a host made of the endpoint's name, which is outside of the test.
        (datasets.config, "USE_PARQUET_EXPORT", False),
        (datasets.config, "STREAMING_OPEN_RETRY_INTERVAL", 0),
        (datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0),
        (datasets.config, "STREAMING_READ_SERVER_UNAVAILABLE_RETRY_INTERVAL", 0),
        (datasets.config, "STREAMING_READ_RATE_LIMIT_RETRY_INTERVAL", 0),
    ]


def forget() -> None:
    """Drop what the clients keep in memory: connections, file systems with their listings, trees, who is logged in."""
    from huggingface_hub import HfFileSystem, _tree_cache, close_session, hf_api

    close_session()
    HfFileSystem.clear_instance_cache()
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    hf_api.api._whoami_cache.clear()


class Clock:
    """The module `time`, but its sleeps take none and are written down."""

    def __init__(self, waits: list[float]) -> None:
        self.waits = waits

    def sleep(self, seconds: float) -> None:
        """Write down."""
        self.waits.append(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def put_online(process: HubProcess, patch: pytest.MonkeyPatch, place: Path) -> LocalHub:
    """An empty Hub, and this process online with it until the patch is undone."""
    from huggingface_hub.utils import _http

    hub = LocalHub(process, patch, place)
    hub.reset()
    for name in (*PROXIES, *FOREIGN):
        patch.delenv(name, raising=False)
    # The local Hub speaks no TLS, and reading the certificates takes every new client a tenth of a second.
    patch.delenv("SSL_CERT_FILE", raising=False)
    patch.setenv("SSL_CERT_DIR", str(place / "no_certificates"))
    (place / "no_certificates").mkdir(exist_ok=True)
    hub.go_online()
    hub.login(hub.token)
    patch.setattr(_http, "time", Clock(hub.waits))
    return hub
