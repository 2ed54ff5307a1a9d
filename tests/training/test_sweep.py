from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, write_records
from hub_cards.sources import Source
from training.sweep import SweepConfig

ARMS = [
    "base = untrained",
    "full = all",
    "random = random",
    "matched = recycled; length_matched_random seed=3",
    "ours = refusals; cherry fraction=0.05",
]


def sweep(tmp_path: Path, **settings) -> SweepConfig:
    sft = tmp_path / "sft.yaml"
    sft.write_text("model_name_or_path: user/student\n")
    given = {
        "dataset": "scored",
        "arms": ARMS,
        "sft": str(sft),
        "evaluate": "e.yaml",
        "output_dir": str(tmp_path / "o"),
    }
    return SweepConfig(**{**given, **settings})


def finish(folder: Path, step: str, **counts) -> None:
    folder.mkdir(parents=True)
    write_records(folder, [StepRecord(step, 1, {}, {"dataset": Source("file", "a", "b")}, counts)])


def test_everything_that_is_read_is_made_before(tmp_path):
    todo = [(arm.name, stage) for arm, stage in sweep(tmp_path, baseline="full").stages()]
    assert todo == [
        *(("ours", "select"), ("random", "select"), ("matched", "select")),
        *((name, "sft") for name in ("full", "random", "matched", "ours")),
        *((name, "evaluate") for name in ("full", "base", "random", "matched", "ours")),
    ]
    assert [stage for _, stage in sweep(tmp_path, evaluate=None).stages()] == ["select"] * 3 + ["sft"] * 4


def test_the_commands_of_an_arm(tmp_path):
    config = sweep(tmp_path, baseline="full")
    base, full, random, matched, ours = config.all_arms
    out = str(tmp_path / "o")
    assert config.flags(ours, "select") == [
        *("--dataset", "scored", "--strategy", "refusals", "cherry fraction=0.05", "--output_dir", f"{out}/ours/select")
    ]
    assert config.flags(ours, "sft")[2:] == ["--dataset", f"{out}/ours/select", "--output_dir", f"{out}/ours/sft"]
    assert config.flags(full, "sft")[2:4] == ["--dataset", "scored"]
    assert config.flags(base, "evaluate") == [
        *("--config", "e.yaml", "--model_name_or_path", "user/student"),
        *("--baseline", f"{out}/full/evaluate", "--output_dir", f"{out}/base/evaluate"),
    ]
    assert config.flags(full, "evaluate")[2:] == [
        *("--model_name_or_path", f"{out}/full/sft", "--output_dir", f"{out}/full/evaluate")
    ]
    finish(tmp_path / "o/ours/select", "select", selected=18)
    assert config.strategy(random) == ["random count=18"]
    assert config.strategy(matched) == ["recycled", f"length_matched_random seed=3 like={out}/ours/select"]


def test_what_an_arm_says_itself_is_not_filled_in(tmp_path):
    arms = ["a = random fraction=0.5", "b = length_matched_random like=there", "c = random count=3 seed=1", "d = grape"]
    config = sweep(tmp_path, arms=arms)
    assert [config.strategy(arm) for arm in config.all_arms] == [[arm.split(" = ")[1]] for arm in arms]
    assert config.arm("baseline").name == "a" and config.arm("reference").name == "d"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arms": ["a = all"]}, "--arms: one alone"),
        ({"arms": []}, "--arms: is needed"),
        ({"arms": ["a", "b = all"]}, "--arms 'a': must be NAME = SELECTION"),
        ({"arms": ["a = ", "b = all"]}, "must be NAME = SELECTION"),
        ({"arms": ["a = all", "a = longest count=3"]}, "--arms 'a': is there twice"),
        ({"arms": ["../x = all", "b = all"]}, "a name is of letters, digits"),
        ({"baseline": "nobody"}, "--baseline 'nobody': is no arm; the arms are base, full, random, matched, ours"),
        ({"reference": "full"}, "--reference full: selects nothing that random could match"),
        ({"reference": "random"}, "--reference random: has no number of rows of its own"),
        ({"launcher": " "}, "--launcher: is empty"),
        ({"sft": ""}, "--sft: is needed"),
    ],
)
def test_mistakes_are_one_line(tmp_path, settings, message):
    with pytest.raises(BadInputError) as error:
        sweep(tmp_path, **settings)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_recipe_without_a_model_is_refused(tmp_path):
    config = sweep(tmp_path)
    Path(config.sft).write_text("max_steps: 3\n")
    with pytest.raises(BadInputError, match="names no model_name_or_path"):
        config.flags(config.all_arms[0], "evaluate")
