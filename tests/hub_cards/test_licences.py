"""The licence of data: what its card says, or nothing."""

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from hub_cards.licences import find_licence, licence_of
from hub_cards.sources import Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def of_card(folder, text: str | bytes):
    content = text.encode() if isinstance(text, str) else text
    (folder / "README.md").write_bytes(content)
    return licence_of(Source("folder", str(folder), "f"))


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("license: [mit]", "mit"),
        ("license:\n- mit\n- apache-2.0", ["mit", "apache-2.0"]),
        ("license: []", None),
        ("license:", None),
        ("license: 4", None),
        ("pretty_name: Rows", None),
        ("[mit]", None),
        ("license: 'mit", None),
    ],
)
def test_is_what_the_metadata_say(tmp_path, metadata, licence):
    assert of_card(tmp_path, f"---\n{metadata}\n---\n# Title\n") == licence


@pytest.mark.parametrize("text", ["# Title\n\nlicense: mit\n", "", b"---\nlicense: \xff\n---\n"])
def test_is_not_read_from_prose(tmp_path, text):
    assert of_card(tmp_path, text) is None


def test_is_null_without_a_card_and_for_a_file(tmp_path):
    assert licence_of(Source("folder", str(tmp_path), "f")) is None
    assert licence_of(Source("folder", str(tmp_path / "gone"), "f")) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "rows.jsonl").write_text("{}")
    assert licence_of(Source("file", str(tmp_path / "rows.jsonl"), "f")) is None


class TestOnTheHub:
    SOURCE = Source("hub", "tatsu-lab/alpaca", "f", COMMIT)

    def test_is_that_of_the_commit_that_was_read(self, tmp_path, monkeypatch):
        (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
        calls = []

        def download(repo_id, filename, **options):
            calls.append((repo_id, filename, options["repo_type"], options["revision"]))
            return str(tmp_path / "README.md")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        assert licence_of(self.SOURCE) == "cc-by-nc-4.0"
        assert calls == [("tatsu-lab/alpaca", "README.md", "dataset", COMMIT)]

    def test_is_null_out_of_reach(self, monkeypatch):
        assert licence_of(self.SOURCE) is None  # the tests are offline

        def refuse(*_, **__):
            raise OfflineModeIsEnabled("offline")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
        assert licence_of(self.SOURCE) is None


def test_is_that_of_the_data_that_the_first_step_read(tmp_path, lineage):
    assert find_licence(lineage) is None
    assert find_licence([]) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    lineage[0].inputs["dataset"] = Source("folder", str(tmp_path), "f")
    assert find_licence(lineage) == "mit"
