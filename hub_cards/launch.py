"""Start a script as a process of its own, as `recycle.py` and `sweep.py` do with every stage."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hub_cards.cli import fail
from hub_cards.errors import BadInputError

if TYPE_CHECKING:
    from accelerate import PartialState


def join_processes() -> PartialState:
    """The processes that a launcher started, or this one alone; on a CPU where there is no accelerator. Imports torch.

    They may be days apart before one is missed: one can start its share later, or have the long answers.
    """
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=7))


def launcher_words(launcher: str) -> list[str]:
    """The words of what `--launcher` gives, such as `accelerate launch --num_processes 8`.

    Raises:
        BadInputError: it is empty, its quotes do not match, or there is no such program.
    """
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise BadInputError(f"--launcher {launcher!r}: {str(error).lower()}") from error
    if not words:
        raise BadInputError("--launcher: is empty; leave it away for plain python")
    if shutil.which(_program(words[0])) is None:
        raise BadInputError(f"--launcher {words[0]}: there is no such program")
    return words


def _program(name: str) -> str:
    """The program beside this interpreter, so that `python` and `accelerate` are those of this environment."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else name


def launch(name: str, command: Sequence[str]) -> None:
    """Run one stage and wait for it; a failing one ends the run with its exit code.

    A stage that a signal has killed ends it with 128 plus the signal's number, as a shell would.

    Args:
        command: its program is looked for beside this interpreter first.
    """
    started = time.monotonic()
    process = subprocess.Popen([_program(command[0]), *command[1:]])
    # Ctrl-C reaches the stage as well, and the stage knows what it must finish: wait for it instead of killing it.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    code = process.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    if code != 0:
        code = 128 - code if code < 0 else code
        fail(
            f"{name} ended with exit code {code}; the finished stages are kept: the same command goes on from here",
            code,
        )
    print(f"[{name}] {time.monotonic() - started:.0f} s", flush=True)


def show(command: Sequence[str]) -> None:
    """Print a command as one would type it."""
    print(f"\n$ {shlex.join(command)}", flush=True)
