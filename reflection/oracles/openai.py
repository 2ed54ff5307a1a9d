"""The `openai` oracle: any OpenAI-compatible endpoint, asked concurrently, every answer stored as it arrives."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import openai

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from reflection.costs import Price, Usage
from reflection.oracles.account import LOG_SECONDS, Budget, BudgetSpentError, ErrorWindow, Progress, duration
from reflection.oracles.base import Completion, Job, OracleRequest
from reflection.oracles.chat import Sampling, estimated_tokens, on_the_wire, read_response
from reflection.oracles.config import Flags
from reflection.oracles.faults import FLAGS, KEY_VARIABLE, Fault, Remedy, diagnose, raise_if_final
from reflection.oracles.kept import KeptAnswers
from reflection.oracles.pacing import AdaptiveLimit, ClosedError, Pacer
from reflection.oracles.writer import StoreWriter
from reflection.statuses import NO_TEXT, ORACLE_ERROR
from reflection.store import Answer, CompletionStore

MAX_TRIES = 10  # about four minutes of waiting in all
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds between tries, doubling
USUAL_ANSWER_TOKENS = 600  # until there are answers to know it from
CONNECTIONS_PER_POOL, MAX_POOLS = 8, 32
GRACE_SECONDS = 30.0  # for the requests in flight when another one has ended the run: they are paid for


@dataclass(frozen=True)
class Pace:
    """How fast the endpoint is asked, and when to give up on it."""

    concurrency: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    timeout_seconds: float
    max_error_fraction: float


def api_key(flag: str) -> str:
    """The key of the environment.

    Args:
        flag: what of the user's settings needs it, for the message.

    Raises:
        BadInputError: there is none.
    """
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise BadInputError(f"{flag}: set the environment variable {KEY_VARIABLE} (any text for a local server)")
    if key != key.strip() or not key.isascii() or not key.isprintable():
        raise BadInputError(f"{KEY_VARIABLE}: holds a line break, a blank or a letter that no key has; set it again")
    return key


class OpenAIOracle(KeptAnswers):
    """Asks through the `openai` package, at temperature 0 and top_p 1 as the paper does.

    Every worker carries one job at a time and takes the next one as soon as it is done, so a slow answer holds up
    nothing but its own row. Retries are ours and not the package's, which would hide the 429s that the pace adapts to.

    Args:
        base_url: the endpoint, None for OpenAI itself.
        budget_usd: dollars that the answers may cost, those from the store included; None for no limit.
        step: whose lines the progress is.
        flags: what the user set it by.
        served_model: the model's name at the endpoint, where `sampling` names its content too.

    Raises:
        BadInputError: the environment has no OPENAI_API_KEY.
    """

    def __init__(
        self,
        sampling: Sampling,
        store: CompletionStore,
        base_url: str | None,
        pace: Pace,
        price: Price | None = None,
        budget_usd: float | None = None,
        step: str = "reflect",
        flags: Flags = FLAGS,
        served_model: str | None = None,
    ) -> None:
        super().__init__(store, sampling, price)
        self.step, self.flags = step, flags
        self.key = api_key(flags.oracle)
        self.served_model = served_model or sampling.model
        self.base_url = base_url
        self.pace = pace
        self.budget_usd = budget_usd

    def run(self, jobs: Callable[[], Iterable[Job]], total: int, jobs_per_row: int = 1) -> None:
        """Carry the jobs to their end; every answer is in the store when this returns or raises.

        Raises:
            BadInputError: the endpoint refuses the key, the model or the request.
            StoppedError: too many requests failed, the account is empty, or the service wants a pause of hours.
            KeyboardInterrupt: the user pressed Ctrl-C; what was in flight is kept.
        """
        if asyncio.run(self._run(iter(jobs()), total, jobs_per_row)):
            raise KeyboardInterrupt

    async def _run(self, jobs: Iterator[Job], total: int, jobs_per_row: int) -> bool:
        return await _Run(self, jobs, total, jobs_per_row).carry_all()


class _Run:
    """One event loop's worth of an oracle's work; its parts belong to that loop."""

    def __init__(self, oracle: OpenAIOracle, jobs: Iterator[Job], total: int, jobs_per_row: int) -> None:
        self.oracle, self.pace = oracle, oracle.pace
        self.jobs = jobs
        # A pool looks at all its idle connections before every request, so many small ones take far less time.
        self.clients = deque(
            openai.AsyncOpenAI(
                api_key=oracle.key, base_url=oracle.base_url, max_retries=0, timeout=self.pace.timeout_seconds
            )
            for _ in range(min(math.ceil(self.pace.concurrency / CONNECTIONS_PER_POOL), MAX_POOLS))
        )
        self.writer = StoreWriter(oracle.store.path)
        self.limit = AdaptiveLimit(self.pace.concurrency)
        self.pacer = Pacer(self.pace.requests_per_minute, self.pace.tokens_per_minute)
        self.budget = Budget(oracle.budget_usd, oracle.price)
        self.errors = ErrorWindow(self.pace.max_error_fraction)
        self.usage = Usage(oracle.price)
        self.progress = Progress(total, jobs_per_row, self.usage, partial(say, oracle.step))
        self.in_flight: dict[str, asyncio.Task[Completion]] = {}
        self.stopping = asyncio.Event()
        self.asked = self.from_store = 0
        self.interrupted = False
        self.noticed_at = float("-inf")
        self.workers: list[asyncio.Task[None]] = []

    async def carry_all(self) -> bool:
        """Start the workers, wait for them, and end in order whatever happens.

        Returns:
            Whether the user interrupted the run.
        """
        self._watch_signals()
        self.workers = [asyncio.create_task(self._work()) for _ in range(self.pace.concurrency)]
        try:
            async with AsyncExitStack() as stack:
                for client in self.clients:
                    await stack.enter_async_context(client)
                await self._wait()
        finally:
            await self.writer.close()
            self.progress.close()
            say(self.oracle.step, f"asked {self.asked:,} request(s), {self.from_store:,} were answered by the store")
        return self.interrupted

    async def _wait(self) -> None:
        """Until all workers are done. When one fails, the others may finish what they have in flight."""
        done, pending = await asyncio.wait(self.workers, return_when=asyncio.FIRST_EXCEPTION)
        late: set[asyncio.Task[None]] = set()
        if pending:
            self._stop()
            late, pending = await asyncio.wait(pending, timeout=GRACE_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        # All are looked at, for Python prints those that nobody saw.
        errors = [task.exception() for task in (*done, *late, *pending) if not task.cancelled()]
        for error in filter(None, errors):
            raise error

    def _stop(self) -> None:
        """Start nothing more; what is in flight goes on."""
        self.stopping.set()
        self.limit.close()

    def _watch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():  # nobody else gets signals
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self._interrupt)

    def _interrupt(self) -> None:
        if self.interrupted:
            for task in self.workers:
                task.cancel()
            return
        self.interrupted = True
        self._stop()
        say(
            self.oracle.step,
            f"interrupted: waiting for {self.limit.in_flight} request(s) in flight, they are paid; once more stops now",
        )

    async def _work(self) -> None:
        for job in self.jobs:  # all workers take from the same iterator
            try:
                await self._carry(job)
            except (ClosedError, BudgetSpentError):
                return
            self.progress.job_done()
            if self.stopping.is_set():
                return
            await asyncio.sleep(0)  # a long stretch of answers from the store must not hold up the others

    async def _carry(self, job: Job) -> None:
        try:
            request = next(job)
            while True:
                request = job.send(await self._answer(request))
        except StopIteration:
            return

    async def _answer(self, request: OracleRequest) -> Completion:
        """From the store, from an equal request that is under way, or from the endpoint."""
        body, key = self.oracle.identify(request)
        completion = self.oracle.known(key)
        if completion is not None:
            if completion.from_store:
                self.from_store += 1
                self.budget.settle(0.0, self._count(key, completion))
            return completion
        if key not in self.in_flight:  # exact duplicates are asked, and paid for, once
            task = self.in_flight[key] = asyncio.create_task(self._ask(body, key))
            task.add_done_callback(lambda _: self.in_flight.pop(key))
        return await self.in_flight[key]

    def _count(self, key: str, completion: Completion) -> float:
        used = completion.prompt_tokens, completion.completion_tokens
        return self.usage.add(key, *used, completion.batched) if completion.is_billed else 0.0

    async def _ask(self, body: dict[str, Any], key: str) -> Completion:
        prompt_tokens = estimated_tokens(body)
        # Twice the estimate is more than any text has in today's vocabularies.
        reserved = await self.budget.reserve(2 * prompt_tokens, body["max_tokens"])
        spent = 0.0
        try:
            completion, seconds = await self._try(body, prompt_tokens)
            if completion.failure is None or completion.failure in NO_TEXT:
                spent = self._count(key, completion)
                if completion.prompt_tokens is None and completion.failure is None:
                    spent = reserved  # the service does not say: count the most it can be
                await self.writer.put(Answer(body, completion, seconds))
                # Another process on the same store may have been first: go on with the answer that stands there.
                completion = self.oracle.store.get(key) or completion
            else:
                self.oracle.failures[key] = completion
        finally:
            self.budget.settle(reserved, spent)
        self.asked += 1
        self.errors.add(completion)
        return completion

    async def _try(self, body: dict[str, Any], prompt_tokens: int) -> tuple[Completion, float | None]:
        """Ask until there is an answer, a fault that no retry mends, or no try left; with the seconds it took."""
        booked = prompt_tokens + self._usual_answer_tokens()
        wire = on_the_wire(body, self.oracle.base_url) | {"model": self.oracle.served_model}
        loop = asyncio.get_running_loop()
        detail = ""
        for number in range(MAX_TRIES):
            await self.limit.acquire()
            try:
                await self._pause(self.pacer.book(loop.time(), booked))
                started = loop.time()
                outcome = await self._send(wire)
            finally:
                self.limit.release()
            if isinstance(outcome, Completion):
                self.limit.succeeded()
                self.pacer.correct(booked, (outcome.prompt_tokens or 0) + (outcome.completion_tokens or 0) or booked)
                return outcome, loop.time() - started
            raise_if_final(outcome, self.oracle.flags.oracle)
            detail = outcome.detail
            if outcome.remedy is Remedy.GIVE_UP:
                return Completion(None, failure=outcome.status, model=wire["model"], detail=detail), None
            if outcome.remedy is Remedy.THROTTLE:
                self.limit.throttled(started, outcome.retry_after)
            self._notice(outcome)
            if number + 1 < MAX_TRIES:
                await self._pause(max(outcome.retry_after or 0.0, backoff(number)))
        detail = f"{MAX_TRIES} tries, the last one: {detail}"
        return Completion(None, failure=ORACLE_ERROR, model=wire["model"], detail=detail), None

    async def _send(self, wire: dict[str, Any]) -> Completion | Fault:
        try:
            # The client's own timeout is for each read: a proxy that sends blanks to keep the line open defeats it.
            async with asyncio.timeout(self.pace.timeout_seconds):
                # As `extra_body` the request is sent as it is; as arguments it is first walked through, type by type,
                # which takes a quarter of the time that the client takes for a request.
                client = self.clients[0]
                self.clients.rotate()
                if "prompt" in wire:
                    ask = partial(client.completions.with_raw_response.create, prompt="")
                else:
                    ask = partial(client.chat.completions.with_raw_response.create, messages=[])
                response = await ask(model=wire["model"], extra_body=wire)
            if "json" not in response.headers.get("content-type", "json"):  # the page of a proxy, or a wrong path
                return Fault(Remedy.GIVE_UP, f"the answer is no chat completion; check {self.oracle.flags.url}")
            completion = read_response(json.loads(response.content), wire["model"])
        except openai.APIError as error:
            return diagnose(error, self.oracle.key, self.oracle.flags)
        except TimeoutError:
            return Fault(Remedy.RETRY, f"no answer within {self.pace.timeout_seconds:g} s (--timeout_seconds)")
        except (ValueError, RecursionError) as error:  # JSON that is none, bytes that are no text
            return Fault(Remedy.RETRY, f"the answer is not JSON: {error}")
        return completion if completion.failure != ORACLE_ERROR else Fault(Remedy.RETRY, completion.detail)

    async def _pause(self, seconds: float) -> None:
        """Sleep; a run that stops does not wait.

        Raises:
            ClosedError: the run is stopping.
        """
        if seconds <= 0:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
            raise ClosedError

    def _usual_answer_tokens(self) -> float:
        counted = self.usage.completions - self.usage.without_usage
        return self.usage.completion_tokens / counted if counted else USUAL_ANSWER_TOKENS

    def _notice(self, fault: Fault) -> None:
        """Tell the user about retries, once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - self.noticed_at >= LOG_SECONDS:
            self.noticed_at = now
            most = int(self.limit.current)
            wait = f" in {duration(fault.retry_after)}" if fault.retry_after else ""
            fewer = f" (at most {most} in flight now)" if most < self.limit.maximum else ""
            say(self.oracle.step, f"trying again{wait} after: {fault.detail}{fewer}")


def backoff(number: int) -> float:
    """Seconds before try `number + 2`: doubling from half a second to a minute, with half of it left to chance."""
    return min(FIRST_DELAY * 2**number, LONGEST_DELAY) * random.uniform(0.5, 1.0)
