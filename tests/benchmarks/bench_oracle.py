"""Benchmark of the `openai` oracle against a server with heavy-tailed latency, in a process of its own.

python tests/benchmarks/bench_oracle.py

(a) batches of ten with a barrier, as the seeds of this project ask, and (b) a bare asyncio.gather over the same client
behind a semaphore, without store, extraction, guards, retries or progress: as fast as the client allows. Ours is
`ask`, with all of that. Throughput in wall seconds, repeats interleaved; then the peak memory by the number of rows.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import openai
from datasets import Dataset

from hub_cards.provenance import library_versions
from hub_cards.schema import ROW_COLUMNS, features
from reflection.oracles.chat import Sampling
from reflection.oracles.openai import OpenAIOracle, Pace
from reflection.prompts import load_prompts
from reflection.reflect import Asking, ask, row_jobs
from reflection.store import CompletionStore

HERE = Path(__file__).parent
RESULT = HERE / "results/oracle.json"
CONCURRENCY, BATCH = 64, 10
LATENCY_MS = 50
REQUESTS = {"seeds": 300, "bare": 2000, "ours": 2000}  # a steady state of some seconds each
REPEATS = 5
MEMORY_ROWS = (2_000, 10_000, 52_002)
SAMPLING = Sampling("oracle-1", 256)
ASKING = Asking(load_prompts())
VARIANT = ["reflect_response"]


class Server:
    """The fault server, started and ended here."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "fault_server.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, path: str, data: dict | None = None) -> dict:
        raw = json.dumps(data).encode() if data is not None else None
        with self.opener.open(f"{self.root}{path}", raw, timeout=60) as response:
            return json.load(response)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def make_rows(count: int) -> Dataset:
    """Rows of the size of Alpaca's."""
    numbers = range(count)
    columns = {
        "row_id": [f"row-{n}" for n in numbers],
        "source_id": [None] * count,
        "instruction": [f"Tell me about place #{n}, and what a visitor should see there in spring." for n in numbers],
        "input": [""] * count,
        "output": [
            f"It is place {n} of many. {'There is a market, a bridge and an old garden. ' * 5}" for n in numbers
        ],
        "variant": ["original"] * count,
    }
    return Dataset.from_dict(columns, features=features(ROW_COLUMNS))


def bodies(count: int) -> list[dict]:
    """The same requests as `ask` makes of `make_rows(count)`."""
    return [SAMPLING.request(next(job)) for job in row_jobs(make_rows(count), VARIANT, ASKING)]


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-any", base_url=url, max_retries=0, timeout=60)


def seeds(url: str, count: int) -> float:
    """Ten at a time, the next ten when all of them are answered; requests a second."""

    async def run() -> float:
        asked = bodies(count)
        async with client(url) as api:
            started = time.perf_counter()
            for start in range(0, count, BATCH):
                await asyncio.gather(*(api.chat.completions.create(**body) for body in asked[start : start + BATCH]))
            return count / (time.perf_counter() - started)

    return asyncio.run(run())


def bare(url: str, count: int) -> float:
    """All at once behind a semaphore; requests a second."""

    async def run() -> float:
        asked, slots = bodies(count), asyncio.Semaphore(CONCURRENCY)
        async with client(url) as api:

            async def one(body: dict) -> str:
                async with slots:
                    return (await api.chat.completions.create(**body)).choices[0].message.content

            started = time.perf_counter()
            await asyncio.gather(*map(one, asked))
            return count / (time.perf_counter() - started)

    return asyncio.run(run())


def ours(url: str, count: int, rows: Dataset | None = None) -> float:
    """`ask` with a fresh store on the disk; requests a second."""
    rows = rows or make_rows(count)
    with tempfile.TemporaryDirectory(dir=HERE) as folder:  # not /tmp, which may be in memory
        store = CompletionStore(f"{folder}/completions.sqlite")
        oracle = OpenAIOracle(SAMPLING, store, url, Pace(CONCURRENCY, None, None, 60, 0.5))
        started = time.perf_counter()
        ask(rows, VARIANT, oracle, ASKING)
        seconds = time.perf_counter() - started
        if (kept := next(store.select("SELECT count(*) FROM completions"))[0]) != count:
            raise RuntimeError(f"{kept} of {count} answers are in the store")
        store.close()
    return count / seconds


def throughput(server: Server) -> dict:
    """Requests a second of each way, and the ratios of neighbours in time."""
    ways: dict[str, Callable[[str, int], float]] = {"seeds": seeds, "bare": bare, "ours": ours}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(-1, REPEATS):  # the first round warms up
        for name, way in ways.items():
            server.call("/config", {"latency_ms": LATENCY_MS, "sigma": 1.0, "seed": repeat, "log": False})
            rate = way(server.url, REQUESTS[name])
            if server.call("/counts")["paid_in_all"] != REQUESTS[name]:
                raise RuntimeError(f"{name}: the server has not answered every request exactly once")
            if repeat >= 0:
                found[name].append(round(rate, 1))
    ratios = {
        f"ours_to_{name}": [round(own / other, 2) for own, other in zip(found["ours"], found[name], strict=True)]
        for name in ("seeds", "bare")
    }
    return {name: summary(values) for name, values in (found | ratios).items()}


def summary(values: list[float]) -> dict:
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "all": values}


def memory(server: Server, counts: tuple[int, ...]) -> dict:
    """Peak resident memory of a process that asks about so many rows, without latency."""
    found = {}
    for count in counts:
        server.call("/config", {"log": False})
        command = [sys.executable, __file__, "--memory_of", str(count), "--url", server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{count:,} rows"] = json.loads(done.stdout.splitlines()[-1])
        print(count, found[f"{count:,} rows"], flush=True)
    return found


def memory_of(count: int, url: str) -> dict:
    """In this process: ask, and look at the peak."""
    rows = make_rows(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rate = ours(url, count, rows)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "peak_MB": round(after / 1024),
        "of_it_before_asking_MB": round(before / 1024),
        "requests_per_s": round(rate),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory_of", type=int)
    parser.add_argument("--url")
    parser.add_argument("--memory_rows", type=int, nargs="*", default=MEMORY_ROWS)
    arguments = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "sk-any"
    if arguments.memory_of:
        print(json.dumps(memory_of(arguments.memory_of, arguments.url)))
        return
    server = Server()
    try:
        rates = throughput(server)
        print(json.dumps(rates, indent=2), flush=True)
        peaks = memory(server, tuple(arguments.memory_rows))
    finally:
        server.close()
    report = {
        "what": f"requests/s at a server with lognormal latency (mean {LATENCY_MS} ms, sigma 1) in its own process, "
        f"{REPEATS} interleaved repeats of {REQUESTS}; concurrency {CONCURRENCY}, the seeds' batches {BATCH}",
        "requests_per_second": {name: rates[name] for name in ("seeds", "bare", "ours")},
        "ratios": {
            "ours_to_seeds (at least 5)": rates["ours_to_seeds"],
            "ours_to_bare (at least 0.8)": rates["ours_to_bare"],
        },
        "memory": {"what": "one variant (reflect_response), no latency, fresh store, peak resident memory", **peaks},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": {**library_versions(), "openai": openai.__version__},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
