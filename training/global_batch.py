"""The same global batch on any number of devices: what they cannot hold at once, gradients are accumulated over."""

from __future__ import annotations

from dataclasses import dataclass

from hub_cards.errors import BadInputError


@dataclass(frozen=True)
class GlobalBatch:
    """What one optimizer step sees.

    Attributes:
        processes: one a device.
        per_device: rows that a device takes at once; with packing, packed sequences.
        accumulated: how often it does so before a step.
        unit: what is counted.
    """

    processes: int
    per_device: int
    accumulated: int
    unit: str = "rows"

    @property
    def size(self) -> int:
        """Rows (or packed sequences) of one step."""
        return self.processes * self.per_device * self.accumulated

    def __str__(self) -> str:
        noun = "process" if self.processes == 1 else "processes"
        parts = f"{self.processes} {noun} x {self.per_device} {self.unit} x {self.accumulated} accumulated"
        return f"global batch {self.size} = {parts}"


def share_out(size: int, per_device: int, processes: int) -> GlobalBatch:
    """The global batch of `size` on `processes` devices that take `per_device` rows at once.

    Raises:
        BadInputError: it cannot be had exactly; the message says what would do.
    """
    if size % processes:
        nearest = f"{size - size % processes} or {size - size % processes + processes}"
        if size < processes:
            nearest = str(processes)
        raise BadInputError(
            f"--global_batch_size {size}: cannot be shared by {processes} processes; start "
            f"{_divisors(size, processes)} of them, or pass --global_batch_size {nearest}"
        )
    share = size // processes
    if share % per_device:
        noun = "process" if processes == 1 else "processes"
        raise BadInputError(
            f"--global_batch_size {size}: is no multiple of {processes * per_device} = {processes} {noun} x "
            f"--per_device_train_batch_size {per_device}; a --per_device_train_batch_size of "
            f"{_divisors(share, share)} would do"
        )
    return GlobalBatch(processes, per_device, share // per_device)


def _divisors(number: int, at_most: int) -> str:
    found = [str(part) for part in range(1, at_most + 1) if number % part == 0]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"
