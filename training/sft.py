"""Supervised fine-tuning by TRL's SFTTrainer on `prompt` / `completion` rows."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors import SafetensorError
from transformers import AutoProcessor
from trl import ModelConfig, SFTConfig, get_peft_config
from trl.trainer.utils import get_quantization_config

from hub_cards.cli import is_main_process
from hub_cards.errors import BadInputError
from hub_cards.shards import apply_step
from hub_cards.storage import make_readable
from scoring.templates import get_template
from training.adapters import ADAPTER_FOLDER, merge_adapter
from training.checkpoints import last_whole_checkpoint
from training.formatting import prompt_completion, prompt_completion_features
from training.global_batch import GlobalBatch
from training.log import log_entries, mean_loss, write_log
from training.trainer import Trainer

Say = Callable[[str], None]
LOADING_ERRORS = (OSError, ValueError, ImportError, SafetensorError)
# What safetensors and torch's writer of zip files say; neither says it by its type.
FULL_DISK = ("No space left", "PytorchStreamWriter failed writing", "inline_container.cc")
TRACKER_FOLDER = "runs"  # where transformers has TensorBoard's files


def format_rows(rows: Dataset, template: str, key: str, work_dir: Path) -> Dataset:
    """Only `prompt` and `completion` of every row, in their order.

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


@contextmanager
def one_after_another() -> Iterator[None]:
    """The first process of all goes first, then the first of each machine, then the others: they share files."""
    state = PartialState()
    with state.main_process_first(), state.local_main_process_first():
        yield


def load_processor(model: ModelConfig, sft: SFTConfig, template: str, revision: str | None) -> Any:
    """The tokenizer, as TRL loads it; before the model, which can take long.

    Raises:
        BadInputError: the model has none, or no chat template where that is wanted.
    """
    name = model.model_name_or_path
    try:
        processor = AutoProcessor.from_pretrained(
            name, revision=revision or "main", trust_remote_code=sft.trust_remote_code
        )
    except LOADING_ERRORS as error:
        raise BadInputError(f"--model_name_or_path {name}: holds no tokenizer that loads ({_line(error)})") from error
    if not sft.chat_template_path:
        get_template(template, processor)
    return processor


def make_trainer(rows: Dataset, sft: SFTConfig, model: ModelConfig, template: str, revision: str | None) -> Trainer:
    """TRL's trainer for formatted rows; the loss is on the completion only.

    Args:
        template: what the rows were formatted with.
        revision: the commit that a Hub id was resolved to.

    Raises:
        BadInputError: the model cannot be loaded, TRL refuses the settings, no row has room for a completion within
            `max_length`, or a row is longer than the model has positions.
    """
    processor = load_processor(model, sft, template, revision)
    sft.model_init_kwargs = {
        "revision": revision or "main",
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        **(sft.model_init_kwargs or {}),
    }
    try:
        trainer = Trainer(
            model=model.model_name_or_path,
            args=sft,
            train_dataset=rows,
            processing_class=processor,
            peft_config=get_peft_config(model),
            quantization_config=get_quantization_config(model),
        )
    except ValueError as error:  # of a setting or of the model: TRL's words say of which
        raise BadInputError(f"{model.model_name_or_path} cannot be trained like this: {_line(error)}") from error
    except LOADING_ERRORS as error:
        raise BadInputError(
            f"--model_name_or_path {model.model_name_or_path}: cannot be loaded ({_line(error)})"
        ) from error
    _check_positions(trainer)
    return trainer


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_positions(trainer: Trainer) -> None:
    """Packed rows each start at position 0, but where sequences are cut anywhere: there one is as long as it can be."""
    lengths = trainer.lengths
    positions = getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None)
    longest = min(lengths.max_length, lengths.tokens) if lengths.packing == "wrapped" else lengths.longest
    if lengths.packing == "bfd_split":
        longest = min(lengths.max_length, longest)
    if positions is not None and longest > positions:
        raise BadInputError(
            f"--max_length {lengths.max_length}: a text has {longest} tokens and the model only {positions} positions; "
            f"pass --max_length {positions}"
        )


def train(
    rows: Dataset,
    sft: SFTConfig,
    model: ModelConfig,
    template: str,
    revision: str | None,
    save_to: Path,
    say: Say = lambda _line: None,
) -> dict[str, Any]:
    """Train on formatted rows; save model, tokenizer, the log, and the adapter by itself where one was trained.

    Args:
        rows: `prompt` and `completion`.
        sft: its `output_dir` is where checkpoints go; training goes on from the last whole one there.
        template: what the rows were formatted with.
        save_to: where the finished model goes; only the main process writes there.
        say: prints a line.

    Returns:
        Counts for the step's record: of `Lengths`, of the steps, the mean loss in nats a token with a loss over all
        steps, tokens that were trained on, and how fast (of this run alone, where it goes on from a checkpoint).

    Raises:
        BadInputError: as `make_trainer`.
        OSError: the disk is full.
    """
    trainer = make_trainer(rows, sft, model, template, revision)
    say(str(trainer.lengths))
    batch = batch_of(sft)
    if trainer.get_total_train_batch_size(sft) != batch.size:
        raise BadInputError(f"{batch}, but the devices share rows (tensor or context parallel): this is not counted")
    if batch.size > len(trainer.train_dataset):
        say(f"warning: there are only {len(trainer.train_dataset)} {batch.unit}: each step sees all of them")
    with one_after_another():
        checkpoint = last_whole_checkpoint(Path(sft.output_dir), say)
    if checkpoint:
        say(f"goes on from {checkpoint.name}")
    with _full_disk_is_an_os_error():
        outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        _save(trainer, model, revision, save_to)
    entries = log_entries(trainer.state.log_history)
    if is_main_process():
        make_readable(save_to)
        write_log(save_to, entries)
        if (Path(sft.output_dir) / TRACKER_FOLDER).is_dir():
            shutil.copytree(Path(sft.output_dir) / TRACKER_FOLDER, save_to / TRACKER_FOLDER)
    loss, seconds = mean_loss(entries), outcome.metrics["train_runtime"]
    return {
        **trainer.lengths.counts(),
        "sequences": len(trainer.train_dataset),
        "steps": outcome.global_step,
        "epochs": round(outcome.metrics.get("epoch", 0.0), 3),
        "train_loss": None if loss is None else round(loss, 4),
        "tokens": trainer.tokens,
        "training_seconds": round(seconds, 1),
        "tokens_per_second": round((trainer.tokens - trainer.tokens_before) / seconds, 1),
        "resumed_from_step": int(checkpoint.name.split("-")[-1]) if checkpoint else None,
        "device": device_name(trainer.accelerator.device),
        "processes": batch.processes,
        "per_device_train_batch_size": batch.per_device,
        "gradient_accumulation_steps": batch.accumulated,
        "global_batch_size": batch.size,
    }


def batch_of(sft: SFTConfig) -> GlobalBatch:
    """What one optimizer step will see."""
    unit = "packed sequences" if sft.packing else "rows"
    return GlobalBatch(sft.world_size, sft.per_device_train_batch_size, sft.gradient_accumulation_steps, unit)


def device_name(device: torch.device) -> str:
    """What a device is called: `NVIDIA H100 80GB HBM3`, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _save(trainer: Trainer, model: ModelConfig, revision: str | None, folder: Path) -> None:
    """By all processes, for they can hold parts of the model; an adapter is merged by the main one alone."""
    if not model.use_peft:
        trainer.save_model(str(folder))
        return
    trainer.save_model(str(folder / ADAPTER_FOLDER))
    if is_main_process():
        (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
        trained = trainer.accelerator.unwrap_model(trainer.model)
        merge_adapter(folder / ADAPTER_FOLDER, model, revision, trained).save_pretrained(folder)
        trainer.processing_class.save_pretrained(folder)


@contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if any(words in str(error) for words in FULL_DISK):
            raise OSError(errno.ENOSPC, "No space left on device") from error
        raise
