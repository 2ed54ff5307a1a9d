"""The one interface of all oracles.

Who needs an oracle writes its questions as *jobs*: generators that yield a request and are sent its completion, so that
one job can ask on the strength of an earlier answer. An oracle carries jobs to their end in whatever way suits it: one
after the other, thousands at a time, or in waves of a batch service. It keeps what it was answered; the job's result is
then made again from there by `replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from reflection.prompts import Messages


@dataclass(frozen=True)
class OracleRequest:
    """One thing to ask.

    Attributes:
        row_id, source_id, variant: which row's which variant the answer is for.
        messages: a chat request; None where `prompt` stands for it.
        attempt: 0, or 1 for the re-ask after an answer that could not be used; part of the sampling seed.
        response_format: a JSON schema as OpenAI's `response_format` takes it, None for plain text.
        prompt: a text that the model goes on to write, in place of `messages`.
        stop: texts that end the answer and are no part of it.
    """

    row_id: str
    source_id: str | None
    variant: str
    messages: Messages | None
    attempt: int = 0
    response_format: dict[str, Any] | None = None
    prompt: str | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """What came back.

    Attributes:
        text: None exactly where `failure` says why there is none.
        failure: one of `statuses.NO_TEXT` or `statuses.OPEN`.
        finish_reason: as the oracle gave it (`stop`, `length`, …).
        model: who wrote it.
        detail: what the service said of a failure.
        prompt_tokens, completion_tokens: as billed; None where unknown.
        batched: whether it was bought at the batch price.
        from_store: whether it was answered earlier.
    """

    text: str | None
    finish_reason: str | None = None
    failure: str | None = None
    model: str | None = None
    detail: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    batched: bool = False
    from_store: bool = False

    @property
    def is_billed(self) -> bool:
        """Whether the service wrote anything for it; a refused prompt is neither counted nor paid."""
        return self.text is not None or self.prompt_tokens is not None or self.completion_tokens is not None


Result = TypeVar("Result")
Job = Generator[OracleRequest, Completion, Result]


class Oracle(Protocol):
    """Who is asked.

    Attributes:
        can_resample: whether asking again can give another answer.
    """

    can_resample: bool

    def run(self, jobs: Callable[[], Iterable[Job]], total: int) -> None:
        """Carry `total` jobs to their end and keep every answer. `jobs` may be called again for another pass."""

    def answer(self, request: OracleRequest) -> Completion:
        """What is known of a request after `run`; a failure where there is no answer, never an exception."""


def replay(job: Job[Result], answer: Callable[[OracleRequest], Completion]) -> Result:
    """Carry one job to its end with answers that are at hand, and return its result."""
    try:
        request = next(job)
        while True:
            request = job.send(answer(request))
    except StopIteration as done:
        return done.value


def first_unanswered(job: Job, answer: Callable[[OracleRequest], Completion | None]) -> OracleRequest | None:
    """Carry a job on with what is at hand; the request it stops at, or None where it came to its end."""
    try:
        request = next(job)
        while (completion := answer(request)) is not None:
            request = job.send(completion)
    except StopIteration:
        return None
    job.close()
    return request
