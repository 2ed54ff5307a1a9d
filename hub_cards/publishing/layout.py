"""Lay a run, or the result of one stage, out as its Hub repositories: all is here and checked before it is pushed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from datasets import Dataset, DatasetDict

from hub_cards.cards.data_set import write_dataset_card, write_statistics_card
from hub_cards.cards.model import EXAMPLE_QUESTION, copy_report, write_model_card
from hub_cards.cards.parts import PLOTS
from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.publishing.about_run import about_of, as_published
from hub_cards.publishing.contents import (
    Batch,
    check_model,
    copy_model,
    published_configs,
    statistics_configs,
    write_configs,
)
from hub_cards.publishing.manifest import write_manifest
from hub_cards.publishing.publish import check_laid_out
from hub_cards.publishing.target import DATASET, MODEL, STATISTICS
from hub_cards.report.identity import REPORT_PAGE
from hub_cards.stages import find_record
from hub_cards.storage import load_folder

# From the name of a template and a question, the prompt as text or messages.
ExamplePrompt = Callable[[str, str], str | list[dict[str, str]]]
Places = Mapping[str, str] | None


def lay_out_dataset(
    folder: Path,
    score: Path,
    select: Path,
    record: StepRecord,
    add_prompts: Callable[[Batch, str], Batch],
    draw: Callable[[DatasetDict, Dataset, Path], bool],
    report: Path | None = None,
    local: Places = None,
) -> dict[str, int]:
    """The recycled data set: a config a variant and `selected`, plots, card, records.

    Args:
        score, select: the folders of these stages.
        record: of the publishing.
        add_prompts: from a batch of rows and the name of a template, `prompt` and `completion`.
        draw: draws the plots of scored variants and of what became of them into a folder; False where it cannot.
        report: the page on the run, which goes with the data; None for none.
        local: where the parts of the run are that are not on the Hub.

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
    if report is not None:
        shutil.copyfile(report, folder / REPORT_PAGE)
    _finish_dataset(folder, configs, [*records, record], DATASET, local)
    return {name: len(rows) for name, rows in configs.items()}


def lay_out_result(folder: Path, configs: Mapping[str, Dataset], records: list[StepRecord], kind: str) -> None:
    """The result of one stage by itself, its parts the configs; the last of the records is the publishing's."""
    folder.mkdir()
    _finish_dataset(folder, dict(configs), records, kind, None)


def _finish_dataset(
    folder: Path, configs: dict[str, Dataset], records: list[StepRecord], kind: str, local: Places
) -> None:
    patterns, records = write_configs(folder, configs), as_published(records)
    write_records(folder, records)
    write_dataset_card(folder, configs, patterns, records, about_of(records, local))
    write_manifest(folder, kind)
    check_laid_out(folder)


def lay_out_statistics(folder: Path, score: Path, record: StepRecord, local: Places = None) -> None:
    """The scores by themselves."""
    configs, records = statistics_configs(load_folder(score)), as_published([*read_records(score), record])
    folder.mkdir()
    patterns = write_configs(folder, configs)
    write_records(folder, records)
    write_statistics_card(folder, configs, patterns, records, about_of(records, local))
    write_manifest(folder, STATISTICS)
    check_laid_out(folder)


def lay_out_model(
    folder: Path,
    sft: Path,
    record: StepRecord,
    example_prompt: ExamplePrompt,
    evaluate: Path | None = None,
    local: Places = None,
) -> None:
    """The model with its card; where it was evaluated, the results are in the card and the report beside it.

    Raises:
        BadInputError: what is in `sft` is no whole model.
    """
    check_model(sft)
    copy_model(sft, folder)
    for name in ("README.md", "provenance.json"):
        (folder / name).unlink(missing_ok=True)  # hard links: the stage keeps its own
    write_model_page(folder, [*read_records(sft), record], example_prompt, evaluate, local)


def write_model_page(
    folder: Path,
    records: list[StepRecord],
    example_prompt: ExamplePrompt,
    evaluate: Path | None,
    local: Places = None,
) -> None:
    """The card and records of a model, and the report of its evaluation, into a folder with or without the model."""
    evaluation, records = None, as_published(records)
    if evaluate is not None:
        (evaluation,) = as_published(read_records(evaluate)[-1:])
        copy_report(evaluate, folder)
    write_records(folder, [*records, *([evaluation] if evaluation else [])])
    prompt = example_prompt(find_record(records, "sft").config["template"], EXAMPLE_QUESTION)
    write_model_card(folder, records, about_of(records, local), evaluation, prompt)
    write_manifest(folder, MODEL)
    check_laid_out(folder)
