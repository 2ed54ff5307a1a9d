"""The settings of `recipes/score.py` and `recipes/select_rows.py`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.publishing.target import DatasetPushArguments
from hub_cards.rows import DataArguments
from hub_cards.sources import Source, find_model, find_source, hash_file
from scoring.selection import STRATEGIES
from scoring.selection.steps import HELP, Step, parse_steps
from scoring.spans import PUBLISHED, SPANS
from scoring.templates import check_template_name

SCORE, SCORE_VERSION = "score", 3
SELECT, SELECT_VERSION = "select", 2
RATING_PROMPTS = Path(__file__).parent / "rating_prompts.yaml"
IFD, SELECTIT, EMBEDDING, COHERENCE = "ifd", "selectit", "embedding", "coherence"
PROMPT_EMBEDDING = "prompt_embedding"
# Every kind of score, and what it is.
KINDS = {
    IFD: "four losses, IFD, r-IFD",
    SELECTIT: "the student's ratings",
    EMBEDDING: "sentence embeddings",
    COHERENCE: "similarity of question and answer",
    PROMPT_EMBEDDING: "the student's embedding and ppl of the prompt",
}
STUDENT_KINDS = {IFD, SELECTIT, PROMPT_EMBEDDING}
SENTENCE_KINDS = {EMBEDDING, COHERENCE}
# The sentence embedder of Superfiltering (arXiv 2402.00530), and of V1's coherence (arXiv 2310.11716).
SENTENCE_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
DTYPES = ("float32", "bfloat16", "float16")


def check_scorer(dtype: str, span: str, max_length: int) -> None:
    """Raise `BadInputError` unless a student can score with these settings."""
    if dtype not in DTYPES:
        raise BadInputError(f"--dtype {dtype!r} is unknown; the dtypes are {', '.join(DTYPES)}")
    if span not in SPANS:
        raise BadInputError(f"--span {span!r} is unknown; the spans are {', '.join(SPANS)}")
    if max_length < 2:
        raise BadInputError(f"--max_length {max_length}: must be at least 2")


@dataclass
class ScoreConfig(DatasetPushArguments, DataArguments):
    """Score every variant of every row: by the student's own losses (IFD), its ratings, or embeddings."""

    scores: list[str] = field(
        default_factory=lambda: [IFD],
        metadata={"help": f"what to take: {', '.join(f'{name} ({what})' for name, what in KINDS.items())}"},
    )
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
    rating_prompts: str | None = field(default=None, metadata={"help": "YAML with your own rating prompts (selectit)"})
    selectit_models: list[str] = field(
        default_factory=list,
        metadata={"help": "raters beside the student, for the model level (selectit): folders or Hub ids"},
    )
    embedding_model: str = field(
        default=SENTENCE_EMBEDDER,
        metadata={"help": "sentence-transformers model (embedding, coherence): a folder or a Hub id"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template_name(self.template)
        self._check_scores()
        if not self.model_name_or_path and STUDENT_KINDS & set(self.scores):
            raise BadInputError("--model_name_or_path: name the student, a folder or a Hub id")
        check_scorer(self.dtype, self.span, self.max_length)
        if self.max_batch_tokens is not None and self.max_batch_tokens < 1:
            raise BadInputError(f"--max_batch_tokens {self.max_batch_tokens}: must be at least 1")

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        kinds = set(self.scores)
        config = {**self.view(), "scores": sorted(kinds, key=list(KINDS).index), "template": self.template}
        inputs = {"dataset": self.source()}
        if STUDENT_KINDS & kinds:
            inputs["model"] = find_model(self.model_name_or_path, self.model_revision)
            config |= {name: getattr(self, name) for name in ("dtype", "attn_implementation", "max_length")}
        if IFD in kinds:
            config |= {name: getattr(self, name) for name in ("span", "keep_token_losses")}
        if SELECTIT in kinds:
            prompts = Path(self.rating_prompts or RATING_PROMPTS)
            inputs["rating_prompts"] = Source("file", prompts.name, hash_file(prompts))
            for number, name in enumerate(self.selectit_models, 1):
                inputs[f"rater_{number}"] = find_model(name, flag="--selectit_models")
        if SENTENCE_KINDS & kinds:
            inputs["embedding_model"] = find_model(self.embedding_model, flag="--embedding_model")
        return StepRecord(SCORE, SCORE_VERSION, config, inputs)

    def _check_scores(self) -> None:
        for name in ("scores", "selectit_models"):
            if isinstance(getattr(self, name), str):  # `scores: ifd` in a YAML
                setattr(self, name, [getattr(self, name)])
        for name in self.scores:
            if name not in KINDS:
                raise BadInputError(f"--scores {name!r} is unknown; the scores are {', '.join(KINDS)}")
        if not self.scores:
            raise BadInputError(f"--scores: name one; the scores are {', '.join(KINDS)}")
        if SELECTIT not in self.scores and (self.selectit_models or self.rating_prompts):
            raise BadInputError("--selectit_models and --rating_prompts are for --scores selectit")
        if self.keep_token_losses and IFD not in self.scores:
            raise BadInputError("--keep_token_losses: is for --scores ifd")
        if self.rating_prompts is not None and not Path(self.rating_prompts).is_file():
            raise BadInputError(f"--rating_prompts {self.rating_prompts}: there is no such file")


@dataclass
class SelectConfig(DatasetPushArguments, DataArguments):
    """Select rows, and of each row the variant, by their scores."""

    output_dir: str = field(default="runs/select", metadata={"help": "folder for `selected` and `decisions`"})
    strategy: list[str] = field(
        default_factory=lambda: ["selective"],
        metadata={
            "help": f"how to select: {HELP}: {', '.join(STRATEGIES)} (scoring/selection/README.md)".replace("%", "%%")
        },
    )
    statistics: str | None = field(
        default=None,
        metadata={"help": "published scores of --dataset: a Hub id, a folder or a file; nothing is scored then"},
    )
    statistics_revision: str | None = field(
        default=None, metadata={"help": "Hub revision of the statistics; resolved to a commit"}
    )
    fraction: float | None = field(default=None, metadata={"help": "part of the rows to keep, for the last step"})
    count: int | None = field(default=None, metadata={"help": "exact number of rows to keep, for the last step"})
    seed: int | None = field(default=None, metadata={"help": "for the strategies that draw"})
    require_reflected_response: bool | None = field(
        default=None,
        metadata={
            "help": "keep only winners whose response was reflected, as the published sets do (selective; default true)"
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.strategy, str):  # `strategy: selective` in a YAML
            self.strategy = [self.strategy]
        self.steps()

    def steps(self) -> list[Step]:
        """The strategies with their options, in their order."""
        given = {name: getattr(self, name) for name in ("fraction", "count", "seed", "require_reflected_response")}
        return parse_steps(self.strategy, {name: value for name, value in given.items() if value is not None})

    def statistics_source(self) -> Source | None:
        """The resolved statistics; raises `BadInputError` where there are none at the place named."""
        if self.statistics is None:
            return None
        source = find_source(self.statistics, self.statistics_revision, "--statistics")
        self.statistics_revision = source.revision  # a branch may move before it is read
        return source

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        steps = self.steps()
        inputs = {"dataset": self.source()}
        if self.statistics is not None:
            inputs["statistics"] = self.statistics_source()
        for step in steps:
            inputs |= step.inputs()
        config = {**self.view(), "strategy": [step.view() for step in steps]}
        return StepRecord(SELECT, SELECT_VERSION, config, inputs)
