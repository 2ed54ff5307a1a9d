"""Reflection: from rows to their reflected variants (arXiv 2310.11716, 2402.10110)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from hub_cards.provenance import apply_step
from hub_cards.schema import REFLECT_COLUMNS, ROW_COLUMNS, features
from reflection.extract import (
    OK,
    ORACLE_ERROR,
    PARENT_NOT_REFLECTED,
    REASONS,
    Extraction,
    extract_instruction,
    extract_response,
)
from reflection.oracles import Completion, Oracle, OracleRequest
from reflection.prompts import ReflectionPrompt

Batch = dict[str, list[Any]]

FEATURES = features((*ROW_COLUMNS, *REFLECT_COLUMNS))
SHARD_ROWS = 256
# The variant whose pair is shown to the oracle.
PARENTS = {"reflect_instruction": "original", "reflect_response": "original", "reflect_both": "reflect_instruction"}
# What another sampling seed may mend. An oracle error has had its retries, an unreflected parent is never asked about.
WORTH_A_SECOND_ASK = set(REASONS) - {ORACLE_ERROR, PARENT_NOT_REFLECTED}


def reflect(
    rows: Dataset,
    variants: Sequence[str],
    oracle: Oracle,
    prompts: Mapping[str, ReflectionPrompt],
    key: str,
    work_dir: Path,
) -> tuple[DatasetDict, dict[str, Any]]:
    """Make the variants of all rows.

    Args:
        rows: columns of `ROW_COLUMNS`.
        variants: which ones; `reflect_both` makes `reflect_instruction` too, because it starts from it.
        key, work_dir: cache key and place of finished shards.

    Returns:
        `original` and the variants, each with as many rows as `rows` and in their order, and the outcome counts.
    """
    wanted = [name for name, parent in PARENTS.items() if name in variants or name in _parents(variants)]
    made = {"original": apply_step(rows, as_original, key=f"{key} original", features=FEATURES, work_dir=work_dir)}
    for variant in wanted:
        made[variant] = apply_step(
            made[PARENTS[variant]],
            lambda batch, variant=variant: reflect_batch(batch, variant, oracle, prompts),
            key=f"{key} {variant}",
            features=FEATURES,
            work_dir=work_dir,
            shard_rows=SHARD_ROWS,
            description=f"reflect {variant}",
        )
    counts = {name: dict(Counter(made[name]["reflect_status"][:]).most_common()) for name in wanted}
    return DatasetDict(made), {"rows": len(rows), "reflect_status": counts}


def _parents(variants: Sequence[str]) -> set[str]:
    return {PARENTS[variant] for variant in variants}


def as_original(batch: Batch) -> Batch:
    """The rows as loaded, with nulls where the oracle's columns are."""
    size = len(batch["row_id"])
    return {
        **{name: batch[name] for name in ("row_id", "source_id", "instruction", "input", "output")},
        "variant": ["original"] * size,
        **{column.name: [None] * size for column in REFLECT_COLUMNS},
    }


def reflect_batch(parents: Batch, variant: str, oracle: Oracle, prompts: Mapping[str, ReflectionPrompt]) -> Batch:
    """One variant of a batch of parent rows: ask, extract, ask once more where nothing came out, adopt or keep.

    A variant whose pair is not completely extracted is its parent row unchanged, with the reason.
    """
    rows = [dict(zip(parents, values, strict=True)) for values in zip(*parents.values(), strict=True)]
    askable = [row for row in rows if variant != "reflect_both" or row["reflect_status"] == OK]
    outcomes = _ask(askable, variant, oracle, prompts, attempt=0)
    if oracle.can_resample:
        again = [row for row in askable if outcomes[row["row_id"]][1].status in WORTH_A_SECOND_ASK]
        second = _ask(again, variant, oracle, prompts, attempt=1)
        outcomes |= {identity: outcome for identity, outcome in second.items() if outcome[1].status == OK}
    not_asked = Completion(None), Extraction(PARENT_NOT_REFLECTED)
    reflected = [_adopt(row, variant, *outcomes.get(row["row_id"], not_asked)) for row in rows]
    return {name: [row[name] for row in reflected] for name in FEATURES}


def _ask(
    rows: Sequence[Mapping[str, Any]],
    variant: str,
    oracle: Oracle,
    prompts: Mapping[str, ReflectionPrompt],
    attempt: int,
) -> dict[str, tuple[Completion, Extraction]]:
    kind = "instruction" if variant == "reflect_instruction" else "response"
    requests = [
        OracleRequest(
            row_id=row["row_id"],
            source_id=row["source_id"],
            variant=variant,
            messages=prompts[kind].messages(row["instruction"], row["input"], row["output"]),
            attempt=attempt,
        )
        for row in rows
    ]
    completions = oracle.complete(requests)
    return {
        request.row_id: (completion, _extract(completion, kind))
        for request, completion in zip(requests, completions, strict=True)
    }


def _extract(completion: Completion, kind: str) -> Extraction:
    if completion.text is None:
        return Extraction(ORACLE_ERROR)
    if kind == "instruction":
        return extract_instruction(completion.text, completion.finish_reason)
    return extract_response(completion.text, completion.finish_reason)


def _adopt(parent: Mapping[str, Any], variant: str, completion: Completion, extraction: Extraction) -> dict[str, Any]:
    row = {
        **parent,
        "variant": variant,
        "reflection": completion.text,
        "reflect_status": extraction.status,
        "critique": extraction.critique,
        "oracle_model": completion.model,
    }
    if extraction.status == OK:
        row["output"] = extraction.output
        if extraction.instruction is not None:
            row |= {"instruction": extraction.instruction, "input": ""}
    return row
