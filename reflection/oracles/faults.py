"""What an error of the service means: try again, give this row up, or stop the run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import openai

from hub_cards.errors import BadInputError, StoppedError
from reflection.oracles.chat import without_secrets
from reflection.oracles.config import Flags
from reflection.statuses import CONTENT_FILTER, CONTEXT_OVERFLOW, ORACLE_ERROR

KEY_VARIABLE = "OPENAI_API_KEY"
FLAGS = Flags()
MAX_RETRY_AFTER = 3600.0  # seconds; a service that asks for more wants us to come back another day


class Remedy(Enum):
    """What to do about a fault."""

    RETRY = auto()
    THROTTLE = auto()  # retry, with less concurrency
    GIVE_UP = auto()  # this request; the run goes on
    REFUSED = auto()  # stop the run: the next request would be refused too
    NO_CREDIT = auto()  # stop the run: nothing wrong with it, but the money is gone


@dataclass(frozen=True)
class Fault:
    """One failed try.

    Attributes:
        status: what the row says if no retry mends it.
        detail: one line, free of secrets.
        retry_after: seconds that the service asks us to wait.
    """

    remedy: Remedy
    detail: str
    status: str = ORACLE_ERROR
    retry_after: float | None = None


_OVERFLOW_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
# vLLM, TGI, llama.cpp and most proxies say it in words only.
_OVERFLOW = re.compile(
    r"maximum (context|model) length|context (length|size|window)|max_model_len|prompt is too long"
    r"|input(s)? (is|are)? ?too long|tokens \+ `?max_new_tokens|longer than the maximum model",
    re.IGNORECASE,
)
_FILTER_CODES = {"content_filter", "content_policy_violation"}
_SPENT_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_RETRIED = {408, 409, 425, 429}
_ADVICE = {
    401: f"refuses the key in the environment variable {KEY_VARIABLE} (401)",
    403: f"does not allow this to the key in {KEY_VARIABLE} (403)",
    404: "knows no such model or path (404); check {model} and {url}",
}


def diagnose(error: openai.APIError, secret: str | None, flags: Flags = FLAGS) -> Fault:
    """What one exception of the `openai` package means."""
    if isinstance(error, openai.APITimeoutError):
        return Fault(Remedy.RETRY, f"no answer in time from {error.request.url.host}")
    if not isinstance(error, openai.APIStatusError):  # no connection, or a broken one
        return Fault(Remedy.RETRY, f"no connection to {error.request.url.host}, or it broke off")
    return diagnose_status(error.status_code, error.code, error.message, error.response.headers, secret, flags)


def diagnose_status(
    status: int,
    code: Any,
    message: str,
    headers: Mapping[str, str] | None = None,
    secret: str | None = None,
    flags: Flags = FLAGS,
) -> Fault:
    """What an HTTP status and the error object beside it mean; the Batch API reports both for each of its requests."""
    said = without_secrets(message, secret)
    code = code if isinstance(code, str) else None
    if code in _SPENT_CODES:
        return Fault(Remedy.NO_CREDIT, f"the account of {KEY_VARIABLE} has no credit left ({code})")
    if status == 402:
        return Fault(Remedy.NO_CREDIT, f"the account of {KEY_VARIABLE} has no credit left (402): {said}")
    if status == 429:
        return Fault(Remedy.THROTTLE, said, retry_after=retry_after(headers or {}))
    if status in _RETRIED or status >= 500:
        return Fault(Remedy.RETRY, f"{status}: {said}", retry_after=retry_after(headers or {}))
    if code in _FILTER_CODES:
        return Fault(Remedy.GIVE_UP, said, CONTENT_FILTER)
    if status == 413 or (status in (400, 422) and (code in _OVERFLOW_CODES or _OVERFLOW.search(message))):
        return Fault(Remedy.GIVE_UP, said, CONTEXT_OVERFLOW)
    # The message of a 401 repeats the key it refuses, so it is not shown.
    advice = _ADVICE.get(status, f"refuses the request ({status})").format(model=flags.model, url=flags.url)
    return Fault(Remedy.REFUSED, f"the endpoint {advice}" if status == 401 else f"the endpoint {advice}: {said}")


def raise_if_final(fault: Fault, flag: str) -> None:
    """Stop the run where no retry and no other row can help.

    Raises:
        BadInputError: the endpoint refuses what we send.
        StoppedError: the account is empty, or the service wants to be left alone for longer than we wait.
    """
    if fault.remedy is Remedy.REFUSED:
        raise BadInputError(f"{flag}: {fault.detail}")
    if fault.remedy is Remedy.NO_CREDIT:
        raise StoppedError(f"{fault.detail}; what was answered is kept: the same command goes on from there")
    if (fault.retry_after or 0) > MAX_RETRY_AFTER:
        raise StoppedError(
            f"the service asks to wait {fault.retry_after / 60:.0f} minutes ({fault.detail}); what was answered is "
            "kept: run the same command again then"
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` (a number or a date) or `retry-after-ms` ask for, None without either."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            parsed = email.utils.parsedate_tz(value)
            if parsed is None:
                continue
            try:
                seconds = email.utils.mktime_tz(parsed) - time.time()
            except (ValueError, OverflowError):  # a date that no calendar holds
                continue
        if seconds == seconds and seconds >= 0:
            return seconds
    return None
