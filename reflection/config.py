"""The settings of `recipes/reflect.py`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, fingerprint_of
from hub_cards.publishing.target import DatasetPushArguments
from hub_cards.rows import DataArguments
from hub_cards.schema import REFLECTED_VARIANTS
from hub_cards.sources import Source, find_model, hash_file
from hub_cards.where import HELP, parse_condition
from reflection.oracles.config import OracleArguments
from reflection.prompts import ReflectionPrompt, load_prompts

STEP = "reflect"
VERSION = 2
OUTPUT_FORMATS = ("markers", "json_schema")


@dataclass
class ReflectConfig(DatasetPushArguments, OracleArguments, DataArguments):
    """Ask an oracle to criticise and rewrite every row, and extract the pairs it wrote."""

    output_dir: str = field(default="runs/reflect", metadata={"help": "folder for the variants"})
    variants: list[str] = field(
        default_factory=lambda: list(REFLECTED_VARIANTS), metadata={"help": "which variants to make"}
    )
    where: list[str] = field(
        default_factory=list, metadata={"help": f"take only rows that pass, in this order: {HELP}".replace("%", "%%")}
    )
    prompt_file: str | None = field(default=None, metadata={"help": "YAML with your own oracle prompts"})
    output_format: str = field(
        default="markers",
        metadata={"help": "how the oracle marks its pair: markers, or json_schema where the endpoint supports it"},
    )
    dry_run: bool = field(
        default=False, metadata={"help": "print what would be asked and what it would cost, and ask nothing"}
    )

    def __post_init__(self) -> None:
        DataArguments.__post_init__(self)
        OracleArguments.__post_init__(self)
        for name in ("variants", "where"):
            if not isinstance(getattr(self, name), list):
                raise BadInputError(f"--{name} {getattr(self, name)!r}: must be a list")
        for variant in self.variants:
            if variant not in REFLECTED_VARIANTS:
                raise BadInputError(
                    f"--variants {variant!r} is unknown; the variants are {', '.join(REFLECTED_VARIANTS)}"
                )
        if not self.variants:
            raise BadInputError(f"--variants: name at least one of {', '.join(REFLECTED_VARIANTS)}")
        for condition in self.where:
            parse_condition(condition)
        if self.output_format not in OUTPUT_FORMATS:
            raise BadInputError(
                f"--output_format {self.output_format!r} is unknown; the formats are {', '.join(OUTPUT_FORMATS)}"
            )
        if self.dry_run and self.oracle == "recorded":
            raise BadInputError("--dry_run: --oracle recorded asks nothing and costs nothing; run it")
        if self.output_format == "json_schema" and self.oracle == "transformers":
            raise BadInputError("--output_format json_schema: is a server's; --oracle transformers knows markers only")

    def _check_markers(self, prompts: dict[str, ReflectionPrompt]) -> None:
        """A prompt that names no markers buys answers that cannot be read."""
        wanted = {"instruction": ("New Instruction", "New Answer"), "response": ("Better Answer",)}
        for name, prompt in prompts.items():
            for marker in wanted[name]:
                if marker not in prompt.criteria:
                    raise BadInputError(
                        f"--prompt_file {self.prompt_file}: the criteria of {name!r} do not ask for [{marker}] … "
                        "[End], by which the answer is found"
                    )

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do: inputs resolved, nothing asked yet.

        Raises:
            BadInputError: an input is missing.
        """
        inputs = {"dataset": self.source()}
        loaded = load_prompts(self.prompt_file)
        if self.output_format == "markers":
            self._check_markers(loaded)
        prompts = {  # as they are sent, around an empty pair: the key of old runs
            name: prompt.messages("", "", "", structured=self.output_format == "json_schema")
            for name, prompt in loaded.items()
        }
        config = {
            **self.view(),
            "oracle": self.oracle,
            "variants": [variant for variant in REFLECTED_VARIANTS if variant in self.variants],
            "prompts": fingerprint_of(prompts),
            "output_format": self.output_format,
            "where": self.where or None,
        }
        if self.oracle == "recorded":
            if not Path(self.recorded_path).is_file():
                raise BadInputError(f"--recorded_path {self.recorded_path}: there is no such file")
            inputs["completions"] = Source("file", self.recorded_path, hash_file(Path(self.recorded_path)))
            return StepRecord(STEP, VERSION, config, inputs)
        config |= {
            # The Batch API is another way to the same answers.
            "oracle": "openai" if self.oracle == "openai_batch" else self.oracle,
            "oracle_model": self.oracle_model,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "oracle_context": self.oracle_context,
            "oracle_tokenizer": self.oracle_tokenizer if self.oracle_context else None,
        }
        if self.oracle == "transformers":
            inputs["oracle"] = find_model(self.oracle_model, self.oracle_revision, "--oracle_model")
        return StepRecord(STEP, VERSION, config, inputs)


@dataclass
class CompletionsConfig:
    """Show what a completion store holds, export it to JSONL, or import such a file."""

    store: str = field(default="runs/completions.sqlite", metadata={"help": "the completion store"})
    export_to: str | None = field(default=None, metadata={"help": "write every completion to this .jsonl file"})
    import_from: str | None = field(default=None, metadata={"help": "take the completions of this .jsonl file in"})
    forget_empty: bool = field(
        default=False, metadata={"help": "drop answers without a choice or a text, so that they are asked for again"}
    )

    def __post_init__(self) -> None:
        if sum(map(bool, (self.export_to, self.import_from, self.forget_empty))) > 1:
            raise BadInputError("--export_to, --import_from and --forget_empty: give one of them")
        if not self.import_from and not Path(self.store).is_file():
            raise BadInputError(f"--store {self.store}: there is no such file")
