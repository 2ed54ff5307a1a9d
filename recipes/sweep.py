"""Sweep: train on several selections of the same rows, evaluate every model, and put all into one table.

python recipes/sweep.py --config recipes/quickstart-comparison/sweep.yaml
"""

import os
from pathlib import Path

from hub_cards.cli import parse_config, run
from hub_cards.launch import launch, launcher_words, show
from hub_cards.storage import check_output_dir, is_up_to_date
from scoring.config import SelectConfig
from training.comparison import write_comparison
from training.config import parse_sft, planned_record
from training.evaluation_config import EvaluateConfig
from training.sweep import Arm, SweepConfig

SCRIPTS = Path(os.path.relpath(Path(__file__).parent))
STAGES = {
    "select": ("select_rows.py", lambda argv: parse_config(SelectConfig, argv).planned_record()),
    "sft": ("sft.py", planned_record),
    "evaluate": ("evaluate_model.py", lambda argv: parse_config(EvaluateConfig, argv).planned_record()),
}


def main(config: SweepConfig) -> None:
    check_all(config)
    for arm, stage in config.stages():
        flags, folder = config.flags(arm, stage), config.folder(arm, stage)
        script, plan = STAGES[stage]
        if is_up_to_date(folder, plan(flags)):
            print(f"[{arm.name} {stage}] up to date, skipped: {folder}", flush=True)
            continue
        starter = ["python"] if stage == "select" else launcher_words(config.launcher)
        command = [*starter, str(SCRIPTS / script), *flags]
        show(command)
        launch(f"{arm.name} {stage}", command)
    print(f"\n{write_comparison(config)}", flush=True)


def check_all(config: SweepConfig) -> None:
    """Report a mistake in the last arm's last stage now, not after the first ones were trained and the judge paid."""
    for arm, stage in config.stages():
        check_output_dir(config.folder(arm, stage), stage)
        if stage == "select":
            selection = parse_config(SelectConfig, config.flags(arm, stage))
            if not arm.follows:  # else it reads a selection that is still to be made
                selection.planned_record()
    # The inputs of these are still to be made: another data set and the base model stand in for them.
    first = Arm("check", ("all",))
    parse_sft(config.flags(first, "sft"))
    if config.evaluate:
        parse_config(EvaluateConfig, config.flags(Arm("check", ("untrained",)), "evaluate")).check_key()


if __name__ == "__main__":
    run(main, SweepConfig, __doc__)
