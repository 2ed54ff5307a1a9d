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
    missing_line,
    reason_table,
    settings_line,
    span_line,
    statistics_table,
    status_table,
    steps_table,
    strategy_line,
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
    tags = ["reflection-tuning", "instruction-tuning", "data-recycling"]
    card = DatasetCard.from_template(
        _data_of(configs, patterns, license, title, tags),
        template_path=str(TEMPLATES / "dataset_card.md.jinja"),
        title=title,
        notes=notes,
        **_sizes_and_columns(configs),
        **_shared(records),
    )
    card.save(folder / "README.md")


def write_statistics_card(
    folder: Path,
    configs: dict[str, Dataset],
    patterns: dict[str, str],
    records: list[StepRecord],
    license: str,
    title: str,
) -> None:
    """Write the `README.md` of the scores by themselves: whose they are, of which rows, and how to select by them.

    Args:
        patterns: for each config the glob pattern of its files, as `write_configs` returns them.
        records: the lineage up to the step that scored.
    """
    inputs = _score_of(records).inputs
    scorer = inputs.get("model") or inputs["embedding_model"]
    title = f"{title}: scores by {Path(scorer.location).name}"
    tags = ["reflection-tuning", "instruction-tuning", "data-selection", "ifd"]
    card = DatasetCard.from_template(
        _data_of(configs, patterns, license, title, tags),
        template_path=str(TEMPLATES / "statistics_card.md.jinja"),
        title=title,
        **_sizes_and_columns(configs),
        **_shared(records),
    )
    card.save(folder / "README.md")


def _data_of(
    configs: dict[str, Dataset], patterns: dict[str, str], license: str, title: str, tags: list[str]
) -> DatasetCardData:
    rows = max(len(part) for part in configs.values())
    return DatasetCardData(
        license=license,
        pretty_name=title,
        task_categories=["text-generation"],
        tags=tags,
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


def _sizes_and_columns(configs: dict[str, Dataset]) -> dict[str, Any]:
    names = dict.fromkeys(column for part in configs.values() for column in part.column_names)
    return {
        "sizes": {name: len(part) for name, part in configs.items()},
        "columns": [COLUMNS_BY_NAME[name] for name in names if name in COLUMNS_BY_NAME],
    }


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


def _score_of(records: list[StepRecord]) -> StepRecord | None:
    """The step that took IFD, for embeddings and the like may have been added after it; else the last that scored."""
    return find_record(records, "score", counted="score_status") or find_record(records, "score")


def _shared(records: list[StepRecord]) -> dict[str, Any]:
    """What both templates say of the steps."""
    reflect, select = (find_record(records, step) for step in ("reflect", "select"))
    score = _score_of(records)
    has_status = score is not None and "score_status" in score.counts
    steps = select.counts["steps"] if select else []
    return {
        "settings": settings_line,
        "is_selective": "selective" in [step["step"] for step in steps],
        "strategy_line": strategy_line(select) if select else "",
        "steps_table": as_markdown(steps_table(select)) if len(steps) > 1 else "",
        "missing_line": missing_line(score) if score else "",
        "records": records,
        "reflect": reflect,
        "score": score,
        "select": select,
        "reflect_table": as_markdown(status_table(reflect, "reflect_status", "variant")) if reflect else "",
        "usage_line": usage_line(reflect) if reflect and reflect.counts.get("usage") else "",
        "span_line": span_line(score) if has_status else "",
        "score_table": as_markdown(status_table(score, "score_status", "variant")) if has_status else "",
        "statistics_table": as_markdown(statistics_table(score)) if score else "",
        "branch_table": as_markdown(branch_table(select)) if select else "",
        "reason_table": as_markdown(reason_table(select)) if select else "",
    }
