"""Oracles: one small module a backend. A backend's own package is imported only when it is asked for."""

from __future__ import annotations

from hub_cards.errors import BadInputError
from reflection.config import ReflectConfig
from reflection.oracles.base import Completion, Oracle, OracleRequest

__all__ = ["Completion", "Oracle", "OracleRequest", "make_oracle"]


def make_oracle(config: ReflectConfig) -> Oracle:
    """The oracle that `--oracle` names.

    Raises:
        BadInputError: what the backend needs is missing (a file, a key).
    """
    if config.oracle == "recorded":
        from reflection.oracles.recorded import RecordedOracle

        return RecordedOracle(config.recorded_path)
    if config.oracle == "openai":
        from reflection.oracles.openai import OpenAIOracle
        from reflection.store import CompletionStore

        store = CompletionStore(config.store)
        return OpenAIOracle(config.oracle_model, store, config.base_url, config.concurrency, config.max_tokens)
    raise BadInputError(f"--oracle {config.oracle!r} is unknown")
