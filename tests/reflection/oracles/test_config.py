"""Settings that cannot be are refused in one line that names the flag."""

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles.config import OracleArguments


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"oracle": "gpt"}, "--oracle 'gpt' is unknown; the oracles are openai, openai_batch, transformers, recorded"),
        ({"oracle": "recorded"}, "--oracle recorded: needs --recorded_path FILE.jsonl"),
        ({"oracle_model": None}, "--oracle openai: needs --oracle_model NAME"),
        ({"oracle": "openai_batch", "oracle_model": ""}, "--oracle openai_batch: needs --oracle_model NAME"),
        ({"max_tokens": 0}, "--max_tokens 0: must be at least 1"),
        ({"concurrency": 0}, "--concurrency 0: must be at least 1"),
        ({"oracle_batch_size": -3}, "--oracle_batch_size -3: must be at least 1"),
        ({"requests_per_minute": 0}, "--requests_per_minute 0: must be at least 1"),
        ({"tokens_per_minute": 0}, "--tokens_per_minute 0: must be at least 1"),
        ({"timeout_seconds": 0}, "--timeout_seconds 0: must be more than 0"),
        ({"max_error_fraction": 0}, "--max_error_fraction 0: must be above 0 and at most 1"),
        ({"max_error_fraction": 1.5}, "--max_error_fraction 1.5: must be above 0 and at most 1"),
        ({"temperature": -0.1}, "--temperature -0.1: must be from 0 to 2"),
        ({"temperature": 2.1}, "--temperature 2.1: must be from 0 to 2"),
        ({"temperature": float("nan")}, "--temperature nan: must be from 0 to 2"),
        ({"store": ""}, "--store '': must be the path of a file"),
        ({"store": ":memory:"}, "--store ':memory:': must be the path of a file"),
        ({"oracle_tokenizer": "t"}, "--oracle_tokenizer: cuts nothing without --oracle_context"),
        ({"oracle": "transformers", "oracle_tokenizer": "t"}, "--oracle_tokenizer: --oracle transformers counts by"),
        ({"oracle_context": 4096}, "--oracle_context: needs --oracle_tokenizer"),
        (
            {"oracle_context": 2048, "oracle_tokenizer": "t"},
            "--oracle_context 2048: --max_tokens 2048 leaves no room for the prompt",
        ),
        ({"price_in": 1.0}, "--price_in and --price_out: give both or none"),
        ({"price_out": 0.0}, "--price_in and --price_out: give both or none"),
        ({"price_in": -1.0, "price_out": 1.0}, "--price_in -1.0: must not be negative"),
        ({"budget_usd": 0}, "--budget_usd 0: must be more than 0"),
        ({"budget_usd": 5}, "--budget_usd: no price is known for --oracle_model m; give --price_in and --price_out"),
        (
            {"budget_usd": 5, "oracle_model": "gpt-4.1", "base_url": "http://localhost:8000/v1"},
            "--budget_usd: no price is known for --oracle_model gpt-4.1",
        ),
        (
            {"budget_usd": 5, "oracle": "transformers"},
            "--budget_usd: --oracle transformers costs nothing; remove it",
        ),
        ({"base_url": "localhost:8000"}, "--base_url localhost:8000: must be an address such as"),
        ({"base_url": "http://user:pass@host/v1"}, "--base_url: the address of host holds a password or parameters"),
        ({"budget_usd": float("nan"), "oracle_model": "gpt-4.1"}, "--budget_usd nan: must be more than 0"),
        ({"timeout_seconds": float("nan")}, "--timeout_seconds nan: must be more than 0"),
        ({"price_in": float("nan"), "price_out": 1.0}, "--price_in nan: must not be negative"),
    ],
)
def test_is_refused(settings, said):
    with pytest.raises(BadInputError) as error:
        OracleArguments(**{"oracle_model": "m", **settings})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert "pass@" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"oracle": "recorded", "oracle_model": None, "recorded_path": "x.jsonl"},
        {"oracle": "openai", "base_url": "http://localhost:11434/v1"},
        {"oracle": "openai", "temperature": None},
        {"oracle": "openai", "oracle_context": 4096, "oracle_tokenizer": "t"},
        {"oracle": "transformers", "oracle_context": 4096},
        {"oracle": "openai", "budget_usd": 5, "price_in": 0, "price_out": 1},
        {"oracle": "openai_batch", "oracle_model": "gpt-4.1-mini", "budget_usd": 0.01},
    ],
)
def test_is_accepted(settings):
    assert OracleArguments(**{"oracle_model": "m", **settings}).oracle == settings["oracle"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"oracle_model": "gpt-4.1"}, (2, 8)),
        ({"oracle_model": "gpt-4.1", "oracle": "openai_batch"}, (2, 8)),
        ({"oracle_model": "gpt-4.1", "base_url": "http://localhost:8000/v1"}, None),
        ({"oracle_model": "m", "base_url": "http://localhost:8000/v1", "price_in": 1, "price_out": 2}, (1, 2)),
        ({"oracle_model": "gpt-4.1", "oracle": "transformers", "price_in": 1, "price_out": 2}, None),
    ],
)
def test_price(settings, expected):
    price = OracleArguments(**settings).price()
    assert (price and (price.input, price.output)) == expected


def test_the_endpoint_of_the_environment_is_no_secret_from_the_price_table(monkeypatch):
    assert OracleArguments(oracle_model="gpt-4.1").price() is not None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    arguments = OracleArguments(oracle_model="gpt-4.1")
    assert (arguments.base_url, arguments.price()) == ("http://localhost:8000/v1", None)
    assert OracleArguments(oracle_model="gpt-4.1", base_url="https://api.openai.com/v1").price() is not None
