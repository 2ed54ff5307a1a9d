"""A warm start matters: what needs no torch must not import it."""

import subprocess
import sys

import pytest

PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("torch" in sys.modules, "transformers" in sys.modules)
"""


def imports_torch(root, *command) -> str:
    arguments = [sys.executable, "-c", PROBE, *(str(part) for part in command)]
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "name",
    [
        *("recycle", "reflect", "score", "select_rows", "publish"),
        *("compare_selections", "describe", "replay_selection", "verify_statistics", "report"),
        *("evaluate_model", "sweep", "win_rates"),
    ],
)
def test_help_imports_no_torch(root, name):
    assert imports_torch(root, f"recipes/{name}.py", "--help") == "False False"


def test_reflecting_and_selecting_import_no_torch(root, small_run, small_recipe, tmp_path):
    reflect = ("recipes/reflect.py", "--config", small_recipe / "reflect.yaml", "--output_dir", tmp_path / "reflect")
    assert imports_torch(root, *reflect) == "False False"
    select = ("recipes/select_rows.py", "--dataset", small_run / "score", "--output_dir", tmp_path / "select")
    assert imports_torch(root, *select) == "False False"


def test_what_is_up_to_date_imports_no_torch(root, small_run, small_recipe):
    recycle = ("recipes/recycle.py", small_recipe, "--output_dir", small_run)
    assert imports_torch(root, *recycle) == "False False"
