from pathlib import Path

import pytest

from hub_cards.provenance import StepRecord, write_records
from hub_cards.sources import Source
from training.comparison import sets_table, training_table, write_comparison
from training.sweep import SweepConfig
from training.win_rate import compare

INPUTS = {"model": Source("folder", "m", "1"), "baseline": Source("folder", "b", "2")}


def record(step: str, **counts) -> StepRecord:
    return StepRecord(step, 1, {"judge": "gpt"}, INPUTS, counts)


def judged(outcomes: list[str], sets: tuple[str, ...] = ("vicuna", "lima")) -> StepRecord:
    found = compare(outcomes, [10] * len(outcomes), [20] * len(outcomes)).as_dict()
    return record("evaluate", answers={}, judge={**dict.fromkeys(sets, found), "total": found})


@pytest.fixture
def config(tmp_path: Path) -> SweepConfig:
    (tmp_path / "sft.yaml").write_text("model_name_or_path: m\n")
    arms = ["full = all", "base = untrained", "ours = refusals; cherry fraction=0.5"]
    config = SweepConfig("scored", arms, sft=str(tmp_path / "sft.yaml"), evaluate="e", output_dir=str(tmp_path / "o"))
    found = {
        "full/sft": record("sft", rows=5200, steps=30, train_loss=1.25),
        "full/evaluate": record("evaluate", answers={}),
        "base/evaluate": judged(["lose", "lose", "tie", "win"]),
        "ours/sft": record("sft", rows=260, steps=3, train_loss=1.5),
        "ours/evaluate": judged(["win", "win", "win", "invalid"]),
    }
    for place, made in found.items():
        (tmp_path / "o" / place).mkdir(parents=True)
        write_records(tmp_path / "o" / place, [made])
    return config


def test_every_arm_is_a_line_and_what_is_missing_a_dash():
    result = {"task": "mmlu", "value": 0.4567, "stderr": 0.0123}
    arms = {
        "full": {"sft": record("sft", rows=5200, steps=30, train_loss=1.25), "evaluate": record("evaluate")},
        "base": {"evaluate": record("evaluate", benchmarks=[result, {"task": "mean", "value": 0.5, "stderr": None}])},
    }
    assert training_table({"full": "all", "base": "untrained"}, arms) == [
        ["arm", "selection", "rows", "steps", "train loss", "mmlu", "mean"],
        ["full", "all", "5,200", "30", "1.250", "–", "–"],
        ["base", "untrained", "–", "–", "–", "0.457 ± 0.012", "0.500"],
    ]


def test_sets_that_an_arm_lacks_are_a_dash():
    one, two = compare(["win", "lose"]), compare(["tie", "invalid"])
    assert sets_table({"a": {"koala": one, "total": one}, "b": {"lima": two, "total": two}}) == [
        ["win / tie / lose", "koala", "lima"],
        ["a", "1 / 0 / 1", "–"],
        ["b", "–", "0 / 1 / 0"],
    ]


def test_the_comparison_is_written_and_shown(config, tmp_path):
    shown = write_comparison(config)
    written = (tmp_path / "o/comparison.md").read_text()
    assert "| ours | refusals; cherry fraction=0.5 | 260 | 3 | 1.500 |" in written
    assert "| ours | 3 | 3 | 0 | 0 | 1 | 2.000 | 2.000 to 2.000 |" in written
    assert "| base | 4 | 1 | 1 | 2 | 0 | 0.750 |" in written
    assert "## Against `full`" in written and "| full | 3" not in written  # it is not compared with itself
    assert (tmp_path / "o/chart.svg").read_text().count("win score") == 2
    assert "against full:" in shown and "1 / 1 / 2" in shown and shown.endswith("comparison.md")


def test_one_set_is_not_shown_twice(config, tmp_path):
    for name in ("base", "ours"):
        write_records(tmp_path / "o" / name / "evaluate", [judged(["lose", "lose", "tie", "win"], ("vicuna",))])
    assert "1 / 1 / 2" not in write_comparison(config)


def test_without_a_judge_there_is_the_training_alone(config, tmp_path):
    for name in ("base", "ours"):
        write_records(tmp_path / "o" / name / "evaluate", [record("evaluate", answers={})])
    shown = write_comparison(config)
    assert "against" not in shown and not (tmp_path / "o/chart.svg").exists()
