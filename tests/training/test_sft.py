import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig, SFTConfig

from hub_cards.errors import BadInputError
from training.sft import format_rows, make_trainer, train


@pytest.fixture
def settings(tmp_path, quickstart):
    model = ModelConfig(model_name_or_path=str(quickstart / "student"), dtype="float32")
    sft = SFTConfig(
        output_dir=str(tmp_path / "work"),
        max_steps=2,
        max_length=256,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
    )
    return sft, model


@pytest.fixture
def rows(tmp_path):
    pairs = [("Name a fruit.", "", "An apple."), ("Add up.", "1 and 2", "They are 3.")] * 2
    columns = dict(zip(("instruction", "input", "output"), map(list, zip(*pairs, strict=True)), strict=True))
    return format_rows(Dataset.from_dict(columns), "vicuna", "key", tmp_path / "rows")


def test_the_loss_is_on_the_response_and_its_end_only(settings, rows):
    trainer = make_trainer(rows, *settings, None)
    tokenizer = trainer.processing_class
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    for labels, ids, completion in zip(
        batch["labels"], batch["input_ids"], (" An apple.", " They are 3."), strict=True
    ):
        assert tokenizer.decode(labels[labels != -100]) == completion + "</s>"
        assert tokenizer.decode(ids).startswith("<s>A chat between a curious user")


def test_training_changes_the_weights_and_the_model_loads_again(settings, rows, tmp_path):
    sft, model = settings
    counts = train(rows, sft, model, None, tmp_path / "model")
    assert counts["rows"] == 4 and counts["steps"] == 2 and counts["rows_without_room_for_a_completion"] == 0
    assert 0 < counts["train_loss"] < 12
    before = AutoModelForCausalLM.from_pretrained(model.model_name_or_path, dtype="float32")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="float32")
    assert not before.model.layers[0].mlp.up_proj.weight.equal(after.model.layers[0].mlp.up_proj.weight)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").bos_token == "<s>"


def test_rows_without_room_for_a_completion_are_counted_or_refused(settings, rows, tmp_path):
    sft, model = settings
    n_prompt = len(AutoTokenizer.from_pretrained(model.model_name_or_path)(rows[0]["prompt"])["input_ids"])
    sft.max_length = n_prompt + 1  # room in the short prompt, none in the long one
    assert train(rows, sft, model, None, tmp_path / "model")["rows_without_room_for_a_completion"] == 2
    sft.max_length = 8
    with pytest.raises(BadInputError, match="--max_length 8: is filled by the prompt alone in every row"):
        make_trainer(rows, sft, model, None)


def test_nothing_selected_is_refused(tmp_path):
    empty = Dataset.from_dict({"instruction": [], "input": [], "output": []})
    with pytest.raises(BadInputError, match="no rows"):
        format_rows(empty, "vicuna", "key", tmp_path)
