"""The settings of `recipes/sft.py` that are ours; the others are TRL's own. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub_cards.cli import build_config, explicit_settings, parse_config
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.rows import DataArguments
from hub_cards.sources import find_model
from scoring.templates import check_template_name

STEP = "sft"
VERSION = 1
# Settings that name inputs or places, or say how to report: they do not decide the result.
NOT_IDENTITY = {
    *("config", "dataset", "dataset_revision", "model_name_or_path", "model_revision", "output_dir"),
    *("logging_steps", "logging_strategy", "report_to", "run_name", "project", "disable_tqdm", "log_level"),
    *("save_strategy", "save_steps", "save_total_limit", "dataloader_num_workers", "dataset_num_proc"),
}


@dataclass
class SftArguments(DataArguments):
    """Fine-tune the student on a selection, loss on the response only."""

    template: str = field(default="vicuna", metadata={"help": "prompt template; the one the rows were scored with"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template_name(self.template)


def parse_sft(argv: Sequence[str] | None = None, description: str | None = None) -> tuple[SftArguments, Any, Any]:
    """Our arguments, TRL's `SFTConfig` and its `ModelConfig`. Imports torch.

    Raises:
        BadInputError: a key is unknown or a value is refused, or no model is named.
    """
    from trl import ModelConfig, SFTConfig

    arguments, sft, model = parse_config((SftArguments, SFTConfig, ModelConfig), argv, description)
    if not model.model_name_or_path:
        raise BadInputError("--model_name_or_path: name the model to train, a folder or a Hub id")
    return arguments, sft, model


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
    config = {"template": arguments.template, **{k: v for k, v in settings.items() if k not in NOT_IDENTITY}}
    return StepRecord(STEP, VERSION, config, inputs)
