"""TRL's SFTTrainer; it counts what the length limit does to rows, and goes on as if it had never stopped."""

from __future__ import annotations

import copy
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from hub_cards.errors import BadInputError
from training.lengths import Lengths, count_lengths


class Trainer(SFTTrainer):
    """What TRL and transformers leave to be done.

    Attributes:
        lengths: counts of the rows to train on.
        tokens_before: tokens that were trained on before this process started; 0 without a checkpoint.
    """

    lengths: Lengths
    tokens_before: int = 0

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.add_callback(_WholeLog())

    @property
    def tokens(self) -> int:
        """Tokens that were trained on so far, on all devices."""
        return int(self._total_train_tokens)

    def _prepare_dataset(
        self, dataset: Dataset, processing_class: Any, args: SFTConfig, packing: bool, *names: Any
    ) -> Dataset:
        """As TRL does, in two goes: the tokens are counted before they are cut or packed."""
        uncut = copy.copy(args)
        uncut.max_length, uncut.shuffle_dataset = None, False
        tokens = super()._prepare_dataset(dataset, processing_class, uncut, False, *names)
        self.lengths = count_lengths(tokens, args.max_length, args.packing_strategy if packing else None)
        if self.lengths.completion_tokens == 0:
            raise BadInputError(f"--max_length {args.max_length}: is filled by the prompt alone in every row; raise it")
        return super()._prepare_dataset(tokens, processing_class, args, packing, *names)

    def _prepare_for_training(self, *arguments: Any) -> Any:
        """TRL counts the tokens of a process, not of a training: go on from what the checkpoint's log says."""
        counted = [entry["num_tokens"] for entry in self.state.log_history if "num_tokens" in entry]
        self.tokens_before = self._total_train_tokens = int(counted[-1]) if counted else 0
        return super()._prepare_for_training(*arguments)

    def _run_epoch(self, **arguments: Any) -> None:
        """transformers looks for the end only after a step: from a finished training's checkpoint it would take one."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(**arguments)


class _WholeLog(TrainerCallback):
    """Logs whenever a checkpoint is saved and at the end: a loss that was not logged yet is in no checkpoint."""

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log |= control.should_save or state.global_step >= state.max_steps

    def on_epoch_end(self, _args: TrainingArguments, _state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log |= control.should_save
