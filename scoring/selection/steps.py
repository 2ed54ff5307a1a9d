"""A selection in words: `refusals`, then `superfilter fraction=0.2`, then `facility_location fraction=0.1`."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import yaml

from hub_cards.cli import build_config
from hub_cards.errors import BadInputError
from hub_cards.sources import Source, find_source
from scoring.selection import STRATEGIES
from scoring.selection.base import Strategy

HELP = "NAME, or NAME OPTION=VALUE …; several are applied one after the other"


@dataclass(frozen=True)
class Step:
    """One strategy of a selection, by its name."""

    name: str
    strategy: Strategy

    def view(self) -> dict[str, Any]:
        """Name and options, for the step's record."""
        return {"name": self.name, **asdict(self.strategy)}

    def inputs(self) -> dict[str, Source]:
        """What it reads beside the rows: an earlier selection.

        Raises:
            BadInputError: it is not there.
        """
        like = getattr(self.strategy, "like", None)
        return {} if like is None else {"like": find_source(like, flag="like")}


def step_of(view: Mapping[str, Any]) -> Step:
    """The step that `Step.view` described."""
    options = {key: value for key, value in view.items() if key != "name"}
    return Step(view["name"], build_config(STRATEGIES[view["name"]], options))


def parse_steps(texts: Sequence[str], settings: Mapping[str, Any]) -> list[Step]:
    """Read the steps of a selection.

    Args:
        texts: a step each.
        settings: options given beside the steps; they go to the last step that takes them and does not set them itself.

    Raises:
        BadInputError: there is no step, one is unknown or has an option that it does not take or that is refused, or no
            step takes one of the settings.
    """
    if not texts:
        raise BadInputError(f"--strategy: name one; the strategies are {', '.join(STRATEGIES)}")
    if "fraction" in settings and "count" in settings:
        raise BadInputError("--fraction and --count: give one of the two")
    parsed = [_parse(text) for text in texts]
    for option, value in settings.items():
        _give(parsed, option, value)
    return [Step(name, _build(name, options)) for name, options in parsed]


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInputError(f"--strategy {text!r}: cannot be read ({error})") from error
    name, *options = words or [""]
    if name not in STRATEGIES:
        close = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the strategies are {', '.join(STRATEGIES)}"
        raise BadInputError(f"--strategy {name!r} is unknown; {hint}")
    found = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not sign:
            raise BadInputError(f"--strategy {text!r}: {option!r} is no OPTION=VALUE")
        if key in found:
            raise BadInputError(f"--strategy {text!r}: gives {key} twice")
        found[key] = _as_yaml(value) if value else ""
    return name, found


def _as_yaml(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:  # a path such as `[x]/selection` or `@home` is no YAML: it is itself
        return value


def _give(parsed: list[tuple[str, dict[str, Any]]], option: str, value: Any) -> None:
    for name, options in reversed(parsed):
        # A step that has its number of rows takes no fraction beside it, nor the other way round.
        taken = {"fraction", "count"} if option in ("fraction", "count") else {option}
        if option in _options_of(name) and not taken & options.keys():
            options[option] = value
            return
    raise BadInputError(f"--{option} {value}: no step of --strategy takes it, or all that do have their own")


def _options_of(name: str) -> list[str]:
    return [item.name for item in fields(STRATEGIES[name])]


def _build(name: str, options: dict[str, Any]) -> Strategy:
    known = _options_of(name)
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise BadInputError(f"strategy {name}: unknown option {option!r}; {takes}")
    try:
        return build_config(STRATEGIES[name], options)
    except BadInputError as error:
        # The parser names a flag; here it is an option of a step.
        reason = str(error).removeprefix("--").removeprefix(f"strategy {name}: ")
        raise BadInputError(f"strategy {name}: {reason}") from error
