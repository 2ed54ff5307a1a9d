"""The commands of the guides: each is understood by its script; the snippet of the one to evaluation is run."""

import re
import runpy
import shlex
import sys
from unittest import mock

import pytest

from hub_cards.cli import parse_config
from hub_cards.config import PublishConfig
from reflection.config import ReflectConfig
from scoring.config import ScoreConfig, SelectConfig
from training.config import parse_sft
from training.evaluation_config import EvaluateConfig
from training.sweep import SweepConfig
from training.win_rates_config import WinRatesConfig

PARSERS = {
    # TRL looks for a GPU that can do what the recipe asks.
    "sft.py": lambda argv: parse_sft([*argv, "--use_cpu", "true", "--bf16", "false"]),
    "evaluate_model.py": lambda argv: parse_config(EvaluateConfig, argv),
    "sweep.py": lambda argv: parse_config(SweepConfig, argv),
    "win_rates.py": lambda argv: parse_config(WinRatesConfig, argv),
    "publish.py": lambda argv: parse_config(PublishConfig, argv),
    "reflect.py": lambda argv: parse_config(ReflectConfig, argv),
    "score.py": lambda argv: parse_config(ScoreConfig, argv),
    "select_rows.py": lambda argv: parse_config(SelectConfig, argv),
    "recycle.py": lambda argv: arguments_of("recycle.py", argv),
}
GUIDES = {"training/README.md": 8, "README.md": 6, "hub_cards/README.md": 10}


def arguments_of(script: str, argv: list[str]) -> object:
    """What a script that is none of our dataclasses makes of its command line."""
    with mock.patch.object(sys, "argv", [script, *argv]):
        return runpy.run_path(f"recipes/{script}", run_name="guide")["parse_arguments"]()


def commands(text: str) -> list[list[str]]:
    """The commands of the bash blocks that start one of these scripts, from the script's name on."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    lines = [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in lines:
        script = next((place for place, word in enumerate(line) if word.startswith("recipes/")), None)
        if script is not None and line[script].endswith("sft.sbatch"):
            found.append(["recipes/sft.py", *line[script + 1 :]])
        elif script is not None and line[script].removeprefix("recipes/") in PARSERS:
            found.append(line[script:])
    return found


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_is_understood(root, guide, monkeypatch):
    monkeypatch.chdir(root)
    found = [line for line in commands((root / guide).read_text(encoding="utf-8")) if "my_rows" not in " ".join(line)]
    assert len(found) >= GUIDES[guide]
    for script, *flags in found:
        PARSERS[script.removeprefix("recipes/")](flags)


def test_the_metric_gives_the_number_that_its_reviews_say(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    text = (root / "training/README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(snippet, {})
    assert float(capsys.readouterr().out) == 2.0  # better in both orders


def test_the_sweep_of_the_guide_is_the_recipe(root):
    import yaml

    text = (root / "training/README.md").read_text(encoding="utf-8")
    (shown,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S))
    recipe = yaml.safe_load((root / "recipes/quickstart-comparison/sweep.yaml").read_text(encoding="utf-8"))
    assert {name: recipe[name] for name in shown} == shown
