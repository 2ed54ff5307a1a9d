"""Publish: lay a run out as its Hub repositories, data set, statistics and model with their cards; push and read back.

python recipes/publish.py --config recipes/quickstart/publish.yaml --folder runs/quickstart
python recipes/publish.py --folder runs/mine --hub_dataset_id me/mine --hub_model_id me/mine-7b --push_to_hub true
"""

import time
from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.config import EVALUATION, PublishConfig
from hub_cards.provenance import StepRecord, write_records
from hub_cards.publishing.about_run import tag_of
from hub_cards.publishing.access import can_ask, check_access
from hub_cards.publishing.layout import lay_out_dataset, lay_out_model, lay_out_statistics
from hub_cards.publishing.publish import Repository, publish, show_plan, write_receipts
from hub_cards.publishing.target import DATASET, MODEL, STATISTICS, STEP
from hub_cards.stages import stage
from hub_cards.storage import new_folder
from scoring.report import draw_set
from training.formatting import example_prompt, prompt_completion


def main(config: PublishConfig) -> None:
    targets, record = config.targets(), config.planned_record()
    asks = config.push_to_hub or (config.dry_run and can_ask())
    said = record.config["license"], record.config["language"] or ()
    states = check_access(list(targets.values()), *said) if asks else None
    output_dir = Path(config.output_dir)
    with stage(output_dir, record) as needed:
        if needed:
            started = time.monotonic()
            with new_folder(output_dir) as folder:
                counts = lay_out(config, record, folder)
                write_records(folder, [record.finished(counts, time.monotonic() - started)])
            made = sorted(path.name for path in output_dir.iterdir() if path.is_dir())
            say(STEP, f"laid out {', '.join(made)} in {output_dir}")
    repositories = [
        Repository(target, output_dir / kind, tag_of(record))
        for kind, target in targets.items()
        if (output_dir / kind).is_dir()
    ]
    if config.dry_run:
        print(show_plan(repositories, states))
    elif config.push_to_hub:
        write_receipts(output_dir, publish(repositories))


def lay_out(config: PublishConfig, record: StepRecord, folder: Path) -> dict[str, int]:
    """Write every repository of the run; the rows of each config of the data set."""
    score, select, sft = (config.stage_folder(name) for name in ("score", "select", "sft"))
    local = config.local_places()
    dataset = folder / DATASET
    counts = lay_out_dataset(dataset, score, select, record, prompt_completion, draw_set, config.report(), local)
    lay_out_statistics(folder / STATISTICS, score, record, local)
    if "sft" in record.inputs:
        evaluate = config.stage_folder(EVALUATION) if EVALUATION in record.inputs else None
        lay_out_model(folder / MODEL, sft, record, example_prompt, evaluate, local)
    return counts


if __name__ == "__main__":
    run(main, PublishConfig, __doc__)
