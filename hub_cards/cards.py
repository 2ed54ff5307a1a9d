"""Dataset and model cards: the data for them comes from step records, the prose stands in Jinja templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData

from hub_cards.layout import DEFAULT_CONFIG
from hub_cards.provenance import StepRecord
from hub_cards.schema import COLUMNS_BY_NAME
from hub_cards.stages import find_record
from hub_cards.tables import (
    as_markdown,
    branch_table,
    reason_table,
    span_line,
    statistics_table,
    status_table,
    usage_line,
)

TEMPLATES = Path(__file__).parent / "templates"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_dataset_card(
    folder: Path,
    configs: dict[str, Dataset],
    patterns: dict[str, str],
    records: list[StepRecord],
    license: str,
    title: str,
    notes: str,
) -> None:
    """Write `README.md` with the metadata by which `load_dataset(folder, config)` finds its files.

    Args:
        patterns: for each config the glob pattern of its files, as `write_configs` returns them.
    """
    rows = max(len(part) for part in configs.values())
    data = DatasetCardData(
        license=license,
        pretty_name=title,
        task_categories=["text-generation"],
        tags=["reflection-tuning", "instruction-tuning", "data-recycling"],
        size_categories=[next((name for limit, name in SIZES if rows < limit), "n>1M")],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": patterns[name]}],
                **({"default": True} if name == DEFAULT_CONFIG else {}),
            }
            for name in configs
        ],
    )
    names = dict.fromkeys(column for part in configs.values() for column in part.column_names)
    card = DatasetCard.from_template(
        data,
        template_path=str(TEMPLATES / "dataset_card.md.jinja"),
        title=title,
        notes=notes,
        sizes={name: len(part) for name, part in configs.items()},
        columns=[COLUMNS_BY_NAME[name] for name in names if name in COLUMNS_BY_NAME],
        **_shared(records),
    )
    card.save(folder / "README.md")


def write_model_card(
    folder: Path,
    records: list[StepRecord],
    license: str | None = None,
    title: str = "Fine-tuned student",
    notes: str = "",
) -> None:
    """Write the trained model's `README.md`; a local base model is not named as if it were on the Hub."""
    sft = find_record(records, "sft")
    base, data_source = sft.inputs["model"], records[0].inputs["dataset"]
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reflection-tuning", "sft", "trl"],
        base_model=base.location if base.kind == "hub" else None,
        datasets=[data_source.location] if data_source.kind == "hub" else None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATES / "model_card.md.jinja"),
        title=title,
        notes=notes,
        sft=sft,
        **_shared(records),
    )
    card.save(folder / "README.md")


def _shared(records: list[StepRecord]) -> dict[str, Any]:
    """What both templates say of the steps."""
    reflect, score, select = (find_record(records, step) for step in ("reflect", "score", "select"))
    return {
        "records": records,
        "reflect": reflect,
        "score": score,
        "select": select,
        "reflect_table": as_markdown(status_table(reflect, "reflect_status", "variant")) if reflect else "",
        "usage_line": usage_line(reflect) if reflect and reflect.counts.get("usage") else "",
        "span_line": span_line(score) if score else "",
        "score_table": as_markdown(status_table(score, "score_status", "variant")) if score else "",
        "statistics_table": as_markdown(statistics_table(score)) if score else "",
        "branch_table": as_markdown(branch_table(select)) if select else "",
        "reason_table": as_markdown(reason_table(select)) if select else "",
    }
