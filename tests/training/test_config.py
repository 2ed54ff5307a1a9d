import pytest

from hub_cards.errors import BadInputError
from training.config import parse_sft, planned_record


@pytest.fixture
def argv(tmp_path, quickstart):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"instruction": "a", "output": "b"}\n')
    return ["--dataset", str(data), "--model_name_or_path", str(quickstart / "student"), "--output_dir", str(tmp_path)]


def test_what_decides_the_result_decides_the_fingerprint(argv):
    plan = planned_record([*argv, "--max_steps", "3"])
    assert planned_record([*argv, "--max_steps", "3", "--logging_steps", "1"]).fingerprint == plan.fingerprint
    assert planned_record([*argv, "--max_steps", "4"]).fingerprint != plan.fingerprint
    assert planned_record([*argv, "--max_steps", "3", "--template", "alpaca"]).fingerprint != plan.fingerprint


def test_a_yaml_and_its_flags_are_the_same_plan(argv, tmp_path):
    recipe = tmp_path / "sft.yaml"
    recipe.write_text("max_steps: 3\nlearning_rate: 1.0e-4\n")
    from_yaml = planned_record([*argv, "--config", str(recipe)])
    assert from_yaml.fingerprint == planned_record([*argv, "--max_steps", "3", "--learning_rate", "1.0e-4"]).fingerprint


def test_without_a_model_or_with_an_unknown_template_one_line_says_so(argv):
    with pytest.raises(BadInputError, match="--model_name_or_path: name the model"):
        parse_sft([*argv[:2], "--use_cpu", "true", "--bf16", "false"])
    with pytest.raises(BadInputError, match="--template 'alpaka' is unknown; the templates are alpaca, vicuna"):
        parse_sft([*argv, "--template", "alpaka"])


def test_wrong_types_are_one_line_when_planning_too(argv):
    with pytest.raises(BadInputError, match="--limit 'abc': must be int or null"):
        planned_record([*argv, "--limit", "abc"])
    assert planned_record([*argv, "--dataset_revision", "1234567"])
