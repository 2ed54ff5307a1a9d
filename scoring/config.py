"""The settings of `recipes/score.py` and `recipes/select_rows.py`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.rows import DataArguments
from hub_cards.sources import find_model
from scoring.selection import STRATEGIES
from scoring.spans import PUBLISHED, SPANS
from scoring.templates import check_template_name

SCORE, SCORE_VERSION = "score", 2
SELECT, SELECT_VERSION = "select", 1
DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class ScoreConfig(DataArguments):
    """Score every variant of every row by the student's own losses: IFD and reversed IFD."""

    model_name_or_path: str = field(default="", metadata={"help": "the student: a folder or a Hub id"})
    model_revision: str | None = field(default=None, metadata={"help": "Hub revision; resolved to a commit"})
    output_dir: str = field(default="runs/score", metadata={"help": "folder for the scored variants"})
    template: str = field(default="vicuna", metadata={"help": "prompt template; use the one you will train with"})
    dtype: str = field(default="float32", metadata={"help": f"the student's precision: {', '.join(DTYPES)}"})
    attn_implementation: str | None = field(
        default=None,
        metadata={
            "help": "attention kernel, as transformers names it; texts are then padded. Default: texts are packed, "
            "common prefixes computed once, where the model allows it"
        },
    )
    max_length: int = field(default=2048, metadata={"help": "tokens kept of prompt and response together"})
    span: str = field(
        default=PUBLISHED,
        metadata={
            "help": "which tokens are the target's: `published` (context and target tokenized together, as in the "
            "published statistics) or `aligned` (tokenized apart: the same tokens with and without context)"
        },
    )
    keep_token_losses: bool = field(
        default=False, metadata={"help": "keep the loss of every target token, as list columns"}
    )
    max_batch_tokens: int | None = field(
        default=None,
        metadata={
            "help": "tokens in one forward pass; never changes a result. Default: 2048 on a CPU, on a GPU what fits "
            "into its memory; lowered when memory runs out"
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template_name(self.template)
        if not self.model_name_or_path:
            raise BadInputError("--model_name_or_path: name the student, a folder or a Hub id")
        if self.dtype not in DTYPES:
            raise BadInputError(f"--dtype {self.dtype!r} is unknown; the dtypes are {', '.join(DTYPES)}")
        if self.span not in SPANS:
            raise BadInputError(f"--span {self.span!r} is unknown; the spans are {', '.join(SPANS)}")
        if self.max_length < 2:
            raise BadInputError(f"--max_length {self.max_length}: must be at least 2")
        if self.max_batch_tokens is not None and self.max_batch_tokens < 1:
            raise BadInputError(f"--max_batch_tokens {self.max_batch_tokens}: must be at least 1")

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        config = {
            **self.view(),
            "template": self.template,
            "dtype": self.dtype,
            "attn_implementation": self.attn_implementation,
            "max_length": self.max_length,
            "span": self.span,
            "keep_token_losses": self.keep_token_losses,
        }
        inputs = {"dataset": self.source(), "model": find_model(self.model_name_or_path, self.model_revision)}
        return StepRecord(SCORE, SCORE_VERSION, config, inputs)


@dataclass
class SelectConfig(DataArguments):
    """Select rows by their scores."""

    output_dir: str = field(default="runs/select", metadata={"help": "folder for `selected` and `decisions`"})
    strategy: str = field(default="selective", metadata={"help": f"how to select: {', '.join(STRATEGIES)}"})
    require_reflected_response: bool = field(
        default=True,
        metadata={"help": "keep only winners whose response was reflected, as the published sets do (selective)"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy not in STRATEGIES:
            raise BadInputError(f"--strategy {self.strategy!r} is unknown; the strategies are {', '.join(STRATEGIES)}")

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        if not Path(self.dataset).is_dir():
            raise BadInputError(
                f"--dataset {self.dataset}: there is no such folder; select reads a folder saved by score"
            )
        config = {
            **self.view(),
            "strategy": self.strategy,
            "require_reflected_response": self.require_reflected_response,
        }
        return StepRecord(SELECT, SELECT_VERSION, config, {"dataset": self.source()})
