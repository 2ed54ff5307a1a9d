"""One evaluation: the model's answers, a judge's verdicts on them and the baseline's, benchmarks. Imports no torch.

Answers and reviews are in the completion store as soon as they are written, results of benchmarks in a folder: what a
killed run has paid for or computed is not asked again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict

from hub_cards.cli import is_main_process, say
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source
from reflection.oracles import make_oracle
from training.benchmarks import run_benchmarks
from training.evaluation_config import STEP, EvaluateConfig
from training.generate import answer_sets, ask, make_generator
from training.given_answers import find_answers, read_answers
from training.judge import ask as ask_judge
from training.judge import assemble, load_judge_prompt, pair_up
from training.judge_sets import load_judge_sets
from training.win_rate import compare_sets

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class Evaluation:
    """What came out, in the main process; the others have only done their share.

    Attributes:
        answers: by judge set.
        verdicts: the same with the baseline's answers and the reviews; None where nothing was judged.
        counts: for the step's record.
    """

    answers: DatasetDict = field(default_factory=DatasetDict)
    verdicts: DatasetDict | None = None
    counts: dict[str, Any] = field(default_factory=dict)


def evaluate(config: EvaluateConfig, record: StepRecord, work: Path, state: PartialState) -> Evaluation:
    """Answer, judge and measure; called by every process of a launcher.

    Args:
        work: a folder for parts; `benchmarks` in it is kept from run to run.

    Raises:
        BadInputError: a model, a set or the judge is not to be had.
    """
    parts = work / "parts"
    if is_main_process():
        shutil.rmtree(parts, ignore_errors=True)  # they may lack answers that the store has by now
    key, questions = record.fingerprint, load_judge_sets(config.judge_sets, config.limit)
    given = _check_judging(config, questions)
    _warn_of_repeats(questions)
    answers, counts = _answer(config, record.inputs["model"], questions, state, f"{key} model", parts)
    verdicts = None
    if config.is_judged:
        baseline, of_baseline = given, {}
        if given is None:
            model = record.inputs["baseline"]
            baseline, of_baseline = _answer(config, model, questions, state, f"{key} baseline", parts, "--baseline")
        verdicts, found = _judge(config, answers, baseline, state, key, parts)
        unfinished = sum(part.get("unfinished", 0) for part in (counts, of_baseline, found))
        counts = {**counts, "baseline_answers": of_baseline.get("answers", {}), **found, "unfinished": unfinished}
    if config.benchmarks:
        counts["benchmarks"] = run_benchmarks(
            record.inputs["model"],
            config.benchmarks,
            batch_size=config.generation_batch_size,
            cache_dir=work / "benchmarks",
            dtype=config.dtype,
            limit=config.benchmark_limit,
        )
    return Evaluation(answers, verdicts, counts)


def _answer(
    config: EvaluateConfig,
    model: Source,
    questions: DatasetDict,
    state: PartialState,
    key: str,
    parts: Path,
    flag: str = "--model_name_or_path",
) -> tuple[DatasetDict, dict[str, Any]]:
    """A model's answers; its weights are let go on return."""
    if config.server_url is not None and not is_main_process():
        return DatasetDict(), {}
    served = config.served_model if flag == "--model_name_or_path" else None
    oracle = make_generator(model, config, config, state, flag, served)
    ask(questions, oracle, config.template)
    if not is_main_process():
        return DatasetDict(), {}
    answers, counts = answer_sets(questions, oracle, config.template, key, parts)
    for name, found in counts["answers"].items():
        say(STEP, f"{model.location} on {name}: {', '.join(f'{count:,} {status}' for status, count in found.items())}")
    return answers, counts


def _check_judging(config: EvaluateConfig, questions: DatasetDict) -> DatasetDict | None:
    """What can be wrong with the judging, before the model answers anything; the baseline's answers if they are there.

    Raises:
        BadInputError: the judge's key is missing, or the baseline is no file of answers to these questions.
    """
    config.check_key()
    if not config.is_judged or find_answers(config.baseline) is None:
        return None
    return read_answers(config.baseline, questions)


def _warn_of_repeats(questions: DatasetDict) -> None:
    for name, rows in questions.items():
        if repeats := sum("-" in identity for identity in rows["row_id"][:]):
            say(STEP, f"warning: {repeats:,} question(s) of {name} are repeats of others, and count as often")


def _judge(
    config: EvaluateConfig, answers: DatasetDict, baseline: DatasetDict, state: PartialState, key: str, parts: Path
) -> tuple[DatasetDict | None, dict[str, Any]]:
    if config.oracle != "transformers" and not is_main_process():
        return None, {}
    oracle, prompt = make_oracle(config, state, STEP), load_judge_prompt(config.judge_prompt_file)
    pairs = pair_up(answers, baseline)
    if config.oracle == "transformers":
        pairs = _everywhere(pairs, state)
    ask_judge(pairs, oracle, prompt)
    if not is_main_process():
        return None, {}
    verdicts, counts = assemble(pairs, oracle, prompt, key, parts)
    if getattr(oracle, "usage", None) is not None:
        say(STEP, f"judged by {oracle.usage.completions:,} completions: {oracle.usage.as_text()}")
    comparisons = {name: found.as_dict() for name, found in compare_sets(verdicts).items()}
    _warn(counts["invalid_reasons"], counts["unfinished"])
    return verdicts, {**counts, "judge": comparisons}


def _everywhere(pairs: DatasetDict, state: PartialState) -> DatasetDict:
    """The main process has the pairs; a judge in process shares them among all."""
    if state.num_processes == 1:
        return pairs
    from accelerate.utils import broadcast_object_list

    (sent,) = broadcast_object_list([pairs if state.is_main_process else None])
    return sent


def _warn(reasons: Mapping[str, Mapping[str, int]], unfinished: int) -> None:
    invalid = sum(sum(found.values()) for found in reasons.values())
    if invalid:
        say(STEP, f"warning: {invalid:,} pair(s) have no valid verdict; report.md says why")
    if unfinished:
        say(STEP, f"warning: {unfinished:,} of them may still get one: the same command asks again")
