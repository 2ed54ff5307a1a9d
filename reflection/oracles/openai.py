"""The `openai` oracle: any OpenAI-compatible chat endpoint, asked concurrently, every answer stored as it arrives."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import openai

from hub_cards.errors import BadInputError
from reflection.oracles.base import Completion, OracleRequest
from reflection.store import CompletionStore

logger = logging.getLogger(__name__)
MAX_RETRIES = 6
TIMEOUT_SECONDS = 600
# What no retry can mend: the run stops with one line, the answers so far are in the store.
FATAL = {
    openai.AuthenticationError: "the endpoint refuses the key in the environment variable OPENAI_API_KEY (401)",
    openai.PermissionDeniedError: "the key in OPENAI_API_KEY may not use this model (403)",
    openai.NotFoundError: "the endpoint knows no such model or path (404); check --oracle_model and --base_url",
}


class OpenAIOracle:
    """Asks through the `openai` package, at temperature 0 and top_p 1 as the paper does.

    Args:
        model: the served model's name.
        base_url: the endpoint, None for OpenAI itself.
        concurrency: requests in flight at most.
        max_tokens: length limit of an answer.

    Raises:
        BadInputError: the environment has no OPENAI_API_KEY.
    """

    can_resample = True

    def __init__(
        self, model: str, store: CompletionStore, base_url: str | None, concurrency: int, max_tokens: int
    ) -> None:
        if not os.environ.get("OPENAI_API_KEY"):
            raise BadInputError(
                "--oracle openai: set the environment variable OPENAI_API_KEY (any text for a local server)"
            )
        self.model = model
        self.store = store
        self.base_url = base_url
        self.concurrency = concurrency
        self.max_tokens = max_tokens

    def complete(self, requests: Sequence[OracleRequest]) -> list[Completion]:
        """Answer from the store, else from the endpoint.

        Raises:
            BadInputError: the endpoint refuses the key or knows no such model.
        """
        return asyncio.run(self._complete(requests))

    def _body(self, request: OracleRequest) -> dict[str, Any]:
        """What is sent, and what the store is keyed by. A re-ask differs by its sampling seed."""
        sampling = {"temperature": 0, "top_p": 1, "max_tokens": self.max_tokens, "seed": request.attempt}
        return {"model": self.model, "messages": request.messages, **sampling}

    async def _complete(self, requests: Sequence[OracleRequest]) -> list[Completion]:
        slots = asyncio.Semaphore(self.concurrency)
        client = openai.AsyncOpenAI(base_url=self.base_url, max_retries=MAX_RETRIES, timeout=TIMEOUT_SECONDS)
        bodies = [self._body(request) for request in requests]
        keys = [self.store.key(body) for body in bodies]
        async with client:
            # By key: exact duplicates are asked, and paid for, once.
            unique = dict(zip(keys, bodies, strict=True))
            tasks = {key: asyncio.create_task(self._one(client, slots, body)) for key, body in unique.items()}
            try:
                await asyncio.gather(*tasks.values())
            finally:
                for task in tasks.values():
                    task.cancel()
            return [tasks[key].result() for key in keys]

    async def _one(self, client: openai.AsyncOpenAI, slots: asyncio.Semaphore, body: dict[str, Any]) -> Completion:
        stored = self.store.get(body)
        if stored is not None:
            return stored
        async with slots:
            started = time.monotonic()
            try:
                response = await client.chat.completions.create(**body)
            except tuple(FATAL) as error:
                raise BadInputError(f"--oracle openai: {FATAL[type(error)]}") from error
            except openai.APIError as error:
                logger.warning("no answer after %d retries: %s: %s", MAX_RETRIES, type(error).__name__, error.message)
                return Completion(None, error=error.message, model=self.model)
            except json.JSONDecodeError as error:
                logger.warning("the answer is not JSON: %s", error)
                return Completion(None, error=f"the answer is not JSON: {error}", model=self.model)
        completion = self._completion(response)
        if completion.error is None:
            self.store.put(body, completion, time.monotonic() - started)
        else:
            logger.warning("no answer: %s", completion.error)
        return completion

    def _completion(self, response: openai.types.chat.ChatCompletion) -> Completion:
        # The package does not validate: a proxy's page comes as a str, and every field may be missing.
        if not isinstance(response, openai.types.chat.ChatCompletion):
            return Completion(None, error="the answer is no chat completion; check --base_url", model=self.model)
        model = response.model or self.model
        choice = response.choices[0] if response.choices else None
        text = choice.message.content if choice and choice.message else None
        if not isinstance(text, str):
            return Completion(None, error="the answer holds no text", model=model)
        usage = response.usage
        return Completion(
            text=text.encode(errors="replace").decode(),  # half a surrogate pair can be neither stored nor saved
            finish_reason=choice.finish_reason,
            model=model,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
        )
