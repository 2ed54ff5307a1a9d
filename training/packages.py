"""Optional packages, looked for before a model is loaded: adapters, quantized weights, trackers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from hub_cards.errors import BadInputError

# By what `--report_to` calls it: the distributions of which one must be there.
TRACKERS = {"trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
TRAIN_EXTRA = 'pip install "reflection-tuning[train]"'


def check_adapter_packages(use_peft: bool, quantized: str | None) -> None:
    """Whether LoRA and QLoRA can be had.

    Args:
        quantized: the flag that asks for quantized weights, if one does.

    Raises:
        BadInputError: a package is missing, or quantized weights are asked for without an adapter to train.
    """
    if quantized and not use_peft:
        raise BadInputError(f"--{quantized}: quantized weights are not trained themselves; add --use_peft true")
    if use_peft and not _is_installed("peft"):
        raise BadInputError(f"--use_peft: needs the package peft; {TRAIN_EXTRA}")
    if quantized and not _is_installed("bitsandbytes"):
        raise BadInputError(f"--{quantized}: needs the package bitsandbytes; pip install bitsandbytes")


def check_trackers(report_to: Sequence[str]) -> None:
    """Whether what `--report_to` names is installed.

    Raises:
        BadInputError: it is not, or a folder stands in its place.
    """
    for name in report_to:
        packages = TRACKERS.get(name, ())
        if packages and not any(_is_installed(package) for package in packages):
            raise BadInputError(f"--report_to {name}: the package is not installed; pip install {packages[0]}")
    # TRL asks for trackio at every checkpoint, whatever `--report_to` says.
    for name in {"trackio", *report_to} & TRACKERS.keys():
        spec = find_spec(name)
        if spec is not None and spec.origin is None:
            folder = Path(next(iter(spec.submodule_search_locations)))
            raise BadInputError(f"the folder {folder} would be taken for the package {name}: give it another name")


def _is_installed(package: str) -> bool:
    """By its metadata: a folder of the same name is found as a module too."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
