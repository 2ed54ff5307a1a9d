"""What the source's card states of licence and language, or nothing."""

import pytest

from hub_cards.cards.licences import SourceCard, stated_by_source
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source


def of_card(folder, text: str | bytes):
    content = text.encode() if isinstance(text, str) else text
    (folder / "README.md").write_bytes(content)
    return stated_by_source(Source("folder", str(folder), "f"))


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
    assert of_card(tmp_path, f"---\n{metadata}\n---\n# Title\n") == SourceCard(licence)


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ("language: en", ["en"]),
        ("language: [en, 'de']", ["en", "de"]),
        ("language:\n- no\n- en", ["no", "en"]),  # to YAML a false
        ("language: no", ["no"]),
        ("language: [1, true, '']", None),
        ("language:", None),
    ],
)
def test_languages_are_codes(tmp_path, metadata, language):
    assert of_card(tmp_path, f"---\n{metadata}\n---\n") == SourceCard(language=language)


def test_another_licence_keeps_its_name_and_link(tmp_path):
    named = "license_name: llama2\nlicense_link: https://example.org"
    assert of_card(tmp_path, f"---\nlicense: other\n{named}\n---\n") == SourceCard(
        "other", license_name="llama2", license_link="https://example.org"
    )
    assert of_card(tmp_path, f"---\nlicense: mit\n{named}\n---\n") == SourceCard("mit")
    assert of_card(tmp_path, "---\nlicense: other\nlicense_name: 3\n---\n") == SourceCard("other")


@pytest.mark.parametrize("text", ["# Title\n\nlicense: mit\n", "", b"---\nlicense: \xff\n---\n"])
def test_is_not_read_from_prose(tmp_path, text):
    assert of_card(tmp_path, text) == SourceCard()


def test_is_null_without_a_card_and_for_a_file(tmp_path):
    assert stated_by_source(Source("folder", str(tmp_path), "f")) == SourceCard()
    assert stated_by_source(Source("folder", str(tmp_path / "gone"), "f")) == SourceCard()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "rows.jsonl").write_text("{}")
    assert stated_by_source(Source("file", str(tmp_path / "rows.jsonl"), "f")) == SourceCard()


class TestOnTheHub:
    @pytest.fixture
    def source(self, hub) -> Source:
        commit = hub.put("dataset", "tester/rows", {"README.md": "---\nlicense: cc-by-nc-4.0\n---\n"})
        hub.put("dataset", "tester/rows", {"README.md": "---\nlicense: mit\n---\n"})
        return Source("hub", "tester/rows", "f", commit)

    def test_is_that_of_the_commit_that_was_read(self, source):
        assert stated_by_source(source) == SourceCard("cc-by-nc-4.0")

    def test_is_null_without_a_card(self, hub):
        commit = hub.put("dataset", "tester/bare", {"a.txt": "a"})
        assert stated_by_source(Source("hub", "tester/bare", "f", commit)) == SourceCard()

    def test_is_that_of_the_cache_offline_and_null_where_it_is_not_there(self, hub, source):
        stated_by_source(source)
        hub.go_offline()
        assert stated_by_source(source) == SourceCard("cc-by-nc-4.0")
        hub.fresh_cache()
        hub.go_offline()
        assert stated_by_source(source) == SourceCard()

    def test_of_a_lineage_is_the_nearest_published_ones(self, source, lineage):
        """It passed the source's on; the source itself may be a file on another machine."""
        assert stated_by_source(lineage) == SourceCard()
        trained = StepRecord("sft", 1, {}, {"dataset": source})
        assert stated_by_source([*lineage, trained]) == SourceCard("cc-by-nc-4.0")


def test_is_that_of_the_data_that_the_first_step_read(tmp_path, lineage):
    assert stated_by_source(lineage) == SourceCard()
    assert stated_by_source([]) == SourceCard()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    lineage[0].inputs["dataset"] = Source("folder", str(tmp_path), "f")
    assert stated_by_source(lineage) == SourceCard("mit")
