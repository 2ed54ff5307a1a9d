"""One who reads a page and does what it says: runs its blocks, in reading order, in a folder of their own."""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest import mock

import huggingface_hub
import stand_ins
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from pages import ADVICE, BASH, Block, Command, PageError, find_blocks, find_commands

from hub_cards import cli
from training import config as sft_config

# Beside `recipes`, which is copied.
LINKED = ("hub_cards", "reflection", "scoring", "training", "tests", "Makefile", "pyproject.toml")
NOT_COPIED = ("student", "data", "__pycache__")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
SCRIPT = re.compile(r"(?:\./)?recipes/(\w+\.py)")
JOB = re.compile(r"(?:\./)?recipes/slurm/(\w+)\.sbatch")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
OWN_RECIPE = "recipes/mine"  # a reader's, in examples
DONE = CompletedProcess((), 0, "", "")


class _UnderstoodError(BaseException):
    """Ends a script behind its parser, when all that is asked is whether it takes its flags."""


def set_up(root: Path, place: Path, server_url: str) -> None:
    """A checkout in small: the recipes with small YAMLs, a few rows of the data, and the reader's own rows."""
    shutil.copytree(root / "recipes", place / "recipes", ignore=shutil.ignore_patterns(*NOT_COPIED))
    source, quickstart = root / "recipes/quickstart", place / "recipes/quickstart"
    (quickstart / "student").symlink_to(source / "student")
    shutil.copytree(source / "data", quickstart / "data")
    for path in (quickstart / "data/rows.jsonl", place / stand_ins.MY_ROWS):
        path.write_text(stand_ins.some_rows(source / "data/rows.jsonl"), encoding="utf-8")
    for path in (place / "recipes").rglob("*.yaml"):
        if path.parent.name != "accelerate_configs":
            stand_ins.make_small(path, server_url)
    for name in LINKED:
        (place / name).symlink_to(root / name)


class Reader:
    """Runs pages in a folder that `set_up` made, with a Hub and servers of this machine.

    Attributes:
        said: what the blocks of Python and the commands printed, by their places.
        questions: what oracle and judge were asked.
        failures: what went wrong, each with its place.
    """

    def __init__(
        self, place: Path, run_here: Callable[..., CompletedProcess], service: Any, hub: Any, patch: Any
    ) -> None:
        """Read in `place`, where `run_here(place, script, *flags)` runs a script in this process."""
        self.place, self.service, self.hub, self.patch = place, service, hub, patch
        self.run_here = partial(run_here, place)
        self.said: dict[str, str] = {}
        self.questions: list[str] = []
        self.failures: list[str] = []

    def read(self, page: str, text: str, only_look: bool = False) -> None:
        """Do what a page says; of what is excused, or all with `only_look`, see whether scripts take their flags."""
        self.patch.chdir(self.place)
        before = len(self.service.questions)
        try:
            for block in find_blocks(page, text):
                is_run = block.reason is None and not only_look
                if block.language == BASH:
                    self._read_commands(block, is_run)
                elif is_run:
                    self._run_python(block)
        except PageError as error:
            self.failures.append(str(error))
        self.questions = self.service.questions[before:]

    def _read_commands(self, block: Block, is_run: bool) -> None:
        try:
            commands = find_commands(block)
        except PageError:
            if block.reason is not None:  # it may do whatever a shell does
                return
            raise
        for command in commands:
            try:
                done = self.run(command) if is_run else self.look_at(command)
            except PageError as error:
                self.failures.append(str(error))
                continue
            except Exception as error:
                error.add_note(f"{command.place}: {command.text}")
                raise
            self.said[command.place] = done.stdout
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
                self.failures.append(f"{command.place}: {command.text}\n    ended with {done.returncode}: {last}")

    def _run_python(self, block: Block) -> None:
        self._provide(re.findall(r"[\w./-]+", block.text))
        said, place = io.StringIO(), f"{block.page}:{block.line}"
        with redirect_stdout(said):
            exec(compile(block.text, place, "exec"), {"__name__": "page"})
        self.said[place] = said.getvalue()

    def _provide(self, words: Sequence[str]) -> None:
        """Put what stands in for the repositories that are read by name on the Hub, unless they are there."""
        read = [word for before, word in pairwise(["", *words]) if not before.startswith("--hub_")]
        read += [
            Path(word).read_text(encoding="utf-8") for word in read if word.endswith(".yaml") and Path(word).is_file()
        ]
        for name in sorted(set(HUB_NAME.findall(" ".join(read)))):
            found, here = stand_ins.find_repository(name, self.place), self._translate(name)
            if found is not None and self.hub.repo(found.kind, here) is None:
                self.hub.put(found.kind, here, found.files(), private=found.private)

    def _translate(self, word: str) -> str:
        """A word with places, servers, users and sizes as they are here."""
        for prefix, instead in stand_ins.PREFIXES.items():
            word = instead + word.removeprefix(prefix) if word.startswith(prefix) else word
        for server in stand_ins.OWN_SERVERS:
            word = word.replace(server, self.service.other_url)
        return stand_ins.small_size(word)

    def run(self, command: Command) -> CompletedProcess:
        """Run one command.

        Raises:
            PageError: nothing here can.
        """
        self._provide(command.words)
        program, *words = map(self._translate, command.words)
        if program == "export" and words and all(map(ASSIGNMENT.fullmatch, words)):
            for word in words:
                self._assign(word, self.patch)
            return DONE
        if ASSIGNMENT.fullmatch(program) and words:  # for this command alone
            with self.patch.context() as patch:
                self._assign(program, patch)
                return self.run(Command(command.page, command.line, command.words[1:]))
        if (program, words) == ("source", [".venv/bin/activate"]):  # the tests have their environment
            return DONE
        if (program, words) == ("hf", ["auth", "login"]):  # which would ask for it
            huggingface_hub.login(self.hub.token, skip_if_logged_in=False)
            return DONE
        found = self._script(command, program, words)
        if found is None:
            raise PageError(f"{command.place}: no test can run `{command.text}`; {ADVICE}")
        return self.run_here(found[0], *found[1], *stand_ins.small_flags(found[0]))

    def look_at(self, command: Command) -> CompletedProcess:
        """Of a command that is not run: whether its script takes its flags, and whether what it names is there.

        Raises:
            PageError: a file of the recipes, or a target of the Makefile, is not there.
        """
        program, *words = map(self._translate, command.words)
        if ASSIGNMENT.fullmatch(program) and words:
            return self.look_at(Command(command.page, command.line, command.words[1:]))
        if program == "make":
            self._check_targets(command, words)
        for word in words:
            if word.startswith("recipes/") and not word.startswith(OWN_RECIPE) and not Path(word).exists():
                raise PageError(f"{command.place}: there is no {word}")
        found = self._script(command, program, words)
        if found is None:
            return DONE
        try:
            with only_parse():
                return self.run_here(found[0], *found[1])
        except _UnderstoodError:
            return DONE

    def _check_targets(self, command: Command, words: Sequence[str]) -> None:
        targets = re.findall(r"^([\w-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        for word in words:
            if not ASSIGNMENT.fullmatch(word) and word not in targets:
                raise PageError(f"{command.place}: the Makefile has no target {word}")

    def _script(self, command: Command, program: str, words: list[str]) -> tuple[str, list[str]] | None:
        """The script that a command starts in the end, and its flags; None where it starts none of ours.

        The flags of `accelerate launch` are read by its own parser. The script is one process then, where
        tests/recipes/test_launch.py says that the numbers of many are the same, and that `sbatch` starts them.
        """
        if (program, words[:1]) == ("accelerate", ["launch"]):
            try:
                launcher = launch_command_parser().parse_args(words[1:])
            except SystemExit:
                raise PageError(f"{command.place}: accelerate does not take the flags of `{command.text}`") from None
            if launcher.config_file is not None:
                load_config_from_file(launcher.config_file)
            program, words = "python", [launcher.training_script, *launcher.training_script_args]
        elif program == "sbatch" and words and (job := JOB.fullmatch(words[0])) and Path(words[0]).is_file():
            program, words = "python", [f"recipes/{job[1]}.py", *words[1:]]
        found = SCRIPT.fullmatch(words[0]) if program == "python" and words else None
        return (found[1], words[1:]) if found and Path(words[0]).is_file() else None

    def _assign(self, assignment: str, patch: Any) -> None:
        name, value = ASSIGNMENT.fullmatch(assignment).groups()
        if name in stand_ins.SECRETS and value in ("...", "…"):
            value = {"OPENAI_API_KEY": stand_ins.OPENAI_KEY, "HF_TOKEN": self.hub.token}[name]
        patch.setenv(name, value)


@contextmanager
def only_parse() -> Iterator[None]:
    """Scripts end behind their parsers: with `_UnderstoodError` where these take the flags, else as they do."""
    parse_sft, parse_args = sft_config.parse_sft, argparse.ArgumentParser.parse_args

    def end(_: Any) -> None:
        raise _UnderstoodError

    def run(_main: Callable, config_classes: Any, *_: Any, **__: Any) -> None:
        cli.run_main(lambda: end(cli.parse_config(config_classes)))

    def parse_training(*_: Any, **__: Any) -> None:  # TRL looks for a GPU that can do what is asked
        end(parse_sft([*sys.argv[1:], "--use_cpu", "true", "--bf16", "false"]))

    def parse_others(parser: argparse.ArgumentParser, *given: Any, **more: Any) -> None:
        end(parse_args(parser, *given, **more))

    with (
        mock.patch.object(cli, "run", run),
        mock.patch.object(sft_config, "parse_sft", parse_training),
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_others),
    ):
        yield
