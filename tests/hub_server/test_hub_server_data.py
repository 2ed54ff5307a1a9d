"""The real datasets against the local Hub: pushes, loads, columns; and the traps of these clients, which are silent."""

import pandas
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

pytestmark = pytest.mark.filterwarnings("ignore:Warnings while validating metadata")


def rows(start: int, count: int) -> Dataset:
    numbers = range(start, start + count)
    return Dataset.from_dict({"row_id": [f"r{number}" for number in numbers], "score": [1 / (1 + n) for n in numbers]})


class TestDataSets:
    @pytest.mark.parametrize("private", [True, False])
    def test_several_configs_are_pushed_and_loaded(self, hub, private):
        name = "tester/rows"
        # The default comes first: set_default fails on the second config (KeyError: 'default').
        DatasetDict(train=rows(10, 3)).push_to_hub(name, "selected", set_default=True, private=private)
        DatasetDict(train=rows(0, 5), test=rows(5, 2)).push_to_hub(name, "original", num_shards={"train": 2, "test": 1})
        hub.fresh_cache()
        assert sorted(get_dataset_config_names(name)) == ["original", "selected"]
        assert load_dataset(name)["train"].to_dict() == rows(10, 3).to_dict()
        assert load_dataset(name, "original", split="test").to_dict() == rows(5, 2).to_dict()
        assert list(load_dataset(name, "original", split="train", streaming=True)) == rows(0, 5).to_list()
        held = hub.repo("dataset", name)
        assert (held["private"], sum(path.startswith("original/train-") for path in held["files"])) == (private, 2)
        assert held["files"]["original/test-00000-of-00001.parquet"]["lfs"]
        assert len(held["commits"]) == 3  # one a push, after the one of the new repository
        if private:
            hub.login(hub.other_token)
            hub.fresh_cache()
            with pytest.raises(DatasetNotFoundError):
                load_dataset(name)

    @pytest.mark.usefixtures("hub")
    def test_every_revision_stays_loadable(self):
        first = DatasetDict(train=rows(0, 2)).push_to_hub("tester/rows").oid
        DatasetDict(train=rows(7, 3)).push_to_hub("tester/rows")
        HfApi().create_tag("tester/rows", repo_type="dataset", tag="run-1", revision=first)
        DatasetDict(train=rows(9, 1)).push_to_hub("tester/rows", revision="side")
        for revision, wanted in ((first, rows(0, 2)), ("run-1", rows(0, 2)), (None, rows(7, 3)), ("side", rows(9, 1))):
            assert load_dataset("tester/rows", revision=revision, split="train").to_dict() == wanted.to_dict()

    def test_two_columns_move_few_bytes(self, hub, tmp_path):
        table = pandas.DataFrame({"row_id": range(5000), "text": [f"{n:0200d}" for n in range(5000)], "score": 0.5})
        table.to_parquet(tmp_path / "t.parquet", compression=None)
        hub.put("dataset", "tester/d", {"t.parquet": (tmp_path / "t.parquet").read_bytes()})
        with HfFileSystem(block_size=2**14).open("datasets/tester/d/t.parquet") as file:
            read = pq.read_table(file, columns=["row_id", "score"])
        assert read.num_rows == 5000
        served = hub.requests("GET", server="storage")
        size = hub.repo("dataset", "tester/d")["files"]["t.parquet"]["size"]
        assert all(line["range"] and line["status"] == 206 for line in served)
        assert 0 < sum(line["sent"] for line in served) < size / 5

    def test_is_loaded_offline_from_the_cache(self, hub):
        DatasetDict(train=rows(0, 2)).push_to_hub("tester/rows")
        load_dataset("tester/rows")
        hub.go_offline()
        hub.clear()
        assert load_dataset("tester/rows")["train"].to_dict() == rows(0, 2).to_dict()
        with pytest.raises(ConnectionError):
            load_dataset("tester/others")
        assert hub.requests() == []


class TestTraps:
    def test_pushing_a_data_set_with_other_columns_breaks_it(self, hub):
        rows(0, 2).push_to_hub("tester/rows")
        other = rows(0, 2).rename_column("score", "loss")
        other.push_to_hub("tester/rows")
        hub.fresh_cache()
        with pytest.raises(DatasetGenerationError):
            load_dataset("tester/rows")
        DatasetDict(train=other).push_to_hub("tester/rows")
        hub.fresh_cache()
        assert load_dataset("tester/rows")["train"].column_names == ["row_id", "loss"]

    def test_a_race_is_not_tried_again(self, hub):
        DatasetDict(train=rows(0, 2)).push_to_hub("tester/rows")
        hub.fault("POST", "/commit/main", race={"rival.txt": "first"})
        with pytest.raises(HfHubHTTPError) as caught:
            DatasetDict(train=rows(5, 2)).push_to_hub("tester/rows")
        assert caught.value.response.status_code == 412
        held = hub.repo("dataset", "tester/rows")
        assert (held["commits"][0]["author"], hub.read("dataset", "tester/rows", "rival.txt")) == ("rival", b"first")
        DatasetDict(train=rows(5, 2)).push_to_hub("tester/rows")
        assert load_dataset("tester/rows")["train"].to_dict() == rows(5, 2).to_dict()

    @pytest.mark.parametrize("trouble", ["no access", "refused"])
    def test_a_failed_load_gives_the_cache(self, hub, trouble):
        DatasetDict(train=rows(0, 2)).push_to_hub("tester/rows", private=True)
        load_dataset("tester/rows")
        DatasetDict(train=rows(7, 2)).push_to_hub("tester/rows")
        if trouble == "refused":
            hub.fault(times=None, status=500)
        else:
            hub.login(hub.other_token)
        assert load_dataset("tester/rows")["train"].to_dict() == rows(0, 2).to_dict()
        hub.fresh_cache()
        with pytest.raises(FileNotFoundError):  # DatasetNotFoundError, where it may not be seen, is one too
            load_dataset("tester/rows")

    def test_listings_are_remembered(self, hub):
        hub.put("dataset", "tester/d", {"a.txt": "1"})
        files = HfFileSystem()
        files.ls("datasets/tester/d")
        hub.put("dataset", "tester/d", {"b.txt": "2"})
        assert "datasets/tester/d/b.txt" not in files.ls("datasets/tester/d", detail=False)
        files.invalidate_cache()
        assert "datasets/tester/d/b.txt" in files.ls("datasets/tester/d", detail=False)
