"""Fixtures for all tests. No test uses the network or a GPU."""

import os
from pathlib import Path

import pytest

# Before any library of Hugging Face is imported, in this process and in the ones that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def quickstart(root: Path) -> Path:
    """The quickstart's recipe folder, with its data and student."""
    return root / "recipes/quickstart"
