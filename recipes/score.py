"""Score: the student's four losses, IFD and reversed IFD, for every variant of every row; or what else --scores names.

python recipes/score.py --config recipes/quickstart/score.yaml
accelerate launch recipes/score.py --config recipes/quickstart/score.yaml
"""

from functools import partial
from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.launch import join_processes
from hub_cards.publishing.stage import StagePush
from hub_cards.rows import load_variants
from hub_cards.stages import lineage_of, run_stage
from hub_cards.storage import work_dir
from scoring.config import ScoreConfig


def main(config: ScoreConfig) -> None:
    record = config.planned_record()

    def compute():
        # Only now: a stage that is up to date starts no torch.
        from scoring.distributed import Ranks, score_variants
        from scoring.kinds import measures_of

        state = join_processes()
        say("score", f"{state.num_processes} process(es) on {state.device.type}")
        ranks = Ranks(record.fingerprint, work_dir(Path(config.output_dir)), state, partial(say, "score"))
        scored = score_variants(load_variants(config), measures_of(config, record, ranks), ranks)
        state.destroy_process_group()
        return scored

    earlier = lineage_of(record, "model", "dataset")
    run_stage(config.output_dir, record, earlier, compute, push=StagePush(config))


if __name__ == "__main__":
    run(main, ScoreConfig, __doc__, every_process=True)
