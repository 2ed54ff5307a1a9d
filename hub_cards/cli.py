"""What every script shares: parse `--config` and flags, run, turn bad input into one line and exit code 2."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import datasets
import yaml
from trl import TrlParser

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.storage import is_disk_full

EXIT_STOPPED = 1
EXIT_BAD_INPUT = 2
EXIT_BROKEN_PIPE = 141


class _Parser(TrlParser):
    """TrlParser, strict as it is by default, whose complaints are `BadInputError` instead of a usage page."""

    def error(self, message: str) -> NoReturn:
        raise BadInputError(message)


def parse_config(
    config_classes: type | Sequence[type], argv: Sequence[str] | None = None, description: str | None = None
) -> Any:
    """Parse `--config FILE.yaml` and `--key value` flags into one instance of each dataclass.

    A flag wins over the YAML, the YAML over the default.

    Raises:
        BadInputError: a key is unknown, a value has the wrong type or is refused by the dataclass, or the file is no
            YAML.
    """
    classes = [config_classes] if isinstance(config_classes, type) else list(config_classes)
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(classes, allow_abbrev=False, description=description)
    own = [cls for cls in classes if cls.__module__.split(".")[0] in ("hub_cards", "reflection", "scoring", "training")]
    hints = {name: hint for cls in own for name, hint in typing.get_type_hints(cls).items()}
    _check_yaml(arguments, {name for cls in classes for name in cls.__dataclass_fields__}, hints)
    _check_flags(arguments, parser)
    try:
        parsed = parser.parse_args_and_config(arguments)
    except ValueError as error:
        raise BadInputError(str(error).splitlines()[0]) from error
    for config in parsed:
        if type(config) in own:
            _check_types(config, hints)
    return parsed[0] if isinstance(config_classes, type) else parsed


def build_config(config_class: type, values: dict[str, Any]) -> Any:
    """One of our dataclasses from what `explicit_settings` gave, its types checked; a number for a text is its text.

    Raises:
        BadInputError: a value has the wrong type or is refused by the dataclass.
    """
    hints = typing.get_type_hints(config_class)
    checked = {}
    for name, value in values.items():
        is_text = str in _plain_types(hints[name]) and not isinstance(value, str | list | dict | None)
        checked[name] = _check_type(name, str(value) if is_text else value, hints[name])
    return config_class(**checked)


def read_yaml(path: str) -> dict[str, Any]:
    """A recipe's mapping of settings.

    Raises:
        BadInputError: there is no such file, or it is no YAML mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"--config {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except yaml.YAMLError as error:
        raise BadInputError(f"--config {path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise BadInputError(f"--config {path}: must hold `key: value` lines")
    return content


def _check_yaml(arguments: list[str], known: set[str], hints: dict[str, Any]) -> None:
    for path in _config_paths(arguments):
        for key, value in read_yaml(path).items():
            if key not in known:  # TrlParser's own `env` key too: secrets do not belong into a YAML
                raise BadInputError(f"--config {path}: unknown key {key!r}{_did_you_mean(str(key), known)}")
            if key in hints and not isinstance(value, str):  # the parser converts strings, as on the command line
                _check_type(key, value, hints[key])


def _config_paths(arguments: list[str]) -> list[str]:
    """The value of `--config`. Written as `--config=FILE` it is split in place, because TrlParser would not see it."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--config="):
            arguments[index : index + 1] = ["--config", argument.removeprefix("--config=")]
    if "--config" not in arguments:
        return []
    index = arguments.index("--config")
    if index + 1 == len(arguments):
        raise BadInputError("--config: names no file")
    return [arguments[index + 1]]


def _check_flags(arguments: list[str], parser: TrlParser) -> None:
    known = {option for action in parser._actions for option in action.option_strings} | {"--config"}
    for argument in arguments:
        flag = argument.split("=")[0]
        if flag.startswith("--") and flag not in known:
            raise BadInputError(f"unknown flag {flag}{_did_you_mean(flag, known)}")


def _did_you_mean(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; --help lists the known ones"


def _check_types(config: Any, hints: dict[str, Any]) -> None:
    for name in (item.name for item in dataclasses.fields(config)):
        setattr(config, name, _check_type(name, getattr(config, name), hints[name]))


def _check_type(name: str, value: Any, hint: Any) -> Any:
    """The value, an int as the float that is wanted.

    Values from YAML reach the dataclass unconverted, so a wrong type is caught before `__post_init__` compares it.
    """
    allowed = _plain_types(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
        raise BadInputError(f"--{name} {value!r}: must be {wanted}")
    return value


def _plain_types(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(kind for part in typing.get_args(hint) for kind in _plain_types(part))
    return (typing.get_origin(hint) or hint,)


def is_main_process() -> bool:
    """Whether this process is the first one under a launcher, or the only one. Reads the environment: no torch."""
    return int(os.environ.get("RANK", "0")) == 0


def explicit_settings(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What a command line sets, by `--config` or by flag, and nothing of the defaults; no dataclass needed.

    A flag's value is read as YAML reads it, so that `--max_steps 3` and `max_steps: 3` are the same setting.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    settings: dict[str, Any] = {}
    for path in _config_paths(arguments):
        settings |= read_yaml(path)
    flag, values = "", []
    for argument in [*arguments, "--"]:
        if not argument.startswith("--"):
            values.append(_as_yaml(argument))
            continue
        if flag:
            settings[flag] = values[0] if len(values) == 1 else values or True
        flag, _, value = argument.removeprefix("--").partition("=")
        flag = flag.replace("-", "_")  # the parser takes both spellings
        values = [_as_yaml(value)] if value else []
    settings.pop("config", None)
    return settings


def _as_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:  # a path such as `[x]/rows.json` or `@home` is no YAML: it is itself
        return text


def run(
    main: Callable[..., None],
    config_classes: type | Sequence[type],
    description: str | None = None,
    every_process: bool = False,
) -> None:
    """Parse the command line and call `main` with what was parsed, under `run_main`.

    Args:
        every_process: whether `main` shares its work among the processes of a launcher; else only the first one runs.
    """

    def parse_and_call() -> None:
        parsed = parse_config(config_classes, description=description)
        if every_process or is_main_process():
            main(*parsed) if isinstance(parsed, tuple) else main(parsed)

    run_main(parse_and_call)


def run_main(main: Callable[[], None]) -> None:
    """Call `main` and end as a script should.

    Exit codes: 2 bad input (one line), 1 stopped before its end or the disk is full (one line), 130 interrupted, 141
    nobody reads our output.
    """
    datasets.disable_progress_bars()  # theirs are one a shard and one a save; apply_step shows one a stage
    try:
        main()
    except BadInputError as error:
        fail(str(error), EXIT_BAD_INPUT)
    except StoppedError as error:
        fail(str(error), EXIT_STOPPED)
    except KeyboardInterrupt:
        fail("interrupted; finished parts are kept, the same command goes on from them", 130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does: not an error to show
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)
    except PermissionError as error:
        fail(f"{error.filename}: permission denied", EXIT_BAD_INPUT)
    except OSError as error:
        if not is_disk_full(error):
            raise
        place = error.filename2 or error.filename  # of a copy the second is the one that was written
        where = f" ({place})" if place else ""
        message = f"the disk is full{where}; finished parts are kept: free some space and run the same command again"
        fail(message, EXIT_STOPPED)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def say(step: str, message: str) -> None:
    """One line about what a step does, from the main process only."""
    if is_main_process():
        print(f"[{step}] {message}", flush=True)
