"""Runs of the real scripts as a user starts them, shared by the tests of the recipes."""

import io
import os
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import yaml

ROWS = 17  # in the small recipe: two shards of scoring


def run_script(root: Path, *arguments: str | Path, **kwargs) -> subprocess.CompletedProcess:
    """Run `python recipes/...` in the checkout."""
    command = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=500, check=False, **kwargs)


def run_here(root: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run a script in this process, which has imported already what takes seconds, and what it starts too."""
    command = [str(root / "recipes" / name), *(str(argument) for argument in arguments)]
    before, folder, code = sys.argv, Path.cwd(), 0
    out, err = io.StringIO(), io.StringIO()
    sys.argv = command
    os.chdir(root)
    try:
        stages = mock.patch("hub_cards.launch.launch", partial(start_here, root))
        with redirect_stdout(out), redirect_stderr(err), stages:
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = before
        os.chdir(folder)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def start_here(root: Path, _name: str, command: list[str]) -> None:
    """A stage of a run in this process; a failing one ends the run with its exit code, as it would by itself."""
    done = run_here(root, Path(command[1]).name, *command[2:])
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)


@pytest.fixture(scope="session")
def script(root: Path):
    """`script("score.py", "--flag", ...)` runs it and gives what a finished process would."""
    return partial(run_here, root)


@pytest.fixture(scope="session")
def small_recipe(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart on its first rows, with two training steps and the branch filter off, so that rows are kept."""
    folder = tmp_path_factory.mktemp("recipes") / "small"
    folder.mkdir()
    for path in (root / "recipes/quickstart").glob("*.yaml"):
        shutil.copy(path, folder)
    change(folder / "reflect.yaml", limit=ROWS)
    change(folder / "select.yaml", require_reflected_response=False)
    change(folder / "sft.yaml", max_steps=2, per_device_train_batch_size=2)
    change(folder / "evaluate.yaml", limit=3, max_new_tokens=8, store=str(folder / "completions.sqlite"))
    return folder


def change(path: Path, **settings) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


@pytest.fixture(scope="session")
def small_run(root: Path, small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of the small recipe."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = run_here(root, "recycle.py", small_recipe, "--output_dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def quickstart_run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The quickstart as `make quickstart` runs it: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    done = run_script(root, "recipes/recycle.py", "recipes/quickstart", "--output_dir", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as the smallest machine has, so that runs of one test session are comparable."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(min(int(os.environ.get("OMP_NUM_THREADS", 2)), os.cpu_count() or 1)))
