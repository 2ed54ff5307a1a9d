"""The `transformers` oracle: a local model in process, asked in batches on every process of a launcher."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from reflection.costs import Usage
from reflection.oracles.account import Progress
from reflection.oracles.base import Completion, Job, OracleRequest
from reflection.oracles.chat import Sampling, storable
from reflection.oracles.chat_model import ChatModel
from reflection.oracles.config import Flags
from reflection.oracles.kept import KeptAnswers
from reflection.oracles.local_model import FLAGS, Draw, LocalModel, Prompt
from reflection.statuses import CONTEXT_OVERFLOW, ORACLE_ERROR
from reflection.store import Answer, CompletionStore

# Jobs under way at a time, in batches: enough to put prompts of like length together, few enough for any memory.
WINDOW_BATCHES = 8


class TransformersOracle(KeptAnswers):
    """Asks a local model; every process of a launcher takes its share of the jobs and writes into the same store.

    Args:
        model_name, revision: a folder, or a Hub id and its commit.
        sampling: its `model` names the model's content too, for the store.
        batch_size: prompts answered together, at most.
        state: the processes that share the work. They are waited for at the end, so give it a long timeout.
        step: whose lines the progress is.
        flags: what the user set it by.
        chat: whether it is asked by messages, for which it needs a chat template; else by texts.
        dtype: the model's precision; `auto` is its checkpoint's.

    Raises:
        BadInputError: there is no such model, or the settings are none for it.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None,
        sampling: Sampling,
        store: CompletionStore,
        batch_size: int,
        state: PartialState,
        step: str = "reflect",
        flags: Flags = FLAGS,
        chat: bool = True,
        dtype: str = "auto",
    ) -> None:
        super().__init__(store, sampling)
        if sampling.temperature is None:
            raise BadInputError(f"--temperature null: leaves it to a service; {flags.oracle} needs a number")
        self.batch_size, self.state, self.step, self.flags = batch_size, state, step, flags
        self.model = (ChatModel if chat else LocalModel)(model_name, revision, state.device, flags, dtype)
        positions = self.model.positions
        if positions is not None and not sampling.shorten and sampling.max_tokens >= positions:
            raise BadInputError(
                f"{flags.max_tokens} {sampling.max_tokens}: leaves no room for a prompt in the {positions} positions "
                f"of {flags.model} {model_name}"
            )

    def run(self, jobs: Callable[[], Iterable[Job]], total: int, jobs_per_row: int = 1) -> None:
        """Carry the jobs to their end; every answer of every process is in the store when this returns.

        Raises:
            BadInputError: the model cannot be loaded, or a request wants structured output.
        """
        rank, world_size = self.state.process_index, self.state.num_processes
        share = _Share(self, len(range(rank, total, world_size)), jobs_per_row)
        try:
            share.carry_all(islice(jobs(), rank, None, world_size))
        finally:
            share.close()
        # Waits for all. What got an answer is in the store, where everyone finds it; what got none is only here.
        self.failures = dict(gather_object(list(self.failures.items())))


@dataclass(frozen=True)
class _Waiting:
    """A job, and the prompt whose answer it waits for."""

    job: Job
    body: dict[str, Any]
    key: str
    prompt: Prompt

    @property
    def width(self) -> int:
        """Tokens of the prompt and of the longest answer that it may get."""
        return len(self.prompt.tokens) + self.prompt.limit


class _Share:
    """The jobs of this process."""

    def __init__(self, oracle: TransformersOracle, total: int, jobs_per_row: int) -> None:
        self.oracle, self.model = oracle, oracle.model
        self.max_tokens = oracle.sampling.max_tokens
        self.usage = Usage(oracle.price)
        # Tokens of a batch, each row with the longest one's prompt and answer; less once memory ran out.
        self.batch_tokens = float("inf")
        self.progress = None
        if oracle.state.is_main_process:
            others = f"process 1 of {oracle.state.num_processes}: " if oracle.state.num_processes > 1 else ""
            self.progress = Progress(total, jobs_per_row, self.usage, lambda line: say(oracle.step, others + line))

    def close(self) -> None:
        """Take the progress bar away."""
        if self.progress:
            self.progress.close()

    def carry_all(self, jobs: Iterator[Job]) -> None:
        """Carry the jobs to their end, a window of them at a time."""
        waiting: list[_Waiting] = []
        window = WINDOW_BATCHES * self.oracle.batch_size
        while True:
            while len(waiting) < window and (job := next(jobs, None)) is not None:
                waiting += self._carry(partial(next, job), job)
            if not waiting:
                return
            waiting = self._answer_all(waiting)

    def _carry(self, step: Callable[[], Any], job: Job) -> list[_Waiting]:
        """Carry a job on by `step`, and further until the model must be asked; nothing where it came to its end."""
        try:
            request = step()
            while True:
                if request.response_format:
                    raise BadInputError(
                        f"{self.oracle.flags.oracle}: has no structured output; use markers, or serve the model and "
                        "ask it by --oracle openai --base_url URL"
                    )
                body, key = self.oracle.identify(request)
                completion = self.oracle.known(key)
                if completion is None:
                    tokens = self._encode(request)
                    limit = self._room(tokens)
                    if limit > 0:
                        draw = Draw(body["temperature"], _seed(key))
                        return [_Waiting(job, body, key, Prompt(tokens, draw, limit, request.stop))]
                    completion = self._overflow(body, tokens)
                request = job.send(completion)
        except StopIteration:
            if self.progress:
                self.progress.job_done()
            return []

    def _encode(self, request: OracleRequest) -> list[int]:
        return self.model.encode(request.messages) if request.prompt is None else self.model.encode_text(request.prompt)

    def _room(self, prompt: list[int]) -> int:
        """Tokens that the answer may have; 0 where the prompt is too long."""
        positions = self.model.positions
        if positions is None or len(prompt) + self.max_tokens <= positions:
            return self.max_tokens
        return max(positions - len(prompt), 0) if self.oracle.sampling.shorten else 0

    def _overflow(self, body: dict[str, Any], prompt: list[int]) -> Completion:
        what = f"the prompt's {len(prompt)} tokens"
        if not self.oracle.sampling.shorten:
            what += f" and the answer's {self.max_tokens}"
        needs = "leave no room in" if self.oracle.sampling.shorten else "are more than"
        detail = f"{what} {needs} the model's {self.model.positions} positions"
        completion = Completion(None, failure=CONTEXT_OVERFLOW, model=self.model.name, detail=detail)
        self.oracle.store.put([Answer(body, completion, None)])
        return completion

    def _answer_all(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """Answer everything that is waited for.

        Returns:
            The jobs that have another question.
        """
        same: dict[str, list[_Waiting]] = {}  # exact duplicates are asked once
        for one in waiting:
            same.setdefault(one.key, []).append(one)
        # Prompts of like length together, so that little is padding; the longest first, so that memory runs out early.
        todo = sorted((ones[0] for ones in same.values()), key=lambda one: -len(one.prompt.tokens))
        again: list[_Waiting] = []
        while todo:
            rows = self._rows_that_fit(todo[0])
            batch = todo[:rows]
            completions = self._ask(batch)
            if completions is None:
                continue
            todo = todo[rows:]
            for asked, completion in zip(batch, completions, strict=True):
                for one in same[asked.key]:
                    again += self._carry(partial(one.job.send, completion), one.job)
        return again

    def _rows_that_fit(self, longest: _Waiting) -> int:
        rows = self.batch_tokens / longest.width
        return int(max(1, min(rows, self.oracle.batch_size)))

    def _ask(self, batch: Sequence[_Waiting]) -> list[Completion] | None:
        """Answers, stored together; None where memory ran out and fewer must be asked at a time."""
        started = time.perf_counter()
        try:
            replies = self.model.generate([one.prompt for one in batch])
        except torch.OutOfMemoryError:
            replies = None  # handled below: inside this block the error keeps the tensors alive
        if replies is None:
            return self._out_of_memory(batch)
        seconds = time.perf_counter() - started
        completions = [
            Completion(
                storable(reply.text),
                finish_reason="stop" if reply.ended else "length",
                model=self.model.name,
                prompt_tokens=len(one.prompt.tokens),
                completion_tokens=reply.tokens,
            )
            for one, reply in zip(batch, replies, strict=True)
        ]
        pairs = list(zip(batch, completions, strict=True))
        self.oracle.store.put([Answer(one.body, completion, seconds) for one, completion in pairs])
        for one, completion in pairs:
            self.usage.add(one.key, completion.prompt_tokens, completion.completion_tokens, batched=False)
        # Another process may have been first with an equal row: go on with the answer that stands in the store.
        return [self.oracle.store.get(one.key) or completion for one, completion in pairs]

    def _out_of_memory(self, batch: Sequence[_Waiting]) -> list[Completion] | None:
        if self.oracle.state.device.type == "cuda":
            torch.cuda.empty_cache()
        longest = len(batch[0].prompt.tokens)
        if len(batch) > 1:
            self.batch_tokens = len(batch) // 2 * batch[0].width
            say(
                self.oracle.step,
                f"out of memory with {len(batch)} prompts of up to {longest} tokens: {len(batch) // 2} of "
                f"them together from now on (a smaller {self.oracle.flags.batch_size} starts there)",
            )
            return None
        detail = f"out of memory on {self.oracle.state.device} with a single prompt of {longest} tokens"
        completion = Completion(None, failure=ORACLE_ERROR, model=self.model.name, detail=detail)
        self.oracle.failures[batch[0].key] = completion
        return [completion]


def _seed(key: str) -> int:
    """A seed of the request's own: its key hashes the text, the settings and the number of the attempt."""
    return int(key[:15], 16)
