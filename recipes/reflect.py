"""Reflect: an oracle criticises and rewrites every row; the pairs it wrote are extracted.

python recipes/reflect.py --config recipes/quickstart/reflect.yaml
python recipes/reflect.py --dataset rows.jsonl --oracle openai --oracle_model gpt-4.1-mini --dry_run
accelerate launch recipes/reflect.py --dataset rows.jsonl --oracle transformers --oracle_model Qwen/Qwen2.5-7B-Instruct
"""

import shutil
from pathlib import Path

from hub_cards.cli import is_main_process, run
from hub_cards.launch import join_processes
from hub_cards.publishing.stage import StagePush
from hub_cards.rows import load_rows
from hub_cards.stages import lineage_of, run_stage
from hub_cards.storage import work_dir
from reflection.config import ReflectConfig
from reflection.oracles import make_oracle
from reflection.oracles.limits import find_limit
from reflection.outcome import check_outcome
from reflection.plan import make_plan
from reflection.prompts import load_prompts
from reflection.reflect import Asking, ask, assemble


def main(config: ReflectConfig) -> None:
    if config.oracle != "transformers" and not is_main_process():
        return
    record = config.planned_record()
    if config.dry_run:
        if is_main_process():
            print(make_plan(load_rows(config, config.where).dataset, config, how_to_ask(config)).as_text())
        return

    def compute():
        state = join_processes() if config.oracle == "transformers" else None
        rows, asking = load_rows(config, config.where), how_to_ask(config)
        oracle = make_oracle(config, state)
        ask(rows.dataset, config.variants, oracle, asking)
        if state is not None:
            state.destroy_process_group()
        if not is_main_process():
            return None, {}
        parts = work_dir(Path(config.output_dir))
        if config.oracle != "recorded":  # the answers are in the store; parts of an earlier run may lack some
            shutil.rmtree(parts, ignore_errors=True)
        variants, counts = assemble(rows.dataset, config.variants, oracle, asking, record.fingerprint, parts)
        return variants, {**rows.notes, **check_outcome(counts, config, oracle), "prompts": asking.prompt_texts()}

    run_stage(config.output_dir, record, lineage_of(record, "dataset"), compute, settled=False, push=StagePush(config))


def how_to_ask(config: ReflectConfig) -> Asking:
    return Asking(
        load_prompts(config.prompt_file),
        structured=config.output_format == "json_schema",
        limit=find_limit(config),
        can_resample=config.oracle != "recorded",
    )


if __name__ == "__main__":
    run(main, ReflectConfig, __doc__, every_process=True)
