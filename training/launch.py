"""What a launcher says in the environment: how many processes there are, how a model will be saved. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hub_cards.errors import BadInputError


def launched_processes() -> int:
    """How many processes `accelerate launch` or `torchrun` started, on all machines; 1 under plain python."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_launch(world_size: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a launch that would train each process by itself, or end without a whole model to save.

    Args:
        world_size: the processes that found each other.

    Raises:
        BadInputError: the launch cannot do.
    """
    launched = launched_processes()
    if world_size != launched:
        raise BadInputError(
            f"the launcher started {launched} processes, and each would train by itself: on a CPU pass --use_cpu true"
        )
    sharded = environment.get("FSDP_STATE_DICT_TYPE", "FULL_STATE_DICT")
    if environment.get("ACCELERATE_USE_FSDP") == "true" and sharded != "FULL_STATE_DICT":
        raise BadInputError(
            f"fsdp_state_dict_type {sharded}: the trained model could not be saved whole; set FULL_STATE_DICT in the "
            "accelerate config"
        )
    is_zero3 = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    if is_zero3 and environment.get("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL") != "true":
        raise BadInputError(
            "zero3_save_16bit_model false: the trained model could not be saved whole; set it to true in the "
            "accelerate config"
        )
