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
from accelerate.utils import DistributedType
from datasets import Dataset, load_from_disk

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = sorted((RECIPES / "accelerate_configs").glob("*.yaml"))
SBATCH = RECIPES / "slurm/score.sbatch"
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


def test_the_yaml_for_a_cpu_starts_two_processes_that_give_the_numbers_of_one(root, flags, alone, tmp_path):
    launch = ["accelerate", "launch", "--config_file", RECIPES / "accelerate_configs/cpu_2_processes.yaml"]
    done = run([*launch, "recipes/score.py", *flags, "--output_dir", tmp_path / "score"], root)
    assert done.returncode == 0, done.stderr
    assert "[score] 2 process(es) on cpu" in done.stdout
    check_same(alone, load_from_disk(tmp_path / "score")["original"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is bash")
class TestSlurm:
    @pytest.fixture
    def slurm(self, root: Path, tmp_path: Path):
        """`slurm(arguments, NAME=value)` runs the job script as Slurm would, its `srun` starting both nodes here."""
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
        return lambda arguments, **more: run(["bash", SBATCH, *arguments], root, **{**environment, **more})

    def test_script_is_bash(self, root):
        done = run(["bash", "-n", SBATCH], root)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.slow
    def test_two_nodes_give_one_result_with_the_numbers_of_one_process(self, slurm, flags, alone, tmp_path):
        done = slurm([*flags, "--output_dir", tmp_path / "shared/score"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("[score] 2 process(es) on cpu") == done.stdout.count("[score] saved") == 1
        check_same(alone, load_from_disk(tmp_path / "shared/score")["original"])
        left = {path.name for path in (tmp_path / "shared").iterdir()}
        assert left == {"score", ".score.lock"}

    def test_a_node_that_fails_fails_the_job_and_the_arguments_arrive(self, slurm, tmp_path):
        (tmp_path / "accelerate").write_text('#!/bin/sh\necho "$@"\nexit 3\n', encoding="utf-8")
        (tmp_path / "accelerate").chmod(0o755)
        submit_dir = {"SLURM_SUBMIT_DIR": str(tmp_path)}  # has no .venv, whose accelerate would come first
        done = slurm(["--dataset", "a b"], **submit_dir, SLURM_GPUS_ON_NODE="8", SLURM_JOB_NUM_NODES="4")
        assert done.returncode == 3
        assert "--num_machines 4 --num_processes 32 --main_process_ip 127.0.0.1" in done.stdout
        assert done.stdout.count("recipes/score.py --dataset a b\n") == 2
        assert {"launch --machine_rank 0", "launch --machine_rank 1"} == {
            line.split(" --config_file")[0] for line in done.stdout.splitlines()
        }

    def test_one_gpu_in_all_is_sent_to_plain_python(self, slurm):
        done = slurm([], SLURM_JOB_NUM_NODES="1")
        assert done.returncode == 2 and "run python recipes/score.py" in done.stderr


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
class TestConfigs:
    def test_is_read_by_accelerate_and_starts_several_processes(self, path):
        config = load_config_from_file(str(path))
        assert config.distributed_type is DistributedType.MULTI_GPU  # MULTI_CPU would start one
        assert config.num_processes >= 2 and config.num_processes % config.num_machines == 0
        assert config.mixed_precision == "no" and not config.use_cpu
        if config.num_machines > 1:
            assert config.rdzv_backend == "static" and config.same_network and config.main_process_port

    def test_its_header_is_the_exact_command(self, path, root):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith(f"# accelerate launch --config_file {path.relative_to(root)} ")
        assert " recipes/score.py --config recipes/quickstart/score.yaml " in first


def test_there_are_the_configs_that_the_guide_names():
    assert {path.name for path in CONFIGS} == {"cpu_2_processes.yaml", "multi_gpu.yaml", "multi_node.yaml"}
