"""What a finished run of the oracle is told to the user and kept in the record: statuses, tokens, dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from reflection.config import STEP, ReflectConfig
from reflection.oracles import Oracle
from reflection.statuses import NOT_ASKED, NOT_RECORDED, OPEN, ORACLE_ERROR, PARENT_NOT_REFLECTED

UNANSWERED = (*OPEN, NOT_RECORDED)


def check_outcome(counts: Mapping[str, Any], config: ReflectConfig, oracle: Oracle) -> dict[str, Any]:
    """Say what a user should know of a run that came to its end, and complete its counts for the record.

    Returns:
        `counts` with `unfinished` (variants that another run may mend) and, where answers are kept, their `usage`.

    Raises:
        BadInputError: not one request was answered, so that there is nothing to save.
    """
    total = sum((Counter(by_status) for by_status in counts["reflect_status"].values()), Counter())
    unanswered = {status: total[status] for status in UNANSWERED if total[status]}
    if unanswered and not set(total) - {*UNANSWERED, PARENT_NOT_REFLECTED}:
        said = ", ".join(f"{count} {status}" for status, count in unanswered.items())
        who = config.base_url or config.recorded_path or config.oracle_model
        raise BadInputError(
            f"--oracle {config.oracle}: not one request was answered ({said}); check the oracle ({who}) and the "
            "budget, and run the same command again"
        )
    for status, message in _messages(config).items():
        if total[status]:
            say(STEP, f"warning: {total[status]} request(s) {message}; their parent rows stay")
    usage = getattr(oracle, "usage", None)
    if usage is None:
        return dict(counts)
    say(STEP, f"made from {usage.completions:,} completions: {usage.as_text()}")
    return {**counts, "unfinished": sum(total[status] for status in OPEN), "usage": usage.for_record()}


def _messages(config: ReflectConfig) -> dict[str, str]:
    return {
        ORACLE_ERROR: "got no answer after all retries, the same command asks again",
        NOT_ASKED: f"were not asked, the budget of ${config.budget_usd or 0:g} is spent; a larger --budget_usd goes on",
        NOT_RECORDED: f"have no completion in {config.recorded_path}",
    }
