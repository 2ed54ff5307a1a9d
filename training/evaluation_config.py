"""The settings of `recipes/evaluate_model.py`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.publishing.target import ModelPushArguments
from hub_cards.sources import Source
from reflection.oracles import OracleArguments, check_key, find_oracle_model
from training.benchmarks import check_benchmarks, check_harness
from training.generation_config import GenerationArguments, find_generator
from training.given_answers import find_answers
from training.judge import load_judge_prompt
from training.judge_sets import find_judge_sets

STEP, VERSION = "evaluate", 1


@dataclass
class EvaluateConfig(ModelPushArguments, GenerationArguments, OracleArguments):
    """Answer judge sets with a model, have a judge compare the answers with a baseline's, run benchmarks."""

    output_dir: str = field(default="runs/evaluate", metadata={"help": "folder for answers, verdicts and report"})
    judge: str | None = field(
        default=None,
        metadata={"help": "the judge's model name; it is an oracle, so --oracle, --base_url, --budget_usd … are its"},
    )
    judge_prompt_file: str | None = field(default=None, metadata={"help": "YAML with your own question to the judge"})
    baseline: str | None = field(
        default=None,
        metadata={
            "help": "what the judge compares with: a model (folder or Hub id), the folder of an earlier evaluation, or "
            "a file of answers (.json, .jsonl)"
        },
    )
    baseline_revision: str | None = field(default=None, metadata={"help": "Hub revision of a baseline that is a model"})
    benchmarks: list[str] = field(
        default_factory=list,
        metadata={"help": "suites or tasks of lm-evaluation-harness: open_llm_leaderboard_v1, selectit, mmlu, …"},
    )
    benchmark_limit: int | None = field(
        default=None, metadata={"help": "only the first N questions of each task: to try it out, no result to report"}
    )

    def __post_init__(self) -> None:
        GenerationArguments.__post_init__(self)
        if self.oracle_model is not None and self.oracle_model != self.judge:
            raise BadInputError(f"--oracle_model {self.oracle_model}: here the judge is named by --judge")
        if self.oracle == "recorded":
            raise BadInputError("--oracle recorded: holds no reviews; recipes/win_rates.py reads judge logs")
        if self.judge is not None:
            self.oracle_model = self.judge
            OracleArguments.__post_init__(self)
        if isinstance(self.benchmarks, str):  # `benchmarks: mmlu` in a YAML
            self.benchmarks = [self.benchmarks]
        check_benchmarks(self.benchmarks)
        if self.benchmarks:
            check_harness()
            if self.server_url is not None:
                raise BadInputError("--benchmarks: are run in process; leave --server_url away")
        if self.benchmark_limit is not None and self.benchmark_limit < 1:
            raise BadInputError(f"--benchmark_limit {self.benchmark_limit}: must be at least 1")

    @property
    def is_judged(self) -> bool:
        """Whether there is a judge, and something to compare with."""
        return self.judge is not None and self.baseline is not None

    def check_key(self) -> None:
        """Raise `BadInputError` where the judge is a service and the environment has no key for it."""
        if self.is_judged:
            check_key(self)

    def find_baseline(self) -> Source | None:
        """Where the other answers are, or the model that gives them; None without a baseline."""
        if self.baseline is None:
            return None
        model = self.baseline, self.baseline_revision, self.server_url, "--baseline"
        return find_answers(self.baseline) or find_generator(*model)

    def planned_record(self) -> StepRecord:
        """What a run with these settings would do; raises `BadInputError` where an input is missing."""
        inputs = {"model": self.find_generator()}
        inputs |= {f"judge_set {name}": source for name, source in find_judge_sets(self.judge_sets).items()}
        config = {
            "template": self.template,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
            "limit": self.limit,
        }
        if self.server_url is not None:
            config["served_model"] = self.served_model or self.model_name_or_path
        if self.baseline is not None:
            inputs["baseline"] = self.find_baseline()
        if self.is_judged:
            config |= {
                "judge": self.judge,
                "judge_prompt": load_judge_prompt(self.judge_prompt_file).fingerprint,
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
            }
            if self.oracle == "transformers":
                inputs["judge"] = find_oracle_model(self)
        if self.benchmarks:
            config |= {"benchmarks": self.benchmarks, "benchmark_limit": self.benchmark_limit}
        return StepRecord(STEP, VERSION, config, inputs)
