"""What stands in for what when the commands of the pages are run: all that "run" means, in tables."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import load_from_disk

from scoring.ratios import LOSS_KEYS

Files = dict[str, bytes | str]

# The reader has a few rows, and has done what the front page says first, `make quickstart`, on as many.
ROWS = slice(14, 18)  # of the quickstart's, of which its selection keeps three
MY_ROWS = "my_rows.jsonl"
QUICKSTART = "python recipes/recycle.py recipes/quickstart --output_dir runs/quickstart"  # as the Makefile has it

# Added to every command of a script, and to the YAMLs that `recycle.py` and `sweep.py` hand to it: small, on a CPU.
SETTINGS: dict[str, dict[str, Any]] = {
    "score.py": {"limit": 2},
    "sft.py": {
        "max_steps": 1,
        "global_batch_size": 2,
        "per_device_train_batch_size": 1,
        "max_length": 256,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
    },
    "evaluate_model.py": {"limit": 2, "max_new_tokens": 4},
    "sweep.py": {"arms": ["full = all", "ours = selective"]},
}
SCRIPTS = {"score": "score.py", "sft": "sft.py", "evaluate": "evaluate_model.py", "sweep": "sweep.py"}  # by their YAMLs

# Shares and numbers of rows that a few rows have too, in flags and YAMLs alike: a pattern, and what stands in.
SIZES = {
    r"^0\.[0-4]\d*$|(?<=\bfraction=)0\.[0-4]\d*": "0.5",
    r"(?<=highest )\d+(?=%)|(?<=lowest )\d+(?=%)": "50",
    r"(?<=\bcount=)\d+|(?<=per_cluster=)\d+": "1",
    r"(?<=clusters=)\d+": "2",
}

# One local server stands in for OpenAI and, under another name, for a server of one's own.
OWN_SERVERS = ("http://localhost:8000/v1", "http://127.0.0.1:8000/v1")
# Keys that a page leaves open (`...`), and what they are here: the second is the local Hub's.
OPENAI_KEY = "sk-only-in-the-environment-0123456789"
SECRETS = ("OPENAI_API_KEY", "HF_TOKEN")
# The user of the local Hub; a folder that several machines share.
PREFIXES = {"me/": "tester/", "/shared/": "shared/"}

# On the Hub: the bundled student under the names of models, the reader's rows and their scores under those of data.
MODELS = (
    *("HuggingFaceTB/SmolLM2-135M", "openai-community/gpt2", "Qwen/Qwen2.5-7B-Instruct", "mistralai/Mistral-7B-v0.1"),
    *("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf"),
)
ROWS_ALONE = ("tatsu-lab/alpaca", "umd-zhou-lab/sRecycled_Alpaca", "umd-zhou-lab/sRecycled_Wiz70")
ALL_VARIANTS = ("umd-zhou-lab/Reflect_Alpaca_All", "umd-zhou-lab/Reflect_Wiz70_All")
STATISTICS = tuple(f"MingLiiii/{name}_Analysis_llama2_{size}" for name in ("Alpaca", "Wiz70") for size in ("7b", "13b"))
# What the reader has published by the front page, where a page reads it: the folder that it was laid out in.
PUBLISHED = {
    "me/mine": ("dataset", "runs/mine/publish/dataset"),
    "me/mine-statistics": ("dataset", "runs/mine/publish/statistics"),
    "me/mine-7b": ("model", "runs/mine/publish/model"),
}
CARD = "---\nlicense: cc-by-nc-4.0\nlanguage: en\n---\n"
# The names of the variants in the papers' repositories, where each is a split.
SPLITS = {"original": "origin"} | {f"reflect_{what}": f"reflect_{what}" for what in ("instruction", "response", "both")}


def some_rows(path: Path) -> str:
    """A few rows of a JSONL file, as text."""
    return "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[ROWS])


def small_flags(script: str) -> list[str]:
    """The settings of a script as flags."""
    return [
        word
        for name, value in SETTINGS.get(script, {}).items()
        for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]


def make_small(path: Path, server_url: str) -> None:
    """Write the settings, sizes and servers that stand in into a recipe's YAML."""
    stage = path.stem.removeprefix("experience_").split("_")[0]
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | SETTINGS.get(SCRIPTS.get(stage, ""), {})
    settings |= {name: server_url for name, value in settings.items() if value in OWN_SERVERS}
    if "strategy" in settings:
        steps = settings["strategy"]
        settings["strategy"] = [small_size(step) for step in ([steps] if isinstance(steps, str) else steps)]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def small_size(word: str) -> str:
    """A word with the sizes that stand in."""
    for pattern, instead in SIZES.items():
        word = re.sub(pattern, instead, word)
    return word


@dataclass(frozen=True)
class Repository:
    """What stands in for a repository on the Hub."""

    kind: str
    files: Callable[[], Files]
    private: bool = False


def find_repository(name: str, place: Path) -> Repository | None:
    """The repository of that name; None where the tables have none, or the reader has not published it yet.

    Args:
        place: the reader's folder.
    """
    if name in MODELS:
        return Repository("model", partial(files_of, place / "recipes/quickstart/student"))
    if name in PUBLISHED:
        kind, folder = PUBLISHED[name]
        return Repository(kind, partial(files_of, place / folder), private=True) if (place / folder).is_dir() else None
    for names, make in ((ROWS_ALONE, rows_alone), (ALL_VARIANTS, all_variants), (STATISTICS, all_statistics)):
        if name in names:
            return Repository("dataset", partial(make, place))
    return None


def files_of(folder: Path) -> Files:
    """A folder's files by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_alone(place: Path) -> Files:
    """The texts as they were, in one part."""
    return {"README.md": CARD, "data/train-00000-of-00001.parquet": as_parquet(texts(place, "original"))}


def all_variants(place: Path) -> Files:
    """All texts in the layout of the papers' repositories."""
    return by_split({variant: [{"data": row} for row in texts(place, variant)] for variant in SPLITS})


def all_statistics(place: Path) -> Files:
    """Their scores by the quickstart's student, in that layout."""
    parts = {}
    for variant in SPLITS:
        rows = scored(place, variant)
        parts[variant] = [
            {"data": {unit: [row[f"{unit}_{key}"] for key in LOSS_KEYS] for unit in ("loss", "ppl")}} for row in rows
        ]
    return by_split(parts)


def texts(place: Path, variant: str) -> list[dict[str, str]]:
    """Instruction, input and output of the quickstart's scored rows in one variant."""
    return [{name: row[name] for name in ("instruction", "input", "output")} for row in scored(place, variant)]


def scored(place: Path, variant: str) -> list[dict[str, Any]]:
    """The quickstart's scored rows in one variant."""
    return load_from_disk(place / "runs/quickstart/score")[variant].to_list()


def by_split(parts: dict[str, list[dict[str, Any]]]) -> Files:
    """A split a variant, a struct column in each."""
    files = {f"data/{SPLITS[name]}-00000-of-00001.parquet": as_parquet(rows) for name, rows in parts.items()}
    return {"README.md": CARD, **files}


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    """A parquet file of the rows."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()
