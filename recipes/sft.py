"""Train: TRL's SFTTrainer on a selection, loss on the response only.

python recipes/sft.py --config recipes/quickstart/sft.yaml
accelerate launch recipes/sft.py --config recipes/quickstart/sft.yaml
"""

import time
from pathlib import Path

from hub_cards.cards import write_model_card
from hub_cards.cli import is_main_process, run_main, say
from hub_cards.provenance import write_records
from hub_cards.rows import load_rows
from hub_cards.stages import find_record, lineage, stage
from hub_cards.storage import new_folder, work_dir
from training.config import parse_sft, planned_record


def main() -> None:
    arguments, sft, model = parse_sft(description=__doc__)
    record = planned_record()
    earlier = lineage(arguments.dataset)
    scored = find_record(earlier, "score")
    if scored and scored.config["template"] != arguments.template:
        say("sft", f"warning: trains with template {arguments.template}, scored with {scored.config['template']}")
    output_dir = Path(sft.output_dir)
    work = work_dir(output_dir) / record.fingerprint
    with stage(output_dir, record) as needed:
        if not needed:
            return
        from training.sft import format_rows, train

        started = time.monotonic()
        rows = format_rows(load_rows(arguments).dataset, arguments.template, record.fingerprint, work / "rows")
        say("sft", f"{len(rows)} rows, template {arguments.template}, from {model.model_name_or_path}")
        sft.output_dir = str(work)
        revision = record.inputs["model"].revision
        if not is_main_process():
            train(rows, sft, model, revision, save_to=output_dir)  # writes nothing: only the main process saves
            return
        with new_folder(output_dir) as folder:
            counts = train(rows, sft, model, revision, save_to=folder)
            records = [*earlier, record.finished(counts, time.monotonic() - started)]
            write_records(folder, records)
            write_model_card(folder, records)
        say("sft", f"saved the model in {output_dir}: {counts['steps']} steps, mean loss {counts['train_loss']}")


if __name__ == "__main__":
    run_main(main)
