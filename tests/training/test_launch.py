import pytest

from hub_cards.errors import BadInputError
from training.launch import check_launch, launched_processes

FSDP = {"ACCELERATE_USE_FSDP": "true"}
ZERO3 = {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
SAVE = "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"


@pytest.fixture(autouse=True)
def plain_python(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_the_launcher_says_how_many_processes_there_are(monkeypatch):
    assert launched_processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched_processes() == 4


def test_processes_that_did_not_find_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch(2)
    with pytest.raises(BadInputError, match="2 processes, and each would train by itself: on a CPU pass --use_cpu"):
        check_launch(1)


@pytest.mark.parametrize(
    "environment",
    [{}, FSDP, {**FSDP, "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}, {**ZERO3, SAVE: "true"}],
)
def test_a_launch_whose_model_can_be_saved_whole(environment):
    check_launch(1, environment)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({**FSDP, "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}, "fsdp_state_dict_type SHARDED_STATE_DICT"),
        (ZERO3, "zero3_save_16bit_model false"),
        ({**ZERO3, SAVE: "false"}, "zero3_save_16bit_model false"),
    ],
)
def test_a_launch_whose_model_could_not_be_saved_whole_is_refused(environment, said):
    with pytest.raises(BadInputError, match=f"^{said}: the trained model could not be saved whole"):
        check_launch(1, environment)
