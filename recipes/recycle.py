"""Recycle: run a recipe, one process a stage, in order; what is up to date is skipped.

python recipes/recycle.py recipes/quickstart --output_dir runs/quickstart
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hub_cards.cli import explicit_settings, parse_config, run_main
from hub_cards.config import PublishConfig
from hub_cards.errors import BadInputError
from hub_cards.launch import launch, launcher_words, show
from hub_cards.provenance import StepRecord
from hub_cards.publishing.about_run import licence_to_publish
from hub_cards.publishing.access import check_access
from hub_cards.publishing.target import Target
from hub_cards.report.config import ReportConfig, check_output, is_written
from hub_cards.report.identity import REPORT_PAGE
from hub_cards.sources import Source
from hub_cards.storage import check_output_dir, is_up_to_date
from hub_cards.summary import summarize
from reflection.config import ReflectConfig
from scoring.config import ScoreConfig, SelectConfig
from training import config as sft_config
from training.evaluation_config import EvaluateConfig

# Flags of `publish` that may be given for the whole run.
PUSH_FLAGS = (
    *("push_to_hub", "private", "license", "hub_dataset_id", "hub_statistics_id", "hub_model_id"),
    *("hub_revision", "hub_tag"),
)
WHOLE_RUN = ""
SCRIPTS = Path(os.path.relpath(Path(__file__).parent))


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe: its script, how it takes earlier stages' results, and how it is checked and planned."""

    script: str
    reads: dict[str, str]  # by flag the stage whose folder it takes; WHOLE_RUN: the run's
    validate: Callable[[list[str]], object]
    plan: Callable[[list[str]], StepRecord]
    page: str = ""  # the name of what it writes where that is one file and not a folder

    def place(self, name: str, run_folder: Path) -> Path:
        """Where its result is in a run."""
        return run_folder / (self.page or name)


def of_config(config_class: type, script: str, reads: dict[str, str]) -> Stage:
    """A stage whose settings are one of our dataclasses."""
    return Stage(
        script,
        reads,
        lambda argv: parse_config(config_class, argv),
        lambda argv: parse_config(config_class, argv).planned_record(),
    )


def sft(reads: str) -> Stage:
    """A training on what a selection kept."""
    return Stage("sft.py", {"--dataset": reads}, sft_config.parse_sft, sft_config.planned_record)


STAGES = {
    "reflect": of_config(ReflectConfig, "reflect.py", {}),
    # Cherry's pre-experience: a model that has seen a little of the data is the one that scores it.
    "experience_score": of_config(ScoreConfig, "score.py", {"--dataset": "reflect"}),
    "experience_select": of_config(SelectConfig, "select_rows.py", {"--dataset": "experience_score"}),
    "experience_sft": sft("experience_select"),
    "score": of_config(ScoreConfig, "score.py", {"--dataset": "reflect", "--model_name_or_path": "experience_sft"}),
    "select": of_config(SelectConfig, "select_rows.py", {"--dataset": "score"}),
    "sft": sft("select"),
    "evaluate": of_config(EvaluateConfig, "evaluate_model.py", {"--model_name_or_path": "sft"}),
    "report": replace(of_config(ReportConfig, "report.py", {"--dataset": WHOLE_RUN}), page=REPORT_PAGE),
    "publish": of_config(PublishConfig, "publish.py", {"--folder": WHOLE_RUN}),
}
TRAINING = ("experience_sft", "sft")
SHARE_THEIR_WORK = ("score.py", "sft.py", "evaluate_model.py")  # among the processes of a launcher


def main() -> None:
    arguments = parse_arguments()
    recipe, launcher = Path(arguments.recipe), launcher_words(arguments.launcher)
    run_folder = Path(arguments.output_dir or f"runs/{recipe.name}")
    present = [name for name in STAGES if (recipe / f"{name}.yaml").is_file()]
    if not present:
        raise BadInputError(f"{recipe}: is no recipe folder; none of {', '.join(STAGES)} has a .yaml in it")
    names = list(STAGES)
    first, last = names.index(arguments.from_stage or names[0]), names.index(arguments.to_stage or names[-1])
    lines = {
        name: command_line(name, recipe, run_folder, present) for name in present if first <= names.index(name) <= last
    }
    if "publish" in lines:
        lines["publish"] += push_flags(arguments)
    elif push_flags(arguments):
        raise BadInputError(f"{push_flags(arguments)[0]}: is the publish stage's, which is not among those to run")
    configs = check_all(lines, run_folder, arguments.dry_run)
    check_publishing(configs, lambda: source_of(recipe, run_folder, present))
    for name, line in lines.items():
        # What was published is asked of the Hub, which may have lost it.
        if up_to_date(name, line, run_folder) and not pushes(line):
            print(f"[{name}] up to date, skipped: {STAGES[name].place(name, run_folder)}", flush=True)
            continue
        starter = launcher if STAGES[name].script in SHARE_THEIR_WORK else ["python"]
        command = [*starter, str(SCRIPTS / STAGES[name].script), *line]
        show(command)
        if not arguments.dry_run:
            launch(name, command)
    if not arguments.dry_run:
        print(f"\n{summarize(run_folder, present)}", flush=True)


def push_flags(arguments: argparse.Namespace) -> list[str]:
    """What was given of the flags of `publish`, as its command line has them."""
    given = {name: getattr(arguments, name) for name in PUSH_FLAGS}
    return [word for name, value in given.items() if value not in (None, False) for word in (f"--{name}", str(value))]


def pushes(line: list[str]) -> bool:
    """Whether a stage's command line publishes what it makes."""
    return bool(explicit_settings(line).get("push_to_hub"))


def check_all(lines: dict[str, list[str]], run_folder: Path, dry_run: bool) -> dict[str, object]:
    """Report a mistake in the last stage's YAML now, not after the oracle was paid; the settings that were checked.

    Args:
        dry_run: what a training finds missing here, a GPU say, is a line and not the end: the plan is what is asked.
    """
    configs = {}
    for name, line in lines.items():
        if STAGES[name].page:
            check_output(STAGES[name].place(name, run_folder))
        else:
            check_output_dir(run_folder / name, name.removeprefix("experience_"))
        # TRL's settings need torch to be checked: only where training is to come.
        if name in TRAINING and not pushes(line) and up_to_date(name, line, run_folder):
            continue
        try:
            configs[name] = STAGES[name].validate(line)
        except BadInputError as error:
            if not dry_run or name not in TRAINING:
                raise
            print(f"[{name}] could not start here: {error}", flush=True)
    return configs


def check_publishing(configs: dict[str, object], find_source: Callable[[], Source]) -> None:
    """Report now that there is no licence to pass on, or that the Hub would refuse."""
    for name, config in configs.items():
        if name == "publish" or (not STAGES[name].page and pushes_config(config)):
            own = config[0] if isinstance(config, tuple) else config
            # An evaluation goes into the card of a published model, which has its licence.
            licence = None if name == "evaluate" else own.license or licence_to_publish("", find_source())
            check_access(targets_of(name, config), licence)


def pushes_config(config: object) -> bool:
    """Whether checked settings publish what the stage makes; for a training TRL's own say so."""
    return (config[1] if isinstance(config, tuple) else config).push_to_hub


def targets_of(name: str, config: object) -> list[Target]:
    """Where a stage publishes to."""
    if name in TRAINING:
        target = sft_config.push_target(*config[:2])
    elif name == "evaluate":
        target = config.model_target()
    elif name == "publish":
        return list(config.targets().values()) if config.push_to_hub else []
    else:
        target = config.target(name.removeprefix("experience_"))
    return [] if target is None else [target]


def source_of(recipe: Path, run_folder: Path, present: list[str]) -> Source:
    """What the first stage of the recipe reads."""
    return STAGES[present[0]].validate(command_line(present[0], recipe, run_folder, present)).source()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a folder with one YAML a stage")
    parser.add_argument("--output_dir", help="folder of the run (default: runs/<name of the recipe>)")
    parser.add_argument("--from_stage", choices=STAGES, help="leave the earlier stages as they are")
    parser.add_argument("--to_stage", choices=STAGES, help="stop after this stage")
    parser.add_argument(
        "--launcher", default="python", help="what starts score, sft and evaluate: `accelerate launch …`"
    )
    parser.add_argument("--dry_run", action="store_true", help="print what would run, and run nothing")
    push = parser.add_argument_group("publishing", "these go to the publish stage, see recipes/publish.py --help")
    push.add_argument("--push_to_hub", action="store_true")
    for name in PUSH_FLAGS[1:]:
        push.add_argument(f"--{name}")
    return parser.parse_args()


def command_line(name: str, recipe: Path, run_folder: Path, present: list[str]) -> list[str]:
    """The flags of a stage: its YAML, its place in the run, and the results of the stages that it reads."""
    flags = ["--config", str(recipe / f"{name}.yaml")]
    for flag, stage in STAGES[name].reads.items():
        if stage == WHOLE_RUN or stage in present:
            flags += [flag, str(run_folder / stage)]
    return [*flags, "--output" if STAGES[name].page else "--output_dir", str(STAGES[name].place(name, run_folder))]


def up_to_date(name: str, argv: list[str], run_folder: Path) -> bool:
    """Whether the stage's result is there; an input that is still to be made says no."""
    place, is_done = STAGES[name].place(name, run_folder), is_written if STAGES[name].page else is_up_to_date
    try:
        return is_done(place, STAGES[name].plan(argv))
    except BadInputError:
        return False


if __name__ == "__main__":
    run_main(main)
