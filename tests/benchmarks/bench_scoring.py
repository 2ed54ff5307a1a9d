"""Scoring speed: ours against one sequence at a time with full logits, as the published scripts do it.

    python tests/benchmarks/bench_scoring.py

Both score the same rows of the quickstart, all four variants, with the shipped student in float32, interleaved in one
process on one thread, tokenization included. The figure is the ratio of the medians of own CPU seconds, which other
load on the machine hardly moves. Writes `tests/benchmarks/results/scoring.json`.
"""

import json
import os
import platform
import statistics
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hub_cards.provenance import library_versions
from hub_cards.rows import DataArguments, load_rows
from reflection.oracles.recorded import RecordedOracle
from reflection.prompts import load_prompts
from reflection.reflect import as_original, reflect_batch
from scoring.ifd import LOSS_KEYS, Scorer, score_batch
from scoring.templates import get_template, reverse_prompt

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes/quickstart"
RESULT = Path(__file__).parent / "results/scoring.json"
ROWS, REPEATS = 16, 3


def rows_of_all_variants() -> dict[str, list[str]]:
    """The first rows of the quickstart, the variants of a row next to each other."""
    base = load_rows(DataArguments(str(QUICKSTART / "data/rows.jsonl"), limit=ROWS)).dataset
    oracle, prompts = RecordedOracle(str(QUICKSTART / "data/completions.jsonl")), load_prompts()
    original = as_original(base[:])
    instruction = reflect_batch(original, "reflect_instruction", oracle, prompts)
    response = reflect_batch(original, "reflect_response", oracle, prompts)
    both = reflect_batch(instruction, "reflect_both", oracle, prompts)
    parts = (original, instruction, response, both)
    return {
        key: [part[key][row] for row in range(ROWS) for part in parts] for key in ("instruction", "input", "output")
    }


@torch.inference_mode()
def one_at_a_time(rows: dict[str, list[str]], scorer: Scorer) -> dict[str, list[float]]:
    """Four forward passes a row, batch size 1, logits of every token."""
    losses: dict[str, list[float]] = {f"loss_{key}": [] for key in LOSS_KEYS}
    for instruction, input, output in zip(*rows.values(), strict=True):
        question = instruction + input
        contexts = {"A": scorer.template.prompt(instruction, input), "Q": reverse_prompt(scorer.template, output)}
        for side, target in (("Q", question), ("A", output)):
            start = len(scorer.tokenizer(contexts[side])["input_ids"])
            limits = {"direct": scorer.max_length - min(start, scorer.max_length) + 1, "condition": scorer.max_length}
            for kind, context, first in (("direct", "", 1), ("condition", contexts[side], start)):
                ids = torch.tensor([scorer.tokenizer(context + target)["input_ids"][: limits[kind]]])
                logits = scorer.model(input_ids=ids, use_cache=False).logits[0]
                loss = torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[0, first:])
                losses[f"loss_{side}_{kind}"].append(loss.item())
    return losses


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(QUICKSTART / "student", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(QUICKSTART / "student")
    scorer = Scorer(model, tokenizer, get_template("vicuna"))
    rows = rows_of_all_variants()
    seconds: dict[str, list[float]] = {"one_at_a_time": [], "ours": []}
    results = {}
    for repeat in range(-1, REPEATS):  # the first round warms up
        for name, run in (("one_at_a_time", one_at_a_time), ("ours", score_batch)):
            started = cpu_seconds()
            results[name] = run(rows, scorer)
            if repeat >= 0:
                seconds[name].append(round(cpu_seconds() - started, 2))
    difference = max(
        abs(ours / theirs - 1)
        for key in LOSS_KEYS
        for ours, theirs in zip(results["ours"][f"loss_{key}"], results["one_at_a_time"][f"loss_{key}"], strict=True)
    )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report = {
        "what": f"{ROWS} quickstart rows x 4 variants, student of 2.6 M parameters, float32, 1 thread, own CPU seconds",
        "cpu_seconds": seconds,
        "ratio_of_medians": round(medians["one_at_a_time"] / medians["ours"], 2),
        "largest_relative_loss_difference": float(f"{difference:.1e}"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": library_versions(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
