import json
from dataclasses import replace

import pytest

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.publishing import publish as publishing
from hub_cards.publishing.access import check_access
from hub_cards.publishing.manifest import files_below, write_manifest
from hub_cards.publishing.publish import Repository, check_laid_out, publish, show_plan, write_receipts
from hub_cards.publishing.read_back import compare
from hub_cards.publishing.target import Target


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits, and read back in this process: tests/hub_cards/test_read_back.py does it in one of its own."""
    monkeypatch.setattr("hub_cards.hub.client.time.sleep", lambda _: None)
    monkeypatch.setattr(publishing, "read_back", lambda repositories: [compare(one) for one in repositories])


@pytest.fixture
def run(lay_out):
    """Two repositories of a run."""

    def make(**options) -> list[Repository]:
        rows = Target("tester/rows", "dataset", "dataset", "--hub_dataset_id", **options)
        scores = Target("lab/scores", "dataset", "statistics", "--hub_statistics_id", **options)
        folder = lay_out("scores", ["1", "2"], configs=("original",))
        write_manifest(folder, "statistics")
        return [Repository(rows, lay_out("rows", ["a", "b"]), "run-1"), Repository(scores, folder, "run-1")]

    return make


def test_a_run_is_pushed_tagged_read_back_and_tied_together(hub, run, capsys):
    receipts = publish(run())
    rows, scores = hub.repo("dataset", "tester/rows"), hub.repo("dataset", "lab/scores")
    assert rows["private"] and scores["private"]
    assert rows["tags"] == {"run-1": rows["head"]} and scores["tags"] == {"run-1": scores["head"]}
    assert [(one.repo_id, one.commit, one.seen) for one in receipts] == [
        ("tester/rows", rows["head"], "2 configs, 4 rows"),
        ("lab/scores", scores["head"], "1 config, 2 rows"),
    ]
    (collection,) = hub.collections()
    assert (collection["title"], collection["private"], collection["owner"]["name"]) == (
        "rows: data, scores, model",
        True,
        "tester",
    )
    assert [item["id"] for item in collection["items"]] == ["tester/rows", "lab/scores"]
    said = capsys.readouterr().out
    assert (
        f"[publish] published {hub.url}/datasets/tester/rows at {rows['head'][:7]}, read back: 2 configs, 4 rows"
        in said
    )


def test_a_second_time_makes_nothing_twice(hub, run, capsys):
    repositories = run()
    first = publish(repositories)
    capsys.readouterr()
    assert publish(repositories) == first
    assert len(hub.repo("dataset", "tester/rows")["commits"]) == 2
    assert [len(one["items"]) for one in hub.collections()] == [2]
    assert "tester/rows (dataset): is there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("POST", "/api/datasets/lab/scores/commit/"),
        ("POST", "/tag/"),
        ("GET", "/api/datasets/lab/scores/tree/"),
        ("POST", "/api/collections"),
        ("POST", "/api/collections/.*/items"),
    ],
)
def test_a_run_that_stopped_half_way_is_finished_by_the_same_command(hub, run, method, path):
    repositories = run()
    hub.fault(method, path, times=None, skip=1 if path.endswith("items") else 0, status=503)
    with pytest.raises(StoppedError):
        publish(repositories)
    hub.clear()
    publish(repositories)
    for kind, repo in (("dataset", "tester/rows"), ("dataset", "lab/scores")):
        found = hub.repo(kind, repo)
        assert len(found["commits"]) == 2 and found["tags"] == {"run-1": found["head"]}
    (collection,) = hub.collections()
    assert [item["id"] for item in collection["items"]] == ["tester/rows", "lab/scores"]


@pytest.mark.parametrize("path", ["/tag/", "/api/collections$", "/api/collections/.*/items"])
def test_a_lost_answer_is_no_second_of_anything(hub, run, path):
    hub.fault("POST", path, times=1, drop="after")
    publish(run())
    (collection,) = hub.collections()
    assert [item["id"] for item in collection["items"]] == ["tester/rows", "lab/scores"]


def test_public_is_shown_to_all_only_after_it_was_read_back(hub, run, monkeypatch):
    repositories = run()
    publish(repositories)
    assert hub.repo("dataset", "tester/rows")["private"]
    opened = [replace(one, target=replace(one.target, private=False)) for one in repositories]
    monkeypatch.setattr(publishing, "read_back", fails)
    with pytest.raises(StoppedError):
        publish(opened)
    assert hub.repo("dataset", "tester/rows")["private"]
    monkeypatch.setattr(publishing, "read_back", lambda repositories: ["seen"] * len(repositories))
    publish(opened)
    assert not hub.repo("dataset", "tester/rows")["private"]


def test_a_new_one_is_private_until_it_was_read_back(hub, run, monkeypatch):
    seen = []

    def read(repositories):
        seen.extend(hub.repo("dataset", one["repo_id"])["private"] for one in repositories)
        return [compare(one) for one in repositories]

    monkeypatch.setattr(publishing, "read_back", read)
    publish(run(private=False))
    assert seen == [True, True]
    assert not hub.repo("dataset", "tester/rows")["private"] and not hub.repo("dataset", "lab/scores")["private"]
    (collection,) = hub.collections()
    assert not collection["private"]


def test_a_collection_is_shown_with_what_is_in_it(hub, run):
    repositories = run()
    publish(repositories)
    assert hub.collections()[0]["private"]
    publish([replace(one, target=replace(one.target, private=False)) for one in repositories])
    (collection,) = hub.collections()
    assert not collection["private"]


def test_the_tag_of_another_run_is_found_before_anything_is_pushed(hub, run, lay_out):
    repositories = run()
    publish(repositories)
    before = hub.repo("dataset", "tester/rows")
    with pytest.raises(BadInputError, match="--hub_tag run-1: is the tag of another run in tester/rows"):
        publish([repositories[1], replace(repositories[0], folder=lay_out("more", ["c"]))])
    assert hub.repo("dataset", "tester/rows") == before


def fails(repositories):
    raise StoppedError("differs")


def test_the_plan_shows_visibility_files_sizes_and_card(hub, run):
    repositories = run()
    targets = [one.target for one in repositories]
    text = show_plan(repositories, check_access(targets))
    assert f"{hub.url}/datasets/tester/rows (dataset, new, private, branch main, tag run-1)" in text
    for name in files_below(repositories[0].folder):
        assert name in text
    size = (repositories[0].folder / "plots/flow.png").stat().st_size
    assert f"{size:>13,} bytes" in text and "  | license: mit" in text
    assert not [one for one in hub.requests() if one["method"] not in ("GET", "HEAD")]
    assert "(dataset, private, branch main, tag run-1)" in show_plan(repositories, None)


def test_receipts_are_kept_beside_the_result(hub, run, tmp_path):
    receipts = publish(run()[:1])
    write_receipts(tmp_path / "publish", receipts)
    (kept,) = json.loads((tmp_path / "publish.hub.json").read_text())
    assert kept["repo_id"] == "tester/rows" and kept["commit"] == receipts[0].commit and kept["tag"] == "run-1"
    assert hub.collections() == []


def test_what_is_laid_out_is_whole(lay_out, complaint):
    folder = lay_out("rows", ["a"])
    check_laid_out(folder)
    (folder / "extra.txt").write_text("x")
    assert "extra.txt and the list of files differ" in complaint(check_laid_out, folder)
    (folder / "extra.txt").unlink()
    (folder / "plots/flow.png").write_bytes(b"cut")
    assert "plots/flow.png has changed since" in complaint(check_laid_out, folder)


@pytest.mark.parametrize("name", ["HF_TOKEN", "OPENAI_API_KEY"])
def test_a_key_in_what_is_laid_out_stops_it(lay_out, complaint, monkeypatch, name):
    key = "planted-0123456789"
    monkeypatch.setenv(name, key)
    folder = lay_out("rows", ["a"])
    with (folder / "README.md").open("a") as file:
        file.write(f"\nrun with {key}\n")
    said = complaint(check_laid_out, folder)
    assert "README.md: holds one of your keys" in said and key not in said


def test_nothing_is_pushed_where_one_of_the_names_is_refused(hub, run):
    repositories = run()
    hub.put("dataset", "lab/scores", {"data.csv": "a"})
    with pytest.raises(BadInputError, match=r"is taken|is open to all"):
        publish(repositories)
    assert hub.repo("dataset", "tester/rows") is None
