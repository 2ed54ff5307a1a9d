"""The log of a training, one line a logged step: kept beside the model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LOG_FILE = "training_log.jsonl"
# Ours by what TRL calls it. The loss is the mean since the line before, in nats a token with a loss.
FIELDS = {
    "step": "step",
    "epoch": "epoch",
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "num_tokens": "tokens",
}
Entry = dict[str, Any]


def log_entries(history: Iterable[Entry]) -> list[Entry]:
    """The lines of the log from a trainer's history, which also holds a summary; what is no number is null."""
    return [
        {ours: _number(ours, entry.get(theirs)) for theirs, ours in FIELDS.items()}
        for entry in history
        if "loss" in entry
    ]


def mean_loss(entries: Iterable[Entry]) -> float | None:
    """The mean over all steps; null where there is none, or a loss is no number."""
    total, last = 0.0, 0
    for entry in entries:
        if entry["loss"] is None:
            return None
        total += entry["loss"] * (entry["step"] - last)
        last = entry["step"]
    return total / last if last else None


def write_log(folder: Path, entries: Iterable[Entry]) -> None:
    """Write `training_log.jsonl`: step, epoch, loss, learning rate, norm of the gradient, tokens seen so far."""
    lines = (json.dumps(entry) + "\n" for entry in entries)
    (folder / LOG_FILE).write_text("".join(lines), encoding="utf-8")


def _number(name: str, value: Any) -> Any:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if name in ("step", "tokens") else value
