"""Score: the student's four losses, IFD and reversed IFD, for every variant of every row.

python recipes/score.py --config recipes/quickstart/score.yaml
accelerate launch recipes/score.py --config recipes/quickstart/score.yaml
"""

from datetime import timedelta
from functools import partial
from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.rows import load_variants
from hub_cards.stages import lineage, run_stage
from hub_cards.storage import work_dir
from scoring.config import ScoreConfig

RANKS_MAY_DIFFER_BY = timedelta(days=7)  # one rank can start its share later, or have the slower device


def main(config: ScoreConfig) -> None:
    record = config.planned_record()

    def compute():
        import torch  # only now: a stage that is up to date starts no torch
        from accelerate import PartialState

        from scoring.distributed import score_variants
        from scoring.student import load_scorer, runs_bfloat16_slowly

        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=RANKS_MAY_DIFFER_BY)
        say("score", f"{state.num_processes} process(es) on {state.device.type}")
        scorer = load_scorer(
            config.model_name_or_path,
            template=config.template,
            dtype=config.dtype,
            max_length=config.max_length,
            span=config.span,
            keep_token_losses=config.keep_token_losses,
            attn_implementation=config.attn_implementation,
            max_batch_tokens=config.max_batch_tokens,
            source=record.inputs["model"],
            device=state.device,
        )
        if runs_bfloat16_slowly(scorer.engine.model):
            say("score", "warning: this CPU has no bfloat16 instructions; --dtype float32 is faster and exact")
        folder = work_dir(Path(config.output_dir))
        variants = load_variants(config)
        scored = score_variants(variants, scorer, record.fingerprint, folder, state, partial(say, "score"))
        state.destroy_process_group()
        return scored

    run_stage(config.output_dir, record, lineage(config.dataset), compute)


if __name__ == "__main__":
    run(main, ScoreConfig, __doc__, every_process=True)
