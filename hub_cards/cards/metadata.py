"""The metadata of the cards, as the Hub reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

from hub_cards.cards.about import About
from hub_cards.cards.lineage import nearest_on_hub, source_of
from hub_cards.cards.text import one_line
from hub_cards.provenance import StepRecord
from hub_cards.publishing.contents import DEFAULT_CONFIG
from hub_cards.schema import VARIANTS
from hub_cards.sources import Source
from hub_cards.stages import find_record

SPLIT = "train"
SIZES = (
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")),
)
LARGEST = "1B<n<10B"


def dataset_data(
    folder: Path,
    configs: dict[str, Dataset],
    patterns: dict[str, str],
    records: list[StepRecord],
    about: About,
    tags: list[str],
) -> DatasetCardData:
    """The metadata of a data set's card: with them `load_dataset` finds the files, and knows columns and counts.

    Args:
        folder: holds the files that `patterns` name, whose sizes are counted.
    """
    rows = max(len(part) for part in configs.values())
    source = source_of(records)
    data = DatasetCardData(
        **_stated(about),
        pretty_name=one_line(about.title),
        task_categories=["text-generation"],
        tags=tags,
        size_categories=[next((name for limit, name in SIZES if rows < limit), LARGEST)],
        source_datasets=[source.location] if source and source.kind == "hub" else None,
        configs=_configs(configs, patterns),
    )
    infos = {name: _info(folder, name, part, patterns[name]) for name, part in configs.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return data


def default_config(names: list[str]) -> str:
    """The config that `load_dataset` takes when none is named: the selection, else the rows as they were."""
    return next((name for name in (DEFAULT_CONFIG, VARIANTS[0]) if name in names), names[0])


def _configs(configs: dict[str, Dataset], patterns: dict[str, str]) -> list[dict[str, Any]]:
    default = default_config(list(configs))
    return [
        {
            "config_name": name,
            "data_files": [{"split": SPLIT, "path": patterns[name]}],
            **({"default": True} if name == default else {}),
        }
        for name in configs
    ]


def _info(folder: Path, name: str, part: Dataset, pattern: str) -> DatasetInfo:
    split = SplitInfo(SPLIT, num_bytes=part.data.nbytes, num_examples=len(part))
    return DatasetInfo(
        config_name=name,
        features=part.features,
        splits=SplitDict({SPLIT: split}),
        download_size=sum(path.stat().st_size for path in folder.glob(pattern)),
        dataset_size=split.num_bytes,
    )


def model_data(records: list[StepRecord], base: Source, about: About, results: list[EvalResult]) -> ModelCardData:
    """The metadata of a model's card; a local base model, or local data, are not named as if they were on the Hub."""
    read = nearest_on_hub(find_record(records, "sft"), records)
    data_id = about.places.hub_id("dataset") or (read.location if read else None)
    on_hub = {"base_model": base.location, "base_model_relation": "finetune"} if base.kind == "hub" else {}
    return ModelCardData(
        **_stated(about),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reflection-tuning", "sft", "trl"],
        **on_hub,
        datasets=[data_id] if data_id else None,
        **({"model_name": one_line(about.title), "eval_results": results} if results else {}),
    )


def _stated(about: About) -> dict[str, Any]:
    names = {"license_name": about.license_name, "license_link": about.license_link}
    return {"license": about.license, **(names if about.license == "other" else {}), "language": about.language}
