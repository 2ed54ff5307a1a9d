"""Publish: lay a run out as its Hub repositories, data set, statistics and model, with cards on how they were made.

python recipes/publish.py --config recipes/quickstart/publish.yaml --folder runs/quickstart
"""

import time
from functools import partial
from pathlib import Path

from hub_cards.cards import EXAMPLE_QUESTION, copy_report, write_dataset_card, write_model_card, write_statistics_card
from hub_cards.cli import run, say
from hub_cards.config import EVALUATION, PublishConfig
from hub_cards.layout import copy_model, published_configs, statistics_configs, write_configs
from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.stages import find_record, stage
from hub_cards.storage import load_folder, new_folder
from training.formatting import example_prompt, prompt_completion


def main(config: PublishConfig) -> None:
    record = config.planned_record()
    output_dir = Path(config.output_dir)
    with stage(output_dir, record) as needed:
        if not needed:
            return
        started = time.monotonic()
        scored, selection = load_folder(config.stage_folder("score")), load_folder(config.stage_folder("select"))
        lineage = read_records(config.stage_folder("select"))
        template = find_record(lineage, "score").config["template"]
        configs = published_configs(scored, selection, partial(prompt_completion, template=template))
        with new_folder(output_dir) as folder:
            dataset = folder / "dataset"
            dataset.mkdir()
            patterns = write_configs(dataset, configs)
            write_dataset_card(dataset, configs, patterns, lineage, config.license, config.title, config.notes)
            write_records(dataset, lineage)
            statistics, scores = folder / "statistics", statistics_configs(scored)
            statistics.mkdir()
            patterns, scoring = write_configs(statistics, scores), read_records(config.stage_folder("score"))
            write_statistics_card(statistics, scores, patterns, scoring, config.license, config.title)
            write_records(statistics, scoring)
            if "sft" in record.inputs:
                publish_model(config, record, folder / "model")
            counts = {name: len(rows) for name, rows in configs.items()}
            write_records(folder, [record.finished(counts, time.monotonic() - started)])
        say(
            "publish",
            f"laid out {', '.join(sorted(p.name for p in output_dir.iterdir() if p.is_dir()))} in {output_dir}",
        )


def publish_model(config: PublishConfig, record: StepRecord, folder: Path) -> None:
    """The model with its card; where it was evaluated, the results are in the card and the report beside it."""
    copy_model(config.stage_folder("sft"), folder)
    (folder / "README.md").unlink(missing_ok=True)  # a hard link: the stage keeps its own
    trained, evaluation = read_records(config.stage_folder("sft")), None
    if EVALUATION in record.inputs:
        measured = config.stage_folder(EVALUATION)
        evaluation = read_records(measured)[-1]
        copy_report(measured, folder)
    prompt = example_prompt(find_record(trained, "sft").config["template"], EXAMPLE_QUESTION)
    write_model_card(folder, trained, config.license, config.title, config.notes, evaluation, prompt)


if __name__ == "__main__":
    run(main, PublishConfig, __doc__)
