"""Lay a recycled data set out as its Hub repository: a folder of parquet files a config, `selected` the default one."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.schema import (
    COHERENCE_COLUMNS,
    COLUMNS_BY_NAME,
    PROMPT_EMBEDDING_COLUMNS,
    SCORE_COLUMNS,
    SELECTIT_COLUMNS,
    TOKEN_LOSS_COLUMNS,
    VARIANTS,
)
from hub_cards.sources import hash_file

MAX_SHARD_BYTES = 500 * 2**20
DEFAULT_CONFIG = "selected"
TOKEN_LOSS_CONFIG = "token_losses"
TOKEN_LOSSES = tuple(column.name for column in TOKEN_LOSS_COLUMNS)
DIGEST_DIGITS = 16
# Each of these is a whole tokenizer's vocabulary.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
# Numbers and states a row, and nothing as long as a text.
STATISTICS = tuple(
    column.name
    for column in (*SCORE_COLUMNS, *SELECTIT_COLUMNS, *COHERENCE_COLUMNS, *PROMPT_EMBEDDING_COLUMNS)
    if not column.dtype.startswith("list<")
)
Batch = dict[str, list[Any]]


def published_configs(
    scored: DatasetDict, selection: DatasetDict, add_prompts: Callable[[Batch], Batch]
) -> dict[str, Dataset]:
    """What is published, by config name: `selected` with `prompt` and `completion`, then every variant.

    The decision of each row is joined to its variants by `row_id`; there `selected` says whether it was this variant
    that was kept.

    Raises:
        BadInputError: a scored row has no decision, so score and select are not of one run; or no row was kept.
    """
    decisions = {row["row_id"]: row for row in selection["decisions"]}
    configs = {DEFAULT_CONFIG: with_prompts(selection["selected"], add_prompts)}
    for name in (name for name in VARIANTS if name in scored):
        rows = scored[name]
        missing = [identity for identity in rows["row_id"][:] if identity not in decisions]
        if missing:
            raise BadInputError(f"row_id {missing[0]} is scored but was never selected from: run select again")
        of_rows = [decisions[identity] for identity in rows["row_id"][:]]
        configs[name] = _with_columns(
            rows,
            {
                "selected": [row["selected"] and row["selected_variant"] == name for row in of_rows],
                "selected_variant": [row["selected_variant"] for row in of_rows],
                "select_reason": [row["select_reason"] for row in of_rows],
            },
        )
    return configs


def check_kept(chosen: Dataset) -> None:
    """Raise `BadInputError` where no row was kept: `load_dataset` cannot read a default config without rows."""
    if len(chosen) == 0:
        raise BadInputError("the selection kept no row, so there is nothing to publish: see its select_reason")


def with_prompts(chosen: Dataset, add_prompts: Callable[[Batch], Batch]) -> Dataset:
    """The kept rows with `prompt` and `completion` beside them, as `trl sft` takes them.

    Raises:
        BadInputError: no row was kept.
    """
    check_kept(chosen)
    prompts = add_prompts({name: chosen[name][:] for name in ("instruction", "input", "output")})
    return _with_columns(chosen, {name: prompts[name] for name in ("prompt", "completion")})


def statistics_configs(scored: DatasetDict) -> dict[str, Dataset]:
    """The scores of every variant by themselves: `row_id` and the score columns, without text and without lists.

    Where the losses of the tokens were kept they are a config of their own, the variants one after the other: they
    are a hundred times the numbers, and nobody who selects rows has to fetch them.
    """
    variants = [name for name in VARIANTS if name in scored]
    configs = {name: _columns_of(scored[name], ["row_id", *STATISTICS]) for name in variants}
    with_losses = [name for name in variants if set(TOKEN_LOSSES) & set(scored[name].column_names)]
    if with_losses:
        losses = [_columns_of(scored[name], ["row_id", "variant", *TOKEN_LOSSES]) for name in with_losses]
        configs[TOKEN_LOSS_CONFIG] = concatenate_datasets(losses)
    return configs


def _columns_of(rows: Dataset, wanted: Sequence[str]) -> Dataset:
    return rows.select_columns([name for name in wanted if name in rows.column_names])


def _with_columns(rows: Dataset, columns: dict[str, list[Any]]) -> Dataset:
    """Put columns beside `rows`. Text and flags have the contract's type even where all values are null."""
    typed = {}
    for name, values in columns.items():
        is_conversation = name in ("prompt", "completion") and any(isinstance(value, list) for value in values)
        kind = None if is_conversation else COLUMNS_BY_NAME[name].dtype
        typed[name] = pa.array(values, type=pa.bool_() if kind == "bool" else kind)
    return concatenate_datasets([rows, Dataset(pa.table(typed))], axis=1)


def write_configs(folder: Path, configs: dict[str, Dataset]) -> dict[str, str]:
    """Write each config as `<config>/train-<shard>-of-<shards>-<digest>.parquet`; return the patterns of the files.

    The digest is of the config's content. `load_dataset` caches a local folder by its last name and its card, not by
    its files: without the digest in the card's patterns, a second run would be answered with the first run's rows.
    """
    patterns = {}
    for name, rows in configs.items():
        (folder / name).mkdir()
        shards = max(1, math.ceil(rows.data.nbytes / MAX_SHARD_BYTES))
        paths = [folder / name / f"train-{number:05d}-of-{shards:05d}" for number in range(shards)]
        for number, path in enumerate(paths):
            rows.shard(shards, number).to_parquet(path)
        digest = fingerprint_of([hash_file(path) for path in paths])[:DIGEST_DIGITS]
        for path in paths:
            path.rename(path.with_name(f"{path.name}-{digest}.parquet"))
        patterns[name] = f"{name}/train-*-{digest}.parquet"
    return patterns


def check_model(folder: Path) -> None:
    """A model's folder holds what loading it takes: configuration, tokenizer, and weights that are whole.

    Raises:
        BadInputError: it does not.
    """
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise BadInputError(f"{folder}: holds no config.json, so no model")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise BadInputError(f"{folder}: holds no tokenizer ({', '.join(TOKENIZER_FILES)}), so the model cannot be used")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BadInputError(f"{folder}: holds no weights (*.safetensors)")
    for path in weights:
        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise BadInputError(f"{path}: is damaged ({error}); train again") from error


def copy_model(source: Path, target: Path) -> None:
    """Put a model's files into `target`: as hard links where the file system can, for weights are large."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file() and path.name != "training_args.bin":
            try:
                os.link(path, target / path.name)
            except OSError:
                shutil.copy2(path, target / path.name)
