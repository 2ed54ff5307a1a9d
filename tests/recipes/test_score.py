import os
import subprocess
from pathlib import Path

from datasets import load_from_disk


def launch_two(root: Path, *arguments) -> subprocess.CompletedProcess:
    command = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_give_the_numbers_of_one(root, small_recipe, small_run, tmp_path):
    flags = (
        "--config",
        small_recipe / "score.yaml",
        "--dataset",
        small_run / "reflect",
        "--output_dir",
        tmp_path / "s",
    )
    done = launch_two(root, "recipes/score.py", *flags)
    assert done.returncode == 0, done.stderr
    assert "[score] 2 process(es) on cpu" in done.stdout
    alone, together = load_from_disk(small_run / "score"), load_from_disk(tmp_path / "s")
    for name in alone:
        a, b = alone[name].to_pandas(), together[name].to_pandas()
        numbers = a.select_dtypes("float").columns
        assert a.drop(columns=numbers).equals(b.drop(columns=numbers))
        assert ((a[numbers] - b[numbers]).abs() <= 1e-6 * a[numbers].abs()).all(axis=None)


def test_any_batch_size_gives_the_same_numbers(script, small_recipe, small_run, tmp_path):
    flags = ("--config", small_recipe / "score.yaml", "--dataset", small_run / "reflect", "--limit", "4")
    for size in ("1", "9000"):
        done = script("score.py", *flags, "--output_dir", tmp_path / size, "--max_batch_tokens", size)
        assert done.returncode == 0, done.stderr
    one, many = (load_from_disk(tmp_path / size) for size in ("1", "9000"))
    for name in one:
        a, b = one[name].to_pandas(), many[name].to_pandas()
        numbers = a.select_dtypes("float").columns
        assert ((a[numbers] - b[numbers]).abs() <= 2e-5 * a[numbers].abs()).all(axis=None)


def test_plain_data_is_scored_as_the_one_variant_original(script, quickstart, tmp_path):
    data = quickstart / "data/rows.jsonl"
    flags = ("--dataset", data, "--limit", "2", "--model_name_or_path", quickstart / "student")
    done = script("score.py", *flags, "--template", "alpaca", "--output_dir", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    scored = load_from_disk(tmp_path / "s")
    assert list(scored) == ["original"] and scored["original"].num_rows == 2
    assert scored["original"]["source_id"][:] == ["alpaca-00173", "alpaca-00180"]
