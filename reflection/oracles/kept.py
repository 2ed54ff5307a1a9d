"""What the oracles with a completion store share: which key a request has, and what is known of it."""

from __future__ import annotations

from typing import Any

from reflection.costs import Price, Usage
from reflection.oracles.base import Completion, OracleRequest
from reflection.oracles.chat import Sampling
from reflection.statuses import NOT_ASKED
from reflection.store import CompletionStore


class KeptAnswers:
    """An oracle whose answers are in a store; a subclass adds `run`, which fetches them.

    Attributes:
        failures: requests that got no answer in this run, by key; a later run asks them again.
        usage: the completions that `answer` gave out.
    """

    can_resample = True

    def __init__(self, store: CompletionStore, sampling: Sampling, price: Price | None = None) -> None:
        self.store = store
        self.sampling = sampling
        self.price = price
        self.failures: dict[str, Completion] = {}
        self.usage = Usage(price)

    def identify(self, request: OracleRequest) -> tuple[dict[str, Any], str]:
        """What is asked, and its key in the store."""
        body = self.sampling.request(request)
        return body, self.store.key(body)

    def known(self, key: str) -> Completion | None:
        """The answer, or this run's failure to get one; None where it was not asked."""
        return self.failures.get(key) or self.store.get(key)

    def answer(self, request: OracleRequest) -> Completion:
        """What is known of a request after `run`; `not_asked` where the run ended before it."""
        _, key = self.identify(request)
        completion = self.known(key)
        if completion is None:
            return Completion(None, failure=NOT_ASKED)
        if completion.from_store and completion.is_billed:
            self.usage.add(key, completion.prompt_tokens, completion.completion_tokens, completion.batched)
        return completion
