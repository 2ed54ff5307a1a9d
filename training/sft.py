"""Supervised fine-tuning by TRL's SFTTrainer on `prompt` / `completion` rows."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors import SafetensorError
from transformers.trainer_utils import get_last_checkpoint
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config

from hub_cards.errors import BadInputError
from hub_cards.shards import apply_step
from training.formatting import prompt_completion, prompt_completion_features


def format_rows(rows: Dataset, template: str, key: str, work_dir: Path) -> Dataset:
    """Only `prompt` and `completion` of every row.

    Raises:
        BadInputError: there are no rows.
    """
    if len(rows) == 0:
        raise BadInputError("the data set to train on has no rows: the selection kept none")
    return apply_step(
        rows,
        lambda batch: prompt_completion(batch, template),
        key=f"{key} {template}",
        features=prompt_completion_features(template),
        work_dir=work_dir,
    )


def make_trainer(rows: Dataset, sft: SFTConfig, model: ModelConfig, revision: str | None) -> SFTTrainer:
    """TRL's trainer for formatted rows; the loss is on the completion only.

    Args:
        revision: the commit that a Hub id was resolved to.

    Raises:
        BadInputError: the model cannot be loaded, or no row has room for a completion within `max_length`.
    """
    sft.model_init_kwargs = {
        "revision": revision or "main",
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        **(sft.model_init_kwargs or {}),
    }
    try:
        trainer = SFTTrainer(
            model=model.model_name_or_path, args=sft, train_dataset=rows, peft_config=get_peft_config(model)
        )
    except OSError as error:
        raise BadInputError(f"--model_name_or_path {model.model_name_or_path}: {str(error).splitlines()[0]}") from error
    if len(trainer.train_dataset) == 0:
        raise BadInputError(f"--max_length {sft.max_length}: is filled by the prompt alone in every row; raise it")
    return trainer


def train(rows: Dataset, sft: SFTConfig, model: ModelConfig, revision: str | None, save_to: Path) -> dict[str, Any]:
    """Train on formatted rows and save model and tokenizer.

    Args:
        rows: `prompt` and `completion`.
        sft: its `output_dir` is where checkpoints go; training goes on from the last one there.
        save_to: where the finished model goes.

    Returns:
        Counts for the step's record: rows, rows that TRL left out because the prompt alone fills `max_length` (null
        where packing hides it), steps, and the mean training loss in nats a token.
    """
    trainer = make_trainer(rows, sft, model, revision)
    outcome = trainer.train(resume_from_checkpoint=get_last_checkpoint(sft.output_dir))
    try:
        trainer.save_model(str(save_to))
    except SafetensorError as error:  # it does not say so by its type
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, "No space left on device") from error
        raise
    return {
        "rows": len(rows),
        "rows_without_room_for_a_completion": None if sft.packing else len(rows) - len(trainer.train_dataset),
        "steps": outcome.global_step,
        "epochs": round(outcome.metrics.get("epoch", 0.0), 3),
        "train_loss": round(outcome.training_loss, 4),
        "processes": trainer.accelerator.num_processes,
    }
