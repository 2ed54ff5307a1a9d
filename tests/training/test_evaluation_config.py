import json

import pytest

from hub_cards.cli import parse_config
from hub_cards.errors import BadInputError
from training.evaluation_config import EvaluateConfig


@pytest.fixture
def student(quickstart) -> str:
    return str(quickstart / "student")


@pytest.fixture
def answers(tmp_path) -> str:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps([{"instruction": "a", "output": "b"}]))
    return str(path)


def test_what_decides_the_result_decides_the_fingerprint(student, answers):
    def plan(**settings):
        given = {"model_name_or_path": student, "judge": "gpt", "baseline": answers, "oracle": "openai", **settings}
        return EvaluateConfig(**given).planned_record().fingerprint

    same = [{}, {"concurrency": 3}, {"store": "elsewhere"}, {"generation_batch_size": 2}, {"budget_usd": 1, **PRICE}]
    assert len({plan(**settings) for settings in same}) == 1
    other = [{"judge": "other"}, {"baseline": student}, {"max_new_tokens": 5}, {"template": "alpaca"}, {"limit": 3}]
    other += [
        {"temperature": 1.0},
        {"max_tokens": 7},
        {"judge": None},
        {"server_url": "http://localhost:1/v1"},
        {"dtype": "float32"},
    ]
    assert len({plan(**settings) for settings in [{}, *other]}) == len(other) + 1


PRICE = {"price_in": 1.0, "price_out": 1.0}


def test_without_a_baseline_the_judge_decides_nothing(student):
    alone = EvaluateConfig(model_name_or_path=student)
    assert EvaluateConfig(model_name_or_path=student, judge="gpt").planned_record() == alone.planned_record()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--oracle_model", "x"], "--oracle_model x: here the judge is named by --judge"),
        (["--judge", "gpt", "--oracle", "recorded"], "--oracle recorded: holds no reviews"),
        (["--judge", "gpt", "--oracle", "nobody"], "--oracle 'nobody' is unknown"),
        (["--judge", "local", "--budget_usd", "1"], "no price is known for --oracle_model local"),
        (["--benchmarks", "iq"], "--benchmarks 'iq': is unknown; the suites are open_llm_leaderboard_v1, selectit"),
        (["--benchmark_limit", "0"], "--benchmark_limit 0: must be at least 1"),
        (["--benchmarks", "mmlu", "--server_url", "http://x/v1"], "--benchmarks: are run in process"),
        (["--template", "alpaka"], "--template 'alpaka' is unknown"),
        (["--dtype", "int3"], "--dtype 'int3' is unknown; the dtypes are float32, bfloat16, float16, auto"),
        (["--judge_sets"], "--judge_sets"),
    ],
)
def test_mistakes_are_one_line(student, flags, message):
    with pytest.raises(BadInputError) as error:
        parse_config(EvaluateConfig, ["--model_name_or_path", student, *flags])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "nowhere.json"}, "--baseline nowhere.json"),
        ({"judge_sets": ["nowhere.jsonl"]}, "--judge_sets nowhere.jsonl: there is no such file"),
        ({"model_name_or_path": "./nowhere"}, "--model_name_or_path ./nowhere: there is no such folder"),
    ],
)
def test_missing_inputs_are_one_line_before_anything_is_done(student, settings, message):
    with pytest.raises(BadInputError) as error:
        EvaluateConfig(**{"model_name_or_path": student, **settings}).planned_record()
    assert message in str(error.value) and "\n" not in str(error.value)
