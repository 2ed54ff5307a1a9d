"""Selection from published statistics, of 4 x 52,002 rows and of 52,002, on one core: how long it works after imports.

python tests/benchmarks/bench_instant.py

The files are laid out as the published ones are: a struct column in a parquet file a split, text and statistics apart,
in the cache of the Hub as a first download leaves them; and one JSON array as Alpaca's. Texts are made of the
quickstart's words, as long as those of Alpaca and its reflected variants (270 and about 1,100 characters a response).
Every run is a process of its own, bound to one core, that imports what it needs and then runs `recipes/select_rows.py`
on files that the system has in memory; `cpu_seconds` is what it worked, `seconds` also counts what other work on the
machine held it up for. The steps are measured one by one as well. Writes `tests/benchmarks/results/instant.json`.
"""

import argparse
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hub_cards.provenance import library_versions

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RESULT = HERE / "results/instant.json"
ROWS = 52_002
# Mean characters of instruction, input and output.
SPLITS = {
    "origin": (60, 25, 270),
    "reflect_instruction": (250, 0, 1000),
    "reflect_response": (60, 25, 1100),
    "reflect_both": (250, 0, 1200),
}
CASES = {
    "four variants, selective": ("bench/text", ["--strategy", "selective", "--require_reflected_response", "false"]),
    "alpaca.json, cherry 5 %": ("alpaca.json", ["--strategy", "cherry", "--fraction", "0.05"]),
}


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def snapshot(folder: Path, name: str) -> Path:
    """Where the cache keeps `bench/<name>`."""
    repository = folder / f"datasets--bench--{name}"
    place = repository / "snapshots" / COMMIT
    if not place.exists():
        (place / "data").mkdir(parents=True)
        (place / "README.md").write_text("---\n---\n")
        (repository / "refs").mkdir()
        (repository / "refs/main").write_text(COMMIT)
    return place


def make_files(folder: Path, rows: int) -> None:
    """Texts and statistics; a text's losses follow its length and its own hash, so that they belong together."""
    numbers = np.random.default_rng(0)
    with (ROOT / "recipes/quickstart/data/student_rows.jsonl").open(encoding="utf-8") as file:
        words = " ".join(json.loads(line)["output"] for line in file)
    for split, means in SPLITS.items():
        texts = {
            name: _cut(words, numbers, rows, mean)
            for name, mean in zip(("instruction", "input", "output"), means, strict=True)
        }
        data = pa.StructArray.from_arrays([pa.array(texts[name]) for name in texts], names=list(texts))
        name = f"{split}-00000-of-00001-0123456789abcdef.parquet"
        pq.write_table(pa.table({"data": data}), snapshot(folder, "text") / "data" / name)
        if split == "origin":
            (folder / "alpaca.json").write_text(json.dumps(data.to_pylist(), indent=4, ensure_ascii=False))
        losses_N4 = _losses(texts, numbers)
        lists = [pa.array(values.tolist()) for values in (losses_N4, np.exp(losses_N4))]
        table = pa.table({"data": pa.StructArray.from_arrays(lists, names=["loss", "ppl"])})
        pq.write_table(table, snapshot(folder, "statistics") / "data" / name)


def _cut(words: str, numbers: np.random.Generator, rows: int, mean: int) -> list[str]:
    lengths = (
        np.minimum(numbers.lognormal(np.log(mean + 1) - 0.32, 0.8, rows), 8000).astype(int) if mean else [0] * rows
    )
    starts = numbers.integers(0, len(words) - 8000, rows)
    return [words[start : start + length] for start, length in zip(starts.tolist(), lengths, strict=True)]


def _losses(texts: dict[str, list[str]], numbers: np.random.Generator) -> np.ndarray:
    columns = []
    for text in (texts["instruction"], texts["output"]):
        columns.append(
            1 + 4 / np.sqrt(1 + np.array([len(one) for one in text]) / 9) + numbers.normal(0, 0.1, len(text))
        )
    question, answer = columns
    shift = numbers.normal(0.1, 0.1, (2, len(answer)))
    return np.abs(np.stack([question, answer, question - shift[0], answer - shift[1]], axis=1)) + 0.01


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, worked = time.perf_counter(), time.process_time()
    result = function()
    return result, {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - worked, 2),
    }


def run_case(folder: Path, case: str) -> None:
    """One run, in this process; prints its times as JSON."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # `main` and `load_scored` as the script has them, so that nothing but the imports is left out.
    script = runpy.run_path(str(ROOT / "recipes/select_rows.py"))
    from hub_cards.cli import parse_config
    from hub_cards.rows import DataArguments, load_variants
    from scoring.config import SelectConfig
    from scoring.prescored import add_statistics, find_statistics

    data, flags = CASES[case]
    data = str(folder / data) if data.endswith(".json") else data
    paths = ["--dataset", data, "--statistics", "bench/statistics"]
    config = parse_config(SelectConfig, [*paths, *flags, "--output_dir", str(folder / f"out-{os.getpid()}")])
    _, whole = timed(lambda: script["main"](config))
    variants, load = timed(lambda: load_variants(DataArguments(data)))
    source, found = timed(lambda: find_statistics("bench/statistics"))
    _, join = timed(lambda: add_statistics(variants, source, ["ifd_ppl", "rifd_ppl"]))
    print(json.dumps({"whole": whole, "load": load, "find": found, "join": join}))


def best(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """By step the smallest of each time."""
    return {
        step: {name: min(run[step][name] for run in runs) for name in ("seconds", "cpu_seconds")} for step in runs[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "CASE"), help="for the benchmark itself: one run")
    arguments = parser.parse_args()
    if arguments.child:
        run_case(Path(arguments.child[0]), arguments.child[1])
        return
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name), ROWS)
        sizes = {
            kind: sum(path.stat().st_size for path in snapshot(Path(name), kind).rglob("*.parquet"))
            for kind in ("text", "statistics")
        }
        sizes["alpaca.json"] = (Path(name) / "alpaca.json").stat().st_size
        runs: dict[str, list[dict]] = {case: [] for case in CASES}
        for _ in range(arguments.repeats):
            for case in CASES:
                command = [sys.executable, __file__, "--child", name, case]
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": name}
                done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
                runs[case].append(json.loads(done.stdout.splitlines()[-1]))
                print(case, runs[case][-1], flush=True)
    report = {
        "what": __doc__.splitlines()[0],
        "rows": ROWS,
        "megabytes": {kind: round(size / 1e6, 1) for kind, size in sizes.items()},
        "repeats": arguments.repeats,
        "best": {case: best(measured) for case, measured in runs.items()},
        "cpu": platform.processor() or platform.machine(),
        "libraries": library_versions(),
    }
    RESULT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
