"""Train: TRL's SFTTrainer on a selection, loss on the response only.

python recipes/sft.py --config recipes/quickstart/sft.yaml
accelerate launch recipes/sft.py --config recipes/quickstart/sft.yaml
"""

import time
from functools import partial
from pathlib import Path

from hub_cards.cards.model import EXAMPLE_QUESTION, write_model_card
from hub_cards.cli import is_main_process, run_main, say
from hub_cards.provenance import write_records
from hub_cards.publishing.model import ModelPush
from hub_cards.stages import find_record, lineage_of, stage
from hub_cards.storage import new_folder, work_dir
from training.config import parse_sft, planned_record, push_target
from training.formatting import example_prompt
from training.reading import read_rows

SAY = partial(say, "sft")


def main() -> None:
    arguments, sft, model = parse_sft(description=__doc__)
    record = planned_record()
    arguments.dataset_revision = record.inputs["dataset"].revision  # a branch may move
    earlier = lineage_of(record, "dataset")
    push = ModelPush(push_target(arguments, sft), arguments.license, example_prompt)
    push.check(record, earlier)
    output_dir = Path(sft.output_dir)
    train_model(arguments, sft, model, record, earlier, output_dir)
    push.push(output_dir)


def train_model(arguments, sft, model, record, earlier, output_dir):
    scored = find_record(earlier, "score")
    if scored and scored.config["template"] != arguments.template:
        SAY(f"warning: trains with template {arguments.template}, scored with {scored.config['template']}")
    work = work_dir(output_dir) / record.fingerprint
    with stage(output_dir, record) as needed:
        if not needed:
            return
        from training.sft import batch_of, format_rows, one_after_another, train

        started = time.monotonic()
        rows, notes = read_rows(arguments, SAY)
        with one_after_another():
            rows = format_rows(rows, arguments.template, record.fingerprint, work / "rows")
        SAY(f"{len(rows)} rows, template {arguments.template}, from {model.model_name_or_path}")
        SAY(str(batch_of(sft)))
        sft.output_dir = str(work)
        revision = record.inputs["model"].revision
        if not is_main_process():
            train(rows, sft, model, arguments.template, revision, output_dir)  # only the main process saves
            return
        with new_folder(output_dir) as folder:
            counts = notes | train(rows, sft, model, arguments.template, revision, folder, SAY)
            records = [*earlier, record.finished(counts, time.monotonic() - started)]
            write_records(folder, records)
            write_model_card(folder, records, prompt=example_prompt(arguments.template, EXAMPLE_QUESTION))
        SAY(f"saved the model in {output_dir}: {counts['steps']} steps, mean loss {counts['train_loss']}")


if __name__ == "__main__":
    run_main(main)
