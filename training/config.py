"""The settings of `recipes/sft.py` that are ours; the others are TRL's own. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub_cards.cli import build_config, explicit_settings, parse_config
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.publishing.target import MODEL, Target, required_target
from hub_cards.rows import DataArguments
from hub_cards.sources import find_model
from scoring.templates import check_template_name
from training.curriculum import parse_order
from training.global_batch import share_out
from training.launch import check_launch, launched_processes
from training.packages import check_adapter_packages, check_trackers

STEP = "sft"
VERSION = 2
TRL_PER_DEVICE = 8  # its default; known here because importing it would import torch
# Settings that name inputs or places, or say how to report: they do not decide the result.
NOT_IDENTITY = {
    *("config", "dataset", "dataset_revision", "model_name_or_path", "model_revision", "output_dir"),
    *("logging_steps", "logging_strategy", "logging_first_step", "disable_tqdm", "log_level"),
    *("report_to", "run_name", "project", "trackio_space_id"),
    *("save_strategy", "save_steps", "save_total_limit", "dataloader_num_workers", "dataset_num_proc"),
    *("push_to_hub", "hub_model_id", "hub_revision", "private", "hub_tag", "license", "streaming"),
}
# TRL's own ways to the Hub, and what there is instead.
HUB_INSTEAD = {
    "hub_token": "tokens come from HF_TOKEN or `hf auth login`, and from nowhere else",
    "hub_private_repo": "give --private",
    "hub_strategy": "the model is published once, when it is whole",
    "hub_always_push": "the model is published once, when it is whole",
}
# How a global batch is shared out: with `global_batch_size` that does not decide the result either.
SHARE = {"per_device_train_batch_size", "gradient_accumulation_steps"}


@dataclass
class SftArguments(DataArguments):
    """Fine-tune the student on a selection, loss on the response only."""

    template: str = field(default="vicuna", metadata={"help": "prompt template; the one the rows were scored with"})
    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "rows (packed: sequences) of one step on all devices together; gradient accumulation follows from "
            "it (default: as TRL's own flags say)"
        },
    )
    curriculum: str | None = field(
        default=None,
        metadata={"help": "train in the order of a score: `ifd_ppl` the lowest first, `'ifd_ppl desc'` the highest"},
    )

    private: bool = field(
        default=True, metadata={"help": "whether a new repository is for its owner's eyes alone; false: for all"}
    )
    hub_tag: str | None = field(
        default=None, metadata={"help": "name of this run's tag (default: `run-` and digits of its fingerprint)"}
    )
    license: str = field(
        default="",
        metadata={"help": "licence of the data, for --push_to_hub (default: what the source's own card states)"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template_name(self.template)
        if self.global_batch_size is not None and self.global_batch_size < 1:
            raise BadInputError(f"--global_batch_size {self.global_batch_size}: must be at least 1")
        if self.curriculum is not None:
            parse_order(self.curriculum)


def parse_sft(argv: Sequence[str] | None = None, description: str | None = None) -> tuple[SftArguments, Any, Any]:
    """Our arguments, TRL's `SFTConfig` and its `ModelConfig`. Imports torch.

    With `global_batch_size` the number of accumulated batches is set to what makes it up in this launch; with
    `curriculum` the rows are taken in their order.

    Raises:
        BadInputError: a key is unknown, a value is refused, settings exclude each other, a package is missing, or no
            model is named.
    """
    from trl import ModelConfig, SFTConfig

    argv = list(sys.argv[1:] if argv is None else argv)
    classes = (SftArguments, SFTConfig, ModelConfig)
    settings = explicit_settings(argv)
    for name, instead in HUB_INSTEAD.items():
        if settings.get(name):
            raise BadInputError(f"--{name}: {instead}")
    try:
        arguments, sft, model = parse_config(classes, [*argv, *_accumulation(settings)], description)
    except BadInputError as error:
        if "bf16/gpu" not in str(error):
            raise
        raise BadInputError(
            "--bf16 (TRL's default): no device here computes in it; on a CPU pass --use_cpu true --bf16 false"
        ) from error
    if not model.model_name_or_path:
        raise BadInputError("--model_name_or_path: name the model to train, a folder or a Hub id")
    _check_numbers(sft)
    _check_together(arguments, sft, settings)
    quantized = next((flag for flag in ("load_in_4bit", "load_in_8bit") if getattr(model, flag)), None)
    check_adapter_packages(model.use_peft, quantized)
    check_trackers(sft.report_to)
    check_launch(sft.world_size)
    if arguments.curriculum:
        sft.train_sampling_strategy = "sequential"
    return arguments, sft, model


def push_target(arguments: SftArguments, sft: Any) -> Target | None:
    """Where the model is published; None where it is not. The trainer itself pushes nothing.

    Raises:
        BadInputError: it is to be published and no repository is named.
    """
    if not sft.push_to_hub:
        return None
    sft.push_to_hub = False
    how = arguments.private, sft.hub_revision or "main", arguments.hub_tag
    return required_target(sft.hub_model_id, "model", MODEL, how)


def planned_record(argv: Sequence[str] | None = None) -> StepRecord:
    """What a run with this command line would do, from what is set explicitly: TRL's own defaults need torch to know.

    Raises:
        BadInputError: an input is missing.
    """
    settings = explicit_settings(argv)
    for needed in ("dataset", "model_name_or_path"):
        if needed not in settings:
            raise BadInputError(f"--{needed}: is needed")
    own = SftArguments.__dataclass_fields__.keys() & settings.keys()
    arguments = build_config(SftArguments, {name: settings[name] for name in own})
    inputs = {
        "dataset": arguments.source(),
        "model": find_model(settings["model_name_or_path"], settings.get("model_revision")),
    }
    left_out = NOT_IDENTITY | (SHARE if arguments.global_batch_size is not None else set())
    left_out |= {name for name in ("global_batch_size", "curriculum") if getattr(arguments, name) is None}
    config = {"template": arguments.template, **{k: v for k, v in settings.items() if k not in left_out}}
    return StepRecord(STEP, VERSION, config, inputs)


def _accumulation(settings: dict[str, Any]) -> list[str]:
    """The flag that makes up the global batch; given before TRL's settings are made, for DeepSpeed's come from them."""
    size = settings.get("global_batch_size")
    if size is None:
        return []
    per_device = settings.get("per_device_train_batch_size", TRL_PER_DEVICE)
    for name, value in (("global_batch_size", size), ("per_device_train_batch_size", per_device)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadInputError(f"--{name} {value}: must be a whole number, at least 1")
    for name in ("gradient_accumulation_steps", "auto_find_batch_size"):
        if settings.get(name):
            raise BadInputError(f"--{name}: follows from --global_batch_size {size}; give only one of the two")
    return ["--gradient_accumulation_steps", str(share_out(size, per_device, launched_processes()).accumulated)]


def _check_numbers(sft: Any) -> None:
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        if getattr(sft, name) < 1:
            raise BadInputError(f"--{name} {getattr(sft, name)}: must be at least 1")
    if sft.max_length is not None and sft.max_length < 2:
        raise BadInputError(f"--max_length {sft.max_length}: must be at least 2")
    if sft.max_steps == 0 or (sft.max_steps < 0 and sft.num_train_epochs <= 0):
        raise BadInputError("nothing to train: --max_steps or --num_train_epochs must be above 0")


def _check_together(arguments: SftArguments, sft: Any, settings: dict[str, Any]) -> None:
    """Settings that exclude each other, or that another way of working has taken the place of."""
    if sft.resume_from_checkpoint or sft.save_only_model:
        flag = "resume_from_checkpoint" if sft.resume_from_checkpoint else "save_only_model"
        raise BadInputError(
            f"--{flag}: leave it out; the same command goes on from its last whole checkpoint by itself"
        )
    if sft.packing and sft.max_length is None:
        raise BadInputError("--packing: needs a --max_length, which is the length of a packed sequence")
    if sft.padding_free and not sft.packing and sft.max_length is not None:
        raise BadInputError(
            "--padding_free: TRL cuts no row then; write max_length: null into the YAML, or pass --packing true"
        )
    if arguments.curriculum is None:
        return
    if sft.packing and sft.packing_strategy != "wrapped":
        raise BadInputError(
            f"--curriculum {arguments.curriculum}: --packing_strategy {sft.packing_strategy} sorts the rows by their "
            "lengths; pass --packing false or --packing_strategy wrapped"
        )
    sampling = settings.get("train_sampling_strategy", "sequential")
    if sft.shuffle_dataset or sampling != "sequential":
        flag = "shuffle_dataset" if sft.shuffle_dataset else f"train_sampling_strategy {sampling}"
        raise BadInputError(f"--{flag}: takes the rows out of the order of --curriculum {arguments.curriculum}")
