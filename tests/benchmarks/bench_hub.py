"""Scores of 4 x 52,002 rows beside their rows, from a statistics repository: bytes, requests and seconds.

python tests/benchmarks/bench_hub.py

The repository is as we publish one, on the local Hub of the tests. Each way reads the columns that a strategy needs of
it in a process of its own with an empty cache (`again`: with the one that the way before left):

- `columns`: what `recipes/select_rows.py --statistics` does: the needed columns by ranged reads, kept for the next time
- `whole`: all files are downloaded first, by `snapshot_download`, and read as a local folder
- `file system`: `huggingface_hub.HfFileSystem` with its own block size, pyarrow reading the columns through it

Loopback has no way to speak of, so the seconds are those of the work; on a real line the bytes decide. The least of
three repeats. Writes `tests/benchmarks/results/hub.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "hub_server"))
from fixture import HubProcess, encode, reserve  # noqa: E402

BOUND = reserve() if __name__ == "__main__" and "--way" not in sys.argv else None
RESULT = HERE / "results/hub.json"
ROWS, REPEATS = 52_002, 3
REPOSITORY, TOKEN = "tester/statistics", "hf_" + "w" * 34
NEEDS = {"selective": ["ifd_ppl", "rifd_ppl"], "cherry": ["ifd_ppl"]}
VARIANTS = {"selective": 4, "cherry": 1}
WAYS = ("columns", "again", "whole", "file system")


def statistics(rows: int) -> Any:
    """The scores of every variant, as scoring leaves them."""
    import numpy as np
    from datasets import Dataset, DatasetDict

    from hub_cards.schema import VARIANTS as NAMES
    from scoring.ratios import LOSS_KEYS

    numbers = np.random.default_rng(0)
    parts = DatasetDict()
    for name in NAMES:
        losses = {key: numbers.uniform(1, 3, rows) for key in LOSS_KEYS}
        columns = {f"loss_{key}": values for key, values in losses.items()}
        columns |= {f"ppl_{key}": np.exp(values) for key, values in losses.items()}
        columns["ifd_ppl"] = columns["ppl_A_condition"] / columns["ppl_A_direct"]
        columns["rifd_ppl"] = columns["ppl_Q_condition"] / columns["ppl_Q_direct"]
        columns["ifd_loss"] = columns["loss_A_condition"] / columns["loss_A_direct"]
        columns["rifd_loss"] = columns["loss_Q_condition"] / columns["loss_Q_direct"]
        columns |= {f"n_tokens_{side}": numbers.integers(5, 500, rows) for side in "QA"}
        parts[name] = Dataset.from_dict({"row_id": ids(rows), **columns, "score_status": ["ok"] * rows})
    return parts


def ids(rows: int) -> list[str]:
    """As many row ids, no two alike."""
    import hashlib

    return [hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(rows)]


def publish(server: HubProcess, rows: int) -> float:
    """Put the repository on the server; its size in bytes."""
    from hub_cards.publishing.contents import statistics_configs, write_configs

    with tempfile.TemporaryDirectory() as place:
        write_configs(Path(place), statistics_configs(statistics(rows)))
        paths = [path for path in Path(place).rglob("*") if path.is_file()]
        files = {str(path.relative_to(place)): path.read_bytes() for path in paths}
    server.order("put", kind="dataset", repo_id=REPOSITORY, files=encode(files), private=True, author=None)
    return sum(map(len, files.values()))


def read(way: str, strategy: str, rows: int) -> float:
    """Read in one way; the seconds it took, imports aside."""
    import pyarrow.parquet as pq
    from datasets import Dataset, DatasetDict
    from huggingface_hub import HfFileSystem, snapshot_download

    from hub_cards.schema import VARIANTS as NAMES
    from scoring.prescored import add_statistics, find_statistics

    names, needs = NAMES[: VARIANTS[strategy]], NEEDS[strategy]
    empty = {"instruction": [""] * rows, "input": [""] * rows, "output": [""] * rows}
    variants = DatasetDict({name: Dataset.from_dict({"row_id": ids(rows), **empty}) for name in names})
    started = time.perf_counter()
    if way == "file system":
        system = HfFileSystem()
        for name in names:
            for path in system.glob(f"datasets/{REPOSITORY}/{name}/*.parquet"):
                with system.open(path) as file:
                    assert pq.read_table(file, columns=["row_id", *needs], pre_buffer=False).num_rows == rows
        return time.perf_counter() - started
    place = snapshot_download(REPOSITORY, repo_type="dataset") if way == "whole" else REPOSITORY
    added, _ = add_statistics(variants, find_statistics(place), needs)
    assert all(set(needs) <= set(part.column_names) for part in added.values())
    return time.perf_counter() - started


def measure(server: HubProcess, way: str, strategy: str, rows: int, home: Path) -> dict[str, float]:
    """One run in a process of its own: its seconds, and what the server saw of it."""
    server.order("clear")
    command = [sys.executable, __file__, "--way", way, "--strategy", strategy, "--rows", str(rows)]
    environment = {**os.environ, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    log = server.order("requests")
    return {
        "megabytes": round(sum(line["sent"] for line in log) / 1e6, 3),
        "requests": len(log),
        "seconds": round(float(done.stdout.splitlines()[-1]), 3),
    }


def main(rows: int) -> None:
    server = HubProcess(BOUND)
    size = publish(server, rows)
    found: dict[str, Any] = {}
    for strategy in NEEDS:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as home:
                for way in WAYS:
                    place = Path(home) / ("columns" if way == "again" else way.replace(" ", "-"))
                    runs[way].append(measure(server, way, strategy, rows, place))
        found[strategy] = {way: min(each, key=lambda run: run["seconds"]) for way, each in runs.items()}
        print(strategy, json.dumps(found[strategy], indent=2), flush=True)
    server.close()
    from hub_cards.provenance import library_versions

    content = {
        "what": __doc__.splitlines()[0],
        "rows": rows,
        "repository_megabytes": round(size / 1e6, 3),
        "columns": NEEDS,
        "variants": VARIANTS,
        "best": found,
        "machine": f"{os.cpu_count()} x {platform.machine()}",
        "libraries": library_versions(),
    }
    RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--strategy", choices=NEEDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(read(arguments.way, arguments.strategy, arguments.rows))
    else:
        main(arguments.rows)
