"""The guide's example of a strategy, taken from the guide, put where it says, and used as it says."""

import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from datasets import DatasetDict, load_from_disk

import scoring.selection
from hub_cards.cards.rules import RULES, rule_lines
from hub_cards.provenance import StepRecord, read_records
from hub_cards.schema import VARIANTS
from hub_cards.storage import save_result
from scoring.selection import STRATEGIES
from scoring.selection.steps import parse_steps

NAME, MODULE = "most_nats", "scoring.selection.most_nats"
# Nats in all: 30, 200, 3000 (too long), none, 90, 60.
SCORES = {"loss_A_condition": [3.0, 2.0, 5.0, None, 0.5, 0.2], "n_tokens_A": [10, 100, 600, 7, 180, 300]}
IFD = [0.5, 0.6, 0.7, None, 0.8, 0.9]


@pytest.fixture(scope="module")
def guide(root: Path) -> SimpleNamespace:
    """The blocks of the guide's section, by what they are."""
    section = (root / "scoring/selection/README.md").read_text(encoding="utf-8").split("## Add a strategy\n")[1]
    section = section.split("\n## ")[0]
    module, entries, script, test = re.findall(r"```python\n(.*?)```", section, re.S)
    (recipe,) = re.findall(r"```yaml\n(.*?)```", section, re.S)
    shell = re.findall(r"^\$ (.*)$", section, re.M)
    return SimpleNamespace(module=module, entries=entries, script=script, test=test, shell=shell, recipe=recipe)


@pytest.fixture
def installed(guide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The module in the package and the two entries in the dictionaries, until the test is over."""
    place = tmp_path / "package"
    place.mkdir()
    (place / f"{NAME}.py").write_text(guide.module, encoding="utf-8")
    monkeypatch.setattr(scoring.selection, "__path__", [*scoring.selection.__path__, str(place)])
    for entries in (STRATEGIES, RULES):
        monkeypatch.setitem(entries, NAME, None)  # undone at the end
    exec(guide.entries, {})
    yield
    del sys.modules[MODULE]
    del scoring.selection.most_nats


@pytest.fixture
def scored(variants_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scored folder at the place that the guide reads, in a folder to work in."""
    size = len(IFD)
    texts = {"instruction": [f"Ask {n}." for n in range(size)], "input": [""] * size, "output": ["An answer."] * size}
    rows = variants_of(original={**texts, "variant": [VARIANTS[0]] * size, "ifd_ppl": IFD, **SCORES})
    monkeypatch.chdir(tmp_path)
    record = StepRecord("score", 1, {"template": "vicuna"}, {})
    save_result(Path("runs/quickstart/score"), DatasetDict(rows), [record])


def run(root: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the guide in this process, where the strategy is known."""
    _, script, *flags = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [script, *flags])
    runpy.run_path(str(root / script), run_name="__main__")


@pytest.mark.usefixtures("installed")
class TestTheStrategyOfTheGuide:
    def test_passes_the_guides_test(self, guide, decide):
        names: dict = {}
        exec(guide.test, names)
        tests = [value for name, value in names.items() if name.startswith("test_")]
        assert len(tests) == 2
        for test in tests:
            test(decide)

    @pytest.mark.usefixtures("scored")
    def test_runs_from_the_shell_and_its_ledger_replays(self, root, guide, monkeypatch, capsys):
        select, replay = guide.shell
        run(root, select.replace("--fraction 0.1", "--count 2"), monkeypatch)
        saved = load_from_disk("runs/mine/most_nats")
        assert saved["selected"]["row_id"][:] == ["b", "e"]
        ledger = dict(zip(*(saved["decisions"][name][:] for name in ("row_id", "select_reason")), strict=True))
        reasons = ("below_the_cut", "kept", "too_long", "unscored", "kept", "below_the_cut")
        assert ledger == dict(zip("abcdef", reasons, strict=True))
        assert saved["decisions"]["n_tokens_A_original"][:] == SCORES["n_tokens_A"]
        run(root, replay, monkeypatch)
        assert "all 6 decisions come out the same" in capsys.readouterr().out
        (_, line) = rule_lines(read_records(Path("runs/mine/most_nats"))[-1])
        assert line.startswith("**most_nats**: Responses of more than 300 tokens are dropped; of the others those")

    @pytest.mark.usefixtures("scored")
    def test_runs_from_a_script(self, guide, capsys):
        exec(guide.script.replace("count=5", "count=1"), {})
        assert capsys.readouterr().out.startswith("['b'] {'below_the_cut': 3, ")

    def test_reads_the_same_in_a_yaml_as_in_the_shell(self, guide):
        words = shlex.split(guide.shell[0])
        steps = words[words.index("--strategy") + 1 : words.index("--fraction")]
        in_yaml = parse_steps(yaml.safe_load(guide.recipe)["strategy"], {})
        assert parse_steps(steps, {"fraction": 0.1}) == in_yaml
        assert [step.strategy.longest for step in in_yaml[1:]] == [300]


def test_it_is_gone_afterwards():
    assert NAME not in STRATEGIES and NAME not in RULES and MODULE not in sys.modules


def test_the_card_of_a_strategy_without_a_rule_lists_its_options():
    (line,) = rule_lines(StepRecord("select", 1, {"strategy": [{"name": NAME, "longest": 300}]}, {}))
    assert line == "**most_nats**: longest 300"
