"""The settings of `recipes/reflect.py`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, fingerprint_of
from hub_cards.rows import DataArguments
from hub_cards.schema import REFLECTED_VARIANTS
from hub_cards.sources import Source, hash_file
from reflection.prompts import load_prompts

STEP = "reflect"
VERSION = 1
ORACLES = ("recorded", "openai")


@dataclass
class ReflectConfig(DataArguments):
    """Ask an oracle to criticise and rewrite every row, and extract the pairs it wrote."""

    output_dir: str = field(default="runs/reflect", metadata={"help": "folder for the variants"})
    oracle: str = field(default="openai", metadata={"help": f"who is asked: {', '.join(ORACLES)}"})
    oracle_model: str | None = field(default=None, metadata={"help": "model name at the endpoint (openai)"})
    base_url: str | None = field(default=None, metadata={"help": "OpenAI-compatible endpoint; default: OpenAI itself"})
    recorded_path: str | None = field(default=None, metadata={"help": "completions, JSONL (recorded)"})
    variants: list[str] = field(
        default_factory=lambda: list(REFLECTED_VARIANTS), metadata={"help": "which variants to make"}
    )
    prompt_file: str | None = field(default=None, metadata={"help": "YAML with your own oracle prompts"})
    store: str = field(
        default="runs/completions.sqlite", metadata={"help": "completion store: answers paid for once are kept here"}
    )
    concurrency: int = field(default=16, metadata={"help": "requests in flight at most (openai)"})
    max_tokens: int = field(default=2048, metadata={"help": "length limit of an answer (openai)"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oracle not in ORACLES:
            raise BadInputError(f"--oracle {self.oracle!r} is unknown; the oracles are {', '.join(ORACLES)}")
        if not isinstance(self.variants, list):
            raise BadInputError(f"--variants {self.variants!r}: must be a list")
        for variant in self.variants:
            if variant not in REFLECTED_VARIANTS:
                raise BadInputError(
                    f"--variants {variant!r} is unknown; the variants are {', '.join(REFLECTED_VARIANTS)}"
                )
        if not self.variants:
            raise BadInputError(f"--variants: name at least one of {', '.join(REFLECTED_VARIANTS)}")
        if self.oracle == "recorded" and not self.recorded_path:
            raise BadInputError("--oracle recorded: needs --recorded_path FILE.jsonl")
        if self.oracle == "openai" and not self.oracle_model:
            raise BadInputError("--oracle openai: needs --oracle_model NAME")
        if self.concurrency < 1 or self.max_tokens < 1:
            raise BadInputError("--concurrency and --max_tokens: must be at least 1")

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do: inputs resolved, nothing asked yet.

        Raises:
            BadInputError: an input is missing.
        """
        inputs = {"dataset": self.source()}
        if self.oracle == "recorded":
            if not Path(self.recorded_path).is_file():
                raise BadInputError(f"--recorded_path {self.recorded_path}: there is no such file")
            inputs["completions"] = Source("file", self.recorded_path, hash_file(Path(self.recorded_path)))
        prompts = {name: [prompt.system, prompt.criteria] for name, prompt in load_prompts(self.prompt_file).items()}
        asked = {"oracle_model": self.oracle_model, "max_tokens": self.max_tokens} if self.oracle == "openai" else {}
        config = {
            **self.view(),
            "oracle": self.oracle,
            **asked,
            "variants": [variant for variant in REFLECTED_VARIANTS if variant in self.variants],
            "prompts": fingerprint_of(prompts),
        }
        return StepRecord(STEP, VERSION, config, inputs)
