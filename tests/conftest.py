"""Fixtures for all tests. No test uses the network or a GPU."""

import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# Before any library of Hugging Face is imported, in this process and in the ones that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = Path(__file__).parent.parent


def load_hub_fixture() -> ModuleType:
    """tests/hub_server/fixture.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("hub_fixture", ROOT / "tests/hub_server/fixture.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hub_fixture = load_hub_fixture()
# The only Hub there is from here on; it also must be known before those imports.
HUB_SOCKET = hub_fixture.reserve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs whole recipes comes first, so that the processes that share the suite end together."""
    items.sort(key=lambda item: "recipes" not in item.path.parts[-2:])


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def quickstart(root: Path) -> Path:
    """The quickstart's recipe folder, with its data and student."""
    return root / "recipes/quickstart"


class FaultServer:
    """The fault server of the benchmarks in a process of its own; settings and counts as described there."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "tests/benchmarks/fault_server.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _call(self, path: str, data: bytes | None = None) -> dict[str, Any]:
        with self.opener.open(f"{self.root}{path}", data, timeout=60) as response:
            return json.load(response)

    def configure(self, **settings: Any) -> None:
        """Take these settings, all others as they are by default, and forget what was counted."""
        self._call("/config", json.dumps(settings).encode())

    def change(self, **settings: Any) -> None:
        """Change settings and go on counting."""
        self._call("/config?keep", json.dumps(settings).encode())

    def counts(self) -> dict[str, Any]:
        """The totals."""
        return self._call("/counts")

    def everything(self) -> dict[str, Any]:
        """The totals and every single request."""
        return self._call("/counts?all")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def fault_server_process() -> Iterator[FaultServer]:
    """One process for all tests of a session."""
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def fault_server(fault_server_process: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """A server that answers at once and without faults, until it is told otherwise; nothing leads past it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    fault_server_process.configure()
    return fault_server_process


@pytest.fixture(scope="session")
def hub_process() -> Iterator[Any]:
    """One server for all tests of a session."""
    process = hub_fixture.HubProcess(HUB_SOCKET)
    yield process
    process.close()


@pytest.fixture
def hub(hub_process: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A local Hub, empty, with this process and its children online with it: see LocalHub in hub_server/fixture.py."""
    yield hub_fixture.put_online(hub_process, monkeypatch, tmp_path)
    hub_fixture.forget()


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `evaluate` keeps its copies of modules and the rows, away from the user's own, and from earlier tests'."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", str(folder / "modules"))
        # The package of these copies is looked for in one place, the one that was imported first.
        for name in [name for name in sys.modules if name.partition(".")[0] == "evaluate_modules"]:
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(folder / "modules")
        yield folder
