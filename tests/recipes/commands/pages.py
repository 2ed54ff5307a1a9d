"""The pages of the project, the blocks of commands and code in them, and the commands of a block."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FRONT_PAGE = "README.md"
BASH, PYTHON = "bash", "python"
OTHER_NAMES = ("sh", "shell", "zsh", "console", "terminal", "py")  # of what must be named `bash` or `python`
FENCE = re.compile(r" *(?P<ticks>`{3,}|~{3,})(?P<language>[^`\s]*)")
EXCUSE = re.compile(r"\s*<!--\s*not run\b:?(?P<reason>.*?)-->\s*")
JOINTS = ("&&", ";")
ADVICE = "run it here or mark it with <!-- not run: reason -->"


class PageError(ValueError):
    """A page that is not as it should be; says where, and what to do."""


@dataclass(frozen=True)
class Block:
    """A fenced block of commands or of Python.

    Attributes:
        line: the number of its first line, behind the fence.
        reason: why it is not run; None where it is.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None


@dataclass(frozen=True)
class Command:
    """A command of a block: its words as the shell takes them, and the number of its first line."""

    page: str
    line: int
    words: tuple[str, ...]

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def text(self) -> str:
        """The words, as one would type them."""
        return shlex.join(self.words)


def find_pages(root: Path) -> list[str]:
    """All Markdown files of the checkout, new ones too, the front page first."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    names = sorted({name for name in listed if name and (root / name).is_file()})
    return sorted(names, key=lambda name: name != FRONT_PAGE)


def find_blocks(page: str, text: str) -> list[Block]:
    """The blocks of commands and of Python, in reading order.

    Raises:
        PageError: an excuse without a reason, or without a block on the next line; a block without an end, or under
            another name than `bash` and `python`.
    """
    blocks, lines = [], text.splitlines()
    reason, number = None, 0
    while number < len(lines):
        line, place = lines[number], f"{page}:{number + 1}"
        number += 1
        fence, excuse = FENCE.match(line), EXCUSE.fullmatch(line)
        language = fence["language"] if fence else None
        if reason is not None and language not in (BASH, PYTHON):
            raise PageError(f"{page}:{number - 1}: `not run` must stand on the line before a block, bash or python")
        if excuse:
            reason = excuse["reason"].strip()
            if not reason:
                raise PageError(f"{place}: says `not run`, and not why: <!-- not run: reason -->")
        if not fence:
            continue
        start, number = number, _end_of(lines, number, fence["ticks"], place) + 1
        if language in OTHER_NAMES:
            raise PageError(f"{place}: name the block {BASH} or {PYTHON}, so that it is run")
        if language in (BASH, PYTHON):
            body = textwrap.dedent("\n".join(lines[start : number - 1]))
            blocks.append(Block(page, start + 1, language, body, reason))
        reason = None
    if reason is not None:
        raise PageError(f"{page}:{len(lines)}: `not run` must stand on the line before a block, bash or python")
    return blocks


def _end_of(lines: list[str], start: int, ticks: str, place: str) -> int:
    for number in range(start, len(lines)):
        line = lines[number].strip()
        if line.startswith(ticks) and not line.strip(ticks[0]):
            return number
    raise PageError(f"{place}: the block has no end")


def find_commands(block: Block) -> list[Command]:
    """The commands of a bash block, both of `a && b`.

    Raises:
        PageError: quotes do not match, or the shell would do what is not done here: pipes, redirections, jobs.
    """
    commands = []
    for line, text in _logical_lines(block):
        words: list[str] = []
        for token in [*_tokens(text, f"{block.page}:{line}"), JOINTS[-1]]:
            if token not in JOINTS:
                words.append(token)
            elif words:
                commands.append(Command(block.page, line, tuple(words)))
                words = []
    return commands


def _logical_lines(block: Block) -> Iterator[tuple[int, str]]:
    """Lines, those that go on behind a backslash or inside of quotes joined, each with the number of its first."""
    start, text = block.line, ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        text += line
        if text.endswith("\\"):
            text = text[:-1]
        elif _is_open(text):
            text += "\n"
        else:
            yield start, text
            start, text = number + 1, ""
    if text:
        raise PageError(f"{block.page}:{start}: the command has no end")


def _is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _tokens(text: str, place: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    tokens = list(reader)
    for token in tokens:
        if token not in JOINTS and token and not set(token) - set("();<>|&"):
            raise PageError(f"{place}: no test does what the shell does at {token!r}; {ADVICE}")
    return tokens
