"""What completions cost: prices from a data file, and the running account of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PRICES = Path(__file__).parent / "prices.yaml"
PER_MILLION = 1e-6
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


@cache
def price_table() -> dict[str, Any]:
    """The content of `prices.yaml`."""
    return yaml.safe_load(PRICES.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens.

    Attributes:
        input, output: of the live service.
        batch_fraction: what the batch service costs of that.
        source: where the numbers are from, for the record.
    """

    input: float
    output: float
    batch_fraction: float
    source: str

    def dollars(self, prompt_tokens: float, completion_tokens: float, batched: bool = False) -> float:
        """The cost of so many tokens, in dollars."""
        live = (prompt_tokens * self.input + completion_tokens * self.output) * PER_MILLION
        return live * self.batch_fraction if batched else live


def find_price(
    model: str | None, own_endpoint: bool, price_in: float | None = None, price_out: float | None = None
) -> Price | None:
    """The price of a model: the user's own, else the table's; None where neither knows it.

    Args:
        own_endpoint: whether the model is served elsewhere than by OpenAI, so that the table says nothing about it.
    """
    table = price_table()
    if price_in is not None and price_out is not None:
        return Price(price_in, price_out, table["batch_fraction"], "--price_in and --price_out")
    name = _DATE.sub("", model or "")
    if own_endpoint or name not in table["models"]:
        return None
    return Price(*table["models"][name], table["batch_fraction"], f"the table of {table['as_of']}")


@dataclass
class Usage:
    """How many completions there are and what they cost; the same one under the same key counts once.

    Attributes:
        without_usage: completions whose service did not say how many tokens they took; they are in no other number
            than `completions`.
        dollars: 0 where there is no price.
    """

    price: Price | None
    completions: int = 0
    without_usage: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    _counted: set[str] = field(default_factory=set, repr=False)

    def add(self, key: str, prompt_tokens: int | None, completion_tokens: int | None, batched: bool) -> float:
        """Count one completion.

        Returns:
            Its cost in dollars; 0 where it was counted before or nobody knows.
        """
        if key in self._counted:
            return 0.0
        self._counted.add(key)
        self.completions += 1
        if prompt_tokens is None and completion_tokens is None:
            self.without_usage += 1
            return 0.0
        used = prompt_tokens or 0, completion_tokens or 0
        self.prompt_tokens += used[0]
        self.completion_tokens += used[1]
        dollars = self.price.dollars(*used, batched) if self.price else 0.0
        self.dollars += dollars
        return dollars

    def as_text(self) -> str:
        """Tokens and dollars for a line."""
        money = f", ${self.dollars:,.2f}" if self.price else ""
        unknown = f" ({self.without_usage:,} came without a count)" if self.without_usage else ""
        return f"{self.prompt_tokens:,} tokens in, {self.completion_tokens:,} out{money}{unknown}"

    def for_record(self) -> dict[str, Any]:
        """What the record of a step keeps: without a price no dollars."""
        counts = {
            "completions": self.completions,
            "without_usage": self.without_usage,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        if self.price is None:
            return counts
        price = {"input": self.price.input, "output": self.price.output, "source": self.price.source}
        return {**counts, "cost_usd": round(self.dollars, 6), "usd_per_million_tokens": price}
