"""Which checkpoint to go on from: the last one that is whole. A kill can leave one half-written or half-removed."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

STATE_FILE = "trainer_state.json"
WEIGHTS = ("model*.safetensors", "adapter_model.safetensors", "pytorch_model*", "adapter_model.bin", "global_step*")
OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")
SCHEDULERS = ("scheduler.pt", "global_step*")
_NAME = re.compile(r"checkpoint-(\d+)")


def last_whole_checkpoint(folder: Path, say: Callable[[str], None] = lambda _line: None) -> Path | None:
    """The checkpoint with the most steps that training can go on from; null where there is none.

    A damaged one is removed: the trainer keeps the newest by their number, and would keep it in place of a whole one.

    Args:
        say: prints a line for each that is passed over.
    """
    for checkpoint in _checkpoints(folder):
        reason = what_is_wrong(checkpoint)
        if reason is None:
            return checkpoint
        say(f"{checkpoint.name} is passed over and removed: {reason}")
        shutil.rmtree(checkpoint)
    return None


def _checkpoints(folder: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def what_is_wrong(checkpoint: Path) -> str | None:
    """Why training cannot go on from a checkpoint as if it had never stopped; null where it can.

    The weights are not read: a file that was cut off shows it by its size, or by the directory that ends it.
    """
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{STATE_FILE}, which is written last, is missing or cut off"
    if not isinstance(state, dict) or f"checkpoint-{state.get('global_step')}" != checkpoint.name:
        return f"{STATE_FILE} is that of another step"
    for what, patterns in (("weights", WEIGHTS), ("state of the optimizer", OPTIMIZERS), ("schedule", SCHEDULERS)):
        if not any(any(checkpoint.glob(pattern)) for pattern in patterns):
            return f"it holds no {what}"
    damaged = next((path for path in sorted(checkpoint.rglob("*")) if _is_damaged(path)), None)
    return None if damaged is None else f"{damaged.relative_to(checkpoint)} is cut off"


def _is_damaged(path: Path) -> bool:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "numpy"):
                return False
        if path.suffix in (".pt", ".pth", ".bin"):
            return not zipfile.is_zipfile(path)
        if path.name.endswith(".index.json"):
            index = json.loads(path.read_text(encoding="utf-8"))
            return not all((path.parent / name).is_file() for name in index["weight_map"].values())
    except (OSError, SafetensorError, ValueError, KeyError):
        return True
    return False
