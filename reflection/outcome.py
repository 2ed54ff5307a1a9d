"""What a finished run of the oracle is told to the user and kept in the record: statuses, tokens, dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from reflection.config import STEP, ReflectConfig
from reflection.oracles import Oracle
from reflection.statuses import (
    ADOPTED,
    FORGETTABLE,
    NOT_ASKED,
    NOT_RECORDED,
    OPEN,
    ORACLE_ERROR,
    PARENT_NOT_REFLECTED,
)

WITHOUT_TEXT = {*OPEN, *FORGETTABLE, NOT_RECORDED}


def check_outcome(counts: Mapping[str, Any], config: ReflectConfig, oracle: Oracle) -> dict[str, Any]:
    """Say what a user should know of a run that came to its end, and complete its counts for the record.

    Returns:
        `counts` with `unfinished` (variants that another run may mend) and, where answers are kept, their `usage`.

    Raises:
        BadInputError: not one request was answered, so that there is nothing to save.
    """
    by_variant = counts["reflect_status"]
    total = sum((Counter(by_status) for by_status in by_variant.values()), Counter())
    if total and not set(total) - {*WITHOUT_TEXT, PARENT_NOT_REFLECTED}:
        raise BadInputError(_nothing(total, config))
    for variant, by_status in by_variant.items():
        say(STEP, f"{variant}: {', '.join(f'{count:,} {status}' for status, count in by_status.items())}")
    if not any(total[status] for status in ADOPTED):
        say(STEP, "warning: not one pair could be used; look at the column `reflection` for what the oracle wrote")
    for status, message in _messages(config).items():
        if total[status]:
            say(STEP, f"warning: {total[status]} request(s) {message}; their parent rows stay")
    usage = getattr(oracle, "usage", None)
    if usage is None:
        return dict(counts)
    say(STEP, f"made from {usage.completions:,} completions: {usage.as_text()}")
    unfinished = sum(total[status] for status in (*OPEN, *FORGETTABLE))
    return {**counts, "unfinished": unfinished, "usage": usage.for_record()}


def _nothing(total: Mapping[str, int], config: ReflectConfig) -> str:
    said = ", ".join(f"{count} {status}" for status, count in total.items() if status in WITHOUT_TEXT)
    if set(total) <= {NOT_ASKED, PARENT_NOT_REFLECTED}:
        return (
            f"--budget_usd {config.budget_usd:g}: is less than the first request may cost ({said}); nothing was asked, "
            "--dry_run estimates the price"
        )
    forget = f"; {_forget(config)}" if any(total[status] for status in FORGETTABLE) else ""
    who = config.base_url or config.recorded_path or config.oracle_model
    return (
        f"--oracle {config.oracle}: not one request was answered with a text ({said}); check the oracle ({who}), and "
        f"run the same command again{forget}"
    )


def _messages(config: ReflectConfig) -> dict[str, str]:
    return {
        ORACLE_ERROR: "got no answer after all retries, the same command asks again",
        NOT_ASKED: f"were not asked, the budget of ${config.budget_usd or 0:g} is spent; a larger --budget_usd goes on",
        NOT_RECORDED: f"have no completion in {config.recorded_path}",
        **dict.fromkeys(FORGETTABLE, f"were answered without a text; {_forget(config)}"),
    }


def _forget(config: ReflectConfig) -> str:
    return (
        f"python recipes/completions.py --store {config.store} --forget_empty true drops such answers, so that they "
        "are asked for again"
    )
