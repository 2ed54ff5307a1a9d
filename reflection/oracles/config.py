"""The settings of every oracle, shared by the scripts that ask one. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hub_cards.errors import BadInputError
from reflection.costs import Price, find_price

ORACLES = ("openai", "openai_batch", "transformers", "recorded")
SERVICES = ("openai", "openai_batch")


def is_openai(base_url: str | None) -> bool:
    """Whether an endpoint is OpenAI's own."""
    return base_url is None or urlsplit(base_url).hostname == "api.openai.com"


def check_endpoint(url: str, flag: str) -> None:
    """Raise `BadInputError` unless `url` is the plain address of an endpoint."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInputError(f"{flag} {url}: must be an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise BadInputError(
            f"{flag}: the address of {parts.hostname} holds a password or parameters; secrets come from the "
            "environment (OPENAI_API_KEY)"
        )


@dataclass(frozen=True)
class Flags:
    """What the user set an oracle by, as messages name it."""

    oracle: str = "--oracle openai"
    model: str = "--oracle_model"
    url: str = "--base_url"
    max_tokens: str = "--max_tokens"
    batch_size: str = "--oracle_batch_size"


@dataclass
class OracleArguments:
    """Who is asked, how fast, and for how much money."""

    oracle: str = field(default="openai", metadata={"help": f"who is asked: {', '.join(ORACLES)}"})
    oracle_model: str | None = field(
        default=None, metadata={"help": "model name at the endpoint; a folder or Hub id (transformers)"}
    )
    oracle_revision: str | None = field(default=None, metadata={"help": "Hub revision of the model (transformers)"})
    base_url: str | None = field(
        default=None, metadata={"help": "OpenAI-compatible endpoint; default: $OPENAI_BASE_URL, else OpenAI itself"}
    )
    recorded_path: str | None = field(default=None, metadata={"help": "completions, JSONL (recorded)"})
    store: str = field(
        default="runs/completions.sqlite", metadata={"help": "completion store: answers paid for once are kept here"}
    )
    max_tokens: int = field(default=2048, metadata={"help": "length limit of an answer"})
    temperature: float | None = field(
        default=0.0, metadata={"help": "sampling temperature; null in a YAML leaves it to the service"}
    )
    concurrency: int = field(default=16, metadata={"help": "requests in flight at most (openai)"})
    requests_per_minute: int | None = field(default=None, metadata={"help": "never start more (openai)"})
    tokens_per_minute: int | None = field(default=None, metadata={"help": "never use more, in and out (openai)"})
    timeout_seconds: float = field(default=600.0, metadata={"help": "for one answer (openai)"})
    max_error_fraction: float = field(
        default=0.5, metadata={"help": "stop when more of the last 100 requests got no answer after all retries"}
    )
    oracle_batch_size: int = field(default=8, metadata={"help": "prompts generated together (transformers)"})
    oracle_context: int | None = field(
        default=None, metadata={"help": "context length in tokens: longer pairs are cut to it, and marked as cut"}
    )
    oracle_tokenizer: str | None = field(
        default=None, metadata={"help": "folder or Hub id of the oracle's tokenizer, to count and cut by"}
    )
    budget_usd: float | None = field(
        default=None, metadata={"help": "what all answers of this result may cost, those already in the store included"}
    )
    price_in: float | None = field(default=None, metadata={"help": "dollars per million input tokens"})
    price_out: float | None = field(default=None, metadata={"help": "dollars per million output tokens"})

    def __post_init__(self) -> None:
        if self.oracle not in ORACLES:
            raise BadInputError(f"--oracle {self.oracle!r} is unknown; the oracles are {', '.join(ORACLES)}")
        if self.oracle == "recorded" and not self.recorded_path:
            raise BadInputError("--oracle recorded: needs --recorded_path FILE.jsonl")
        if self.oracle != "recorded" and not self.oracle_model:
            raise BadInputError(f"--oracle {self.oracle}: needs --oracle_model NAME")
        if self.store.strip() in ("", ":memory:"):  # SQLite would take them, and forget every answer
            raise BadInputError(f"--store {self.store!r}: must be the path of a file")
        if self.oracle in SERVICES:  # the `openai` package would take it too, without our knowing whose prices hold
            self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or None
        for name in ("max_tokens", "concurrency", "oracle_batch_size", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInputError(f"--{name} {value}: must be at least 1")
        if not self.timeout_seconds > 0:
            raise BadInputError(f"--timeout_seconds {self.timeout_seconds}: must be more than 0")
        if not 0 < self.max_error_fraction <= 1:
            raise BadInputError(f"--max_error_fraction {self.max_error_fraction}: must be above 0 and at most 1")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise BadInputError(f"--temperature {self.temperature}: must be from 0 to 2")
        if self.base_url is not None:
            check_endpoint(self.base_url, "--base_url")
        self._check_context()
        self._check_money()

    def _check_context(self) -> None:
        if self.oracle == "transformers" and self.oracle_tokenizer:
            raise BadInputError("--oracle_tokenizer: --oracle transformers counts by its own tokenizer; remove it")
        if self.oracle_context is None:
            if self.oracle_tokenizer:
                raise BadInputError("--oracle_tokenizer: cuts nothing without --oracle_context, the length")
            return
        if self.oracle != "transformers" and not self.oracle_tokenizer:
            raise BadInputError("--oracle_context: needs --oracle_tokenizer, the folder or Hub id of the tokenizer")
        if self.oracle_context <= self.max_tokens:
            raise BadInputError(
                f"--oracle_context {self.oracle_context}: --max_tokens {self.max_tokens} leaves no room for the prompt"
            )

    def _check_money(self) -> None:
        if (self.price_in is None) != (self.price_out is None):
            raise BadInputError("--price_in and --price_out: give both or none")
        for name in ("price_in", "price_out"):
            if not (getattr(self, name) or 0) >= 0:
                raise BadInputError(f"--{name} {getattr(self, name)}: must not be negative")
        if self.budget_usd is None:
            return
        if not self.budget_usd > 0:
            raise BadInputError(f"--budget_usd {self.budget_usd}: must be more than 0")
        if self.oracle not in SERVICES:
            raise BadInputError(f"--budget_usd: --oracle {self.oracle} costs nothing; remove it")
        if self.price() is None:
            raise BadInputError(
                f"--budget_usd: no price is known for --oracle_model {self.oracle_model}; "
                "give --price_in and --price_out"
            )

    def price(self) -> Price | None:
        """What the oracle's tokens cost; None where nobody knows or nothing is paid."""
        if self.oracle not in SERVICES:
            return None
        return find_price(self.oracle_model, not is_openai(self.base_url), self.price_in, self.price_out)
