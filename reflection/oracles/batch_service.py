"""The calls of the Batch API, tried again without doing anything twice."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from openai.types import Batch, FileObject

from hub_cards.errors import BadInputError, StoppedError
from reflection.oracles.batch_lines import URL
from reflection.oracles.chat import without_secrets
from reflection.oracles.faults import KEY_VARIABLE, Fault, Remedy, diagnose, raise_if_final
from reflection.oracles.openai import backoff
from reflection.store import IN_MEMORY

OPENAI = "https://api.openai.com/v1"
LOCAL_ID = "local_id"  # our id of a batch, in its metadata
MAX_TRIES = 10  # about four minutes of waiting in all
POLL_TRIES = 70  # an hour: the batches go on meanwhile, so a night's run outlives an outage
SETTLE_SECONDS = 5.0  # until a batch that was just made is certain to be in the service's list

Reply = TypeVar("Reply")


class FileGoneError(Exception):
    """The service no longer has a file."""


def endpoint_of(url: str) -> str:
    """An endpoint's address as the books keep it: without credentials; "" for OpenAI itself."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    endpoint = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    return "" if endpoint == OPENAI else endpoint


class BatchService:
    """The calls that the `openai_batch` oracle makes; all retries are here, none in the package.

    Args:
        base_url: the endpoint, None for OpenAI itself.
        store_path: the completion store's; large files pass through its folder and not through a small `/tmp`.
    """

    def __init__(self, key: str, base_url: str | None, store_path: str) -> None:
        self.key = key
        self.client = openai.OpenAI(api_key=key, base_url=base_url, max_retries=0)
        self.endpoint = endpoint_of(str(self.client.base_url))
        self.folder = None if store_path == IN_MEMORY else Path(store_path).parent

    def upload(self, lines: Iterator[bytes]) -> str:
        """Upload an input file. One that is never used costs nothing.

        Returns:
            The file's id.

        Raises:
            BadInputError, StoppedError: as all calls, see `_retry`.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            file.writelines(lines)

            def attempt() -> str:
                file.seek(0)
                return _id_of(self.client.files.create(file=("requests.jsonl", file), purpose="batch"), FileObject)

            return self._retry(attempt, "the upload of a batch")

    def create(self, local_id: str, file_id: str) -> str:
        """Submit a file as a batch, once: after a reply that was lost the batch is looked for before the next try.

        Returns:
            The batch's id.
        """
        tried = False

        def attempt() -> str:
            nonlocal tried
            if tried:
                time.sleep(SETTLE_SECONDS)
                found = self._find(local_id, file_id)
                if found is not None:
                    return found
            tried = True
            made = self.client.batches.create(
                input_file_id=file_id,
                endpoint=URL,
                completion_window="24h",
                metadata={LOCAL_ID: local_id},
            )
            return _id_of(made, Batch)

        return self._retry(attempt, "a batch")

    def find(self, local_id: str, file_id: str | None) -> str | None:
        """The id of the batch that was made with our id or of our file, or None."""
        return self._retry(lambda: self._find(local_id, file_id), "the list of batches")

    def _find(self, local_id: str, file_id: str | None) -> str | None:
        # Read by hand: to the package's pages an answer that is no list is an empty one, and the batch would be made,
        # and paid for, once more.
        after, seen = {}, set()
        while True:
            page = json.loads(self.client.batches.with_raw_response.list(limit=100, **after).content)
            batches = page.get("data") if isinstance(page, dict) else None
            if not isinstance(batches, list) or not all(isinstance(item, dict) and item.get("id") for item in batches):
                raise ValueError("the answer is no list of batches")
            for batch in batches:
                metadata = batch.get("metadata")
                mine = isinstance(metadata, dict) and metadata.get(LOCAL_ID) == local_id
                if mine or (file_id and batch.get("input_file_id") == file_id):
                    return batch["id"]
            if not batches or page.get("has_more") is False or batches[-1]["id"] in seen:
                return None
            seen.add(batches[-1]["id"])
            after = {"after": batches[-1]["id"]}

    def retrieve(self, batch_id: str) -> Batch:
        """How far a batch is.

        Raises:
            BadInputError: the service does not know it.
        """

        def attempt() -> Batch:
            batch = self.client.batches.retrieve(batch_id)
            _id_of(batch, Batch)
            if not isinstance(batch.status, str):
                raise ValueError("the answer is no batch")
            return batch

        unknown = f"the service knows no batch {batch_id}; is {KEY_VARIABLE} of the account that submitted it?"
        return self._retry(attempt, f"batch {batch_id}", POLL_TRIES, BadInputError(f"--oracle openai_batch: {unknown}"))

    @contextmanager
    def download(self, file_id: str) -> Iterator[BinaryIO]:
        """A file of the service, on disk while the context lasts.

        Raises:
            FileGoneError: the service no longer has it.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:

            def attempt() -> None:
                file.seek(0)
                file.truncate()
                with self.client.files.with_streaming_response.content(file_id) as response:
                    for part in response.iter_bytes():
                        file.write(part)

            self._retry(attempt, f"file {file_id}", not_found=FileGoneError(file_id))
            file.seek(0)
            yield file

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _retry(
        self, attempt: Callable[[], Reply], what: str, tries: int = MAX_TRIES, not_found: Exception | None = None
    ) -> Reply:
        """Make a call until it succeeds.

        Args:
            not_found: raised where the service says 404.

        Raises:
            BadInputError: the service refuses it.
            StoppedError: no try is left, the account is empty, or the service wants a pause of hours.
        """
        detail = ""
        for number in range(tries):
            try:
                return attempt()
            except openai.NotFoundError as error:
                fault, final = diagnose(error, self.key), not_found
            except openai.APIError as error:
                fault, final = diagnose(error, self.key), None
            except (httpx2.HTTPError, ValueError) as error:  # a stream that breaks off; a reply that is not what it is
                said = without_secrets(f"{type(error).__name__}: {error}", self.key)
                fault, final = Fault(Remedy.RETRY, said), None
            if final is not None:
                raise final
            raise_if_final(fault, "--oracle openai_batch")
            if fault.remedy is Remedy.GIVE_UP:
                raise BadInputError(f"--oracle openai_batch: {what}: the endpoint refuses it: {fault.detail}")
            detail = fault.detail
            if number + 1 < tries:
                time.sleep(max(fault.retry_after or 0.0, backoff(number)))
        raise StoppedError(
            f"{what}: no answer from the service in {tries} tries, the last one: {detail}; batches that are under way "
            "go on there, and the same command collects them"
        )


def _id_of(reply: Any, kind: type) -> str:
    if not isinstance(reply, kind) or not isinstance(getattr(reply, "id", None), str) or not reply.id:
        raise ValueError(f"the answer is no {kind.__name__.lower()}; check --base_url")
    return reply.id
