"""How we talk with the Hub: with timeouts, a bounded number of retries, and one clear line where it says no.

The clients of `huggingface_hub` wait for ever on most calls, retry some of them and not others, and `datasets` hides
a refusal behind its cache; so what we ask goes through `ask`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hub_cards.errors import BadInputError, StoppedError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

T = TypeVar("T")
# Seconds: a connection is there at once or not at all; an answer may take the Hub as long as a commit of many files.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 15.0, 180.0
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each retry
MAX_WAIT = 300.0  # the Hub counts requests by windows of five minutes, and says how long one has to wait
PASSING = (408, 429, 500, 502, 503, 504)  # statuses that another try may not meet
MOST_SAID = 240  # characters of an answer that a message shows
CONFLICTS = (409, 412)  # another writer was first
LOG_IN = "set HF_TOKEN, or log in with `hf auth login`"


def hub_api() -> HfApi:
    """The Hub's client, its endpoint and token from the environment or the cached login.

    Raises:
        BadInputError: the token can be none.
    """
    from huggingface_hub import HfApi, get_token

    if not (get_token() or "").isascii():
        raise BadInputError("HF_TOKEN: holds characters that no token has; copy it again from your settings on the Hub")
    _install_timeouts()
    _keep_quiet()
    return HfApi()


def _keep_quiet() -> None:
    """What the client warns of, such as a commit without a change, we say ourselves; bars are for who looks on."""
    from huggingface_hub.utils import disable_progress_bars, logging

    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
    if not sys.stderr.isatty() and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
        disable_progress_bars()


@lru_cache(maxsize=1)
def _install_timeouts() -> None:
    """`huggingface_hub`'s one client for all its calls has no timeout, and many calls say that they want none."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    limits = {"connect": CONNECT_TIMEOUT, "read": ANSWER_TIMEOUT, "write": ANSWER_TIMEOUT}

    def limit(request: httpx.Request) -> None:
        asked = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = asked | {name: asked.get(name) or most for name, most in limits.items()}

    def with_timeouts() -> httpx.Client:
        client = default_client_factory()
        client.event_hooks["request"].append(limit)
        return client

    set_client_factory(with_timeouts)


def ask(what: str, call: Callable[[], T], where: str, conflicts: bool = False) -> T:
    """What `call` returns, asked again where the Hub or the way to it failed.

    Args:
        what: what is done, for the messages: `create the repository`.
        call: may be repeated: what it did before its answer was lost does no harm.
        where: the flag and the name that it is about: `--hub_dataset_id user/name`.
        conflicts: whether another writer's being first is a reason to try again; `call` then looks anew.

    Raises:
        BadInputError: the Hub refuses: no such repository, no access, a name it does not take.
        StoppedError: the Hub did not answer, or not usefully, however often it was asked.
        OfflineModeIsEnabled, EntryNotFoundError: as they are.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except _errors() as error:
            if not _may_pass(error, conflicts):
                refused = refusal(error, what, where)
                if refused is error:
                    raise
                raise refused from error
            if wait is None:
                raise StoppedError(
                    f"{where}: cannot {what}: {_reason(error)}, {len(WAITS) + 1} times; what is there is kept, run "
                    "the same command again"
                ) from error
            time.sleep(_wait(error, wait))
    raise AssertionError("the last try returns or raises")


def small_file(repo_id: str, repo_type: str, name: str, commit: str, where: str) -> Path | None:
    """A small file of a repository at a commit, from the cache where it is there.

    Returns:
        None where the repository has no such file, and where the process is offline and the cache lacks it.

    Raises:
        BadInputError: the Hub refuses.
        StoppedError: the Hub does not answer.
    """
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = ask(
            f"read {name}",
            lambda: hub_api().hf_hub_download(repo_id, name, repo_type=repo_type, revision=commit),
            where,
        )
    except EntryNotFoundError:
        return None
    return Path(path)


def refusal(error: Exception, what: str, where: str) -> Exception:
    """The clear line for what the Hub refuses.

    A file that a repository does not have, and what is no refusal of the Hub's, comes back as it is.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx

    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return BadInputError(f"HF_ENDPOINT {constants.ENDPOINT}: is no address of a Hub ({_one_line(error)})")
    response = next((one for one in _causes(error) if isinstance(one, HfHubHTTPError)), None)
    if isinstance(error, HFValidationError):
        return BadInputError(f"{where}: is no name of a repository: {_one_line(error)}")
    if isinstance(error, LocalTokenNotFoundError):
        return BadInputError(f"{where}: needs a token: {LOG_IN}")
    if response is None or isinstance(response, EntryNotFoundError):
        return error
    status, said = response.response.status_code, _said(response)
    if isinstance(response, GatedRepoError):
        return BadInputError(f"{where}: is gated: ask for access on its page, with the account of your token ({said})")
    if isinstance(response, RepositoryNotFoundError):
        return BadInputError(f"{where}: there is no such repository on the Hub, or it is private and {_who()}")
    if isinstance(response, RevisionNotFoundError):
        return BadInputError(f"{where}: the repository has no such revision ({said})")
    if status == 401:
        return BadInputError(f"{where}: the Hub does not accept the token ({said}); {LOG_IN}")
    if status == 403:
        return BadInputError(f"{where}: your token may not {what} ({said})")
    return BadInputError(f"{where}: cannot {what}: the Hub says {status}: {said}")


def _who() -> str:
    from huggingface_hub import get_token

    return "your token may not see it" if get_token() else f"there is no token: {LOG_IN}"


def _errors() -> tuple[type[Exception], ...]:
    """What the clients raise for an answer, for none, and for a name that they do not take."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import httpx

    # RuntimeError: an upload after its own retries; ConnectionError: of Xet; LocalEntryNotFoundError: a download.
    return (
        *(HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, httpx.TransportError, httpx.InvalidURL),
        *(RuntimeError, ConnectionError, FileNotFoundError),
    )


def _may_pass(error: Exception, conflicts: bool) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    causes = list(_causes(error))
    if any(isinstance(one, OfflineModeIsEnabled | httpx.UnsupportedProtocol | httpx.InvalidURL) for one in causes):
        return False
    for one in causes:
        if isinstance(one, HfHubHTTPError):
            return one.response.status_code in (*PASSING, *(CONFLICTS if conflicts else ()))
    return any(isinstance(one, httpx.TransportError | ConnectionError) for one in causes)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from, as far as the clients chained it."""
    while error is not None:
        yield error
        error = error.__cause__


def _wait(error: Exception, wait: float) -> float:
    """Seconds before the next try: as long as the Hub asks for, within bounds."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    for one in _causes(error):
        if isinstance(one, HfHubHTTPError):
            asked = one.response.headers.get("retry-after", "")
            limit = parse_ratelimit_headers(one.response.headers)
            seconds = float(asked) if asked.isdecimal() else 0.0
            if one.response.status_code == 429 and limit is not None:
                seconds = max(seconds, float(limit.reset_in_seconds))
            return min(max(wait, seconds), MAX_WAIT)
    return wait


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    for one in _causes(error):
        if isinstance(one, HfHubHTTPError):
            return f"the Hub says {one.response.status_code}"
    *_, last = _causes(error)
    return f"the Hub does not answer ({type(last).__name__}: {_one_line(last)})"


def _said(error: HfHubHTTPError) -> str:
    return shortened(error.server_message or _one_line(error))


def shortened(said: object) -> str:
    """What the Hub said, in one line of a bearable length."""
    text = " ".join(str(said).split())
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}…"


def _one_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
