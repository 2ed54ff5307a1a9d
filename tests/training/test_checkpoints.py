import json

import pytest
import torch
from safetensors.torch import save_file

from training.checkpoints import last_whole_checkpoint, what_is_wrong


def write(folder, step):
    """A checkpoint, file by file in the order in which transformers writes them."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    save_file({"w": torch.ones(100)}, checkpoint / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.ones(100)}, checkpoint / name)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return checkpoint


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_last_one_by_its_number(tmp_path):
    assert last_whole_checkpoint(tmp_path) is None
    assert last_whole_checkpoint(tmp_path / "nowhere") is None
    write(tmp_path, 9), write(tmp_path, 10), (tmp_path / "checkpoint-best").mkdir()
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-10"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b"")], ids=["half", "empty"])
def test_a_file_that_was_cut_off(tmp_path, name, damage):
    checkpoint = write(tmp_path, 10)
    damage(checkpoint / name)
    assert what_is_wrong(checkpoint) == f"{name} is cut off"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "it holds no weights"),
        ("optimizer.pt", "it holds no state of the optimizer"),
        ("scheduler.pt", "it holds no schedule"),
        ("trainer_state.json", "trainer_state.json, which is written last, is missing or cut off"),
    ],
)
def test_a_file_that_is_not_there(tmp_path, name, said):
    checkpoint = write(tmp_path, 10)
    (checkpoint / name).unlink()
    assert what_is_wrong(checkpoint) == said


def test_a_state_that_is_cut_off_or_of_another_step(tmp_path):
    checkpoint = write(tmp_path, 10)
    cut(checkpoint / "trainer_state.json")
    assert "cut off" in what_is_wrong(checkpoint)
    (checkpoint / "trainer_state.json").write_text('{"global_step": 5}')
    assert what_is_wrong(checkpoint) == "trainer_state.json is that of another step"


def test_a_shard_that_is_not_there(tmp_path):
    checkpoint = write(tmp_path, 10)
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "model.safetensors"}}))
    assert what_is_wrong(checkpoint) is None
    index.write_text(json.dumps({"weight_map": {"w": "model-00002-of-00002.safetensors"}}))
    assert what_is_wrong(checkpoint) == "model.safetensors.index.json is cut off"


def test_adapters_and_what_deepspeed_writes_are_whole_too(tmp_path):
    adapter = write(tmp_path, 10)
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    assert what_is_wrong(adapter) is None
    zero = write(tmp_path, 20)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        (zero / name).unlink()
    (zero / "global_step20").mkdir()
    torch.save({}, zero / "global_step20/mp_rank_00_model_states.pt")
    assert what_is_wrong(zero) is None


def test_damaged_ones_are_passed_over_with_a_line_and_removed_so_that_no_whole_one_makes_room_for_them(tmp_path):
    good, worse, worst = (write(tmp_path, step) for step in (10, 20, 30))
    cut(worse / "optimizer.pt")
    (worst / "trainer_state.json").unlink()
    said = []
    assert last_whole_checkpoint(tmp_path, said.append) == good
    assert said == [
        "checkpoint-30 is passed over and removed: trainer_state.json, which is written last, is missing or cut off",
        "checkpoint-20 is passed over and removed: optimizer.pt is cut off",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
