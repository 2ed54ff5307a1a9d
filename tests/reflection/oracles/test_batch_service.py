import json
from email.utils import formatdate

import pytest

from hub_cards.errors import BadInputError, StoppedError
from reflection.oracles import batch_service
from reflection.oracles import openai as live
from reflection.oracles.batch_lines import request_line
from reflection.oracles.batch_service import BatchService, FileGoneError, endpoint_of

KEY = "sk-test-51f0-do-not-write-me-anywhere"
LINES = [request_line(str(n), {"max_tokens": 1, "messages": [{"role": "user", "content": str(n)}]}, "x") for n in "ab"]
ERROR = {"error": {"message": f"broken, {KEY}", "code": None}}
BREAKS_OFF = 200, b"half", {"content-length": "1000"}
TRANSIENT = {
    "500": (500, ERROR, {}),
    "429": (429, ERROR, {"retry-after-ms": "1"}),
    "409": (409, ERROR, {}),
    "dropped": "drop",
    "breaks off": BREAKS_OFF,
    "not JSON": (200, b"{", {}),
    "a page": (200, b"<html>", {"content-type": "text/html"}),
    "another object": (200, {"object": "cat"}, {}),
}


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses made, none of which takes any time."""
    made = []
    monkeypatch.setattr(batch_service.time, "sleep", made.append)
    return made


@pytest.fixture(autouse=True)
def environment(monkeypatch, pauses):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service(batch_endpoint, tmp_path):
    opened = BatchService(KEY, batch_endpoint.url, str(tmp_path / "completions.sqlite"))
    yield opened
    opened.close()
    assert list(tmp_path.iterdir()) == []  # files on their way leave nothing


def only(kind, reply, times=1):
    """A hook that gives this reply to the first calls of a kind."""
    return lambda call, number: reply if call == kind and number <= times else None


class TestRetries:
    @pytest.mark.parametrize("reply", TRANSIENT.values(), ids=TRANSIENT)
    def test_every_call_outlives_a_transient_fault(self, batch_endpoint, service, reply):
        def before(call, number):
            return reply if number == 1 and (call, reply[0]) != ("content", 200) else None

        batch_endpoint.before = before
        file_id = service.upload(iter(LINES))
        assert batch_endpoint.files[file_id] == b"".join(LINES)
        batch_id = service.create("mine", file_id)
        assert service.retrieve(batch_id).status == "validating"
        assert service.retrieve(batch_id).status == "completed"
        assert service.find("mine", None) == batch_id
        with service.download(f"file-output-{batch_id}") as file:
            assert sorted(json.loads(line)["custom_id"] for line in file) == ["a", "b"]
        assert list(batch_endpoint.batches) == [batch_id]

    def test_a_download_that_breaks_off_begins_again(self, batch_endpoint, service):
        batch_endpoint.files["f"] = b"all"
        batch_endpoint.before = only("content", BREAKS_OFF)
        with service.download("f") as file:
            assert file.read() == b"all"

    @pytest.mark.parametrize("reply", [*TRANSIENT.values()], ids=[*TRANSIENT])
    def test_a_batch_whose_reply_was_lost_is_found_and_not_made_again(self, batch_endpoint, service, reply, pauses):
        file_id = service.upload(iter(LINES))
        batch_endpoint.after = only("create", reply)
        batch_endpoint.before = only("list", reply)
        assert service.create("mine", file_id) == "batch_1"
        assert list(batch_endpoint.batches) == ["batch_1"]
        assert batch_endpoint.calls["create"] == 1
        assert batch_service.SETTLE_SECONDS in pauses

    def test_waits_as_long_as_it_is_asked_to(self, batch_endpoint, service, pauses):
        batch_endpoint.before = only("upload", (429, ERROR, {"retry-after": "77"}))
        service.upload(iter(LINES))
        assert pauses == [77]

    def test_are_bounded_and_longest_while_waiting_for_a_batch(self, batch_endpoint, service, pauses):
        batch_endpoint.before = lambda *_: (503, ERROR, {})
        with pytest.raises(StoppedError, match=r"upload .* 10 tries, the last one: 503: .*broken, …; .*same command"):
            service.upload(iter(LINES))
        assert batch_endpoint.calls == {"upload": 10}
        assert len(pauses) == 9
        pauses.clear()
        with pytest.raises(StoppedError, match="batch b: no answer"):
            service.retrieve("b")
        assert 1800 < sum(pauses) < live.LONGEST_DELAY * batch_service.POLL_TRIES

    def test_a_service_that_wants_a_pause_of_hours_stops_the_run(self, batch_endpoint, service):
        batch_endpoint.before = only("upload", (429, ERROR, {"retry-after": formatdate(4e9, usegmt=True)}))
        with pytest.raises(StoppedError, match="asks to wait"):
            service.upload(iter(LINES))


class TestRefusals:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    @pytest.mark.parametrize("kind", ["upload", "create", "list", "retrieve", "content"])
    def test_stop_at_once_without_the_key(self, batch_endpoint, service, kind, status):
        batch_endpoint.before = only(kind, (status, ERROR, {}))
        calls = {
            "upload": lambda: service.upload(iter(LINES)),
            "create": lambda: service.create("mine", "f"),
            "list": lambda: service.find("mine", None),
            "retrieve": lambda: service.retrieve("b"),
            "content": lambda: service.download("f").__enter__(),
        }
        expected = FileGoneError if (kind, status) == ("content", 404) else BadInputError
        with pytest.raises(expected) as caught:
            calls[kind]()
        assert batch_endpoint.calls == {kind: 1}
        assert KEY not in str(caught.value)

    def test_a_batch_of_another_account_says_so(self, service):
        with pytest.raises(BadInputError, match="knows no batch b; is OPENAI_API_KEY of the account that submitted it"):
            service.retrieve("b")


class TestFind:
    def test_looks_through_all_pages_by_our_id_and_by_the_file(self, batch_endpoint, service):
        files = [service.upload(iter(LINES)) for _ in range(7)]
        made = [service.create(f"id {number}", file_id) for number, file_id in enumerate(files)]
        batch_endpoint.batches[made[1]]["metadata"] = None
        assert service.find("id 0", None) == made[0]
        assert service.find("unknown", files[1]) == made[1]
        assert service.find("unknown", "unknown") is None
        assert service.find("unknown", None) is None

    def test_ends_at_a_service_that_knows_no_pages(self, batch_endpoint, service):
        batch_endpoint.before = only("list", (200, {"data": [{"id": "b"}]}, {}), 9)
        assert service.find("unknown", None) is None
        assert batch_endpoint.calls == {"list": 2}


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.openai.com/v1/", ""),
        ("https://API.openai.com/v1", ""),
        ("http://me:secret@Host:80/a/v1/?key=secret", "http://host:80/a/v1"),
    ],
)
def test_the_endpoint_in_the_books_holds_no_credentials(url, endpoint):
    assert endpoint_of(url) == endpoint
