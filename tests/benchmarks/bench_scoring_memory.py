"""Memory of a scoring run by the number of rows: `recipes/score.py` on 20,000 and on 200,000 rows of about 1 kB.

    python tests/benchmarks/bench_scoring_memory.py

The rows are synthetic and saved as a stage saves them (Arrow); the model is a random Llama so small that the run takes
minutes. Reported is the highest resident memory of the run's process, of which memory-mapped files are a part that the
system takes back when it needs it, and the anonymous part alone, which nothing can take back. Writes
`tests/benchmarks/results/scoring_memory.json`.
"""

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from hub_cards.provenance import StepRecord, library_versions
from hub_cards.schema import REFLECT_COLUMNS, ROW_COLUMNS, features
from hub_cards.sources import Source
from hub_cards.storage import save_result

ROOT = Path(__file__).parents[2]
STUDENT = ROOT / "recipes/quickstart/student"
RESULT = Path(__file__).parent / "results/scoring_memory.json"
SIZES = (20_000, 200_000)
TEXT = "the a of to and in that it is was for on are with as his they at be this from I have or by one had not"


def save_model(folder: Path) -> None:
    """One layer of width 16 with the quickstart's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_rows(folder: Path, count: int) -> None:
    """Rows with short texts to score and a long column that is only carried."""

    def rows():
        numbers, words = random.Random(0), TEXT.split()
        for row in range(count):
            yield {
                **dict.fromkeys([column.name for column in (*ROW_COLUMNS, *REFLECT_COLUMNS)]),
                "row_id": f"{row:016x}",
                "instruction": " ".join(numbers.choices(words, k=6)),
                "input": "",
                "output": " ".join(numbers.choices(words, k=10)),
                "variant": "original",
                "reflection": " ".join(numbers.choices(words, k=250)),
            }

    with tempfile.TemporaryDirectory() as cache:
        wanted = features([*ROW_COLUMNS, *REFLECT_COLUMNS])
        made = Dataset.from_generator(rows, features=wanted, cache_dir=cache)
        record = StepRecord("reflect", 1, {}, {"dataset": Source("file", "synthetic", str(count))})
        save_result(folder, DatasetDict(original=made), [record.finished({}, 0.0)])


def peak_memory(command: list[str]) -> dict[str, float]:
    """Run a command and watch its memory, in MB, ten times a second."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peaks = {"VmRSS": 0, "RssAnon": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
            except OSError:
                return
            for name, value in (line.split(":", 1) for line in lines):
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return {
        "peak_resident_mb": peaks["VmRSS"],
        "peak_anonymous_mb": peaks["RssAnon"],
        "seconds": round(time.monotonic() - started),
    }


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as place:
        save_model(Path(place) / "model")
        for size in SIZES:
            folder = Path(place) / f"rows{size}"
            save_rows(folder, size)
            command = [sys.executable, "recipes/score.py", "--dataset", str(folder)]
            command += ["--model_name_or_path", f"{place}/model", "--output_dir", f"{place}/score{size}"]
            found[size] = peak_memory(command)
            print(size, found[size], flush=True)
    report = {"what": __doc__.splitlines()[0], "rows": found, "libraries": library_versions()}
    RESULT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
