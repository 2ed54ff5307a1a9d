import pytest
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled, RemoteEntryNotFoundError

import hub_cards.hub.client
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.hub.client import WAITS, ask, hub_api

WHERE = "--hub_dataset_id tester/rows"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr("hub_cards.hub.client.time.sleep", waited.append)
    return waited


def look(repo_id: str = "tester/rows", **options):
    return ask("look at it", lambda: hub_api().repo_info(repo_id, repo_type="dataset", **options), WHERE)


@pytest.fixture
def rows(hub) -> str:
    return hub.put("dataset", "tester/rows", {"README.md": "rows"}, private=True)


def test_what_the_hub_answers_comes_back(hub, rows, waits):
    assert look().sha == rows
    assert waits == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again(hub, rows, waits, status):
    hub.fault("GET", "/api/datasets/tester/rows", times=2, status=status)
    assert look().sha == rows
    assert waits == list(WAITS[:2])


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"drop": "after"}])
def test_a_connection_that_is_cut_is_made_again(hub, rows, waits, fault):
    hub.fault("GET", "/api/datasets/tester/rows", times=1, **fault)
    assert look().sha == rows
    assert len(waits) == 1


def test_the_hub_says_how_long_to_wait(hub, rows, waits):
    hub.fault("GET", "/api/datasets/tester/rows", times=1, status=429, retry_after=40)
    look()
    assert waits == [40.0]


def test_no_wait_is_longer_than_five_minutes(hub, rows, waits):
    hub.fault("GET", "/api/datasets/tester/rows", times=1, status=429, retry_after=99999)
    look()
    assert waits == [300.0]


def test_a_hub_that_stays_away_ends_in_one_line_after_a_bounded_number_of_tries(hub, rows, waits):
    hub.fault("GET", "/api/datasets/tester/rows", times=None, status=503)
    with pytest.raises(StoppedError) as stopped:
        look()
    assert str(stopped.value).startswith(f"{WHERE}: cannot look at it: the Hub says 503, 5 times;")
    assert "\n" not in str(stopped.value)
    assert len(hub.requests("GET", "/api/datasets/tester/rows")) == len(WAITS) + 1


def test_a_hang_ends_by_our_own_timeout(hub, rows, waits, monkeypatch):
    monkeypatch.setattr(hub_cards.hub.client, "ANSWER_TIMEOUT", 0.3)
    hub_cards.hub.client._install_timeouts.cache_clear()
    hub.fault("GET", "/api/datasets/tester/rows", times=1, delay=5)
    try:
        assert look().sha == rows
    finally:
        hub_cards.hub.client._install_timeouts.cache_clear()
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("login", "status", "said"),
    [
        ("bad_token", None, "the Hub does not accept the token"),
        ("other_token", None, "there is no such repository on the Hub, or it is private and your token may not see it"),
        (None, None, "there is no such repository on the Hub, or it is private and there is no token: set HF_TOKEN"),
        ("token", 403, "your token may not look at it"),
        ("token", 400, "cannot look at it: the Hub says 400"),
    ],
)
def test_a_refusal_is_one_clear_line_and_asked_once(hub, rows, waits, login, status, said):
    hub.login(getattr(hub, login) if login else None)
    if status:
        hub.fault("GET", "/api/datasets/tester/rows", times=None, status=status, message="not today")
    with pytest.raises(BadInputError) as refused:
        look()
    assert str(refused.value).startswith(f"{WHERE}: {said}")
    assert "\n" not in str(refused.value)
    assert waits == []
    for secret in (hub.token, hub.bad_token, hub.other_token):
        assert secret not in str(refused.value)


def test_a_revision_that_is_not_there_is_said(hub, rows, waits):
    with pytest.raises(BadInputError, match="the repository has no such revision"):
        look(revision="v9")


def test_a_file_that_is_not_there_is_no_refusal(hub, rows, waits):
    with pytest.raises(RemoteEntryNotFoundError):
        ask("read it", lambda: hub_api().hf_hub_download("tester/rows", "x", repo_type="dataset"), WHERE)


def test_a_bad_name_is_said(hub, waits):
    with pytest.raises(BadInputError, match="is no name of a repository"):
        ask("look at it", lambda: hub_api().repo_info("a//b"), WHERE)


def test_an_endpoint_that_is_no_address_is_said_at_once(hub, waits):
    from huggingface_hub import HfApi

    with pytest.raises(BadInputError, match=r"^HF_ENDPOINT .*: is no address of a Hub"):
        ask("look at it", lambda: HfApi(endpoint="nonsense").repo_info("tester/rows"), WHERE)
    assert waits == []


def test_what_the_hub_says_is_kept_short(hub, rows, waits):
    hub.fault("GET", "/api/datasets/tester/rows", status=400, message="no " * 1000)
    with pytest.raises(BadInputError) as refused:
        look()
    assert len(str(refused.value)) < 400


def test_offline_passes_through(hub, monkeypatch, waits):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineModeIsEnabled):
        look()
    assert waits == []


def test_another_writer_is_a_reason_to_look_anew_only_where_that_was_said(hub, rows, waits):
    hub.fault("POST", "/commit/", times=2, status=412)

    def commit():
        return hub_api().create_commit("tester/rows", [], commit_message="none", repo_type="dataset").oid

    def answered():
        from huggingface_hub import CommitOperationAdd

        addition = CommitOperationAdd("a.txt", b"a")
        return hub_api().create_commit("tester/rows", [addition], commit_message="a", repo_type="dataset").oid

    with pytest.raises(BadInputError, match="412"):
        ask("push", answered, WHERE)
    assert ask("push", answered, WHERE, conflicts=True) != rows
    assert commit() != rows


def test_an_error_of_our_own_stays_itself(waits):
    def fails():
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        ask("push", fails, WHERE)
    assert waits == []
