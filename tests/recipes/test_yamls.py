"""Every recipe's YAML is parsed by its own script's parser, and says how it is run."""

from pathlib import Path

import pytest

from hub_cards.cli import parse_config
from hub_cards.config import PublishConfig
from hub_cards.report.config import ReportConfig
from reflection.config import ReflectConfig
from scoring.config import ScoreConfig, SelectConfig
from training.config import parse_sft
from training.evaluation_config import EvaluateConfig
from training.sweep import SweepConfig

RECIPES = Path(__file__).parents[2] / "recipes"
LAUNCHERS = RECIPES / "accelerate_configs"
PARSERS = {
    "reflect": lambda argv: parse_config(ReflectConfig, argv),
    "score": lambda argv: parse_config(ScoreConfig, argv),
    "select": lambda argv: parse_config(SelectConfig, argv),
    # TRL looks for a GPU that can do what the YAML asks.
    "sft": lambda argv: parse_sft([*argv, "--use_cpu", "true", "--bf16", "false"]),
    "evaluate": lambda argv: parse_config(EvaluateConfig, argv),
    "sweep": lambda argv: parse_config(SweepConfig, argv),
    "report": lambda argv: parse_config(ReportConfig, argv),
    "publish": lambda argv: parse_config(PublishConfig, argv),
}
YAMLS = sorted(
    path.relative_to(RECIPES.parent)
    for path in RECIPES.rglob("*.yaml")
    if path.parent != LAUNCHERS  # accelerate's own, see test_launch.py
)


def stage(path: Path) -> str:
    """`experience_score` is a scoring, `sft_qlora` a training."""
    name = path.stem.removeprefix("experience_")
    return "sft" if name.startswith("sft_") else name


def test_there_are_recipes():
    assert {stage(path) for path in YAMLS} == set(PARSERS)


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_it_parses(path, root, monkeypatch):
    monkeypatch.chdir(root)
    PARSERS[stage(path)](["--config", str(path)])


@pytest.mark.parametrize("path", YAMLS, ids=str)
def test_its_header_is_the_exact_command(path, root):
    hash_, launcher, *words = (root / path).read_text(encoding="utf-8").splitlines()[0].split()
    assert (hash_, launcher) in (("#", "python"), ("#", "accelerate"))
    if launcher == "accelerate":
        launch, flag, config, *words = words
        assert (launch, flag) == ("launch", "--config_file")
        assert (root / config).is_file() and (root / config).parent == LAUNCHERS
    script, *flags = words
    assert script.startswith("recipes/") and (root / script).is_file()
    assert flags[:2] == ["--config", str(path)]
