"""The plan of a run before any request: how many there will be, how many tokens, what they cost live and batched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from hub_cards.tables import as_text
from reflection.config import ReflectConfig
from reflection.costs import Price, price_table
from reflection.oracles import Completion, OracleRequest, model_key
from reflection.oracles.base import first_unanswered
from reflection.oracles.chat import Sampling
from reflection.reflect import Asking, chains, row_jobs
from reflection.store import IN_MEMORY, CompletionStore
from reflection.tokens import estimate_tokens

ENOUGH_ANSWERS = 20  # in the store, to take their mean length for an estimate
PAIR_FRACTION = 0.62  # of an instruction reflection is the new pair, in the bundled completions; the rest is critique


@dataclass
class VariantPlan:
    """What one variant needs.

    Attributes:
        stored: requests that the store answers, re-asks among them.
        to_ask: first requests that it does not.
        prompt_tokens: of the requests to ask.
        answers, answer_tokens: how many stored answers say their length, and the sum of it.
    """

    stored: int = 0
    to_ask: int = 0
    prompt_tokens: float = 0.0
    answers: int = 0
    answer_tokens: int = 0

    def usual_answer(self, variant: str) -> float:
        """The length that an answer is expected to have: the mean of the stored ones, or the table's."""
        if self.answers >= ENOUGH_ANSWERS:
            return self.answer_tokens / self.answers
        return price_table()["answer_tokens"][variant]


@dataclass(frozen=True)
class Plan:
    """The whole run.

    Attributes:
        counted: whether a tokenizer counted the prompts; else they are estimated by their length.
        spent: dollars of the answers that are in the store already.
    """

    rows: int
    variants: dict[str, VariantPlan]
    counted: bool
    price: Price | None
    spent: float
    budget: float | None

    def as_text(self) -> str:
        """The table that `--dry_run` prints."""
        header = ["variant", "requests", "in the store", "to ask", "tokens in", "tokens out"]
        lines, total = [header], [0, 0, 0, 0, 0]
        for name, part in self.variants.items():
            out = part.to_ask * part.usual_answer(name)
            numbers = [part.stored + part.to_ask, part.stored, part.to_ask, round(part.prompt_tokens), round(out)]
            total = [one + other for one, other in zip(total, numbers, strict=True)]
            lines.append([name, *(f"{number:,}" for number in numbers)])
        lines.append(["total", *(f"{number:,}" for number in total)])
        how = "counted by the tokenizer" if self.counted else "estimated by the length of the texts"
        notes = [
            f"{self.rows:,} rows. Tokens in are {how}, tokens out estimated; answers that cannot be used are asked for "
            "once more, which comes on top.",
            *self._money(*total[3:]),
            "Nothing was asked.",
        ]
        return "\n".join([as_text(lines), *notes])

    def _money(self, prompt_tokens: int, answer_tokens: int) -> list[str]:
        if self.price is None:
            return ["No price is known for this oracle: give --price_in and --price_out (dollars per million tokens)."]
        live, batch = (self.price.dollars(prompt_tokens, answer_tokens, batched) for batched in (False, True))
        notes = [
            f"Estimated price: ${live:,.2f} live (--oracle openai), ${batch:,.2f} by the Batch API "
            f"(--oracle openai_batch); per million tokens ${self.price.input:g} in and ${self.price.output:g} out, "
            f"from {self.price.source}."
        ]
        if self.spent:
            notes.append(f"The answers in the store have cost ${self.spent:,.2f}.")
        if self.budget is not None:
            notes.append(f"--budget_usd {self.budget:g} leaves ${max(self.budget - self.spent, 0):,.2f}.")
        return notes


def make_plan(rows: Dataset, config: ReflectConfig, asking: Asking) -> Plan:
    """Look every request up in the store, without asking anything and without making a store where there is none."""
    store = CompletionStore(config.store if Path(config.store).exists() else IN_MEMORY)
    sampling = Sampling(model_key(config) or "", config.max_tokens, config.temperature)
    variants = {variant: VariantPlan() for chain in chains(config.variants) for variant in chain}
    price = config.price()
    spent: dict[str, float] = {}
    planned: set[str] = set()

    def look_up(request: OracleRequest) -> Completion | None:
        key = store.key(sampling.request(request))
        known = store.get(key)
        if known is not None and key not in spent:
            used = known.prompt_tokens or 0, known.completion_tokens or 0
            spent[key] = price.dollars(*used, known.batched) if price else 0.0
            part = variants[request.variant]
            part.stored += 1
            if known.completion_tokens:
                part.answers += 1
                part.answer_tokens += known.completion_tokens
        return known

    count = asking.limit.count if asking.limit else estimate_tokens
    chain_of = {variant: chain for chain in chains(config.variants) for variant in chain}
    unseen: Counter[str] = Counter()  # requests whose prompt is not known before an earlier answer
    for job in row_jobs(rows, config.variants, asking):
        request = first_unanswered(job, look_up)
        if request is None or (key := store.key(sampling.request(request))) in planned:
            continue
        planned.add(key)
        tokens = count(request.messages)
        variants[request.variant].to_ask += 1
        variants[request.variant].prompt_tokens += tokens
        chain = chain_of[request.variant]
        for later in chain[chain.index(request.variant) + 1 :]:
            unseen[later] += 1
    for variant, number in unseen.items():
        parent = chain_of[variant][chain_of[variant].index(variant) - 1]
        criteria = count(asking.prompts["response"].messages("", "", "", structured=asking.structured))
        variants[variant].to_ask += number
        variants[variant].prompt_tokens += number * (criteria + PAIR_FRACTION * variants[parent].usual_answer(parent))
    return Plan(len(rows), variants, asking.limit is not None, price, sum(spent.values()), config.budget_usd)
