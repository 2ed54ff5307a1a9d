import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from hub_cards.launch import launch, launcher_words, show


def test_it_runs_the_interpreter_of_this_environment_and_says_how_long(capfd):
    launch("part", ["python", "-c", "import sys; print(sys.executable)"])
    printed = capfd.readouterr().out.splitlines()
    assert Path(printed[0]).samefile(sys.executable)
    assert printed[1] == "[part] 0 s"


@pytest.mark.parametrize(("code", "expected"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)])
def test_a_failing_part_ends_the_run_with_its_code(capfd, code, expected):
    with pytest.raises(SystemExit) as stop:
        launch("part", ["python", "-c", f"import os, sys; {code}"])
    assert stop.value.code == expected
    assert f"error: part ended with exit code {expected}" in capfd.readouterr().err


def test_a_termination_is_handed_on_and_the_part_is_waited_for(tmp_path):
    """The part ends in its own time, and only then the run."""
    part = (
        "import signal, sys, time, pathlib; "
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('ended').touch(), sys.exit(0))); "
        "print('ready', flush=True); time.sleep(60)"
    )
    code = f"from hub_cards.launch import launch; launch('part', ['python', '-c', {part!r}])"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.communicate(timeout=30)[0].startswith("[part]")
    assert (tmp_path / "ended").exists() and process.returncode == 0


def test_a_launcher_is_read_as_a_shell_does():
    words = ["accelerate", "launch", "--config_file", "a b.yaml"]
    assert launcher_words("accelerate launch --config_file 'a b.yaml'") == words


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        (" ", "--launcher: is empty"),
        ("accelerate 'launch", "no closing quotation"),
        ("acelerate launch", "--launcher acelerate: there is no such program"),
    ],
)
def test_a_launcher_that_cannot_be_is_one_line(launcher, message):
    with pytest.raises(BadInputError, match=message):
        launcher_words(launcher)


def test_a_command_is_shown_as_one_would_type_it(capsys):
    show(["python", "a b.py", "--strategy", "cherry fraction=0.05"])
    assert capsys.readouterr().out == "\n$ python 'a b.py' --strategy 'cherry fraction=0.05'\n"
