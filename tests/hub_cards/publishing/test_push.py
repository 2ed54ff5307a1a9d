import pytest
from datasets import load_dataset
from huggingface_hub import HfApi

import hub_cards.hub.client
from hub_cards.cards.own_section import END, START
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.publishing.manifest import CARD, files_below, write_manifest
from hub_cards.publishing.push import make_repository, push_files, push_folder, tag_commit
from hub_cards.publishing.target import Target

TARGET = Target("tester/rows", "dataset", "dataset", "--hub_dataset_id")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_cards.hub.client.time.sleep", lambda _: None)


@pytest.fixture
def first(hub, lay_out):
    """A repository with a first publishing in it, and its folder."""
    folder = lay_out("rows", ["a", "b"])
    make_repository(TARGET)
    return folder, push_folder(TARGET, folder, "Publish")


def there(hub, revision: str = "main") -> set[str]:
    return set(hub.repo("dataset", "tester/rows", revision)["files"]) - {".gitattributes"}


def holds(hub, folder) -> bool:
    """Whether the repository has exactly the files of a folder."""
    same = all(hub.read("dataset", "tester/rows", name) == (folder / name).read_bytes() for name in files_below(folder))
    return same and there(hub) == set(files_below(folder))


def commits(hub) -> int:
    return len(hub.repo("dataset", "tester/rows")["commits"])


def test_a_folder_is_one_commit_of_a_private_repository(hub, first):
    folder, done = first
    found = hub.repo("dataset", "tester/rows")
    assert holds(hub, folder) and found["private"] is True
    assert (done.commit, done.changed) == (found["head"], True)
    assert commits(hub) == 2  # that of making it, and ours


def test_pushing_again_makes_nothing(hub, first):
    folder, done = first
    again = push_folder(TARGET, folder, "Publish")
    assert (again.commit, again.changed) == (done.commit, False)
    assert commits(hub) == 2


def test_other_columns_and_fewer_configs_replace_the_old_files(hub, first, lay_out):
    _, done = first
    folder = lay_out("more", ["c"], configs=("selected",), score=[0.5])
    push_folder(TARGET, folder, "Publish")
    assert holds(hub, folder)
    loaded = load_dataset("tester/rows", "selected", split="train")
    assert loaded.to_list() == [{"row_id": "0" * 16, "output": "c", "score": 0.5}]
    old = load_dataset("tester/rows", "original", split="train", revision=done.commit)
    assert old["output"][:] == ["a", "b"]


def test_files_of_the_owner_stay(hub, first, lay_out):
    hub.put("dataset", "tester/rows", {"LICENSE": "mine", "selected/notes.txt": "mine"})
    folder = lay_out("more", ["c"])
    push_folder(TARGET, folder, "Publish")
    assert there(hub) == {*files_below(folder), "LICENSE", "selected/notes.txt"}


def test_what_the_owner_has_deleted_is_no_error(hub, first, lay_out):
    HfApi().delete_file("plots/flow.png", "tester/rows", repo_type="dataset")
    (folder := lay_out("more", ["c"])).joinpath("plots/flow.png").unlink()
    write_manifest(folder, "dataset")
    push_folder(TARGET, folder, "Publish")
    assert holds(hub, folder)


def test_the_owners_section_of_the_card_is_kept_and_the_rest_is_made_again(hub, first, lay_out):
    card = hub.read("dataset", "tester/rows", CARD).decode()
    hub.put("dataset", "tester/rows", {CARD: card.replace(START, f"{START}\nmy words").replace("# rows", "# my title")})
    push_folder(TARGET, lay_out("more", ["c"]), "Publish")
    kept = hub.read("dataset", "tester/rows", CARD).decode()
    assert "my words" in kept[kept.index(START) : kept.index(END)]
    assert "# more" in kept and "# my title" not in kept


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("POST", "/api/repos/create", {"status": 503}),
        ("POST", "/api/repos/create", {"drop": "after"}),
        ("POST", "/preupload/", {"status": 500}),
        ("POST", "/info/lfs/", {"status": 429, "retry_after": 1}),
        ("PUT", "", {"status": 503}),
        ("PUT", "", {"drop": "before"}),
        ("POST", "/commit/", {"status": 502}),
        ("POST", "/commit/", {"status": 429, "retry_after": 1}),
        ("POST", "/commit/", {"drop": "before"}),
        ("POST", "/commit/", {"drop": "after"}),
        ("POST", "/api/validate-yaml", {"status": 503}),
        ("GET", "/api/datasets/tester/rows", {"drop": "before"}),
    ],
)
def test_a_failure_on_the_way_ends_in_one_whole_commit(hub, lay_out, method, path, fault):
    folder = lay_out("rows", ["a", "b"])
    hub.fault(method, path, times=2, **fault)
    make_repository(TARGET)
    done = push_folder(TARGET, folder, "Publish")
    assert [one for one in hub.requests() if one["fault"]]
    assert holds(hub, folder) and commits(hub) == 2
    assert done.commit == hub.repo("dataset", "tester/rows")["head"]


def test_a_push_that_hangs_ends_by_our_own_timeout_and_is_made_once(hub, lay_out, monkeypatch):
    """What hung may still land after it was given up: the next try sees that, and commits what is left, or nothing."""
    folder = lay_out("rows", ["a", "b"])
    make_repository(TARGET)
    monkeypatch.setattr(hub_cards.hub.client, "ANSWER_TIMEOUT", 1.0)
    hub_cards.hub.client._install_timeouts.cache_clear()
    hub.fault("POST", "/commit/", times=1, delay=4)
    try:
        push_folder(TARGET, folder, "Publish")
    finally:
        hub_cards.hub.client._install_timeouts.cache_clear()
    assert holds(hub, folder) and commits(hub) == 2


def test_another_writer_is_met_and_keeps_what_is_theirs(hub, lay_out):
    folder = lay_out("rows", ["a", "b"])
    make_repository(TARGET)
    hub.fault("POST", "/commit/", times=3, race={"theirs.txt": "theirs"})
    done = push_folder(TARGET, folder, "Publish")
    found = hub.repo("dataset", "tester/rows")
    assert done.commit == found["head"]
    assert there(hub) == {*files_below(folder), "theirs.txt"}


def test_another_writer_of_our_own_file_does_not_leave_theirs(hub, first):
    """The client must look anew at what is there: it remembers that our file was unchanged."""
    folder, _ = first
    name = next(name for name in files_below(folder) if name.startswith("plots/"))
    (folder / "extra.txt").write_text("extra")
    write_manifest(folder, "dataset")
    hub.fault("POST", "/commit/", times=1, race={name: "theirs"})
    push_folder(TARGET, folder, "Publish")
    assert holds(hub, folder)


def test_writers_without_end_end_in_one_line(hub, lay_out):
    make_repository(TARGET)
    hub.fault("POST", "/commit/", times=None, status=412)
    with pytest.raises(StoppedError, match="cannot push: the Hub says 412, 5 times"):
        push_folder(TARGET, lay_out("rows", ["a"]), "Publish")


def test_what_was_uploaded_before_a_stop_is_not_uploaded_again(hub, lay_out):
    folder = lay_out("rows", ["a", "b"])
    make_repository(TARGET)
    hub.fault("POST", "/commit/", times=None, status=503)
    with pytest.raises(StoppedError):
        push_folder(TARGET, folder, "Publish")
    uploads = len(hub.requests("PUT"))
    assert uploads > 0
    hub.clear()
    push_folder(TARGET, folder, "Publish")
    assert hub.requests("PUT") == [] and holds(hub, folder)


def test_a_token_that_may_not_write_is_one_line(hub, first, lay_out):
    hub.login(hub.read_token)
    with pytest.raises(BadInputError, match="your token may not push"):
        push_folder(TARGET, lay_out("more", ["c"]), "Publish")


def test_a_card_that_the_hub_does_not_take_is_one_line(hub, lay_out):
    folder = lay_out("rows", ["a"])
    (folder / CARD).write_text((folder / CARD).read_text().replace("license: mit", "license: made-up"))
    make_repository(TARGET)
    with pytest.raises(BadInputError, match="the Hub does not take the card: "):
        push_folder(TARGET, folder, "Publish")


def test_a_branch_is_made_and_main_stays(hub, first, lay_out):
    _, done = first
    target = Target("tester/rows", "dataset", "dataset", "--hub_dataset_id", revision="next/one")
    make_repository(target)
    make_repository(target)
    pushed = push_folder(target, lay_out("more", ["c"]), "Publish")
    found = hub.repo("dataset", "tester/rows")
    assert found["branches"] == {"main": done.commit, "next/one": pushed.commit}


def test_a_run_has_one_tag_however_often_it_is_pushed(hub, first):
    folder, done = first
    hub.fault("POST", "/tag/", times=1, drop="after")
    assert tag_commit(TARGET, "run-1", done.commit, folder) == done.commit
    card = hub.put("dataset", "tester/rows", {CARD: hub.read("dataset", "tester/rows", CARD).decode() + "more"})
    assert tag_commit(TARGET, "run-1", card, folder) == done.commit
    assert hub.repo("dataset", "tester/rows")["tags"] == {"run-1": done.commit}


def test_the_tag_of_another_run_is_refused(hub, first, lay_out, complaint):
    folder, done = first
    tag_commit(TARGET, "v1", done.commit, folder)
    more = lay_out("more", ["c"])
    pushed = push_folder(TARGET, more, "Publish")
    said = complaint(tag_commit, TARGET, "v1", pushed.commit, more)
    assert (
        said == f"--hub_tag v1: is the tag of another run in tester/rows, at {done.commit[:7]}; give this one another"
    )


def test_files_are_put_beside_what_is_there(hub, first, tmp_path):
    folder, _ = first
    (tmp_path / "page/evaluation").mkdir(parents=True)
    (tmp_path / "page/evaluation/report.md").write_text("report")
    (tmp_path / "page" / CARD).write_text((folder / CARD).read_text() + "\nresults\n")
    write_manifest(tmp_path / "page", "dataset")
    done = push_files(TARGET, tmp_path / "page", "Evaluation")
    assert there(hub) == {*files_below(folder), "evaluation/report.md"}
    assert hub.read("dataset", "tester/rows", CARD).endswith(b"results\n")
    assert push_files(TARGET, tmp_path / "page", "Evaluation").commit == done.commit
    again = push_folder(TARGET, folder, "Publish")
    assert holds(hub, folder) and again.changed


def test_files_are_not_put_into_what_we_did_not_publish(hub, tmp_path, complaint):
    hub.put("dataset", "tester/rows", {CARD: "theirs"})
    (tmp_path / "page").mkdir()
    write_manifest(tmp_path / "page", "dataset")
    assert "was not published by" in complaint(push_files, TARGET, tmp_path / "page", "Evaluation")
