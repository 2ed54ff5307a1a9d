"""Every fault that the local Hub can be told, and what the real clients make of it."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session, httpx


@pytest.fixture
def api(hub) -> HfApi:
    hub.put("model", "tester/m", {"a.txt": "as it was", "w.bin": bytes(200)})
    return HfApi()


def upload(api: HfApi, name: str = "a.txt", content: bytes = b"new", parent_commit: str | None = None) -> None:
    api.upload_file(repo_id="tester/m", path_in_repo=name, path_or_fileobj=content, parent_commit=parent_commit)


class TestInsteadOfIt:
    @pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504])
    def test_status(self, hub, api, status):
        hub.fault("POST", "/commit/", status=status, message="Not now")
        with pytest.raises(HfHubHTTPError, match="Not now") as caught:
            upload(api)
        assert caught.value.response.status_code == status
        assert hub.read("model", "tester/m", "a.txt") == b"as it was"
        upload(api)
        assert hub.read("model", "tester/m", "a.txt") == b"new"
        assert [(line["status"], line["fault"]) for line in hub.requests("POST", "/commit/")] == [
            (status, True),
            (200, False),
        ]

    def test_waits_of_the_client_take_no_time_here(self, hub, api):
        hub.fault("PUT", times=2, status=503)
        hub.fault("POST", "/preupload/", status=429, retry_after=7)
        upload(api, "w.bin", bytes(50))
        assert hub.waits == [8, 1, 2]
        hub.fault("PUT", times=None, status=500)
        with pytest.raises(RuntimeError, match=r"Error while uploading 'w\.bin'"):
            upload(api, "w.bin", bytes(60))
        assert hub.waits[3:] == [1, 2, 4, 8, 8]

    def test_only_those_that_match_after_some_that_go_well(self, hub, api):
        hub.fault("GET", r"/api/models/tester/m\?blobs", skip=1, times=2, status=500)
        seen = []
        for _ in range(5):
            api.model_info("tester/m")
            try:
                api.model_info("tester/m", files_metadata=True)
                seen.append(200)
            except HfHubHTTPError as error:
                seen.append(error.response.status_code)
        assert seen == [200, 500, 500, 200, 200]


class TestConnections:
    def test_lost_reply(self, hub, api):
        hub.fault("POST", "/commit/", drop="after")
        with pytest.raises(httpx.RemoteProtocolError):
            upload(api)
        assert hub.read("model", "tester/m", "a.txt") == b"new"
        before = hub.repo("model", "tester/m")["commits"]
        upload(api)
        assert hub.repo("model", "tester/m")["commits"] == before

    def test_lost_request(self, hub, api):
        hub.fault("POST", "/commit/", drop="before")
        with pytest.raises(httpx.RemoteProtocolError):
            upload(api)
        assert hub.read("model", "tester/m", "a.txt") == b"as it was"
        assert [line["status"] for line in hub.requests("POST", "/commit/")] == [None]

    def test_hang(self, hub, api):
        hub.fault("GET", "/api/models", delay=60)
        with pytest.raises(httpx.ReadTimeout):
            api.model_info("tester/m", timeout=0.05)
        assert [line["fault"] for line in hub.requests("GET")] == [True]

    @pytest.mark.usefixtures("api")
    @pytest.mark.parametrize("path", ["/resolve/main/a.txt", "w.bin"])
    def test_half_of_a_body(self, hub, path):
        hub.fault("GET", path, truncate=True)
        url = f"{hub.url}/tester/m/resolve/main/{path.split('/')[-1]}"
        with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
            get_session().get(url)
        size = len(get_session().get(url).content)
        assert [line["sent"] for line in hub.requests("GET", path, status=200)] == [size // 2, size]


class TestContent:
    @pytest.mark.usefixtures("api")
    @pytest.mark.parametrize("name", ["a.txt", "w.bin"])
    def test_corrupted_on_the_way(self, hub, name):
        hub.fault("GET", name, corrupt=True)
        got = Path(hf_hub_download("tester/m", name)).read_bytes()
        true = hub.read("model", "tester/m", name)
        assert (len(got), sum(ours != theirs for ours, theirs in zip(got, true, strict=True))) == (len(true), 1)

    def test_other_bytes_are_stored(self, hub, api):
        hub.fault("POST", "/commit/", replace={"w.bin": bytes(7)})
        upload(api, "w.bin", bytes(50))
        assert Path(hf_hub_download("tester/m", "w.bin")).read_bytes() == bytes(7)
        assert hub.repo("model", "tester/m")["files"]["w.bin"]["size"] == 7

    def test_every_race_is_lost(self, hub, api):
        hub.fault("POST", "/commit/", times=2, race={"rival.txt": "first"})
        for commits in (3, 4):  # the one of the new repository, `put`, and the rival's
            with pytest.raises(HfHubHTTPError, match="412"):
                upload(api, parent_commit=hub.repo("model", "tester/m")["head"])
            assert len(hub.repo("model", "tester/m")["commits"]) == commits
        upload(api, parent_commit=hub.repo("model", "tester/m")["head"])

    def test_race_without_a_parent_is_no_conflict(self, hub, api):
        hub.fault("POST", "/commit/", race={"rival.txt": "first"})
        upload(api)
        assert [one["author"] for one in hub.repo("model", "tester/m")["commits"]][:2] == ["tester", "rival"]


class TestOrders:
    def test_unknown_parts_are_refused(self, hub):
        with pytest.raises(ValueError, match="statuses"):
            hub.fault(statuses=500)
        with pytest.raises(ValueError, match="give before or after"):
            hub.fault(drop="now")
        with pytest.raises(ValueError, match="sizes"):
            hub.configure(sizes=1)

    def test_clear_and_reset(self, hub, api):
        hub.fault(times=None, status=500)
        hub.clear()
        api.model_info("tester/m")
        assert len(hub.requests()) == 1
        hub.reset()
        assert (hub.requests(), hub.repo("model", "tester/m"), hub.collections()) == ([], None, [])
