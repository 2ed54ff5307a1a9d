"""The guide's example of an oracle, taken from the guide, put where it says, and used as it says."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import load_from_disk

import reflection.oracles
import reflection.oracles.config
from hub_cards.provenance import read_records

MODULE = "reflection.oracles.command"
PLACE_OF_THE_BRANCH = "    sampling = Sampling(model_key(arguments), arguments.max_tokens, arguments.temperature)\n"
ROWS = [{"instruction": f"Describe place {n}.", "input": "", "output": f"It is place {n}."} for n in range(2)]
# Answers in the format that the published prompts ask for; of place 1 it has nothing to say.
PROGRAM = f"""#!{sys.executable} -IS
import json, pathlib, sys
asked = json.load(sys.stdin)
with pathlib.Path("asked").open("a") as file:
    file.write(asked["model"] + "\\n")
question = asked["messages"][-1]["content"]
if "place 1" in question and not pathlib.Path("mended").exists():
    sys.exit(3)
number = question.split("place ")[1][0]
print("1. Too short to be of use.")
if "[New Instruction]" in question:
    print(f"2. [New Instruction] Tell the long story of place {{number}}. [End]")
    print(f"3. [New Answer] Once upon a time there was a place, and its number was {{number}}. [End]")
else:
    print(f"2. [Better Answer] The place {{number}} of many has rivers, hills and a market on Sundays. [End]")
"""


@pytest.fixture(scope="module")
def guide(root: Path) -> SimpleNamespace:
    """The blocks of the guide's section, by what they are."""
    section = (root / "reflection/README.md").read_text(encoding="utf-8").split("## Add an oracle\n")[1]
    module, names, branch, test = re.findall(r"```python\n(.*?)```", section, re.S)
    (shell,) = re.findall(r"^\$ (.*)$", section, re.M)
    return SimpleNamespace(module=module, names=names, branch=branch, test=test, shell=shell)


@pytest.fixture
def installed(guide, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The module in the package, its name and its branch in the sources, until the test is over."""
    place = tmp_path / "package"
    place.mkdir()
    (place / "command.py").write_text(guide.module, encoding="utf-8")
    monkeypatch.setattr(reflection.oracles, "__path__", [*reflection.oracles.__path__, str(place)])
    names: dict = {}
    exec(guide.names, names)
    monkeypatch.setattr(reflection.oracles.config, "ORACLES", names["ORACLES"])
    source = (root / "reflection/oracles/__init__.py").read_text(encoding="utf-8")
    assert source.count(PLACE_OF_THE_BRANCH) == 1
    edited = {"__name__": reflection.oracles.__name__}
    exec(source.replace(PLACE_OF_THE_BRANCH, PLACE_OF_THE_BRANCH + guide.branch), edited)
    monkeypatch.setattr(reflection.oracles, "make_oracle", edited["make_oracle"])
    yield
    sys.modules.pop(MODULE, None)
    vars(reflection.oracles).pop("command", None)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the rows and the program of the guide's command, to work in."""
    (tmp_path / "my_rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (tmp_path / "my_model").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "my_model").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def statuses(folder: str) -> dict[str, list[str]]:
    return {name: part["reflect_status"][:] for name, part in load_from_disk(folder).items() if name != "original"}


def test_the_guides_names_are_ours_and_one_more(guide):
    names: dict = {}
    exec(guide.names, names)
    assert names["ORACLES"] == (*reflection.oracles.config.ORACLES, "command")


@pytest.mark.usefixtures("installed")
def test_the_guides_oracle_passes_the_guides_test(guide, tmp_path):
    names: dict = {}
    exec(guide.test, names)
    for name, test in [(name, value) for name, value in names.items() if name.startswith("test_")]:
        place = tmp_path / name
        place.mkdir()
        arguments = {"tmp_path": place, "oracle": names["oracle"].__wrapped__(place)}
        wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
        test(**{argument: arguments[argument] for argument in wanted})


@pytest.mark.usefixtures("installed")
def test_the_guides_oracle_runs_from_the_shell_and_is_asked_again_for_what_failed(root, guide, workplace, monkeypatch):
    _, script, *flags = shlex.split(guide.shell)
    out = flags[-1]

    def run() -> int:
        before = (workplace / "asked").read_text().count("./my_model\n") if (workplace / "asked").exists() else 0
        monkeypatch.setattr(sys, "argv", [script, *flags])
        runpy.run_path(str(root / script), run_name="__main__")
        return (workplace / "asked").read_text().count("./my_model\n") - before

    assert run() == 3 * len(ROWS) - 1  # without its instruction a row has no `reflect_both` to ask about
    failed = ["ok", "oracle_error"]
    expected = {"reflect_instruction": failed, "reflect_response": failed}
    assert statuses(out) == {**expected, "reflect_both": ["ok", "parent_not_reflected"]}
    first = load_from_disk(out)["reflect_both"][0]
    assert first["instruction"] == "Tell the long story of place 0."
    assert first["output"].startswith("The place 0 of many has rivers") and first["oracle_model"] == "./my_model"
    (workplace / "mended").touch()
    assert run() == 3  # the two that failed, and the one that waited for one of them
    assert statuses(out) == dict.fromkeys(expected | {"reflect_both": []}, ["ok"] * len(ROWS))
    assert read_records(Path(out))[-1].counts["usage"]["completions"] == 3 * len(ROWS)
