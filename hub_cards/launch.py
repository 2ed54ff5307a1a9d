"""Start a script as a process of its own, as `recycle.py` and `sweep.py` do with every stage."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hub_cards.cli import fail


def launch(name: str, command: Sequence[str]) -> None:
    """Run one stage and wait for it; a failing one ends the run with its exit code.

    A stage that a signal has killed ends it with 128 plus the signal's number, as a shell would.

    Args:
        command: its program is looked for beside this interpreter first, so that `python` and `accelerate` are those
            of this environment.
    """
    started = time.monotonic()
    beside = Path(sys.executable).with_name(command[0])
    process = subprocess.Popen([str(beside) if beside.is_file() else command[0], *command[1:]])
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
