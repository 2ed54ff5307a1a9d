import hashlib
import json

import pytest

from hub_cards.publishing.manifest import (
    Manifest,
    fetch,
    files_below,
    read_local_manifest,
    read_manifest,
    read_remote_manifest,
    write_manifest,
)
from hub_cards.publishing.target import Target

TARGET = Target("tester/rows", "dataset", "dataset", "--hub_dataset_id")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one/deep").mkdir(parents=True)
    (tmp_path / "one/deep/a.txt").write_bytes(b"abc")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "README.md").write_text("card")
    write_manifest(tmp_path, "statistics")
    return tmp_path


def test_the_list_has_every_file_but_the_card_and_itself(folder):
    assert files_below(folder) == ["README.md", "b.txt", "one/deep/a.txt", "published_files.json"]
    assert json.loads((folder / "published_files.json").read_text()) == {
        "kind": "statistics",
        "files": {
            "b.txt": {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            "one/deep/a.txt": {"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
        },
    }
    write_manifest(folder, "statistics")
    assert set(read_local_manifest(folder).files) == {"b.txt", "one/deep/a.txt"}


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "dataset"}', '{"kind": "a", "files": {"b": 1}}', "\xff"])
def test_somebody_elses_file_of_that_name_is_no_list(tmp_path, text, complaint):
    path = tmp_path / "published_files.json"
    path.write_bytes(text.encode("latin-1"))
    assert read_manifest(path) is None
    assert "is not laid out for the Hub" in complaint(read_local_manifest, tmp_path)


def test_a_list_is_read_from_the_hub_at_its_commit(hub, folder):
    first = hub.put_folder("dataset", "tester/rows", folder)
    second = hub.put("dataset", "tester/rows", {"published_files.json": Manifest("model", {}).as_text()})
    assert read_remote_manifest(TARGET, first) == read_local_manifest(folder)
    assert read_remote_manifest(TARGET, second) == Manifest("model", {})
    assert fetch(TARGET, "no.txt", first) is None
