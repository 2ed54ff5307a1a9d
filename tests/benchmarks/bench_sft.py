"""Training speed: LoRA steps of a 7B shape on a GPU, of a tiny one on a CPU; tokens a second and MFU.

    python tests/benchmarks/bench_sft.py [--device cuda] [--rows 8] [--length 2048] [--steps 10] [--write]

The weights are random (made from a configuration, nothing is downloaded) and the rows are random tokens, all of the
same length, so that no padding is counted. It is the trainer of `recipes/sft.py` on one device: LoRA of rank 16 on all
linear layers, activation checkpointing, weights in bfloat16 (on a CPU float32). The first steps warm up; the time is
from the end of one step to the end of the next one, the device waited for.

FLOP a token, N being the parameters that take part in a product (all but the input embedding), L layers, d the width
of attention (heads x head_dim), T the length:
- `mfu`: 6 N + 12 L d T, the convention of PaLM (arXiv 2204.02311, appendix B): as if all weights were trained,
  attention not halved for its mask, what activation checkpointing computes again not counted.
- `mfu_lora`: 4 N + 12 L d T: the gradients of frozen weights are not computed, so this is what LoRA really needs.
The peak is the dense one of the maker's data sheet in `PEAKS`; on a CPU, and on a device not listed, that of a measured
product of square matrices.

Prints the result; with `--write` also into `tests/benchmarks/results/sft.json`.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, TrainerCallback
from trl import SFTConfig

from hub_cards.provenance import library_versions
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results/sft.json"
WARM_UP = 3
# Dense bfloat16 FLOP/s by a part of the device's name, from NVIDIA's data sheets (the figures without sparsity).
PEAKS = {
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "RTX 4090": 165.2e12,
}
# A Llama of 7 B parameters, and one for a look at a CPU.
SHAPES = {
    "cuda": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "cpu": {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 2, "num_attention_heads": 4},
}
DEFAULTS = {"cuda": {"rows": 8, "length": 2048, "steps": 10}, "cpu": {"rows": 2, "length": 128, "steps": 3}}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=device)
    parser.add_argument("--rows", type=int, help=f"a step; default {DEFAULTS}")
    parser.add_argument("--length", type=int, help="tokens a row")
    parser.add_argument("--steps", type=int, help=f"that are timed, after {WARM_UP} others")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.relative_to(ROOT)}")
    args = parser.parse_args()
    for name, value in DEFAULTS[args.device].items():
        setattr(args, name, getattr(args, name) or value)
    return args


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def make_model(device: str, length: int) -> LlamaForCausalLM:
    """Random weights, made where they will be."""
    config = LlamaConfig(
        **SHAPES[device], vocab_size=32000, max_position_embeddings=max(length, 2048), attn_implementation="sdpa"
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def random_rows(count: int, length: int) -> Dataset:
    """Tokens, half of them prompt."""
    ids = torch.randint(3, 4096, (count, length), generator=torch.Generator().manual_seed(0)).tolist()
    labels = [[-100] * (length // 2) + row[length // 2 :] for row in ids]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def flops_per_token(model: LlamaForCausalLM, length: int, trained_weights: bool) -> float:
    """See the head of this file; of the model without its adapter."""
    config = model.config
    products = sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()
    attention = config.num_hidden_layers * config.num_attention_heads * config.head_dim * length
    return (6 if trained_weights else 4) * products + 12 * attention


def peak_of(device: str, dtype: torch.dtype) -> tuple[float, str]:
    """FLOP/s, and where the number is from."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        for part, peak in PEAKS.items():
            if all(word in name for word in part.split()):
                return peak, f"data sheet, {part}, dense bfloat16"
    size = 8192 if device == "cuda" else 1024
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        torch.mm(one, other)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds), f"measured, product of {size} x {size} matrices"


def measure(args: argparse.Namespace, work: str) -> dict[str, Any]:
    model = make_model(args.device, args.length)
    flops = {name: flops_per_token(model, args.length, name == "mfu") for name in ("mfu", "mfu_lora")}
    parameters, dtype = model.num_parameters(), model.dtype
    total = WARM_UP + args.steps
    on_cpu = args.device == "cpu"
    sft = SFTConfig(
        output_dir=work,
        max_steps=total,
        max_length=args.length,
        per_device_train_batch_size=args.rows,
        learning_rate=1e-4,
        save_strategy="no",
        logging_steps=total,
        report_to="none",
        use_cpu=on_cpu,
        bf16=not on_cpu,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=sft,
        train_dataset=random_rows(args.rows * total, args.length),
        processing_class=AutoTokenizer.from_pretrained(ROOT / "recipes/quickstart/student"),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
    )
    clock = Clock(args.device)
    trainer.add_callback(clock)
    if not on_cpu:
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)][WARM_UP - 1 :]
    tokens = args.rows * args.length
    assert len(seconds) == args.steps and trainer.tokens == tokens * total
    speed = tokens / statistics.median(seconds)
    peak, peak_from = peak_of(args.device, dtype)
    return {
        "device": platform.processor() or platform.machine() if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads() if on_cpu else None,
        "shape": SHAPES[args.device],
        "parameters": parameters,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "dtype": str(dtype).removeprefix("torch."),
        "rows": args.rows,
        "length": args.length,
        "seconds_a_step": [round(value, 4) for value in seconds],
        "tokens_per_second": round(speed, 1),
        "flop_per_token": flops,
        "peak_flop_per_second": round(peak),
        "peak_from": peak_from,
        **{name: round(speed * flop / peak, 4) for name, flop in flops.items()},
        "peak_memory_gib": None if on_cpu else round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "libraries": library_versions(),
    }


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as work:
        result = measure(args, work)
    print(json.dumps(result, indent=1))
    if args.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
