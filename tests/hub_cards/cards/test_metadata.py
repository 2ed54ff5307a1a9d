"""The metadata of the cards."""

from dataclasses import replace

import pytest
from datasets import Dataset, Features, Value

from hub_cards.cards.about import About, Places
from hub_cards.cards.metadata import dataset_data, default_config, model_data
from hub_cards.sources import Source

ABOUT = About(title="A\ntitle", license="mit")


class Counted(Dataset):
    """A data set that says that it has more rows than it holds."""

    def __len__(self):
        return self.claimed


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        *((1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (9_999, "1K<n<10K"), (10_000, "10K<n<100K")),
        *((999_999, "100K<n<1M"), (1_000_000, "1M<n<10M"), (10**9, "1B<n<10B")),
    ],
)
def test_size_is_that_of_the_largest_config(rows, size, tmp_path, lineage):
    large = Counted(Dataset.from_dict({"row_id": ["x"]}).data)
    large.claimed = rows
    configs = {"selected": Dataset.from_dict({"row_id": ["x"]}), "a": large}
    data = dataset_data(tmp_path, configs, dict.fromkeys(configs, "a/*"), lineage, ABOUT, [])
    assert data.size_categories == [size]
    assert data.pretty_name == "A title"


def test_one_config_has_its_info_alone(tmp_path, lineage):
    rows = Dataset.from_dict({"n": [None]}, features=Features({"n": Value("null")}))
    data = dataset_data(tmp_path, {"original": rows}, {"original": "a/*"}, lineage, ABOUT, [])
    assert data.to_dict()["dataset_info"]["features"] == [{"name": "n", "dtype": "null"}]
    assert data.to_dict()["dataset_info"]["config_name"] == "original"


def test_default_is_the_first_where_there_is_no_usual_one():
    assert default_config(["b", "a"]) == "b"


def test_a_models_data_are_the_published_ones_or_their_source(lineage, sft_record):
    base = Source("folder", "models/tiny", "f")
    assert model_data([*lineage, sft_record], base, ABOUT, []).datasets is None
    local = replace(ABOUT, places=Places(dataset="./out/dataset"))
    assert model_data([*lineage, sft_record], base, local, []).datasets is None
    published = replace(ABOUT, places=Places(dataset="me/rows"))
    assert model_data([*lineage, sft_record], base, published, []).datasets == ["me/rows"]
