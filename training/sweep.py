"""The settings of `recipes/sweep.py`, and what it runs: one training and one evaluation for every arm. No torch."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hub_cards.cli import explicit_settings
from hub_cards.errors import BadInputError
from hub_cards.launch import launcher_words
from hub_cards.provenance import StepRecord, read_records

UNTRAINED, ALL = "untrained", "all"
RANDOM, LENGTH_MATCHED = "random", "length_matched_random"


@dataclass(frozen=True)
class Arm:
    """One of the models that are compared.

    Attributes:
        steps: of its selection; `untrained` alone is the base model, `all` alone a training on every row.
    """

    name: str
    steps: tuple[str, ...]

    @property
    def is_trained(self) -> bool:
        """Whether it is another model than the one that all start from."""
        return self.steps != (UNTRAINED,)

    @property
    def is_selected(self) -> bool:
        """Whether rows are chosen for it."""
        return self.is_trained and self.steps != (ALL,)

    @property
    def follows(self) -> bool:
        """Whether its last step takes the number of its rows, or their lengths, from the reference's selection."""
        name, *options = shlex.split(self.steps[-1])
        given = {option.split("=")[0] for option in options}
        return (name == RANDOM and not given & {"count", "fraction"}) or (
            name == LENGTH_MATCHED and "like" not in given
        )


@dataclass
class SweepConfig:
    """Train on several selections of the same rows, evaluate every model, and put them into one table."""

    dataset: str = field(default="", metadata={"help": "scored rows: a folder saved by score"})
    arms: list[str] = field(
        default_factory=list,
        metadata={
            "help": "what is compared: `NAME = SELECTION`, several steps apart by `;`. `untrained` is the base model, "
            "`all` trains on every row; `random` without a count keeps as many rows as the reference, "
            "`length_matched_random` as long ones too"
        },
    )
    reference: str | None = field(default=None, metadata={"help": "the arm that random ones match; default: the last"})
    baseline: str | None = field(
        default=None, metadata={"help": "the arm whose answers all others are judged against; default: the first"}
    )
    sft: str = field(default="", metadata={"help": "YAML of recipes/sft.py, without --dataset and --output_dir"})
    evaluate: str | None = field(
        default=None, metadata={"help": "YAML of recipes/evaluate_model.py, without model and baseline"}
    )
    launcher: str = field(
        default="python", metadata={"help": "what starts training and evaluation: `accelerate launch …`"}
    )
    output_dir: str = field(default="runs/sweep", metadata={"help": "folder with one folder an arm, and the table"})

    def __post_init__(self) -> None:
        for name in ("dataset", "arms", "sft"):
            if not getattr(self, name):
                raise BadInputError(f"--{name}: is needed")
        if isinstance(self.arms, str):
            self.arms = [self.arms]
        if len(self.all_arms) < 2:
            raise BadInputError("--arms: one alone has nothing to be compared with; name two at least")
        for flag in ("reference", "baseline"):
            self.arm(flag)
        if self.follower_names() and not self.arm("reference").is_selected:
            raise BadInputError(
                f"--reference {self.arm('reference').name}: selects nothing that {self.follower_names()[0]} could "
                "match; name an arm that does"
            )
        if self.arm("reference").is_selected and self.arm("reference").follows:
            raise BadInputError(f"--reference {self.arm('reference').name}: has no number of rows of its own")
        launcher_words(self.launcher)

    @cached_property
    def all_arms(self) -> list[Arm]:
        """The arms in their order; raises `BadInputError` for one that is not `NAME = SELECTION`."""
        arms = []
        for text in self.arms:
            name, equals, steps = text.partition("=")
            name = name.strip()
            found = tuple(step.strip() for step in steps.split(";") if step.strip())
            if not equals or not name or not found:
                raise BadInputError(f"--arms {text!r}: must be NAME = SELECTION, as in `ours = cherry fraction=0.05`")
            if not name.replace("_", "").replace("-", "").isalnum():
                raise BadInputError(
                    f"--arms {name!r}: a name is of letters, digits, `-` and `_`, for it names a folder"
                )
            if name in [arm.name for arm in arms]:
                raise BadInputError(f"--arms {name!r}: is there twice")
            arms.append(Arm(name, found))
        return arms

    def arm(self, flag: str) -> Arm:
        """The arm that `reference` or `baseline` names; raises `BadInputError` where there is none."""
        arms, name = self.all_arms, getattr(self, flag)
        if name is None:
            return arms[0] if flag == "baseline" else arms[-1]
        for arm in arms:
            if arm.name == name:
                return arm
        raise BadInputError(f"--{flag} {name!r}: is no arm; the arms are {', '.join(arm.name for arm in arms)}")

    def follower_names(self) -> list[str]:
        """The arms that match the reference."""
        return [arm.name for arm in self.all_arms if arm.is_selected and arm.follows]

    def folder(self, arm: Arm, stage: str) -> Path:
        """Where a stage of an arm keeps its result."""
        return Path(self.output_dir) / arm.name / stage

    def base_model(self) -> str:
        """The model that every arm starts from; raises `BadInputError` where the YAML names none."""
        model = explicit_settings(["--config", self.sft]).get("model_name_or_path")
        if not model:
            raise BadInputError(f"--sft {self.sft}: names no model_name_or_path")
        return model

    def stages(self) -> list[tuple[Arm, str]]:
        """What there is to do, in an order in which everything that is read is there."""
        arms = self.all_arms
        chosen = [arm for arm in arms if arm.is_selected]
        chosen.sort(key=lambda arm: arm.follows)  # what they follow comes first
        todo = [(arm, "select") for arm in chosen]
        todo += [(arm, "sft") for arm in arms if arm.is_trained]
        if self.evaluate:
            baseline = self.arm("baseline")
            todo += [(arm, "evaluate") for arm in sorted(arms, key=lambda arm: arm != baseline)]
        return todo

    def flags(self, arm: Arm, stage: str) -> list[str]:
        """The flags of a stage's script."""
        output = ["--output_dir", str(self.folder(arm, stage))]
        if stage == "select":
            return ["--dataset", self.dataset, "--strategy", *self.strategy(arm), *output]
        if stage == "sft":
            data = str(self.folder(arm, "select")) if arm.is_selected else self.dataset
            return ["--config", self.sft, "--dataset", data, *output]
        model = str(self.folder(arm, "sft")) if arm.is_trained else self.base_model()
        flags = ["--config", self.evaluate, "--model_name_or_path", model]
        baseline = self.arm("baseline")
        if arm != baseline:
            flags += ["--baseline", str(self.folder(baseline, "evaluate"))]
        return [*flags, *output]

    def strategy(self, arm: Arm) -> list[str]:
        """The steps of an arm's selection, with what they take from the reference filled in once it is selected."""
        if not arm.follows:
            return list(arm.steps)
        folder = self.folder(self.arm("reference"), "select")
        if shlex.split(arm.steps[-1])[0] == LENGTH_MATCHED:
            return [*arm.steps[:-1], f"{arm.steps[-1]} {shlex.quote(f'like={folder}')}"]
        records = read_records(folder)
        count = records[-1].counts["selected"] if records else 1  # not selected yet: only to check the words
        return [*arm.steps[:-1], f"{arm.steps[-1]} count={count}"]

    def records(self, arm: Arm) -> dict[str, StepRecord]:
        """The records of an arm's finished stages."""
        found = {stage: read_records(self.folder(arm, stage)) for stage in ("select", "sft", "evaluate")}
        return {stage: records[-1] for stage, records in found.items() if records}
