from dataclasses import dataclass

import pytest

from hub_cards.cli import parse_config
from hub_cards.errors import BadInputError
from hub_cards.sources import Source
from reflection.oracles import OracleArguments
from training.generation_config import GenerationArguments, find_generator


@dataclass
class Both(GenerationArguments, OracleArguments):
    """As a script mixes them: the oracle is the judge."""

    def __post_init__(self) -> None:
        GenerationArguments.__post_init__(self)
        OracleArguments.__post_init__(self)


def make(**changes) -> GenerationArguments:
    return GenerationArguments(**{"model_name_or_path": "m", **changes})


def test_the_defaults_are_greedy_answers_to_vicuna_in_its_template():
    assert make() == GenerationArguments("m", None, "vicuna", ["vicuna"], None, 1024, 8, None, None)


def test_stands_beside_the_oracles_settings_on_one_command_line():
    flags = "--model_name_or_path m --judge_sets vicuna koala.jsonl --max_new_tokens 7"
    parsed = parse_config(Both, [*flags.split(), "--oracle_model", "judge", "--max_tokens", "9"])
    assert (parsed.judge_sets, parsed.max_new_tokens, parsed.max_tokens) == (["vicuna", "koala.jsonl"], 7, 9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_name_or_path": None}, "--model_name_or_path: name the model that answers"),
        ({"template": "llama"}, "--template 'llama' is unknown"),
        ({"judge_sets": []}, r"--judge_sets \[\]: must be a list of at least one"),
        ({"judge_sets": "vicuna"}, "--judge_sets 'vicuna': must be a list"),
        ({"limit": 0}, "--limit 0: must be at least 1"),
        ({"max_new_tokens": 0}, "--max_new_tokens 0: must be at least 1"),
        ({"generation_batch_size": 0}, "--generation_batch_size 0: must be at least 1"),
        ({"server_url": "localhost:8000"}, "--server_url localhost:8000: must be an address"),
        ({"server_url": "http://me:pw@host/v1"}, "--server_url: the address of host holds a password"),
        ({"served_model": "x"}, "--served_model x: is a name at a server; give --server_url too"),
    ],
)
def test_bad_settings_are_named(changes, said):
    with pytest.raises(BadInputError, match=f"^{said}"):
        make(**changes)


class TestModel:
    def test_in_process_it_must_be_there(self, quickstart, tmp_path):
        assert make(model_name_or_path=str(quickstart / "student")).find_generator().kind == "folder"
        with pytest.raises(BadInputError, match=rf"^--baseline {tmp_path}: the folder holds no config.json"):
            find_generator(str(tmp_path), flag="--baseline")

    def test_at_a_server_a_name_is_enough_and_a_folder_is_known_by_its_content(self, quickstart):
        found = make(model_name_or_path="Qwen/Qwen3-8B", server_url="http://localhost:8000/v1").find_generator()
        assert found == Source("server", "Qwen/Qwen3-8B", "Qwen/Qwen3-8B")
        folder = str(quickstart / "student")
        assert find_generator(folder, server_url="http://localhost:8000/v1") == find_generator(folder)
