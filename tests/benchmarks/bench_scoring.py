"""Scoring speed: ours against the published scripts' way and against plain padded batches.

    python tests/benchmarks/bench_scoring.py [--shapes student ...] [--sets cherry ...] [--rows N] [--processes]

`seeds` is one sequence at a time with full logits; `padded_16` pads sixteen rows in the order of the data. All score
the same rows with the same model in one process, interleaved repeat by repeat, tokenization included; the first round
warms up. On a CPU: one thread and own CPU seconds, which other load on the machine hardly moves. On a GPU: wall
seconds. Only the student has trained weights and a tokenizer; the other shapes have random weights and read its token
ids. `--processes` compares two processes with one that has two threads instead, in wall seconds on idle cores.

Prints a table and writes `tests/benchmarks/results/scoring.json`.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from scoring_baselines import ANSWER, BOTH, WAYS, Losses, Needed, Rows, count, ours, part
from scoring_material import BIG, SHAPES, STUDENT, find_rows, load

from hub_cards.provenance import library_versions
from scoring.ifd import Scorer
from scoring.templates import get_template

RESULT = Path(__file__).parent / "results/scoring.json"
SETS = ("cherry", "short", "variants", "cherry_none")
SETS_OF = {
    STUDENT: ("cherry", "short", "variants"),
    "smollm2-135m": ("cherry", "short"),
    "gpt2-124m": ("cherry", "cherry_none"),
    BIG: ("cherry", "short", "variants"),
}
CPU_ROWS = {STUDENT: 48, "smollm2-135m": 8, "gpt2-124m": 8}  # all of it together within a quarter of an hour
GPU_ROWS = 256
BARS = {
    STUDENT: {"cherry": 1.6, "short": 2.1, "variants": 1.55},
    "smollm2-135m": {"cherry": 1.45, "short": 1.85},
    "gpt2-124m": {"cherry": 1.6, "cherry_none": 1.2},
}
LOSS_BAR, IFD_BAR, PROCESSES_BAR = 1e-5, 2e-5, 1.15
ABOUT_BARS = "bars: over `seeds`, in float32, from another CPU, `student` there a model of 5.26 M parameters"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: all, on a CPU without the 7B one")
    parser.add_argument("--sets", nargs="+", choices=SETS, help="rows; default: those of each shape's bars")
    parser.add_argument("--rows", type=int, help=f"a set; default on a CPU {CPU_ROWS}, on a GPU {GPU_ROWS}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: float32, on a GPU bfloat16")
    parser.add_argument("--max_batch_tokens", type=int, help="of ours; default: what the engine finds")
    parser.add_argument("--processes", action="store_true", help="two processes against two threads, nothing else")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--worker", help=argparse.SUPPRESS)  # FIRST:STEP, a part of the rows; see `Worker`
    args = parser.parse_args()
    on_cpu = args.device == "cpu"
    args.dtype = args.dtype or ("float32" if on_cpu else "bfloat16")
    args.shapes = args.shapes or [shape for shape in SHAPES if not (on_cpu and shape == BIG)]
    if on_cpu and BIG in args.shapes:
        raise SystemExit(f"--shapes {BIG}: on a GPU only (--device cuda)")
    if on_cpu and args.dtype == "bfloat16" and not torch.cpu._is_amx_tile_supported():
        raise SystemExit("--dtype bfloat16: this CPU has no matrix unit for it and emulates it; nothing to learn here")
    return args


class Clock:
    """Seconds that count on a device, and the peak memory since it was started."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.what = "own CPU seconds, 1 thread" if device == "cpu" else "wall seconds"

    def now(self) -> float:
        if self.device == "cpu":
            return time.process_time()  # user and system time of all own threads
        torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR_PEAK.exists():
            ctypes.CDLL(None).malloc_trim(0)  # what earlier runs have freed and the process still holds
            CLEAR_PEAK.write_text("5")

    def peak_mib(self) -> float:
        """On a CPU that of the whole process, weights and libraries included."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        if not CLEAR_PEAK.exists():  # then it is the peak since the process began
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10


CLEAR_PEAK = Path("/proc/self/clear_refs")


def matmul_peak(clock: Clock, dtype: str) -> float:
    """FLOP/s of the best of several products of square matrices."""
    size = 1024 if clock.device == "cpu" else 8192
    one, other = (torch.randn(size, size, device=clock.device).to(getattr(torch, dtype)) for _ in range(2))
    seconds = []
    for _ in range(100):
        started = clock.now()
        torch.mm(one, other)
        seconds.append(clock.now() - started)
    return 2 * size**3 / min(seconds)


def measure(rows: Rows, scorer: Scorer, sides: tuple[str, ...], clock: Clock, repeats: int, peak: float) -> dict:
    """All ways on the same rows, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    memory: dict[str, float] = {}
    losses: dict[str, Losses] = {}
    tokens_before = scorer.engine.tokens_run
    for name, way in WAYS.items():  # a round that warms up, and in which losses and memory are looked at
        clock.forget_peak()
        losses[name] = way(rows, scorer, sides)
        memory[name] = clock.peak_mib()
    for _ in range(repeats):
        for name, way in WAYS.items():
            started = clock.now()
            way(rows, scorer, sides)
            seconds[name].append(clock.now() - started)
    tokens_run = (scorer.engine.tokens_run - tokens_before) // (repeats + 1)
    needed = Needed.of(rows, scorer, sides)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: compared(seconds[name], seconds["ours"]) for name in WAYS if name != "ours"}
    return {
        "rows": count(rows),
        "needed": asdict(needed),
        "tokens_run": tokens_run,
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "rows_per_second": {name: round(count(rows) / value, 3) for name, value in medians.items()},
        "tokens_per_second": round(tokens_run / medians["ours"], 1),
        "of_matmul_peak": {
            name: round(needed.flops(scorer.engine.model) / value / peak, 3) for name, value in medians.items()
        },
        "peak_memory_mib": {name: round(value) for name, value in memory.items()},
        "ratios": ratios,
        "flops_of_seeds_over_needed": round(
            needed.flops_apart(scorer.engine.model) / needed.flops(scorer.engine.model), 3
        ),
        **differences(losses["ours"], losses["seeds"]),
    }


def compared(theirs: list[float], mine: list[float]) -> dict[str, float]:
    """Their seconds over ours: of the medians, and the least and the greatest of one repeat."""
    each = [one / other for one, other in zip(theirs, mine, strict=True)]
    median = statistics.median(theirs) / statistics.median(mine)
    return {"of_medians": round(median, 3), "min": round(min(each), 3), "max": round(max(each), 3)}


def differences(found: dict[str, list[float]], wanted: dict[str, list[float]]) -> dict[str, float]:
    """The largest relative differences of mean losses and of IFD, a row that has none in one must have none in both."""
    pairs = [pair for key in wanted for pair in zip(found[key], wanted[key], strict=True)]
    assert all(math.isnan(one) == math.isnan(other) for one, other in pairs)
    ifd = [
        [math.exp(condition - direct) for direct, condition in zip(one["A_direct"], one["A_condition"], strict=True)]
        for one in (found, wanted)
    ]
    return {
        "largest_relative_loss_difference": float(f"{largest(pairs):.1e}"),
        "largest_relative_ifd_difference": float(f"{largest(list(zip(*ifd, strict=True))):.1e}"),
    }


def largest(pairs: list[tuple[float, float]]) -> float:
    return max((abs(one / other - 1) for one, other in pairs if not math.isnan(other)), default=0.0)


def bench_shape(shape: str, args: argparse.Namespace, clock: Clock, peak: float) -> dict[str, Any]:
    scorer = load(shape, args.dtype, args.device, args.max_batch_tokens)
    n_rows = args.rows or (CPU_ROWS[shape] if args.device == "cpu" else GPU_ROWS)
    report = {
        "parameters": scorer.engine.model.num_parameters(),
        "is_packed": scorer.engine.is_packed,
        "max_batch_tokens": scorer.engine.max_batch_tokens,
        "sets": {},
    }
    for name in args.sets or SETS_OF[shape]:
        if name == "cherry_none":
            # Superfiltering: the bare instruction as context, and only the losses of the answer.
            this, sides = Scorer(scorer.engine, scorer.tokenizer, get_template("none"), scorer.max_length), ANSWER
        else:
            this, sides = scorer, BOTH
        found = measure(find_rows(name, n_rows, scorer), this, sides, clock, args.repeats, peak)
        found["bar"] = BARS.get(shape, {}).get(name)
        report["sets"][name] = found
        print_set(shape, name, found)
    return report


COLUMNS = "{:13} {:12} {:>5} {:>8} {:>9} {:>6} {:>8} {:>21} {:>21} {:>5} {:>8} {:>8}"
HEADER = ("shape", "rows", "rows", "rows/s", "tokens/s", "of mm", "MiB")
HEADER += ("over seeds (min-max)", "over padded (min-max)", "bar", "loss", "ifd")


def print_set(shape: str, name: str, found: dict[str, Any]) -> None:
    ratios = [f"{r['of_medians']:.2f} ({r['min']:.2f}-{r['max']:.2f})" for r in found["ratios"].values()]
    print(
        COLUMNS.format(
            *(shape, name, found["rows"], f"{found['rows_per_second']['ours']:.2f}"),
            *(f"{found['tokens_per_second']:.0f}", f"{found['of_matmul_peak']['ours']:.0%}"),
            *(found["peak_memory_mib"]["ours"], *ratios, found["bar"] or "-"),
            *(found["largest_relative_loss_difference"], found["largest_relative_ifd_difference"]),
        ),
        flush=True,
    )


class Worker:
    """A process of its own that scores a part of the student's rows whenever it is told to."""

    def __init__(self, args: argparse.Namespace, part: str, threads: int) -> None:
        command = [sys.executable, __file__, "--device", args.device, "--dtype", args.dtype, "--worker", part]
        command += ["--rows", str(args.rows or CPU_ROWS[STUDENT])]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.wait()

    def start(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        if self.process.stdout.readline() != "done\n":
            raise SystemExit("a worker ended early")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def work(args: argparse.Namespace) -> None:
    """A worker's side: says `done` when it is warm, and after every run."""
    scorer = load(STUDENT, args.dtype, args.device)
    first, step = map(int, args.worker.split(":"))
    rows = part(find_rows("cherry", args.rows, scorer), slice(first, None, step))
    ours(rows, scorer, BOTH)
    print("done", flush=True)
    for _ in sys.stdin:
        ours(rows, scorer, BOTH)
        print("done", flush=True)


def bench_processes(args: argparse.Namespace) -> dict[str, Any]:
    """Two processes of one thread with half of the rows each, against one of two threads with all."""
    groups = {
        "one_process_two_threads": [Worker(args, "0:1", 2)],
        "two_processes_one_thread": [Worker(args, f"{rank}:2", 1) for rank in range(2)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in groups}
    for repeat in range(-1, args.repeats):
        for name, workers in groups.items():
            started = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.wait()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    for worker in (worker for workers in groups.values() for worker in workers):
        worker.close()
    one, two = seconds.values()
    n_rows = args.rows or CPU_ROWS[STUDENT]
    return {
        "what": f"student, {n_rows} rows of cherry, wall seconds; the other cores' load counts",
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "rows_per_second": {name: round(n_rows / statistics.median(values), 2) for name, values in seconds.items()},
        "ratio": compared(one, two),
        "bar": PROCESSES_BAR,
    }


def earlier(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    args = parse()
    if args.worker:
        work(args)
        return
    if args.processes:
        found = bench_processes(args)
        print(json.dumps(found, indent=2))
        write(args.output, {**earlier(args.output), "processes": found})
        return
    if args.device == "cpu":
        torch.set_num_threads(1)
    clock = Clock(args.device)
    peak = matmul_peak(clock, args.dtype)
    print(f"{args.dtype}, {clock.what}; best matrix product {peak / 1e9:.1f} GFLOP/s\n{ABOUT_BARS}")
    print(f"loss within {LOSS_BAR}, ifd within {IFD_BAR} of `seeds` is wanted in float32")
    print(COLUMNS.format(*HEADER), flush=True)
    shapes: dict[str, Any] = {}
    for shape in args.shapes:
        shapes[shape] = bench_shape(shape, args, clock, peak)
        if args.device == "cuda":
            torch.cuda.empty_cache()
    report = {
        "what": f"{args.dtype} on {args.device}, {clock.what}, {args.repeats} repeats",
        "about_bars": f"{ABOUT_BARS}; losses within {LOSS_BAR}, ifd_ppl within {IFD_BAR} of `seeds`",
        "matmul_peak_gflops": round(peak / 1e9, 1),
        "shapes": shapes,
        "machine": machine(args.device),
        "libraries": library_versions(),
    }
    processes = {name: found for name, found in earlier(args.output).items() if name == "processes"}
    write(args.output, {**report, **processes})


def machine(device: str) -> str:
    gpu = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    return f"{platform.machine()}, {os.cpu_count()} cores{gpu}"


if __name__ == "__main__":
    main()
