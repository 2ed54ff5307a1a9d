import pytest

from hub_cards.errors import BadInputError
from training.config import TRL_PER_DEVICE, parse_sft, planned_record

CPU = ["--use_cpu", "true", "--bf16", "false"]


@pytest.fixture
def argv(tmp_path, quickstart):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"instruction": "a", "output": "b"}\n')
    return ["--dataset", str(data), "--model_name_or_path", str(quickstart / "student"), "--output_dir", str(tmp_path)]


@pytest.fixture(autouse=True)
def plain_python(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_what_decides_the_result_decides_the_fingerprint(argv):
    plan = planned_record([*argv, "--max_steps", "3"])
    for reporting in (["--logging_steps", "1"], ["--report_to", "trackio"], ["--save_steps", "9"]):
        assert planned_record([*argv, "--max_steps", "3", *reporting]).fingerprint == plan.fingerprint
    for deciding in (["--max_steps", "4"], ["--template", "alpaca"], ["--curriculum", "ifd_ppl"], ["--lora_r", "8"]):
        assert planned_record([*argv, "--max_steps", "3", *deciding]).fingerprint != plan.fingerprint


def test_of_a_global_batch_only_its_size_decides(argv, monkeypatch):
    def fingerprint(*flags):
        return planned_record([*argv, *flags]).fingerprint

    plan = fingerprint("--global_batch_size", "8")
    assert planned_record([*argv, "--global_batch_size", "8"]).config["global_batch_size"] == 8
    assert fingerprint("--global_batch_size", "8", "--per_device_train_batch_size", "2") == plan
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert fingerprint("--global_batch_size", "8", "--per_device_train_batch_size", "2") == plan
    assert fingerprint("--global_batch_size", "16") != plan
    # Without it TRL's own flags say how large a batch is.
    assert fingerprint("--per_device_train_batch_size", "2") != fingerprint("--per_device_train_batch_size", "4")
    assert fingerprint() != plan


def test_null_is_as_if_it_were_not_set(argv, tmp_path):
    (tmp_path / "sft.yaml").write_text("global_batch_size: null\ncurriculum: null\n")
    plain = planned_record(argv)
    assert planned_record([*argv, "--config", str(tmp_path / "sft.yaml")]).fingerprint == plain.fingerprint
    assert set(plain.config) == {"template"}


def test_a_yaml_and_its_flags_are_the_same_plan(argv, tmp_path):
    recipe = tmp_path / "sft.yaml"
    recipe.write_text("max_steps: 3\nlearning_rate: 1.0e-4\n")
    from_yaml = planned_record([*argv, "--config", str(recipe)])
    assert from_yaml.fingerprint == planned_record([*argv, "--max_steps", "3", "--learning_rate", "1.0e-4"]).fingerprint


def test_the_number_of_accumulated_batches_follows_from_the_global_batch(argv, tmp_path):
    _, sft, _ = parse_sft([*argv, *CPU, "--global_batch_size", "12", "--per_device_train_batch_size", "3"])
    assert (sft.per_device_train_batch_size, sft.gradient_accumulation_steps) == (3, 4)
    (tmp_path / "sft.yaml").write_text("global_batch_size: 32\nuse_cpu: true\nbf16: false\n")
    _, sft, _ = parse_sft([*argv, "--config", str(tmp_path / "sft.yaml")])
    assert (sft.per_device_train_batch_size, sft.gradient_accumulation_steps) == (TRL_PER_DEVICE, 32 // TRL_PER_DEVICE)
    _, sft, _ = parse_sft([*argv, *CPU, "--gradient_accumulation_steps", "5"])
    assert sft.gradient_accumulation_steps == 5


def test_what_we_know_of_trl_is_so():
    from trl import SFTConfig

    assert SFTConfig.__dataclass_fields__["per_device_train_batch_size"].default == TRL_PER_DEVICE


def test_with_a_curriculum_the_rows_are_taken_in_their_order(argv):
    assert parse_sft([*argv, *CPU])[1].train_sampling_strategy == "random"
    for packing in ([], ["--packing", "true", "--packing_strategy", "wrapped"]):
        _, sft, _ = parse_sft([*argv, *CPU, "--curriculum", "ifd_ppl desc", *packing])
        assert sft.train_sampling_strategy == "sequential"


def test_without_a_model_or_with_an_unknown_template_one_line_says_so(argv):
    with pytest.raises(BadInputError, match="--model_name_or_path: name the model"):
        parse_sft([*argv[:2], *CPU])
    with pytest.raises(BadInputError, match="--template 'alpaka' is unknown; the templates are alpaca, vicuna"):
        parse_sft([*argv, "--template", "alpaka"])


def test_wrong_types_are_one_line_when_planning_too(argv):
    with pytest.raises(BadInputError, match="--limit 'abc': must be int or null"):
        planned_record([*argv, "--limit", "abc"])
    assert planned_record([*argv, "--dataset_revision", "1234567"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--global_batch_size 0", "--global_batch_size 0: must be a whole number, at least 1"),
        ("--global_batch_size many", "--global_batch_size many: must be a whole number"),
        ("--global_batch_size 12", "a --per_device_train_batch_size of 1, 2, 3, 4, 6 or 12 would do"),
        (
            "--global_batch_size 8 --gradient_accumulation_steps 1",
            "--gradient_accumulation_steps: follows from --global_batch_size 8; give only one of the two",
        ),
        ("--global_batch_size 8 --auto_find_batch_size true", "--auto_find_batch_size: follows from"),
        ("--per_device_train_batch_size 0", "--per_device_train_batch_size 0: must be at least 1"),
        ("--global_batch_size 8 --per_device_train_batch_size 0", "--per_device_train_batch_size 0: must be"),
        ("--gradient_accumulation_steps 0", "--gradient_accumulation_steps 0: must be at least 1"),
        ("--max_length 0", "--max_length 0: must be at least 2"),
        ("--max_length -5", "--max_length -5: must be at least 2"),
        ("--max_length long", "--max_length"),
        ("--max_steps 0", "nothing to train"),
        ("--num_train_epochs 0", "nothing to train"),
        ("--padding_free true", "--padding_free: TRL cuts no row then; write max_length: null"),
        ("--resume_from_checkpoint there", "--resume_from_checkpoint: leave it out"),
        ("--save_only_model true", "--save_only_model: leave it out"),
        ("--load_in_4bit true", "--load_in_4bit: quantized weights are not trained themselves; add --use_peft true"),
        ("--load_in_4bit true --load_in_8bit true", "You can't use 8 bit and 4 bit precision at the same time"),
        ("--curriculum -ifd_ppl", "--curriculum"),
        ("--curriculum ifd_ppl,loss", "--curriculum 'ifd_ppl,loss': write a column"),
        ("--curriculum ifd_ppl --packing true", "--packing_strategy bfd sorts the rows by their lengths"),
        ("--curriculum ifd_ppl --shuffle_dataset true", "--shuffle_dataset: takes the rows out of the order"),
        (
            "--curriculum ifd_ppl --train_sampling_strategy random",
            "--train_sampling_strategy random: takes the rows out of the order of --curriculum ifd_ppl",
        ),
        ("--report_to wandb", "--report_to wandb: the package is not installed; pip install wandb"),
        ("--use_peft true", '--use_peft: needs the package peft; pip install "reflection-tuning[train]"'),
        ("--fp16 true --bf16 true", "At most one of fp16 and bf16 can be True"),
    ],
)
def test_what_cannot_be_is_one_line(argv, flags, said, monkeypatch):
    from training import packages

    monkeypatch.setattr(packages, "_is_installed", lambda package: package not in ("wandb", "peft"))
    with pytest.raises(BadInputError) as refused:
        parse_sft([*argv, *CPU, *flags.split()])
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_packing_needs_a_length(argv, tmp_path):
    (tmp_path / "sft.yaml").write_text("max_length: null\npacking: true\n")
    with pytest.raises(BadInputError, match="--packing: needs a --max_length"):
        parse_sft([*argv, *CPU, "--config", str(tmp_path / "sft.yaml")])


def test_bfloat16_on_a_machine_that_has_none(argv):
    with pytest.raises(BadInputError, match="no device here computes in it; on a CPU pass --use_cpu true --bf16 false"):
        parse_sft(argv)


def test_processes_that_would_each_train_by_themselves(argv, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInputError, match="the launcher started 2 processes, and each would train by itself"):
        parse_sft([*argv, "--bf16", "false"])
