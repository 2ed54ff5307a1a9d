"""The measures that a run's `--scores` asks for, and their models, loaded one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from datasets import Features, Value

from hub_cards.provenance import StepRecord
from hub_cards.schema import SELECTIT_COLUMNS, Column
from hub_cards.shards import Batch
from scoring.config import (
    COHERENCE,
    EMBEDDING,
    IFD,
    PROMPT_EMBEDDING,
    SELECTIT,
    SENTENCE_KINDS,
    STUDENT_KINDS,
    ScoreConfig,
)
from scoring.distributed import Ranks
from scoring.embeddings import CoherenceMeasure, EmbeddingMeasure, PromptEmbeddingMeasure, load_sentence_embedder
from scoring.ifd import Scorer
from scoring.measures import IfdMeasure, Measure
from scoring.selectit import Rater, RatingTexts, combine_raters, load_rating_prompts
from scoring.student import load_scorer, runs_bfloat16_slowly

SENTENCE = "selectit_sentence"


def measures_of(config: ScoreConfig, record: StepRecord, ranks: Ranks) -> Iterator[Measure]:
    """The measures of a run; a model is loaded when its first measure's turn has come.

    Raises:
        BadInputError: a model cannot be loaded, or cannot do what is asked of it.
    """
    kinds = set(config.scores)
    n_parameters = []
    if STUDENT_KINDS & kinds:
        student = _load(config, config.model_name_or_path, record, "model", ranks)
        if IFD in kinds:
            yield IfdMeasure.of(student)
        if PROMPT_EMBEDDING in kinds:
            yield Measure(PROMPT_EMBEDDING, PromptEmbeddingMeasure(student), student.engine)
        if SELECTIT in kinds:
            rater = _rater(config, config.model_name_or_path, student)
            n_parameters.append(rater.n_parameters)
            yield Measure(SELECTIT, rater, rater.engine)
            del rater
        del student
    if SELECTIT in kinds:
        for number, name in enumerate(config.selectit_models, 1):
            rater = _rater(config, name, _load(config, name, record, f"rater_{number}", ranks))
            n_parameters.append(rater.n_parameters)
            other = OtherRater(rater, f"{SENTENCE}_{number}")
            yield Measure(other.column, other, rater.engine, Features({other.column: Value("float64")}))
            del rater, other
        yield Measure("selectit_model", ModelLevel(n_parameters))
    if SENTENCE_KINDS & kinds:
        source = record.inputs["embedding_model"]
        embedder = load_sentence_embedder(config.embedding_model, device=ranks.state.device, source=source)
        for name, measure in ((EMBEDDING, EmbeddingMeasure), (COHERENCE, CoherenceMeasure)):
            if name in kinds:
                yield Measure(name, measure(embedder))


def _load(config: ScoreConfig, name: str, record: StepRecord, role: str, ranks: Ranks) -> Scorer:
    scorer = load_scorer(
        name,
        template=config.template if role == "model" else "none",  # ratings are asked for without one
        dtype=config.dtype,
        max_length=config.max_length,
        span=config.span,
        keep_token_losses=config.keep_token_losses,
        attn_implementation=config.attn_implementation,
        max_batch_tokens=config.max_batch_tokens,
        source=record.inputs[role],
        device=ranks.state.device,
    )
    if runs_bfloat16_slowly(scorer.engine.model):
        ranks.say("warning: this CPU has no bfloat16 instructions; --dtype float32 is faster and exact")
    return scorer


def _rater(config: ScoreConfig, name: str, scorer: Scorer) -> Rater:
    return Rater(
        scorer.engine,
        scorer.tokenizer,
        load_rating_prompts(config.rating_prompts),
        config.max_length,
        name,
        scorer.engine.model.num_parameters(),
    )


@dataclass(frozen=True)
class OtherRater:
    """A rater beside the student: its sentence-level score goes into a column of its own, for `ModelLevel`."""

    rater: Rater
    column: str
    columns: ClassVar[tuple[Column, ...]] = ()

    def prepare(self, rows: Batch) -> RatingTexts:
        """See `Rater`."""
        return self.rater.prepare(rows)

    def compute(self, rows: Batch, prepared: RatingTexts) -> Batch:
        """See `Rater`."""
        return {self.column: self.rater.compute(rows, prepared)[SENTENCE]}


@dataclass(frozen=True)
class ModelLevel:
    """SelectIT's model level, from what every rater has said: no model is asked.

    Attributes:
        n_parameters: of the raters, the student first.
    """

    n_parameters: Sequence[int]
    columns: ClassVar[tuple[Column, ...]] = tuple(c for c in SELECTIT_COLUMNS if c.name == "selectit_model")

    def prepare(self, rows: Batch) -> Any:
        """Nothing."""

    def compute(self, rows: Batch, _prepared: Any) -> Batch:
        """The column `selectit_model`."""
        others = (f"{SENTENCE}_{number}" for number in range(1, len(self.n_parameters)))
        return {"selectit_model": combine_raters([rows[name] for name in (SENTENCE, *others)], self.n_parameters)}
