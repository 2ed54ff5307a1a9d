"""The `openai_batch` oracle: OpenAI's Batch API, at half the price and within a day."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import Any

from openai.types import Batch

from hub_cards.cli import say
from hub_cards.errors import BadInputError, StoppedError
from reflection.costs import Price, Usage
from reflection.oracles.account import LOG_SECONDS, MIN_WINDOW
from reflection.oracles.base import Completion, Job, OracleRequest, first_unanswered
from reflection.oracles.batch_ledger import SUBMITTED, BatchLedger, Draft
from reflection.oracles.batch_lines import keep_answers, request_line
from reflection.oracles.batch_service import BatchService, FileGoneError
from reflection.oracles.chat import Sampling, without_secrets
from reflection.oracles.faults import Fault, Remedy, diagnose_status, raise_if_final
from reflection.oracles.kept import KeptAnswers
from reflection.oracles.openai import api_key
from reflection.statuses import ORACLE_ERROR
from reflection.store import CompletionStore
from reflection.tokens import estimate_tokens

FLAG = "--oracle openai_batch"
MAX_TRIES = 3  # batches that a request may be in without an answer
MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000  # of a file; the service takes 200 MB, whichever megabytes it means
TOKEN_LIMIT = "token_limit_exceeded"  # the organisation has too many tokens in all its batches
GONE = Fault(Remedy.RETRY, "the service returned nothing for it")


class OpenAIBatchOracle(KeptAnswers):
    """Asks in waves: every job's first unanswered request goes into a batch, until no job has one.

    The books of the batches are in the store. A run that died at any moment, or another process with the same store,
    goes on with the batches that are under way and submits nothing twice.

    Args:
        base_url: the endpoint, None for OpenAI itself.
        budget_usd: dollars that the answers may cost, those from the store included; None for no limit.
        poll_seconds: between two looks at the batches.
        step: whose lines the progress is.
        max_requests, max_bytes: what a batch may hold.

    Raises:
        BadInputError: the environment has no OPENAI_API_KEY.
    """

    def __init__(
        self,
        sampling: Sampling,
        store: CompletionStore,
        base_url: str | None,
        price: Price | None = None,
        budget_usd: float | None = None,
        poll_seconds: float = 30.0,
        step: str = "reflect",
        max_requests: int = MAX_REQUESTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__(store, sampling, price)
        self.step = step
        self.key = api_key(FLAG)
        self.base_url = base_url
        self.budget_usd = budget_usd
        self.poll_seconds = poll_seconds
        self.max_requests, self.max_bytes = max_requests, max_bytes

    def identify(self, request: OracleRequest) -> tuple[dict[str, Any], str]:
        """What is asked, and its key in the store.

        Raises:
            BadInputError: the request is a text to go on with; only chats are put into batches.
        """
        if request.prompt is not None:
            raise BadInputError(f"{FLAG}: takes chats only; have text prompts answered by --oracle openai")
        return super().identify(request)

    def run(self, jobs: Callable[[], Iterable[Job]], total: int, jobs_per_row: int = 1) -> None:
        """Carry the jobs to their end; `jobs` is called once or twice a wave.

        Raises:
            BadInputError: the service refuses the key, the model or a request; what it answered is kept.
            StoppedError: a batch was cancelled, most of one failed, the account is empty, or the service is away.
            KeyboardInterrupt: the user pressed Ctrl-C; the batches go on at the service.
        """
        with closing(BatchService(self.key, self.base_url, self.store.path)) as service:
            _Run(self, service, jobs, total // jobs_per_row, jobs_per_row).carry_all()


class _Run:
    """One `run` of the oracle."""

    def __init__(
        self,
        oracle: OpenAIBatchOracle,
        service: BatchService,
        jobs: Callable[[], Iterable[Job]],
        rows: int,
        jobs_per_row: int,
    ) -> None:
        self.oracle, self.service = oracle, service
        self.jobs, self.rows, self.jobs_per_row = jobs, rows, jobs_per_row
        self.ledger = BatchLedger(oracle.store, service.endpoint)
        self.say = partial(say, oracle.step)
        self.waiting: dict[str, str] = {}  # the batches that hold requests of these jobs: our ids, and the service's
        self.tries: Counter[str] = Counter()
        self.limited = oracle.budget_usd is not None and oracle.price is not None
        self.spent = Usage(oracle.price)
        self.reserved = Usage(oracle.price)  # what is under way, at its worst
        self.max_requests = oracle.max_requests
        self.most_batches: int | None = None  # under way at a time, once the service has said that it is enough
        self.final: BadInputError | StoppedError | None = None  # how the run will end
        self.done = 0
        self.said, self.said_at = "", float("-inf")

    def carry_all(self) -> None:
        """Submit and collect until nothing is left to ask."""
        try:
            while True:
                finished = self.final is not None or self._submit()
                if self.waiting:
                    self._wait()
                elif self.final is not None:
                    raise self.final
                elif finished:
                    return
        except KeyboardInterrupt:
            if self.waiting:
                self.say(
                    f"interrupted: {self._batches()} go on at the service and will be paid for; the same command "
                    "collects them"
                )
            raise

    def _submit(self) -> bool:
        """Put every job's first unanswered request into a batch.

        Returns:
            Whether no other wave is needed before one of these batches has ended.
        """
        with self._locked():
            self._recover()
            if self.limited:  # what these jobs have cost, and may yet, must be known before more is asked
                self.reserved = Usage(self.oracle.price)
                for _ in self._unasked():
                    pass
            return self._fill()

    def _locked(self) -> AbstractContextManager[None]:
        return self.ledger.locked(lambda: self.say("waiting for another process that uses this store"))

    def _recover(self) -> None:
        """Set the books right where a process died: find out what became of the batches that it was submitting."""
        for batch in self.ledger.answered():
            self.ledger.set_collected(batch)
            self.waiting.pop(batch, None)
        for batch in self.ledger.unfinished():
            found = self.service.find(batch.id, batch.file_id) if batch.file_id else None
            if found is None:
                self.ledger.release(batch.id)
            else:
                self.ledger.set_submitted(batch.id, found)

    def _unasked(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The first unanswered request of every job that has one, with its key, unless it is under way."""
        self.done = 0
        for job in self.jobs():
            request = first_unanswered(job, self._known)
            if request is None:
                self.done += 1
                continue
            body, key = self.oracle.identify(request)
            batch = self.ledger.under_way(key)
            if batch is None:
                yield key, body
            elif batch.batch_id is not None:  # not the one that is being filled
                self.waiting.setdefault(batch.id, batch.batch_id)
                self._reserve(key, body)

    def _known(self, request: OracleRequest) -> Completion | None:
        body, key = self.oracle.identify(request)
        completion = self.oracle.known(key)
        if completion is not None and completion.from_store:
            used = completion.prompt_tokens, completion.completion_tokens
            if used[0] is None and completion.failure is None:
                used = _most_tokens(body)  # the service did not say: count the most it can be
            self.spent.add(key, *used, completion.batched)
        return completion

    def _reserve(self, key: str, body: dict[str, Any]) -> None:
        if self.limited:
            self.reserved.add(key, *_most_tokens(body), batched=True)

    def _affordable(self, body: dict[str, Any]) -> bool:
        if not self.limited:
            return True
        most = self.oracle.price.dollars(*_most_tokens(body), batched=True)
        return self.spent.dollars + self.reserved.dollars + most <= self.oracle.budget_usd

    def _fill(self) -> bool:
        draft = Draft(self.ledger)
        for key, body in self._unasked():
            if key in draft:
                continue
            if not self._affordable(body):
                if not self.waiting and not draft.requests:
                    self.say(
                        f"stops asking: the next answer might cost more than is left of ${self.oracle.budget_usd:g}"
                    )
                break
            size = len(request_line(key, body, self.oracle.base_url))
            is_full = draft.requests >= self.max_requests or draft.bytes + size > self.oracle.max_bytes
            if draft.requests and is_full:
                self._send(draft)
                draft = Draft(self.ledger)
            if not draft.requests and self.most_batches is not None and len(self.waiting) >= self.most_batches:
                return False
            draft.add(key, body, size)
            self._reserve(key, body)
        self._send(draft)
        return draft.complete

    def _send(self, draft: Draft) -> None:
        """Upload and submit; each step is in the books before the next one."""
        draft.flush()
        if not draft.requests:
            return
        lines = (request_line(key, body, self.oracle.base_url) for key, body in self.ledger.requests(draft.id))
        file_id = self.service.upload(lines)
        self.ledger.set_uploaded(draft.id, file_id)
        batch_id = self.service.create(draft.id, file_id)
        self.ledger.set_submitted(draft.id, batch_id)
        self.waiting[draft.id] = batch_id
        self.say(f"submitted batch {batch_id}: {draft.requests:,} requests")

    def _wait(self) -> None:
        """Until a batch has ended; collect what has.

        Raises:
            StoppedError: the run ends here, and the same command goes on. A `BadInputError` waits for the batches
                that are under way: the corrected command asks other requests, and would not collect them.
        """
        while not (ended := self._poll()):
            time.sleep(self.oracle.poll_seconds)
        too_large = 0
        for batch, remote in ended:
            with self._locked():
                if self.ledger.state(batch) == SUBMITTED:  # else another process was faster
                    too_large = max(too_large, self._collect(batch, remote))
            del self.waiting[batch]
        if too_large:
            self._shrink(too_large, len(self.waiting) + sum(remote.status != "failed" for _, remote in ended))
        if isinstance(self.final, StoppedError):
            raise self.final

    def _poll(self) -> list[tuple[str, Batch]]:
        """Ask how the batches are, say so where it is news, and return those that have ended."""
        remotes = {batch: self.service.retrieve(batch_id) for batch, batch_id in self.waiting.items()}
        counts = [remote.request_counts for remote in remotes.values() if remote.request_counts]
        done = sum((count.completed or 0) + (count.failed or 0) for count in counts)
        line = (
            f"{self._batches()} at the service, {done:,} of {sum(count.total or 0 for count in counts):,} requests done"
        )
        line += f"; {self.done // self.jobs_per_row:,} of {self.rows:,} rows complete"
        line += f", ${self.spent.dollars:,.2f} so far" if self.oracle.price else ""
        if line != self.said and time.monotonic() - self.said_at >= LOG_SECONDS:
            self.said, self.said_at = line, time.monotonic()
            self.say(line)
        ended = {"completed", "failed", "expired", "cancelled"}
        return [(batch, remote) for batch, remote in remotes.items() if remote.status in ended]

    def _batches(self) -> str:
        return f"{len(self.waiting)} batch{'es' if len(self.waiting) > 1 else ''}"

    def _collect(self, batch: str, remote: Batch) -> int:
        """Store the answers of a batch that has ended, and strike it out.

        Returns:
            Its size where the service had no room for it, else 0.
        """
        size, faults = self.ledger.size(batch), {}
        for file_id in filter(None, (remote.output_file_id, remote.error_file_id)):
            try:
                with self.service.download(file_id) as lines:
                    found = keep_answers(self.ledger, batch, lines, self.oracle.sampling.model, self.oracle.key)
            except FileGoneError:
                self._end(
                    StoppedError(
                        f"file {file_id} with answers of batch {remote.id} is no longer at the service; the same "
                        "command asks again, and pays again, for what was in it"
                    )
                )
                continue
            faults |= found.faults
            if found.malformed or found.unknown:
                self.say(
                    f"file {file_id}: {found.malformed:,} lines cannot be read, {found.unknown:,} are for no request "
                    f"of batch {remote.id}; ignored"
                )
        if remote.status == "failed":
            self.ledger.release(batch)
            return self._refused(remote, size)
        unanswered = self.ledger.unanswered(batch)
        lost = sum(self._give_back(key, faults.get(key, GONE)) for key in unanswered)
        self.ledger.set_collected(batch)
        self.say(f"batch {remote.id} {remote.status}: {size - len(unanswered):,} of {size:,} requests answered")
        go_on = "what was answered is kept: the same command"
        if remote.status == "cancelled":
            self._end(StoppedError(f"batch {remote.id} was cancelled at the service; {go_on} submits the rest"))
        if size >= MIN_WINDOW and lost > size / 2:
            said = faults.get(unanswered[-1], GONE).detail
            self._end(
                StoppedError(
                    f"{lost:,} of the {size:,} requests of batch {remote.id} got no answer in {MAX_TRIES} batches, one "
                    f"of them: {said}; {go_on} goes on from there"
                )
            )
        return 0

    def _give_back(self, key: str, fault: Fault) -> bool:
        """Decide about a request without an answer.

        Returns:
            Whether it has had all its tries.
        """
        try:
            raise_if_final(fault, FLAG)
        except (BadInputError, StoppedError) as error:
            self._end(error)
            return False
        self.tries[key] += 1
        if self.tries[key] < MAX_TRIES:
            return False
        detail = f"{MAX_TRIES} batches, the last one: {fault.detail}"
        self.oracle.failures[key] = Completion(
            None, failure=ORACLE_ERROR, model=self.oracle.sampling.model, detail=detail
        )
        return True

    def _refused(self, remote: Batch, size: int) -> int:
        """A batch that the service did not take: find out why. Returns as `_collect`."""
        errors = (remote.errors.data if remote.errors else None) or []
        if any(error.code == TOKEN_LIMIT for error in errors):
            return size
        code, message = (errors[0].code, errors[0].message) if errors else (None, None)
        said = without_secrets(message or code or "it does not say why", self.oracle.key)
        said += f" (line {errors[0].line} of the file)" if errors and errors[0].line else ""
        refused = f"{FLAG}: the service refuses batch {remote.id}: {said}"
        try:
            raise_if_final(diagnose_status(429, code, message or ""), FLAG)
            self._end(BadInputError(refused))
        except StoppedError as error:  # no credit
            self._end(error)
        return 0

    def _shrink(self, size: int, others: int) -> None:
        """The organisation's limit of tokens in batches is reached: fewer batches at a time, or smaller ones."""
        if others:
            self.most_batches = others
        elif size > 1:
            self.most_batches, self.max_requests = 1, size // 2
        else:
            self._end(
                StoppedError(
                    "the service has no room for a batch of even one request (the organisation's limit of enqueued "
                    "tokens); run the same command again when its other batches have ended"
                )
            )
            return
        self.say(
            f"the organisation's limit of enqueued tokens is reached: from now on at most {self.most_batches} "
            f"batch(es) of {self.max_requests:,} requests at a time"
        )

    def _end(self, error: BadInputError | StoppedError) -> None:
        if self.final is None:
            self.final = error
            if isinstance(error, BadInputError) and len(self.waiting) > 1:
                self.say(f"{error}; collecting the batches that are under way before the run ends")


def _most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Twice the estimate is more than any text has in today's vocabularies."""
    return 2 * estimate_tokens(body["messages"]), body["max_tokens"]
