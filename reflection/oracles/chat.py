"""OpenAI's completions, of chats and of texts, as data: what is sent and hashed, and what a response says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reflection.oracles.base import Completion, OracleRequest
from reflection.oracles.config import is_openai
from reflection.statuses import CONTENT_FILTER, NO_CHOICES, NULL_CONTENT, ORACLE_ERROR
from reflection.tokens import estimate_tokens

RESAMPLE_TEMPERATURE = 1  # greedy decoding would only repeat the answer that could not be used


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled; part of the key under which an answer is kept.

    Attributes:
        model: the served model's name.
        max_tokens: length limit of an answer.
        temperature: 0 as in the paper; None leaves it to the service, for models that refuse the parameter.
        shorten: where a local model's positions leave less than `max_tokens` beside the prompt, the answer may have
            what is left; else such a prompt is refused.
    """

    model: str
    max_tokens: int
    temperature: float | None = 0
    shorten: bool = False

    def request(self, request: OracleRequest) -> dict[str, Any]:
        """What is asked, in the form that the store hashes; a re-ask is sampled, with a seed of its own."""
        asked = {"messages": request.messages} if request.prompt is None else {"prompt": request.prompt}
        body = {"model": self.model, **asked, "max_tokens": self.max_tokens}
        if self.temperature is not None:
            temperature = RESAMPLE_TEMPERATURE if request.attempt else self.temperature
            # 0 and 0.0 are the same setting and must give the same key.
            body |= {"temperature": int(temperature) if temperature == int(temperature) else temperature, "top_p": 1}
        if request.response_format:
            body["response_format"] = request.response_format
        if request.stop:
            body["stop"] = list(request.stop)
        if self.shorten:
            body["shorten"] = True
        return body | {"seed": request.attempt}


def on_the_wire(request: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    """The request as the endpoint takes it: OpenAI itself has renamed the `max_tokens` of chats, others have not."""
    if not is_openai(base_url) or "prompt" in request:
        return request
    body = dict(request)
    limit = body.pop("max_tokens")
    return {**body, "max_completion_tokens": limit}


def read_response(body: Any, model: str) -> Completion:
    """What the JSON of a completion, of a chat or of a text, says; a failure where it holds no text. Never raises.

    Args:
        model: named where the response names none.
    """
    if not _is_completion(body):
        said = without_secrets(json.dumps(body.get("error") if isinstance(body, dict) else body), None)
        return Completion(None, failure=ORACLE_ERROR, model=model, detail=f"the answer is no chat completion: {said}")
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    known = {
        "model": body["model"] if isinstance(body.get("model"), str) else model,
        "prompt_tokens": _count(usage.get("prompt_tokens")),
        "completion_tokens": _count(usage.get("completion_tokens")),
    }
    choices = body.get("choices") or []
    if not choices or not isinstance(choices[0], dict):
        return Completion(None, failure=NO_CHOICES, **known)
    written = choices[0].get("message", {"content": choices[0].get("text")})
    written = written if isinstance(written, dict) else {}
    finish_reason = choices[0].get("finish_reason")
    known["finish_reason"] = finish_reason if isinstance(finish_reason, str) else None
    if finish_reason == "content_filter":
        return Completion(None, failure=CONTENT_FILTER, **known)
    # A refusal under structured output stands in a field of its own; it is a text like any other.
    text = written.get("content") or written.get("refusal") or written.get("content")
    if not isinstance(text, str):
        return Completion(None, failure=NULL_CONTENT, **known)
    return Completion(storable(text), **known)


def _is_completion(body: Any) -> bool:
    if not isinstance(body, dict) or not isinstance(body.get("choices", []), list):
        return False
    # Some services carry `"error": null` beside their choices, others answer 200 with nothing but an error.
    return not body.get("error") and ("error" not in body or bool(body.get("choices")))


def estimated_tokens(request: dict[str, Any]) -> int:
    """A rough count of a request's prompt without a tokenizer."""
    return estimate_tokens(request["messages"] if "messages" in request else [{"content": request["prompt"]}])


def before_stop(text: str, stop: Sequence[str]) -> str | None:
    """What an answer holds before the first of the stop texts; None where it holds none of them.

    At the very beginning a stop text counts without its leading blank too: tokenizers swallow that one.
    """
    places = [text.find(one) for one in stop if one in text]
    places += [0 for one in stop if one.strip() and text.startswith(one.lstrip())]
    return text[: min(places)] if places else None


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which can be neither stored nor saved."""
    return text.encode(errors="replace").decode()


def without_secrets(text: str, secret: str | None) -> str:
    """A service's message on one line, at most 300 characters, in which it does not repeat our key."""
    text = text.replace(secret, "…") if secret else text
    return " ".join(re.sub(r"\b(sk|key)-[\w*-]{8,}", "…", text).split())[:300]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
