"""The one interface of all oracles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reflection.prompts import Messages


@dataclass(frozen=True)
class OracleRequest:
    """One thing to ask.

    Attributes:
        row_id, source_id, variant: which row's which variant the answer is for.
        attempt: 0, or 1 for the re-ask after an answer that could not be extracted; part of the sampling seed.
    """

    row_id: str
    source_id: str | None
    variant: str
    messages: Messages
    attempt: int = 0


@dataclass(frozen=True)
class Completion:
    """What came back.

    Attributes:
        text: None exactly where `error` says why there is none.
        finish_reason: as the oracle gave it (`stop`, `length`, …).
        model: who wrote it.
        prompt_tokens, completion_tokens: as billed; None where unknown.
        from_store: whether it was paid for earlier.
    """

    text: str | None
    finish_reason: str | None = None
    error: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    from_store: bool = False


class Oracle(Protocol):
    """An oracle answers requests in their order; a request that fails has an `error`, never an exception."""

    can_resample: bool  # whether asking again can give another answer

    def complete(self, requests: Sequence[OracleRequest]) -> list[Completion]: ...
