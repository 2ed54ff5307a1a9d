"""Facility location on 50,000 rows of 384 dimensions: how long 1,000 picks take, and how much memory.

    python tests/benchmarks/bench_coverage.py

`clustered` rows look like sentence embeddings of instructions: 500 clusters whose sizes follow a power law, around a
common direction. `isotropic` rows share nothing, the hardest case: no row stands for others. The baseline is the plain
greedy choice on the whole matrix of similarities, which 50,000 rows would need 20 GB for. Every case runs in a process
of its own, whose highest resident memory is reported with the interpreter's and the vectors' in it, and whose time on
all cores together (`cpu_seconds`) tells how far other work on the machine held it up. Writes
`tests/benchmarks/results/coverage.json`.
"""

import json
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from hub_cards.provenance import library_versions
from scoring.selection.coverage import pick_by_coverage

RESULT = Path(__file__).parent / "results/coverage.json"
DIMENSIONS = 384
# What is measured: way, kind of rows, rows, picks.
CASES = (
    ("dense", "clustered", 2_000, 200),
    ("blocked", "clustered", 2_000, 200),
    ("blocked", "clustered", 10_000, 1_000),
    ("blocked", "isotropic", 10_000, 1_000),
    ("blocked", "clustered", 50_000, 1_000),
)


def make_vectors(kind: str, rows: int) -> np.ndarray:
    """Float32, a block of rows at a time."""
    numbers = np.random.default_rng(0)
    shares = 1 / np.arange(1, 501)
    common = 0.7 * numbers.normal(size=DIMENSIONS)
    centres = common + numbers.normal(size=(500, DIMENSIONS))
    vectors = np.empty((rows, DIMENSIONS), dtype=np.float32)
    for start in range(0, rows, 1000):
        noise = numbers.normal(size=vectors[start : start + 1000].shape)
        of = numbers.choice(500, size=len(noise), p=shares / shares.sum())
        vectors[start : start + 1000] = noise if kind == "isotropic" else centres[of] + 0.8 * noise
    return vectors


def pick_dense(vectors_ND: np.ndarray, count: int) -> tuple[list[int], float]:
    """Greedy on the whole matrix, the first of those equal to 9 digits: the picks and the objective."""
    unit_ND = vectors_ND.astype(np.float64)
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    similarity_NN = (unit_ND @ unit_ND.T).clip(0)
    covered_N = np.zeros(len(unit_ND))
    picks: list[int] = []
    for _ in range(count):
        gain_N = np.maximum(similarity_NN - covered_N, 0).sum(axis=1)
        gain_N[picks] = -1
        picks.append(int(gain_N.round(9).argmax()))
        covered_N = np.maximum(covered_N, similarity_NN[picks[-1]])
    return picks, float(covered_N.sum())


def measure(way: str, kind: str, rows: int, count: int) -> dict:
    vectors_ND = make_vectors(kind, rows)
    started, worked = time.monotonic(), time.process_time()
    if way == "dense":
        picks, objective = pick_dense(vectors_ND, count)
        bound = {}
    else:
        found = pick_by_coverage(vectors_ND, count)
        picks, objective = found.picks, found.objective
        bound = {"share_of_upper_bound": round(objective / found.upper_bound, 4)}
    return {
        "way": way,
        "data": kind,
        "rows": rows,
        "dimensions": DIMENSIONS,
        "picks": count,
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - worked, 2),
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "objective": round(objective, 4),
        "mean_similarity": round(objective / rows, 4),
        **bound,
        "order": picks,
    }


def main() -> None:
    found = []
    for case in CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(measure, *case).result())
        print({name: value for name, value in found[-1].items() if name != "order"}, flush=True)
    dense, blocked = found[:2]
    report = {
        "what": __doc__.splitlines()[0],
        "cores": os.cpu_count(),
        "blas_threads": max(library["num_threads"] for library in threadpool_info()),
        "against_dense": {
            "same_picks_in_the_same_order": dense["order"] == blocked["order"],
            "objective_ratio": blocked["objective"] / dense["objective"],
            "times_faster": round(dense["seconds"] / blocked["seconds"], 1),
        },
        "cases": [{name: value for name, value in case.items() if name != "order"} for case in found],
        "libraries": library_versions(),
    }
    RESULT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
