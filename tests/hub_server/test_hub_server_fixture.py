"""The fixture `hub`: this process and its children are online in a test, and as before after it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, get_token, hf_hub_download, scan_cache_dir
from huggingface_hub.errors import CacheNotFound, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import _http

CHILD = """
from huggingface_hub import HfApi, constants
print(HfApi().whoami()["auth"]["accessToken"]["role"], constants.HF_HUB_CACHE)
"""


def run_child() -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, check=False)


def test_children_are_online_too_and_hold_the_same_login(hub):
    hub.login(hub.read_token)
    done = run_child()
    assert done.stdout.split() == ["read", str(hub.home / "hub")], done.stderr
    hub.go_offline()
    assert "OfflineModeIsEnabled" in run_child().stderr


def test_everything_is_as_before_after_a_test(hub_process, tmp_path):
    module = sys.modules[type(hub_process).__module__]

    def state() -> list[object]:
        patched = module.read_at_import(tmp_path, offline=False)
        return [dict(os.environ), _http.time, *(getattr(target, name) for target, name, _ in patched)]

    before = state()
    with pytest.MonkeyPatch.context() as patch:
        hub = module.put_online(hub_process, patch, tmp_path)
        assert HfApi().whoami()["name"] == "tester"
        hub.fresh_cache()
        hub.login(None)
        during = state()
    after = state()
    assert during != before
    assert after == before
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().whoami(token=hub.token)


def test_caches_are_fresh(hub):
    hub.put("model", "tester/m", {"a.txt": "1"})
    with pytest.raises(CacheNotFound):
        scan_cache_dir()
    hf_hub_download("tester/m", "a.txt")
    assert [repo.repo_id for repo in scan_cache_dir().repos] == ["tester/m"]
    hub.go_offline()
    assert Path(hf_hub_download("tester/m", "a.txt")).read_text() == "1"
    hub.fresh_cache()
    hub.go_offline()
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("tester/m", "a.txt")


def test_login_is_the_token_of_the_cache_where_the_environment_has_none(hub):
    assert get_token() == hub.token
    hub.login(None)
    assert get_token() is None
    (hub.home / "token").write_text(hub.read_token)
    assert HfApi().whoami()["auth"]["accessToken"]["role"] == "read"


def test_put_leaves_the_visibility_as_it_is(hub, tmp_path):
    hub.put("model", "tester/m", {"a.txt": "1"}, private=True)
    (tmp_path / "folder/b").mkdir(parents=True)
    (tmp_path / "folder/b/c.txt").write_text("2")
    commit = hub.put_folder("model", "tester/m", tmp_path / "folder")
    held = hub.repo("model", "tester/m")
    assert (held["private"], held["head"]) == (True, commit)
    assert (hub.read("model", "tester/m", "a.txt"), hub.read("model", "tester/m", "b/c.txt")) == (b"1", b"2")
    hub.put("model", "tester/m", {}, private=False)
    assert HfApi(token=False).model_info("tester/m").sha == commit


def test_log_tells_who_asked_but_no_token(hub):
    hub.put("model", "tester/m", {})
    for token in (hub.token, hub.read_token, hub.other_token, False):
        HfApi(token=token).model_info("tester/m")
    log = hub.requests()
    told = [(line["authorization"], line["user"], line["role"]) for line in log]
    assert told == [
        (True, "tester", "write"),
        (True, "tester", "read"),
        (True, "stranger", "write"),
        (False, None, None),
    ]
    assert "hf_" not in json.dumps(log)


def test_nothing_listens_after_the_end(hub_process):
    assert f"http://127.0.0.1:{hub_process.url.rsplit(':', 1)[1]}" == constants.ENDPOINT
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    place = bound.getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    other = type(hub_process)(bound)
    socket.create_connection(place).close()
    other.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
