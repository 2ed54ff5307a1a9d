"""Every recipe's YAML is parsed by its own script's parser, and says how it is run."""

from pathlib import Path

import pytest

from hub_cards.cli import parse_config
from hub_cards.config import PublishConfig
from reflection.config import ReflectConfig
from scoring.config import ScoreConfig, SelectConfig
from training.config import parse_sft

RECIPES = Path(__file__).parents[2] / "recipes"
PARSERS = {
    "reflect": lambda argv: parse_config(ReflectConfig, argv),
    "score": lambda argv: parse_config(ScoreConfig, argv),
    "select": lambda argv: parse_config(SelectConfig, argv),
    # TRL looks for a GPU that can do what the YAML asks.
    "sft": lambda argv: parse_sft([*argv, "--use_cpu", "true", "--bf16", "false"]),
    "publish": lambda argv: parse_config(PublishConfig, argv),
}
YAMLS = sorted(
    path.relative_to(RECIPES.parent)
    for path in RECIPES.rglob("*.yaml")
    if path.parent.name != "accelerate_configs"  # accelerate's own, see test_launch.py
)


def stage(path: Path) -> str:
    return path.stem.removeprefix("experience_")


def test_there_are_recipes():
    assert {stage(path) for path in YAMLS} == set(PARSERS)


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_it_parses(path, root, monkeypatch):
    monkeypatch.chdir(root)
    PARSERS[stage(path)](["--config", str(path)])


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_its_header_is_the_exact_command(path, root):
    first = (root / path).read_text().splitlines()[0]
    assert first.startswith("# python recipes/")
    assert (root / first.split()[2]).is_file()
    assert f"--config {path}" in first
