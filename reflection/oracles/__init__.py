"""Oracles: one small module a backend. A backend's own package is imported only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub_cards.sources import Source, find_model
from reflection.oracles.base import Completion, Job, Oracle, OracleRequest
from reflection.oracles.config import SERVICES, OracleArguments
from reflection.statuses import OPEN

if TYPE_CHECKING:
    from accelerate import PartialState

    from reflection.store import CompletionStore

__all__ = [
    "OPEN",
    "Completion",
    "Job",
    "Oracle",
    "OracleArguments",
    "OracleRequest",
    "check_key",
    "find_oracle_model",
    "make_oracle",
    "open_store",
]


def make_oracle(arguments: OracleArguments, state: PartialState | None = None, step: str = "reflect") -> Oracle:
    """The oracle that `--oracle` names.

    Args:
        state: the processes that share the work (`transformers`).
        step: whose lines the progress is.

    Raises:
        BadInputError: what the backend needs is missing (a file, a key, a model).
    """
    if arguments.oracle == "recorded":
        from reflection.oracles.recorded import RecordedOracle

        return RecordedOracle(arguments.recorded_path)

    from reflection.oracles.chat import Sampling

    store = open_store(arguments.store)
    sampling = Sampling(model_key(arguments), arguments.max_tokens, arguments.temperature)
    if arguments.oracle == "transformers":
        from reflection.oracles.transformers import TransformersOracle

        return TransformersOracle(
            arguments.oracle_model,
            find_oracle_model(arguments).revision,
            sampling,
            store,
            arguments.oracle_batch_size,
            state,
            step=step,
        )
    price, budget = arguments.price(), arguments.budget_usd
    if arguments.oracle == "openai_batch":
        from reflection.oracles.openai_batch import OpenAIBatchOracle

        return OpenAIBatchOracle(sampling, store, arguments.base_url, price, budget, step=step)
    from reflection.oracles.openai import OpenAIOracle, Pace

    pace = Pace(
        arguments.concurrency,
        arguments.requests_per_minute,
        arguments.tokens_per_minute,
        arguments.timeout_seconds,
        arguments.max_error_fraction,
    )
    return OpenAIOracle(sampling, store, arguments.base_url, pace, price, budget, step=step)


def check_key(arguments: OracleArguments) -> None:
    """Raise `BadInputError` where the oracle is a service and the environment has no key for it."""
    if arguments.oracle in SERVICES:
        from reflection.oracles.openai import api_key

        api_key(f"--oracle {arguments.oracle}")


def open_store(path: str) -> CompletionStore:
    """The completion store in a file, which is made where it is missing.

    Raises:
        BadInputError: the file is no such store, or cannot be written.
    """
    from reflection.store import CompletionStore

    return CompletionStore(path)


def model_key(arguments: OracleArguments) -> str:
    """What names the model under which answers are kept: a served one by its name, a local one by its content too."""
    if arguments.oracle != "transformers":
        return arguments.oracle_model
    return f"{arguments.oracle_model}@{find_oracle_model(arguments).fingerprint}"


def find_oracle_model(arguments: OracleArguments) -> Source:
    """The local model that `--oracle_model` names; raises `BadInputError` where there is none."""
    return find_model(arguments.oracle_model, arguments.oracle_revision, "--oracle_model")
