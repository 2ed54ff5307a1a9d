"""Evaluate: a model answers judge sets, a judge compares the answers with a baseline's, benchmarks are run.

python recipes/evaluate_model.py --config recipes/quickstart/evaluate.yaml
python recipes/evaluate_model.py --model_name_or_path runs/mine/sft --baseline meta-llama/Llama-2-7b-hf --judge gpt-4.1
accelerate launch recipes/evaluate_model.py --model_name_or_path runs/mine/sft --benchmarks open_llm_leaderboard_v1
"""

import shutil
import time
from pathlib import Path

from hub_cards.cli import is_main_process, run, say
from hub_cards.launch import join_processes
from hub_cards.provenance import fingerprint_of, read_records, write_records
from hub_cards.publishing.model import ModelPush
from hub_cards.stages import find_record, lineage_of, stage
from hub_cards.storage import new_folder, work_dir
from training.evaluation_config import STEP, EvaluateConfig
from training.formatting import example_prompt


def main(config: EvaluateConfig) -> None:
    record, output_dir = config.planned_record(), Path(config.output_dir)
    push = ModelPush(config.model_target(), "", example_prompt)
    push.check_evaluation(record.inputs["model"])
    with stage(output_dir, record) as needed:
        if needed:
            evaluate_model(config, record, output_dir)
    if is_main_process():
        from training.evaluation_report import printed

        print(f"\n{printed(read_records(output_dir)[-1])}", flush=True)
    push.push_evaluation(record.inputs["model"], output_dir)


def evaluate_model(config, record, output_dir) -> None:
    from training.evaluation import evaluate
    from training.evaluation_report import BENCHMARKS, write_evaluation
    from training.win_rate_chart import require_matplotlib

    started = time.monotonic()
    if config.is_judged:
        require_matplotlib()
    if not config.is_judged and config.judge is not None:
        say(STEP, f"judge {config.judge}: has nothing to compare with and is not asked; give --baseline")
    if not config.is_judged and config.baseline is not None:
        say(STEP, f"baseline {config.baseline}: is compared by nobody; name a --judge")
    earlier = lineage_of(record, "model")
    trained = find_record(earlier, "sft")
    if trained and trained.config["template"] != config.template:
        say(STEP, f"warning: answers with template {config.template}, trained with {trained.config['template']}")
    work = work_dir(output_dir)
    if is_main_process() and (output_dir / BENCHMARKS).is_dir():  # an earlier evaluation's are as good
        shutil.copytree(output_dir / BENCHMARKS, work / BENCHMARKS, dirs_exist_ok=True)
    state = join_processes()  # only now: an evaluation that is up to date starts no torch
    state.wait_for_everyone()
    found = evaluate(config, record, work, state)
    state.destroy_process_group()
    if not is_main_process():
        return
    unfinished, digest = found.counts.pop("unfinished", 0), fingerprint_of(found.counts)
    finished = record.finished(found.counts, time.monotonic() - started, result=digest, unfinished=unfinished)
    with new_folder(output_dir) as folder:
        write_evaluation(folder, found, finished, work / BENCHMARKS)
        write_records(folder, [*earlier, finished])
    say(STEP, f"saved answers, report and records in {output_dir}")


if __name__ == "__main__":
    run(main, EvaluateConfig, __doc__, every_process=True)
