"""The cards of data sets: their data come from step records, their prose stands in Jinja templates."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

from hub_cards.arrow import arrow_column
from hub_cards.cards.about import About
from hub_cards.cards.columns import shown_columns
from hub_cards.cards.limits import data_limits, score_of
from hub_cards.cards.lineage import selection_of, source_of
from hub_cards.cards.metadata import dataset_data, default_config
from hub_cards.cards.parts import literal, plots_of, shared, steps_of_rows, write_card
from hub_cards.provenance import StepRecord
from hub_cards.report.identity import REPORT_PAGE
from hub_cards.schema import REFLECTED_VARIANTS, VARIANTS

CONFIGS = {
    "original": "the pairs as they were",
    "reflect_instruction": "rewritten instruction and its answer",
    "reflect_response": "the old instruction with a better answer",
    "reflect_both": "rewritten instruction with a better answer",
    "decisions": "the ledger: of every row the outcome, its reason, and the scores that it was decided by",
    "token_losses": "the losses of all target tokens, from which every score can be taken again",
}
DATASET_TAGS = ["reflection-tuning", "instruction-tuning", "data-recycling"]
STATISTICS_TAGS = ["reflection-tuning", "instruction-tuning", "data-selection", "ifd"]


def write_dataset_card(
    folder: Path, configs: dict[str, Dataset], patterns: dict[str, str], records: list[StepRecord], about: About
) -> None:
    """Write `README.md` with the metadata by which `load_dataset(folder, config)` finds its files.

    Of a whole run, or of one stage by itself: there are sections for the steps that the records have.

    Args:
        folder: holds the files; the images of `plots/` are shown where they are.
        patterns: for each config the glob pattern of its files, as `write_configs` returns them.
        records: the lineage, the oldest step first.
    """
    data = dataset_data(folder, configs, patterns, records, about, DATASET_TAGS)
    rewritten = any(map(_holds_rewrites, configs.values()))
    content = {**shared(records, about, rewritten), **_of_files(folder, configs, records, about, "dataset")}
    content["limits"] = data_limits(steps_of_rows(records, rewritten))
    write_card(folder, "dataset_card.md.jinja", data, content)


def write_statistics_card(
    folder: Path, configs: dict[str, Dataset], patterns: dict[str, str], records: list[StepRecord], about: About
) -> None:
    """Write the `README.md` of the scores by themselves: whose they are, of which rows, and how to select by them.

    Args:
        folder, patterns: as of `write_dataset_card`.
        records: the lineage up to the step that scored.
    """
    score = score_of(records)
    scorer = score.inputs.get("model") or score.inputs.get("embedding_model")
    title = f"{about.title}: scores by {Path(scorer.location).name}" if scorer else f"{about.title}: scores"
    data = dataset_data(folder, configs, patterns, records, about, STATISTICS_TAGS)
    data.pretty_name = title
    rewritten = any(name in REFLECTED_VARIANTS for name in configs)
    content = {**shared(records, about, rewritten), **_of_files(folder, configs, records, about, "statistics")}
    content |= {
        "title": title,
        "limits": data_limits(steps_of_rows(records, rewritten)),
        **_commands(folder, score, configs, records, about),
    }
    write_card(folder, "statistics_card.md.jinja", data, content)


def _holds_rewrites(part: Dataset) -> bool:
    """Whether rows are of the oracle's; the columns of its answers are there in any part of a run that asked it."""
    return "variant" in part.column_names and any(
        name in REFLECTED_VARIANTS for name in pc.unique(arrow_column(part, "variant")).to_pylist()
    )


def _of_files(
    folder: Path, configs: dict[str, Dataset], records: list[StepRecord], about: About, kind: str
) -> dict[str, Any]:
    """What a data set's template says of the files, and how it loads them."""
    revision = about.places.revision(kind)
    return {
        "sizes": {name: f"{len(part):,}" for name, part in configs.items()},
        "largest": f"{max(len(part) for part in configs.values()):,}",
        "meanings": {name: _meaning(name, part, kind) for name, part in configs.items()},
        "columns": shown_columns(configs),
        "plots": plots_of(folder, selection_of(records)),
        "has_report": (folder / REPORT_PAGE).is_file(),
        "place": literal(getattr(about.places, kind) or str(folder)),
        "revision": revision and literal(revision),
        "default": literal(default_config(list(configs))),
    }


def _meaning(name: str, part: Dataset, kind: str) -> str:
    if kind == "statistics" and name in VARIANTS:
        return f"scores of {CONFIGS[name]}"
    if name == "selected":
        ready = {"prompt", "completion"} <= set(part.column_names)
        return f"the kept rows{', with `prompt` and `completion` ready for `trl sft`' if ready else ''}"
    return CONFIGS.get(name, "")


def _commands(
    folder: Path, score: StepRecord, configs: dict[str, Dataset], records: list[StepRecord], about: About
) -> dict[str, str]:
    """How to select by the scores, and how to verify them, as a shell takes it."""
    texts = about.places.dataset or source_of(records).location
    read = f"--dataset {shlex.quote(texts)} --statistics {shlex.quote(about.places.statistics or str(folder))}"
    strategy = "selective" if "reflect_response" in configs else "cherry --fraction 0.05"
    verify = ""
    if "score_status" in score.counts and "model" in score.inputs:
        model, config = shlex.quote(score.inputs["model"].location), score.config
        verify = (
            f"python recipes/verify_statistics.py {read} \\\n    --model_name_or_path {model} "
            f"--template {config['template']} --max_length {config['max_length']}"
        )
    return {"select_command": f"python recipes/select_rows.py {read} --strategy {strategy}", "verify_command": verify}
