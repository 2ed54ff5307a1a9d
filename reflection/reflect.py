"""Reflection: from rows to their reflected variants (arXiv 2310.11716, 2402.10110).

A variant of a row is made by one generator, `reflect_row`. It runs twice: first among thousands of others while the
oracle answers (`ask`), in whatever order answers come; then again, batch by batch, with the answers that were kept
(`assemble`). So what comes out depends on the answers alone, not on when, how often or by whom they were fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from hub_cards.schema import REFLECT_COLUMNS, ROW_COLUMNS, features
from hub_cards.shards import apply_step
from reflection.extract import Extraction, extract_instruction, extract_response
from reflection.guards import guard
from reflection.oracles import Completion, Job, Oracle, OracleRequest
from reflection.oracles.base import replay
from reflection.prompts import Messages, ReflectionPrompt
from reflection.statuses import ADOPTED, OK, OK_PROMPT_CUT, OPEN, PARENT_NOT_REFLECTED, REASONS, WORTH_A_SECOND_ASK
from reflection.structured import RESPONSE_FORMATS, extract_structured
from reflection.tokens import PromptLimit

Row = Mapping[str, Any]
Batch = dict[str, list[Any]]

FEATURES = features((*ROW_COLUMNS, *REFLECT_COLUMNS))
SHARD_ROWS = 256
# The variant whose pair is shown to the oracle.
PARENTS = {"reflect_instruction": "original", "reflect_response": "original", "reflect_both": "reflect_instruction"}
# What one job of a row makes, one after the other; the jobs of a row do not wait for each other.
CHAINS = (("reflect_instruction", "reflect_both"), ("reflect_response",))


@dataclass(frozen=True)
class Asking:
    """How the oracle is asked about a pair.

    Attributes:
        prompts: `instruction` and `response`.
        structured: whether the answer comes as JSON instead of behind markers.
        limit: how long a prompt may be; None for any length.
        can_resample: whether the oracle can be asked a second time.
    """

    prompts: Mapping[str, ReflectionPrompt]
    structured: bool = False
    limit: PromptLimit | None = None
    can_resample: bool = True

    def messages(self, kind: str, row: Row) -> tuple[Messages, bool]:
        """The chat request about a row's pair, and whether the pair was cut to fit."""
        pair = {name: row[name] for name in ("instruction", "input", "output")}
        if self.limit is not None:
            return self.limit.fit(self.prompts[kind], pair, self.structured)
        return self.prompts[kind].messages(**pair, structured=self.structured), False

    def prompt_texts(self) -> dict[str, str]:
        """The prompts as they are sent, around the names of a pair's parts, for the record and the card."""
        parts = ("{instruction}", "{input}", "{output}")
        sent = {name: prompt.messages(*parts, structured=self.structured) for name, prompt in self.prompts.items()}
        return {name: "\n\n".join(turn["content"] for turn in messages) for name, messages in sent.items()}


def reflect_row(parent: Row, variant: str, asking: Asking) -> Job[dict[str, Any]]:
    """One variant of one row: ask, extract, ask once more where nothing usable came out, adopt or keep.

    A variant whose pair is not completely extracted is its parent row unchanged, with the reason.
    """
    kind = "instruction" if variant == "reflect_instruction" else "response"
    if variant == "reflect_both" and parent["reflect_status"] not in ADOPTED:
        return _adopt(parent, variant, Completion(None), Extraction(PARENT_NOT_REFLECTED), PARENT_NOT_REFLECTED)
    messages, cut = asking.messages(kind, parent)

    def ask(attempt: int) -> Job[tuple[Completion, Extraction, str]]:
        completion = yield OracleRequest(
            row_id=parent["row_id"],
            source_id=parent["source_id"],
            variant=variant,
            messages=messages,
            attempt=attempt,
            response_format=RESPONSE_FORMATS[kind] if asking.structured else None,
        )
        extraction = read_completion(completion, kind, asking.structured)
        status = extraction.status if extraction.status != OK else guard(parent, extraction)
        return completion, extraction, OK_PROMPT_CUT if status == OK and cut else status

    outcome = yield from ask(attempt=0)
    if asking.can_resample and outcome[-1] in WORTH_A_SECOND_ASK:
        second = yield from ask(attempt=1)
        if second[-1] in ADOPTED:
            outcome = second
        elif second[-1] in OPEN:  # the row is not done: another run asks the second question again
            outcome = *outcome[:-1], second[-1]
    return _adopt(parent, variant, *outcome)


def read_completion(completion: Completion, kind: str, structured: bool) -> Extraction:
    """The pair in an oracle's completion, or why there is none."""
    if completion.text is None:
        return Extraction(completion.failure)
    if structured:
        return extract_structured(kind, completion.text, completion.finish_reason)
    extract = extract_instruction if kind == "instruction" else extract_response
    return extract(completion.text, completion.finish_reason)


def _adopt(parent: Row, variant: str, completion: Completion, extraction: Extraction, status: str) -> dict[str, Any]:
    row = {
        **parent,
        "variant": variant,
        "reflection": completion.text,
        "reflect_status": status,
        "critique": extraction.critique,
        "oracle_model": completion.model,
    }
    if status in ADOPTED:
        row["output"] = extraction.output
        if extraction.instruction is not None:
            row |= {"instruction": extraction.instruction, "input": ""}
    return row


def chains(variants: Sequence[str]) -> list[tuple[str, ...]]:
    """What the jobs of a row make; `reflect_both` makes `reflect_instruction` too, because it starts from it."""
    wanted = set(variants) | {PARENTS[variant] for variant in variants}
    return [kept for chain in CHAINS if (kept := tuple(variant for variant in chain if variant in wanted))]


def row_jobs(rows: Dataset, variants: Sequence[str], asking: Asking) -> Iterator[Job[None]]:
    """The jobs of all rows, made as they are taken."""
    wanted = chains(variants)
    not_reflected = dict.fromkeys(column.name for column in REFLECT_COLUMNS)
    for row in rows:
        parent = {**row, **not_reflected}
        for chain in wanted:
            yield _make_chain(parent, chain, asking)


def _make_chain(parent: Row, chain: Sequence[str], asking: Asking) -> Job[None]:
    for variant in chain:
        parent = yield from reflect_row(parent, variant, asking)


def ask(rows: Dataset, variants: Sequence[str], oracle: Oracle, asking: Asking) -> None:
    """Have the oracle answer everything that the variants of all rows need; it keeps the answers."""
    jobs_per_row = len(chains(variants))
    oracle.run(lambda: row_jobs(rows, variants, asking), len(rows) * jobs_per_row, jobs_per_row)


def assemble(
    rows: Dataset, variants: Sequence[str], oracle: Oracle, asking: Asking, key: str, work_dir: Path
) -> tuple[DatasetDict, dict[str, Any]]:
    """Make the variants of all rows from the answers that the oracle kept.

    Args:
        rows: columns of `ROW_COLUMNS`.
        key, work_dir: cache key and place of finished shards.

    Returns:
        `original` and the variants, each with as many rows as `rows` and in their order, and the outcome counts.
    """
    made = {"original": apply_step(rows, as_original, key=f"{key} original", features=FEATURES, work_dir=work_dir)}
    for variant in (name for chain in chains(variants) for name in chain):
        made[variant] = apply_step(
            made[PARENTS[variant]],
            lambda batch, variant=variant: reflect_batch(batch, variant, oracle, asking),
            key=f"{key} {variant}",
            features=FEATURES,
            work_dir=work_dir,
            shard_rows=SHARD_ROWS,
        )
    made = {name: made[name] for name in ("original", *PARENTS) if name in made}
    counts = {name: dict(Counter(part["reflect_status"][:]).most_common()) for name, part in made.items()}
    del counts["original"]
    happened = set().union(*counts.values())
    meanings = {status: meaning for status, meaning in {**ADOPTED, **REASONS}.items() if status in happened}
    return DatasetDict(made), {"rows": len(rows), "reflect_status": counts, "meanings": meanings}


def as_original(batch: Batch) -> Batch:
    """The rows as loaded, with nulls where the oracle's columns are."""
    size = len(batch["row_id"])
    return {
        **{name: batch[name] for name in ("row_id", "source_id", "instruction", "input", "output")},
        "variant": ["original"] * size,
        **{column.name: [None] * size for column in REFLECT_COLUMNS},
    }


def reflect_batch(parents: Batch, variant: str, oracle: Oracle, asking: Asking) -> Batch:
    """One variant of a batch of parent rows, from the answers that the oracle kept."""
    rows = [dict(zip(parents, values, strict=True)) for values in zip(*parents.values(), strict=True)]
    reflected = [replay(reflect_row(row, variant, asking), oracle.answer) for row in rows]
    return {name: [row[name] for row in reflected] for name in FEATURES}
