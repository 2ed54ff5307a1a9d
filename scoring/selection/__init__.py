"""Selection strategies, one module each: score columns in, one decision a row out. None needs torch."""

from __future__ import annotations

from scoring.selection.selective import select_selective

STRATEGIES = {"selective": select_selective}
