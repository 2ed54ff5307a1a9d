"""Score: the student's four losses, IFD and reversed IFD, for every variant of every row.

python recipes/score.py --config recipes/quickstart/score.yaml
accelerate launch recipes/score.py --config recipes/quickstart/score.yaml
"""

from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.rows import load_variants
from hub_cards.stages import lineage, run_stage
from hub_cards.storage import work_dir
from scoring.config import ScoreConfig


def main(config: ScoreConfig) -> None:
    record = config.planned_record()

    def compute():
        import torch  # only now: a stage that is up to date starts no torch
        from accelerate import PartialState

        from scoring.distributed import score_variants
        from scoring.student import load_scorer

        state = PartialState(cpu=not torch.accelerator.is_available())
        say("score", f"{state.num_processes} process(es) on {state.device.type}")
        scorer = load_scorer(config, record.inputs["model"].revision, state.device)
        scored = score_variants(
            load_variants(config), scorer, record.fingerprint, work_dir(Path(config.output_dir)), state
        )
        state.destroy_process_group()
        for name, means in scored[1].get("statistics", {}).items():
            if means["ifd_ppl"] is None:
                say("score", f"warning: no row of {name} has an IFD, see score_status; is --max_length too small?")
        return scored

    run_stage(config.output_dir, record, lineage(config.dataset), compute)


if __name__ == "__main__":
    run(main, ScoreConfig, __doc__, every_process=True)
