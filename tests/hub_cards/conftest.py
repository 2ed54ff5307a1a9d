"""A small run made by hand: rows, a selection, and the records of the steps that would have made them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, Features, Value
from huggingface_hub import DatasetCardData

from hub_cards.cards.own_section import EMPTY_SECTION
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.publishing.contents import write_configs
from hub_cards.publishing.manifest import write_manifest
from hub_cards.sources import Source


@pytest.fixture
def complaint() -> Callable[..., str]:
    """Call a function that must refuse its input; the message, which must be one line."""

    def call(function: Callable, *args, **kwargs) -> str:
        with pytest.raises(BadInputError) as caught:
            function(*args, **kwargs)
        message = str(caught.value)
        assert message.strip() == message != ""
        assert "\n" not in message
        assert "\r" not in message
        return message

    return call


TEXT_COLUMNS = ("row_id", "source_id", "instruction", "input", "output", "variant", "reflection", "reflect_status")
SCORED = Features({**{name: Value("string") for name in TEXT_COLUMNS}, "ifd_ppl": Value("float64")})


def scored_rows(variant: str, ids: str, ifds: Sequence[float | None]) -> Dataset:
    """Rows of one variant, in the order of `ids`, one letter a row."""
    reflected = variant != "original"
    columns = {
        "row_id": list(ids),
        "source_id": [None] * len(ids),
        "instruction": [f"question {letter}" for letter in ids],
        "input": ["some input" if letter == "b" else "" for letter in ids],
        "output": [f"{variant} answer {letter}" for letter in ids],
        "variant": [variant] * len(ids),
        "reflection": [f"critique of {letter}" if reflected else None for letter in ids],
        "reflect_status": ["ok" if reflected else None for letter in ids],
        "ifd_ppl": list(ifds),
    }
    return Dataset.from_dict(columns, features=SCORED)


@pytest.fixture
def scored() -> DatasetDict:
    """Two variants of the rows a, b, c, d; each variant has them in another order."""
    return DatasetDict(
        original=scored_rows("original", "abcd", [None, None, None, None]),
        reflect_response=scored_rows("reflect_response", "dcba", [0.75, None, 0.5, 0.25]),
    )


@pytest.fixture
def selection(scored: DatasetDict) -> DatasetDict:
    """Kept: a as it was, c and d reflected; b was dropped. The decisions stand in yet another order."""
    decisions = {
        "row_id": ["c", "a", "d", "b"],
        "selected": [True, True, True, False],
        "selected_variant": ["reflect_response", "original", "reflect_response", None],
        "select_reason": ["kept", "kept", "kept", "unscored"],
    }
    reflected, original = scored["reflect_response"], scored["original"]
    selected = {name: [original[0][name], reflected[1][name], reflected[0][name]] for name in SCORED}
    return DatasetDict(
        selected=Dataset.from_dict(selected, features=SCORED),
        decisions=Dataset.from_dict(
            decisions, features=Features({**{k: Value("string") for k in decisions}, "selected": Value("bool")})
        ),
    )


STATISTICS = {
    "original": {
        "rows": 4,
        "instruction_tokens": 2.5,
        "response_tokens": 1234.5,
        "instruction_ppl": 9.9994,
        "response_ppl": None,
        "response_ppl_given_instruction": None,
        "ifd_ppl": None,
        "rifd_ppl": None,
    },
    "reflect_response": {
        "rows": 4,
        "instruction_tokens": 2.5,
        "response_tokens": 30.0,
        "instruction_ppl": 12.25,
        "response_ppl": 20.0,
        "response_ppl_given_instruction": 10.0,
        "ifd_ppl": 0.5,
        "rifd_ppl": 1.0,
    },
}


@pytest.fixture
def lineage() -> list[StepRecord]:
    """Reflect, score and select, on a local data set and a local student."""
    reflect = StepRecord(
        "reflect",
        1,
        {"limit": None, "oracle": "recorded", "variants": ["reflect_response"]},
        {"dataset": Source("file", "data/rows.jsonl", "f-rows"), "completions": Source("file", "done.jsonl", "f-done")},
    ).finished({"rows": 4, "reflect_status": {"reflect_response": {"ok": 3, "refusal": 1}}}, 1.26)
    score = StepRecord(
        "score",
        1,
        {
            "limit": None,
            "scores": ["ifd"],
            "template": "vicuna",
            "dtype": "float32",
            "max_length": 512,
            "span": "published",
        },
        {
            "dataset": Source("folder", "run/reflect", reflect.fingerprint),
            "model": Source("folder", "models/tiny-student", "f-model"),
        },
    ).finished(
        {
            "score_status": {"original": {"ok": 2, "empty_output": 2}, "reflect_response": {"ok": 3, "error": 1}},
            "statistics": STATISTICS,
            "layout": "packed",
            "boundary_merged": {"original": 1, "reflect_response": 0},
            "depends_on_span": {"original": 1, "reflect_response": 2},
        },
        60,
    )
    select = StepRecord(
        "select",
        1,
        {"limit": None, "strategy": [{"name": "selective", "require_reflected_response": False}]},
        {"dataset": Source("folder", "run/score", score.fingerprint)},
    ).finished(
        {
            "rows": 4,
            "selected": 3,
            "select_reason": {"kept": 3, "unscored": 1},
            "branches": {
                "original": {"won": 1, "kept": 1},
                "reflect_response": {"won": 2, "kept": 2},
                "none": {"won": 1, "kept": 0},
            },
            "variants": ["original", "reflect_response"],
            "steps": [{"step": "selective", "rows": 4, "kept": 3}],
        },
        0.04,
    )
    return [reflect, score, select]


@pytest.fixture
def sft_record(lineage: list[StepRecord]) -> StepRecord:
    """Training of the same local student on the selection."""
    return StepRecord(
        "sft",
        1,
        {"template": "vicuna", "max_steps": 12, "learning_rate": 1e-4},
        {
            "dataset": Source("folder", "run/select", lineage[-1].fingerprint),
            "model": Source("folder", "models/tiny-student", "f-model"),
        },
    ).finished(
        {"rows": 3, "rows_without_room_for_a_completion": 1, "steps": 12, "epochs": 4.0, "train_loss": 5.25}, 14.6
    )


COMPARISON = {
    "n": 78,
    "wins": 40,
    "ties": 8,
    "losses": 30,
    "invalid": 2,
    "win_score": 1.1282,
    "win_score_low": 0.91,
    "win_score_high": 1.34,
    "p_value": 0.2820,
    "win_rate": 0.5641,
    "length_controlled_win_rate": 0.5312,
    "mean_length": 1234.5,
    "baseline_mean_length": 987.4,
}
BENCHMARK = {
    "task": "arc_challenge",
    "suite": "open_llm_leaderboard_v1",
    "metric": "acc_norm",
    "value": 0.531234,
    "stderr": 0.01458,
    "shots": 25,
    "version": 1.0,
    "n": 1172,
    "n_all": 1172,
    "dataset": "allenai/ai2_arc",
}


@pytest.fixture
def evaluate_record(lineage: list[StepRecord]) -> StepRecord:
    """The trained student judged on two sets, of which one has no valid verdict, and measured by three benchmarks."""
    counts = ("n", "wins", "ties", "losses")
    unjudged = {**dict.fromkeys(COMPARISON), **dict.fromkeys(counts, 0), "invalid": 252}
    absent = dict.fromkeys(("stderr", "shots", "version", "n", "n_all", "dataset"))
    gsm8k = {
        "task": "gsm8k",
        "metric": "exact_match",
        "value": 0.25,
        "shots": 5,
        "version": 3.0,
        "n": 20,
        "n_all": 1319,
    }
    return StepRecord(
        "evaluate",
        1,
        {"template": "vicuna", "max_new_tokens": 512, "limit": None, "judge": "gpt-4", "benchmarks": ["gsm8k"]},
        {
            "model": Source("folder", "run/sft", "f-trained"),
            "judge_set vicuna": Source("file", "vicuna.jsonl", "f-vicuna"),
            "baseline": Source("folder", "runs/random/sft", "f-random"),
        },
    ).finished(
        {
            "answers": {"vicuna": {"ok": 78, "truncated": 2}, "koala": {"ok": 180, "truncated": 40, "empty": 32}},
            "judge": {"vicuna": COMPARISON, "koala": unjudged, "total": {**COMPARISON, "invalid": 254}},
            "benchmarks": [
                BENCHMARK,
                {**BENCHMARK, **gsm8k, "stderr": None, "dataset": "openai/gsm8k", "suite": None},
                {**BENCHMARK, **absent, "task": "open_llm_leaderboard_v1", "metric": "mean", "value": 0.4},
            ],
        },
        100,
    )


@pytest.fixture
def lay_out(tmp_path: Path) -> Callable[..., Path]:
    """Make a data set of a few rows as publishing lays one out, with the shortest card that loads."""

    def make(name: str, texts: Sequence[str], configs: Sequence[str] = ("selected", "original"), **columns) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = {"row_id": [f"{number:016x}" for number in range(len(texts))], "output": list(texts), **columns}
        patterns = write_configs(folder, {config: Dataset.from_dict(rows) for config in configs})
        metadata = [
            {
                "config_name": config,
                "data_files": [{"split": "train", "path": pattern}],
                "default": config == configs[0],
            }
            for config, pattern in patterns.items()
        ]
        card = DatasetCardData(license="mit", configs=metadata)
        (folder / "README.md").write_text(f"---\n{card}\n---\n\n# {name}\n\n{EMPTY_SECTION}\n", encoding="utf-8")
        (folder / "plots").mkdir()
        (folder / "plots/flow.png").write_bytes(b"\x89PNG of " + name.encode())
        write_manifest(folder, "dataset")
        return folder

    return make
