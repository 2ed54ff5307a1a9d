import json
import math
import shutil
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig, SFTConfig

from hub_cards.errors import BadInputError
from training import sft as sft_module
from training.sft import format_rows, load_processor, make_trainer, train

STEPS = 6


@pytest.fixture
def settings(tmp_path, quickstart):
    """`settings(max_steps=3)`: TRL's settings and the model's for a short run on a CPU."""
    model = ModelConfig(model_name_or_path=str(quickstart / "student"), dtype="float32")

    def make(**changes):
        usual = {
            "output_dir": str(tmp_path / "work"),
            "max_steps": STEPS,
            "max_length": 256,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "activation_checkpointing": False,
            "disable_tqdm": True,
        }
        return SFTConfig(**{**usual, **changes}), model

    return make


@pytest.fixture
def rows(tmp_path):
    pairs = [("Name a fruit.", "", "An apple."), ("Add up.", "1 and 2", "They are 3.")] * 4
    columns = dict(zip(("instruction", "input", "output"), map(list, zip(*pairs, strict=True)), strict=True))
    return format_rows(Dataset.from_dict(columns), "vicuna", "key", tmp_path / "rows")


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").state_dict()


def log(folder):
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def test_the_loss_is_on_the_response_and_its_end_only(settings, rows):
    trainer = make_trainer(rows, *settings(), "vicuna", None)
    tokenizer = trainer.processing_class
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    for labels, ids, completion in zip(
        batch["labels"], batch["input_ids"], (" An apple.", " They are 3."), strict=True
    ):
        assert tokenizer.decode(labels[labels != -100]) == completion + "</s>"
        assert tokenizer.decode(ids).startswith("<s>A chat between a curious user")


def test_training_changes_the_weights_and_the_model_loads_again(settings, rows, tmp_path):
    sft, model = settings(max_steps=2, gradient_accumulation_steps=2)
    said = []
    counts = train(rows, sft, model, "vicuna", None, tmp_path / "model", said.append)
    assert said == [f"8 rows: 8 whole; {counts['tokens_per_epoch']} tokens an epoch, 40 of them in completions"]
    expected = {"rows": 8, "rows_whole": 8, "steps": 2, "epochs": 1.0, "resumed_from_step": None, "device": "cpu"}
    expected |= {"processes": 1, "global_batch_size": 4, "tokens": counts["tokens_per_epoch"], "sequences": 8}
    assert counts.items() >= expected.items()
    entries = log(tmp_path / "model")
    assert [entry["step"] for entry in entries] == [1, 2] and entries[-1]["tokens"] == counts["tokens"]
    assert counts["train_loss"] == round(sum(entry["loss"] for entry in entries) / 2, 4)
    assert counts["tokens_per_second"] == pytest.approx(counts["tokens"] / counts["training_seconds"], rel=0.2)
    before, after = weights(model.model_name_or_path), weights(tmp_path / "model")
    assert not before["model.layers.0.mlp.up_proj.weight"].equal(after["model.layers.0.mlp.up_proj.weight"])
    assert AutoTokenizer.from_pretrained(tmp_path / "model").bos_token == "<s>"


def test_rows_without_room_for_a_completion_are_counted_or_refused(settings, rows, tmp_path):
    n_prompt = len(AutoTokenizer.from_pretrained(settings()[1].model_name_or_path)(rows[0]["prompt"])["input_ids"])
    # Room in the short prompt, none in the long one.
    for packing in (False, True):
        sft, model = settings(max_length=n_prompt + 1, max_steps=1, packing=packing)
        counts = train(rows, sft, model, "vicuna", None, tmp_path / f"model-{packing}")
        assert (counts["rows_without_room_for_a_completion"], counts["rows_cut"]) == (4, 4)
        assert counts["sequences"] == (8 if packing else 4)  # packed, the prompts alone take part
        with pytest.raises(BadInputError, match="--max_length 8: is filled by the prompt alone in every row"):
            make_trainer(rows, *settings(max_length=8, packing=packing), "vicuna", None)


@pytest.fixture
def undisturbed(settings, rows, tmp_path):
    """A whole training with checkpoints: its folder, and the one of its checkpoints."""
    counts = train(rows, *settings(save_strategy="steps", save_steps=2), "vicuna", None, tmp_path / "undisturbed")
    assert counts["steps"] == STEPS
    return tmp_path / "undisturbed", tmp_path / "work"


def damage(checkpoint):
    """As a kill in the middle of writing leaves it: the optimizer is cut off, nothing after it is there."""
    content = (checkpoint / "optimizer.pt").read_bytes()
    (checkpoint / "optimizer.pt").write_bytes(content[: len(content) // 2])
    for name in ("scheduler.pt", "rng_state.pth", "trainer_state.json"):
        (checkpoint / name).unlink()


@pytest.mark.parametrize("step", [2, 4, STEPS])
def test_from_each_checkpoint_the_training_ends_as_if_it_had_never_stopped(settings, rows, undisturbed, tmp_path, step):
    whole, work = undisturbed
    for later in range(step + 2, STEPS + 1, 2):
        shutil.rmtree(work / f"checkpoint-{later}")
    if step < STEPS:
        shutil.copytree(work / f"checkpoint-{step}", work / f"checkpoint-{step + 2}")
        damage(work / f"checkpoint-{step + 2}")
    said = []
    counts = train(
        rows, *settings(save_strategy="steps", save_steps=2), "vicuna", None, tmp_path / "resumed", said.append
    )
    assert counts["resumed_from_step"] == step and counts["steps"] == STEPS
    assert said[-1] == f"goes on from checkpoint-{step}"
    assert (f"checkpoint-{step + 2} is passed over and removed" in said[-2]) == (step < STEPS)
    assert log(tmp_path / "resumed") == log(whole) and len(log(whole)) == STEPS
    mine, theirs = weights(tmp_path / "resumed"), weights(whole)
    assert all(mine[name].equal(theirs[name]) for name in theirs)


def test_what_was_not_logged_yet_is_logged_with_its_checkpoint(settings, rows, tmp_path):
    seldom = {"logging_steps": 4, "save_strategy": "steps", "save_steps": 3}
    train(rows, *settings(**seldom), "vicuna", None, tmp_path / "model")
    assert [entry["step"] for entry in log(tmp_path / "model")] == [3, 4, 6]
    whole = log(tmp_path / "model")
    shutil.rmtree(tmp_path / "work/checkpoint-6")
    counts = train(rows, *settings(**seldom), "vicuna", None, tmp_path / "resumed")
    assert log(tmp_path / "resumed") == whole
    assert counts["train_loss"] == round((3 * whole[0]["loss"] + whole[1]["loss"] + 2 * whole[2]["loss"]) / 6, 4)


def test_a_tracker_writes_beside_the_model(settings, rows, tmp_path):
    train(rows, *settings(max_steps=1, report_to="tensorboard"), "vicuna", None, tmp_path / "model")
    events = list((tmp_path / "model/runs").rglob("events.out.tfevents.*"))
    assert len(events) == 1 and b"train/loss" in events[0].read_bytes()


def test_padded_padding_free_and_packed_rows_have_the_same_loss(settings, tmp_path, quickstart):
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines()
    lines = sorted(lines, key=len)[100:104]
    columns = {name: [json.loads(line)[name] for line in lines] for name in ("instruction", "input", "output")}
    rows = format_rows(Dataset.from_dict(columns), "vicuna", "key", tmp_path / "real")
    kinds = {
        "padded": {"max_length": 1024},
        "padding_free": {"max_length": None, "padding_free": True},
        "packed": {"max_length": 1024, "packing": True},
    }
    losses, norms = {}, {}
    for name, kind in kinds.items():
        # One step over all rows: its loss is taken before it changes anything.
        sft, model = settings(max_steps=1, per_device_train_batch_size=4, **kind)
        counts = train(rows, sft, model, "vicuna", None, tmp_path / name)
        assert counts["rows_whole"] == 4 and counts["epochs"] == 1.0
        entry = log(tmp_path / name)[0]
        losses[name], norms[name] = entry["loss"], entry["grad_norm"]
    assert math.isclose(losses["padded"], losses["padding_free"], abs_tol=1e-5)
    assert math.isclose(losses["padded"], losses["packed"], abs_tol=1e-5)
    assert norms["padding_free"] == pytest.approx(norms["padded"], abs=1e-4)
    assert norms["packed"] == pytest.approx(norms["padded"], abs=1e-4)


def test_the_curriculum_is_the_order_of_training(settings, rows):
    sft, model = settings()
    sft.train_sampling_strategy = "sequential"
    trainer = make_trainer(rows.select([1, 0, 0, 1, 1, 1, 0, 0]), sft, model, "vicuna", None)
    seen = [batch["input_ids"] for batch in trainer.get_train_dataloader()]
    texts = [trainer.processing_class.decode(ids) for batch in seen for ids in batch]
    assert ["fruit" in text for text in texts] == [False, True, True, False, False, False, True, True]


def test_nothing_selected_is_refused(tmp_path):
    empty = Dataset.from_dict({"instruction": [], "input": [], "output": []})
    with pytest.raises(BadInputError, match="no rows"):
        format_rows(empty, "vicuna", "key", tmp_path)


class TestWhatCannotBeTrained:
    @pytest.fixture
    def student(self, settings, tmp_path):
        """A copy of the student to spoil."""
        sft, model = settings()
        shutil.copytree(model.model_name_or_path, tmp_path / "spoiled")
        model.model_name_or_path = str(tmp_path / "spoiled")
        return tmp_path / "spoiled", sft, model

    def test_without_a_tokenizer(self, rows, student):
        folder, sft, model = student
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(BadInputError, match=f"--model_name_or_path {folder}: holds no tokenizer that loads"):
            make_trainer(rows, sft, model, "vicuna", None)

    def test_without_a_chat_template(self, student):
        _, sft, model = student
        with pytest.raises(BadInputError, match="has no chat template; use one of alpaca"):
            load_processor(model, sft, "chat_template", None)

    def test_with_weights_that_are_cut_off_or_not_there(self, rows, student):
        folder, sft, model = student
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[:1000])
        with pytest.raises(BadInputError, match=f"--model_name_or_path {folder}: cannot be loaded"):
            make_trainer(rows, sft, model, "vicuna", None)
        (folder / "model.safetensors").unlink()
        with pytest.raises(BadInputError, match=f"--model_name_or_path {folder}: cannot be loaded"):
            make_trainer(rows, sft, model, "vicuna", None)

    def test_of_a_kind_that_is_not_known(self, rows, student):
        folder, sft, model = student
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "ancient"}))
        with pytest.raises(
            BadInputError,
            match=f"--model_name_or_path {folder}: holds no tokenizer that loads|{folder} cannot be trained",
        ):
            make_trainer(rows, sft, model, "vicuna", None)

    def test_what_trl_refuses_is_one_line(self, rows, settings):
        sft, model = settings()
        sft.assistant_only_loss = True
        with pytest.raises(BadInputError, match=r"cannot be trained like this: .*assistant_only_loss") as refused:
            make_trainer(rows, sft, model, "vicuna", None)
        assert "\n" not in str(refused.value)

    def test_a_text_longer_than_the_model_has_positions(self, rows, student, settings):
        folder, sft, model = student
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
        said = "--max_length 256: a text has .. tokens and the model only 40 positions; pass --max_length 40"
        with pytest.raises(BadInputError, match=said):
            make_trainer(rows, sft, model, "vicuna", None)
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 100}))
        make_trainer(rows, sft, model, "vicuna", None)
        sft, _ = settings(packing=True)  # each row starts at position 0, however long the sequence
        assert max(map(len, make_trainer(rows, sft, model, "vicuna", None).train_dataset["input_ids"])) > 100
        sft, _ = settings(packing=True, packing_strategy="wrapped")
        with pytest.raises(BadInputError, match="a text has 256 tokens and the model only 100 positions"):
            make_trainer(rows, sft, model, "vicuna", None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json"])
def test_a_full_disk_is_said_to_be_one(settings, rows, tmp_path, monkeypatch, name):
    (tmp_path / "work/checkpoint-1").mkdir(parents=True)
    (tmp_path / "work/checkpoint-1" / name).symlink_to("/dev/full")
    monkeypatch.setattr(sft_module, "last_whole_checkpoint", lambda *_: None)  # it would remove the link
    with pytest.raises(OSError, match="No space left"):
        train(rows, *settings(max_steps=1, save_steps=1, save_strategy="steps"), "vicuna", None, tmp_path / "model")
