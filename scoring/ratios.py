"""From losses to scores: perplexities, IFD and reversed IFD. The only copy of these formulas. Imports no torch.

IFD is Cherry LLM's (arXiv 2308.12032), r-IFD that of Selective Reflection-Tuning (arXiv 2402.10110).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

LOSS_KEYS = ("Q_direct", "A_direct", "Q_condition", "A_condition")
MAX_LOSS = 700  # nats a token; beyond it exp() leaves float64
RATIOS = {"ifd": ("A_condition", "A_direct"), "rifd": ("Q_condition", "Q_direct")}


def mean_loss(token_losses: Sequence[float] | np.ndarray | None) -> float | None:
    """Mean over the target's tokens, nats a token, summed in float64; null where there are none."""
    if token_losses is None or not len(token_losses):
        return None
    return float(np.asarray(token_losses, dtype=np.float32).mean(dtype=np.float64))


def is_usable(loss: float) -> bool:
    """Whether a loss is a number whose perplexity is one too."""
    return math.isfinite(loss) and loss < MAX_LOSS


def loss_columns(losses: Mapping[str, float | None]) -> dict[str, float | None]:
    """Losses, perplexities and ratios of one row from its four losses (nats a token); null in, null out."""
    columns: dict[str, float | None] = {}
    for key in LOSS_KEYS:
        columns[f"loss_{key}"] = losses[key]
        columns[f"ppl_{key}"] = None if losses[key] is None else math.exp(losses[key])
    for name, (condition, direct) in RATIOS.items():
        for unit in ("ppl", "loss"):
            columns[f"{name}_{unit}"] = _ratio(columns[f"{unit}_{condition}"], columns[f"{unit}_{direct}"])
    return columns


def columns_of_token_losses(row: Mapping[str, Sequence[float] | None]) -> dict[str, float | None]:
    """`loss_columns` of a row's `token_losses_*` columns: exactly what was scored, without a model."""
    return loss_columns({key: mean_loss(row[f"token_losses_{key}"]) for key in LOSS_KEYS})


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below
