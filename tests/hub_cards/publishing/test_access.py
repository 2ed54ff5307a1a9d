import pytest

from hub_cards.publishing.access import check_access
from hub_cards.publishing.target import Target


@pytest.fixture
def refused(complaint):
    """The line by which a target is refused."""

    def check(repo_id: str, kind: str = "dataset", license: str | None = None, **options) -> str:
        target = Target(repo_id, "model" if kind == "model" else "dataset", kind, "--hub_dataset_id", **options)
        return complaint(check_access, [target], license)

    return check


def target(repo_id: str, kind: str = "dataset", **options) -> Target:
    return Target(repo_id, "model" if kind == "model" else "dataset", kind, "--hub_dataset_id", **options)


def test_new_names_of_ours_pass_and_nothing_is_made(hub):
    states = check_access([target("tester/rows"), target("lab/rows", "statistics"), target("tester/rows", "model")])
    assert [state.visibility for state in states] == ["new, private"] * 3
    assert [state.head for state in states] == [None] * 3
    assert not [one for one in hub.requests() if one["method"] not in ("GET", "HEAD")]


def test_no_targets_ask_nothing(hub):
    assert check_access([]) == []
    assert hub.requests() == []


def test_what_we_published_before_passes_with_its_head_and_visibility(hub, lay_out):
    head = hub.put_folder("dataset", "tester/rows", lay_out("rows", ["a"]), private=True)
    (state,) = check_access([target("tester/rows")])
    assert (state.head, state.private, state.visibility) == (head, True, "private")
    (state,) = check_access([target("tester/rows", private=False)])
    assert state.visibility == "private, made public"


def test_an_untouched_repository_passes(hub):
    hub.put("dataset", "tester/rows", {}, private=True)
    hub.put("dataset", "tester/named", {"README.md": "# to come"}, private=True)
    assert all(state.head for state in check_access([target("tester/rows"), target("tester/named")]))


def test_a_branch_that_is_not_there_yet_passes(hub, lay_out):
    hub.put_folder("dataset", "tester/rows", lay_out("rows", ["a"]), private=True)
    (state,) = check_access([target("tester/rows", revision="next")])
    assert (state.head, state.private) == (None, True)


def test_the_token_is_asked_for(hub, refused):
    hub.login(None)
    assert refused("tester/rows") == (
        "--push_to_hub: publishing needs a token: set HF_TOKEN, or log in with `hf auth login`"
    )
    hub.login(hub.bad_token)
    assert refused("tester/rows").startswith("--push_to_hub: the Hub does not accept the token")
    hub.login(hub.read_token)
    assert refused("tester/rows") == ("--hub_dataset_id tester/rows: your token may only read; make one that may write")


def test_a_cached_login_is_as_good(hub):
    hub.login(None)
    (hub.home / "token").write_text(hub.token)
    assert check_access([target("tester/rows")])


def test_a_fine_grained_token_without_writing_is_refused(hub, refused, monkeypatch):
    scoped = [{"entity": {"type": "user", "name": "tester"}, "permissions": ["repo.content.read"]}]
    user = {
        "name": "tester",
        "orgs": [],
        "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": scoped}}},
    }
    monkeypatch.setattr("huggingface_hub.HfApi.whoami", lambda _: user)
    assert "may not write to any repository" in refused("tester/rows")
    scoped[0]["permissions"].append("repo.write")
    assert check_access([target("tester/rows")])


def test_names_of_others_are_refused(hub, refused):
    assert refused("stranger/rows") == (
        "--hub_dataset_id stranger/rows: stranger is not you; your token's names are tester, lab, library"
    )
    assert "in library you may only read" in refused("library/rows")


@pytest.mark.parametrize("name", ["rows", "a/b/c", "a//b", "tester/ro ws", "tester/.rows", "tester/rows.git", ""])
def test_bad_names_are_refused_before_anything_is_asked(hub, refused, name):
    said = refused(name)
    assert said.startswith(f"--hub_dataset_id {name}: ")
    assert hub.requests() == []


def test_one_name_for_two_things_is_refused(hub, complaint):
    said = complaint(check_access, [target("tester/rows"), target("Tester/Rows", "statistics")])
    assert "is named twice" in said


def test_a_name_that_is_taken_is_refused(hub, refused, lay_out):
    hub.put("dataset", "tester/rows", {"README.md": "mine", "data/train.csv": "a,b"}, private=True)
    assert refused("tester/rows") == (
        "--hub_dataset_id tester/rows: is taken: it holds files that publish did not write (data/train.csv, …)"
    )
    hub.put_folder("dataset", "tester/ours", lay_out("ours", ["a"]), private=True)
    assert refused("tester/ours", "statistics") == (
        "--hub_dataset_id tester/ours: is taken: it holds what was published as dataset, and this is statistics"
    )
    assert "is taken" in refused("tester/ours", "reflect")


def test_a_later_stage_may_follow_an_earlier_one(hub, lay_out):
    folder = lay_out("rows", ["a"])
    text = (folder / "published_files.json").read_text()
    (folder / "published_files.json").write_text(text.replace('"dataset"', '"reflect"'))
    hub.put_folder("dataset", "tester/rows", folder, private=True)
    assert check_access([target("tester/rows", "score"), target("tester/more")])


def test_nothing_private_goes_where_all_can_see_it(hub, refused, lay_out):
    hub.put_folder("dataset", "tester/rows", lay_out("rows", ["a"]), private=False)
    assert "is open to all, and this run would publish privately" in refused("tester/rows")
    (state,) = check_access([target("tester/rows", private=False)])
    assert state.visibility == "public"


def test_the_hub_knows_the_licence_or_not(hub, refused):
    assert "--license made-up: the Hub does not know it" in refused("tester/rows", license="made-up")
    assert check_access([target("tester/rows")], "cc-by-nc-4.0")
    assert check_access([target("tester/rows")], ["mit", "apache-2.0"])


@pytest.mark.parametrize("name", ["v 1", "../x", "-v", "v1.", "a..b", "v~1", "x.lock", "ü", ""])
def test_bad_names_of_branches_and_tags_are_refused(hub, refused, name):
    assert refused("tester/rows", revision=name).startswith(f"--hub_revision {name}: is no name for it")
    assert refused("tester/rows", tag=name).startswith(f"--hub_tag {name}: is no name for it")
    assert hub.requests() == []


def test_a_tag_is_not_called_as_its_branch(hub, refused):
    assert "is the name of the branch" in refused("tester/rows", tag="main")


def test_a_language_that_the_hub_does_not_know_is_refused(hub, complaint):
    said = complaint(check_access, [target("tester/rows")], "mit", ["en", "klingon"])
    assert said.startswith("--language en klingon: the Hub does not know it") and len(said) < 400
    assert check_access([target("tester/rows")], "mit", ["en"])


def test_a_token_that_can_be_none_is_said_without_showing_it(hub, refused):
    hub.login("hf_ü b")
    assert refused("tester/rows").startswith("HF_TOKEN: holds characters that no token has")


def test_offline_is_said(hub, refused):
    hub.go_offline()
    assert refused("tester/rows") == "--push_to_hub: HF_HUB_OFFLINE is set; unset it to publish"
