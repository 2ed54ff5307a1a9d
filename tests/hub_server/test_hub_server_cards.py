"""The metadata of cards and the collections of the local Hub, through the real clients."""

import json
import re

import pytest
from huggingface_hub import DatasetCard, HfApi, metadata_update
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

GOOD = {
    "license": "cc-by-nc-4.0",
    "language": ["en", "yue", "code"],
    "size_categories": "1K<n<10K",
    "task_categories": ["text-generation"],
    "tags": ["a"],
    "configs": [{"config_name": "selected", "data_files": [{"split": "train", "path": "selected/*"}]}],
}
CARD = "---\nlicense: mit\nmodel-index: {}\n---\n"


def card(**metadata: object) -> DatasetCard:
    lines = "".join(f"{name}: {value!r}\n" for name, value in metadata.items())
    return DatasetCard(f"---\n{lines}---\n# Rows\n")


class TestCards:
    def test_is_pushed_loaded_and_updated(self, hub):
        hub.put("dataset", "tester/d", {})
        card(**GOOD).push_to_hub("tester/d")
        assert DatasetCard.load("tester/d").data.to_dict() == GOOD
        metadata_update("tester/d", {"license": "mit"}, repo_type="dataset", overwrite=True)
        hub.fresh_cache()
        assert DatasetCard.load("tester/d").data.license == "mit"
        info = HfApi().dataset_info("tester/d")
        assert (info.card_data.license, info.card_data.size_categories) == ("mit", "1K<n<10K")
        assert {"license:mit", "language:yue", "task_categories:text-generation"} <= set(info.tags)

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("license", "cc-by-nc", '"license" must be one of'),
            ("language", "English", '"language" with value "English" is not valid'),
            ("language", ["en", "xx"], '"language" with value "xx" is not valid'),
            ("size_categories", "1000", '"size_categories" must be one of'),
            ("tags", "one", '"tags" must be an array'),
            ("tags", ["one", 2], r'"tags\[1\]" must be a string'),
            ("pretty_name", 5, '"pretty_name" must be a string'),
            ("datasets", ["a/b/c"], '"datasets" with value "a/b/c" is not valid'),
            ("configs", [{"data_files": "a"}], "config_name"),
            ("configs", [{"config_name": "a"}, {"config_name": "a"}], 'several items with config_name "a"'),
            ("model-index", [{"name": "m"}], "results"),
            (
                "model-index",
                [{"name": "m", "results": [{"task": {"type": "t"}, "metrics": [{"type": "win"}]}]}],
                r"dataset.name.*metrics\[0\].value",
            ),
        ],
    )
    def test_bad_metadata_is_refused_twice(self, hub, name, value, words):
        """By the check that the client asks for first, and by the commit of one that does not ask."""
        before = hub.put("dataset", "tester/d", {})
        bad = card(**{**GOOD, name: value}) if name != "model-index" else DatasetCard(CARD.format(json.dumps(value)))
        with pytest.raises(ValueError, match="errors") as caught:
            bad.push_to_hub("tester/d")
        told = " ".join(error["message"] for error in json.loads(str(caught.value))["errors"])
        assert re.search(words, told)
        header = {"key": "header", "value": {"summary": "m"}}
        file = {"key": "file", "value": {"path": "README.md", "content": bad.content}}
        reply = get_session().post(
            f"{hub.url}/api/datasets/tester/d/commit/main",
            content=f"{json.dumps(header)}\n{json.dumps(file)}\n",
            headers={"authorization": f"Bearer {hub.token}"},
        )
        assert reply.status_code == 400
        assert re.search(f"Invalid metadata in README.md: .*{words}", reply.json()["error"])
        assert hub.repo("dataset", "tester/d")["head"] == before

    def test_no_metadata_is_a_warning(self, hub, tmp_path):
        hub.put("dataset", "tester/d", {})
        (tmp_path / "card").mkdir()
        (tmp_path / "card/README.md").write_text("# Rows\n")
        with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
            HfApi().upload_folder(repo_id="tester/d", repo_type="dataset", folder_path=tmp_path / "card")
        assert hub.read("dataset", "tester/d", "README.md") == b"# Rows\n"


class TestCollections:
    def test_is_made_filled_and_taken_away(self, hub):
        api = HfApi()
        for kind in ("dataset", "model"):
            hub.put(kind, "tester/run", {})
        made = api.create_collection("A run: it's new!", namespace="lab", description="All of it", private=True)
        assert made.slug.startswith("lab/a-run-it-s-new-")
        api.add_collection_item(made.slug, "tester/run", "dataset", note="The rows")
        api.add_collection_item(made.slug, "tester/run", "model")
        got = api.get_collection(made.slug)
        assert [(item.item_id, item.item_type, item.note) for item in got.items] == [
            ("tester/run", "dataset", "The rows"),
            ("tester/run", "model", None),
        ]
        assert (got.private, got.description, got.url) == (True, "All of it", f"{hub.url}/collections/{made.slug}")
        api.update_collection_item(made.slug, got.items[1].item_object_id, position=0, note="First")
        api.delete_collection_item(made.slug, got.items[0].item_object_id)
        api.update_collection_metadata(made.slug, private=False)
        (held,) = hub.collections()
        assert [(item["id"], item["type"], item["note"]["text"]) for item in held["items"]] == [
            ("tester/run", "model", "First")
        ]
        assert [one.slug for one in api.list_collections(owner="lab")] == [made.slug]
        api.delete_collection(made.slug)
        assert hub.collections() == []

    def test_taken_titles_and_items_are_409(self, hub):
        api = HfApi()
        hub.put("model", "tester/run", {})
        made = api.create_collection("A run")
        with pytest.raises(HfHubHTTPError, match="409"):
            api.create_collection("A run")
        assert api.create_collection("A run", exists_ok=True).slug == made.slug
        api.add_collection_item(made.slug, "tester/run", "model")
        with pytest.raises(HfHubHTTPError, match="409"):
            api.add_collection_item(made.slug, "tester/run", "model")
        assert len(api.add_collection_item(made.slug, "tester/run", "model", exists_ok=True).items) == 1
        assert len(hub.collections()) == 1

    def test_refusals(self, hub):
        api = HfApi()
        made = api.create_collection("A run", private=True)
        for status, call in (
            (404, lambda: api.add_collection_item(made.slug, "tester/none", "model")),
            (403, lambda: api.create_collection("B", namespace="library")),
            (403, lambda: api.create_collection("B", token=hub.read_token)),
            (404, lambda: api.get_collection(made.slug, token=hub.other_token)),
            (400, lambda: api.create_collection("x" * 61)),
            (400, lambda: api.create_collection("B", description="x" * 151)),
        ):
            with pytest.raises(HfHubHTTPError) as caught:
                call()
            assert caught.value.response.status_code == status
