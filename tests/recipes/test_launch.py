"""Every way of starting several processes that we ship a file for: accelerate's YAMLs and Slurm."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from datasets import Dataset, load_from_disk
from safetensors.numpy import load_file

from hub_cards.provenance import read_records

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = {
    "single_gpu.yaml": DistributedType.NO,
    "cpu_2_processes.yaml": DistributedType.MULTI_GPU,  # MULTI_CPU would start one
    "multi_gpu.yaml": DistributedType.MULTI_GPU,
    "multi_node.yaml": DistributedType.MULTI_GPU,
    "fsdp2.yaml": DistributedType.FSDP,
    "fsdp2_multi_node.yaml": DistributedType.FSDP,
    "deepspeed_zero3.yaml": DistributedType.DEEPSPEED,
}
SBATCH = {"score": RECIPES / "slurm/score.sbatch", "sft": RECIPES / "slurm/sft.sbatch"}
DEFAULT = {"score": "multi_node.yaml", "sft": "fsdp2_multi_node.yaml"}
ROWS = 8

# Slurm for two nodes, both of which are this machine.
SCONTROL = "#!/bin/sh\necho 127.0.0.1\necho 127.0.0.1\n"
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for node in 1 0; do SLURM_NODEID=$node "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
"""


@pytest.fixture(scope="module")
def flags(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of `score.py` for a few rows in three shards of 64,000 characters, so some rows are made long."""
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    rows = [json.loads(line) for line in lines]
    for row in rows[2::2]:
        row["output"] += " and so on" * 4000
    data = tmp_path_factory.mktemp("launch") / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["--dataset", str(data), "--model_name_or_path", str(quickstart / "student"), "--max_length", "512"]


@pytest.fixture(scope="module")
def alone(script, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """What one process makes of them."""
    place = tmp_path_factory.mktemp("alone") / "score"
    done = script("score.py", *flags, "--output_dir", place)
    assert done.returncode == 0, done.stderr
    return load_from_disk(place)["original"]


@pytest.fixture(scope="module")
def training(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of `sft.py` for two steps of four rows each, however many processes share them."""
    lines = (quickstart / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]
    data = tmp_path_factory.mktemp("training") / "rows.jsonl"
    data.write_text("".join(lines), encoding="utf-8")
    size = ["--max_steps", "2", "--global_batch_size", "4", "--per_device_train_batch_size", "1"]
    return ["--config", str(quickstart / "sft.yaml"), "--dataset", str(data), "--max_length", "128", *size]


@pytest.fixture(scope="module")
def trained_alone(script, training: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that one process makes of them."""
    place = tmp_path_factory.mktemp("trained_alone") / "sft"
    done = script("sft.py", *training, "--output_dir", place)
    assert done.returncode == 0, done.stderr
    return place


def run(command: list[str | Path], root: Path, **environment: str) -> subprocess.CompletedProcess:
    bin_path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(part) for part in command],
        cwd=root,
        env={**os.environ, "PATH": bin_path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check_same(alone: Dataset, together: Dataset) -> None:
    a, b = alone.to_pandas(), together.to_pandas()
    numbers = a.select_dtypes("float").columns
    assert len(a) == ROWS and a.drop(columns=numbers).equals(b.drop(columns=numbers))
    assert set(a["score_status"]) == {"ok", "target_lost"}
    np.testing.assert_allclose(b[numbers].to_numpy(), a[numbers].to_numpy(), rtol=1e-6, equal_nan=True)


def check_same_model(alone: Path, together: Path, processes: int) -> None:
    one, other = (read_records(folder)[-1].counts for folder in (alone, together))
    assert (one["processes"], other["processes"], one["steps"], other["steps"]) == (1, processes, 2, 2)
    assert other["train_loss"] == pytest.approx(one["train_loss"], abs=1e-3)
    a, b = (load_file(folder / "model.safetensors") for folder in (alone, together))
    assert b.keys() - a.keys() <= {"lm_head.weight"}  # FSDP writes out what is tied to the embeddings
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=0, atol=1e-6)  # a step of Adam is 1e-4


def test_the_yaml_for_a_cpu_starts_two_processes_that_give_the_numbers_of_one(root, flags, alone, tmp_path):
    launch = ["accelerate", "launch", "--config_file", RECIPES / "accelerate_configs/cpu_2_processes.yaml"]
    done = run([*launch, "recipes/score.py", *flags, "--output_dir", tmp_path / "score"], root)
    assert done.returncode == 0, done.stderr
    assert "[score] 2 process(es) on cpu" in done.stdout
    check_same(alone, load_from_disk(tmp_path / "score")["original"])


# accelerate takes FSDP for GPUs only: on a CPU it is DDP and nobody says so. This makes it believe in gloo.
FSDP_ON_CPU = """
import runpy, sys
import torch.distributed.fsdp as fsdp
from accelerate.state import PartialState
from accelerate.utils import DistributedType

start, split = PartialState.__init__, fsdp.fully_shard

def believe(self, *arguments, **options):
    fresh = not PartialState._shared_state
    start(self, *arguments, **options)
    if fresh and self.distributed_type is DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU

def tell(module, *arguments, **options):
    print("split", type(module).__name__, flush=True)
    return split(module, *arguments, **options)

PartialState.__init__, fsdp.fully_shard = believe, tell
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_fsdp2_of_two_processes_saves_the_model_of_one(root, training, trained_alone, tmp_path):
    (tmp_path / "fsdp_on_cpu.py").write_text(FSDP_ON_CPU, encoding="utf-8")
    launch = [
        "accelerate",
        "launch",
        "--config_file",
        RECIPES / "accelerate_configs/fsdp2.yaml",
        "--num_processes",
        "2",
    ]
    checkpoints = ["--save_strategy", "steps", "--save_steps", "1"]
    command = [*launch, tmp_path / "fsdp_on_cpu.py", "recipes/sft.py", *training, *checkpoints]
    done = run([*command, "--output_dir", tmp_path / "sft"], root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("split LlamaForCausalLM") == 2
    assert done.stdout.count("split LlamaDecoderLayer") > 2
    check_same_model(trained_alone, tmp_path / "sft", processes=2)


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is bash")
class TestSlurm:
    @pytest.fixture
    def slurm(self, root: Path, tmp_path: Path):
        """`slurm(job, arguments, NAME=value)` runs a job script as Slurm would, its `srun` starting both nodes here."""
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (tmp_path / name).write_text(text, encoding="utf-8")
            (tmp_path / name).chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(root),
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_ID": "4711",
            "SLURM_GPUS_ON_NODE": "1",
            "MASTER_PORT": str(port),
        }
        return lambda job, arguments, **more: run(["bash", SBATCH[job], *arguments], root, **{**environment, **more})

    @pytest.mark.parametrize("job", SBATCH)
    def test_script_is_bash(self, root, job):
        done = run(["bash", "-n", SBATCH[job]], root)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.slow
    def test_two_nodes_give_one_result_with_the_numbers_of_one_process(self, slurm, flags, alone, tmp_path):
        done = slurm("score", [*flags, "--output_dir", tmp_path / "shared/score"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("[score] 2 process(es) on cpu") == done.stdout.count("[score] saved") == 1
        check_same(alone, load_from_disk(tmp_path / "shared/score")["original"])
        left = {path.name for path in (tmp_path / "shared").iterdir()}
        assert left == {"score", ".score.lock"}

    @pytest.mark.slow
    def test_two_nodes_train_one_model_as_one_process_does(self, slurm, training, trained_alone, tmp_path):
        done = slurm("sft", [*training, "--output_dir", tmp_path / "shared/sft"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("[sft] saved the model") == 1
        check_same_model(trained_alone, tmp_path / "shared/sft", processes=2)

    @pytest.mark.parametrize(
        ("job", "config"), [("score", "multi_node.yaml"), ("sft", "fsdp2_multi_node.yaml"), ("sft", "multi_node.yaml")]
    )
    def test_a_node_that_fails_fails_the_job_and_the_arguments_arrive(self, slurm, job, config, tmp_path):
        (tmp_path / "accelerate").write_text('#!/bin/sh\necho "$@"\nexit 3\n', encoding="utf-8")
        (tmp_path / "accelerate").chmod(0o755)
        submit_dir = {"SLURM_SUBMIT_DIR": str(tmp_path)}  # has no .venv, whose accelerate would come first
        size = {"SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NUM_NODES": "4"}
        asked = {} if config == DEFAULT[job] else {"ACCELERATE_CONFIG": f"recipes/accelerate_configs/{config}"}
        done = slurm(job, ["--dataset", "a b"], **submit_dir, **size, **asked)
        assert done.returncode == 3
        assert "--num_machines 4 --num_processes 32 --main_process_ip 127.0.0.1" in done.stdout
        assert done.stdout.count(f"--config_file recipes/accelerate_configs/{config} ") == 2
        assert done.stdout.count(f"recipes/{job}.py --dataset a b\n") == 2
        assert {"launch --machine_rank 0", "launch --machine_rank 1"} == {
            line.split(" --config_file")[0] for line in done.stdout.splitlines()
        }

    @pytest.mark.parametrize("job", SBATCH)
    def test_one_gpu_in_all_is_sent_to_plain_python(self, slurm, job):
        done = slurm(job, [], SLURM_JOB_NUM_NODES="1")
        assert done.returncode == 2 and f"run python recipes/{job}.py" in done.stderr


@pytest.mark.parametrize("name", CONFIGS)
class TestConfigs:
    def test_is_read_by_accelerate(self, name):
        config = load_config_from_file(str(RECIPES / "accelerate_configs" / name))
        assert config.distributed_type is CONFIGS[name]
        assert config.mixed_precision == "no" and not config.use_cpu
        assert config.num_processes % config.num_machines == 0
        assert (config.num_processes >= 2) == (name != "single_gpu.yaml")
        if config.num_machines > 1:
            assert config.rdzv_backend == "static" and config.same_network and config.main_process_port

    def test_every_setting_is_one_that_the_launcher_takes(self, name):
        path = str(RECIPES / "accelerate_configs" / name)
        config = load_config_from_file(path)
        known = vars(launch_command_parser().parse_args(["x.py"])).keys()
        assert {**config.fsdp_config, **config.deepspeed_config}.keys() <= known
        assert bool(config.fsdp_config) == (CONFIGS[name] is DistributedType.FSDP)
        assert bool(config.deepspeed_config) == (CONFIGS[name] is DistributedType.DEEPSPEED)

    def test_its_header_is_the_exact_command(self, name, root):
        path = RECIPES / "accelerate_configs" / name
        lines = path.read_text(encoding="utf-8").splitlines()
        commands = [line.split() for line in lines if line.startswith("# accelerate launch ")]
        scripts = []
        for words in commands:
            assert words[3:5] == ["--config_file", str(path.relative_to(root))]
            script = words.index("--config") - 1
            assert (root / words[script + 2]).is_file()
            scripts.append(words[script])
        scores = (
            ["recipes/score.py"] if name != "single_gpu.yaml" and CONFIGS[name] is DistributedType.MULTI_GPU else []
        )
        assert scripts == [*scores, "recipes/sft.py"]


@pytest.mark.parametrize("name", ["fsdp2.yaml", "fsdp2_multi_node.yaml"])
def test_the_launcher_asks_for_fsdp2_that_saves_whole_models(name):
    words = ["--config_file", str(RECIPES / "accelerate_configs" / name), "x.py"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    environment = prepare_multi_gpu_env(arguments)
    expected = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}
    expected |= {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_ACTIVATION_CHECKPOINTING": "false"}
    assert {key: environment[key] for key in expected} == expected


def test_both_fsdp2_configs_split_alike():
    one, other = (load_config_from_file(str(RECIPES / "accelerate_configs" / n)) for n in CONFIGS if "fsdp2" in n)
    assert one.fsdp_config == other.fsdp_config


def test_there_are_the_configs_that_the_guide_names(root):
    assert {path.name for path in (RECIPES / "accelerate_configs").glob("*.yaml")} == set(CONFIGS)
    guide = (root / "training/README.md").read_text(encoding="utf-8")
    assert [name for name in CONFIGS if name not in guide] == []
