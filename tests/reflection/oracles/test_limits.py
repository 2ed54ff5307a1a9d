"""Where the length of a prompt comes from: the settings, the oracle's tokenizer, a local model's own positions."""

from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles import OracleArguments
from reflection.oracles.limits import find_limit
from reflection.prompts import load_prompts

MESSAGES = load_prompts()["response"].messages("Name three fruits.", "", "Apples.")


def test_without_a_context_there_is_none():
    assert find_limit(OracleArguments(oracle_model="m")) is None


def test_a_served_model_is_counted_by_the_tokenizer_that_is_named(quickstart: Path):
    from transformers import AutoTokenizer

    student = str(quickstart / "student")
    limit = find_limit(OracleArguments(oracle_model="m", oracle_context=900, max_tokens=200, oracle_tokenizer=student))
    assert limit.tokens == 700
    tokenizer = AutoTokenizer.from_pretrained(student)
    naive = sum(len(tokenizer.encode(turn["content"], add_special_tokens=False)) for turn in MESSAGES)
    assert limit.count(MESSAGES) == naive + 2 * 8


def test_a_missing_tokenizer_is_refused(tmp_path: Path):
    settings = OracleArguments(oracle_model="m", oracle_context=900, max_tokens=200, oracle_tokenizer=str(tmp_path))
    with pytest.raises(BadInputError, match=r"--oracle_tokenizer .*: cannot be loaded"):
        find_limit(settings)


def test_a_local_model_counts_by_its_own_and_has_only_so_many_positions(chat_model_folder):
    folder = str(chat_model_folder(positions=512))
    fits = OracleArguments(oracle="transformers", oracle_model=folder, oracle_context=512, max_tokens=100)
    assert find_limit(fits).tokens <= 412
    longer = OracleArguments(oracle="transformers", oracle_model=folder, oracle_context=513, max_tokens=100)
    with pytest.raises(BadInputError, match="has only 512 positions; pass --oracle_context 512"):
        find_limit(longer)
