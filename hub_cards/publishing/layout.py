"""Lay a run, or the result of one stage, out as its Hub repositories: all is here and checked before it is pushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from datasets import Dataset, DatasetDict

from hub_cards.cards.about import About
from hub_cards.cards.data_set import write_dataset_card, write_statistics_card
from hub_cards.cards.model import EXAMPLE_QUESTION, copy_report, write_model_card
from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.publishing.contents import Batch, copy_model, published_configs, statistics_configs, write_configs
from hub_cards.publishing.manifest import write_manifest
from hub_cards.publishing.publish import check_laid_out
from hub_cards.stages import find_record
from hub_cards.storage import load_folder

DATASET, STATISTICS, MODEL = "dataset", "statistics", "model"
PLOTS = "plots"


# From the name of a template and a question, the prompt as text or messages.
ExamplePrompt = Callable[[str, str], str | list[dict[str, str]]]


def lay_out_dataset(
    folder: Path,
    score: Path,
    select: Path,
    about: About,
    add_prompts: Callable[[Batch, str], Batch],
    draw: Callable[[DatasetDict, Dataset, Path], bool],
) -> dict[str, int]:
    """The recycled data set: a config a variant and `selected`, plots, card, records.

    Args:
        score, select: the folders of these stages.
        add_prompts: from a batch of rows and the name of a template, `prompt` and `completion`.
        draw: draws the plots of scored variants and of what became of them into a folder; False where it cannot.

    Returns:
        The rows of each config.

    Raises:
        BadInputError: score and select are not of one run, or no row was kept.
    """
    scored, selection, records = load_folder(score), load_folder(select), read_records(select)
    template = find_record(records, "score").config["template"]
    configs = published_configs(scored, selection, lambda rows: add_prompts(rows, template))
    folder.mkdir()
    draw(scored, selection["decisions"], folder / PLOTS)
    _finish_dataset(folder, configs, records, about, DATASET)
    return {name: len(rows) for name, rows in configs.items()}


def lay_out_result(folder: Path, configs: Mapping[str, Dataset], records: list[StepRecord], about: About) -> None:
    """The result of one stage by itself, its parts the configs."""
    folder.mkdir()
    _finish_dataset(folder, dict(configs), records, about, records[-1].step)


def _finish_dataset(
    folder: Path, configs: dict[str, Dataset], records: list[StepRecord], about: About, kind: str
) -> None:
    patterns = write_configs(folder, configs)
    write_records(folder, records)
    write_dataset_card(folder, configs, patterns, records, about)
    write_manifest(folder, kind)
    check_laid_out(folder)


def lay_out_statistics(folder: Path, score: Path, about: About) -> None:
    """The scores by themselves."""
    configs, records = statistics_configs(load_folder(score)), read_records(score)
    folder.mkdir()
    patterns = write_configs(folder, configs)
    write_records(folder, records)
    write_statistics_card(folder, configs, patterns, records, about)
    write_manifest(folder, STATISTICS)
    check_laid_out(folder)


def lay_out_model(
    folder: Path, sft: Path, about: About, example_prompt: ExamplePrompt, evaluate: Path | None = None
) -> None:
    """The model with its card; where it was evaluated, the results are in the card and the report beside it."""
    copy_model(sft, folder)
    (folder / "README.md").unlink(missing_ok=True)  # a hard link: the stage keeps its own
    write_model_page(folder, read_records(sft), about, example_prompt, evaluate)


def write_model_page(
    folder: Path, records: list[StepRecord], about: About, example_prompt: ExamplePrompt, evaluate: Path | None
) -> None:
    """The card of a model, and the report of its evaluation, into a folder that may hold the model or not."""
    evaluation = None
    if evaluate is not None:
        evaluation = read_records(evaluate)[-1]
        copy_report(evaluate, folder)
    prompt = example_prompt(find_record(records, "sft").config["template"], EXAMPLE_QUESTION)
    write_model_card(folder, records, about, evaluation, prompt)
    write_manifest(folder, MODEL)
    check_laid_out(folder)
