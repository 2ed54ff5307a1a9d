"""The first look at a run, after some 200 rows: how long it will take, and whether the template and limits fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from datasets import Dataset

from hub_cards.errors import BadInputError
from hub_cards.schema import VARIANTS
from scoring.ifd import TARGET_LOST, TARGET_TRUNCATED, Scorer, score_batch
from scoring.progress import duration
from scoring.templates import TEMPLATE_NAMES, get_template

ROWS = 200
ORIGINAL = VARIANTS[0]
TRIED_ROWS = 32
TOO_MANY = 0.5  # share of rows above 1 at which the template is in doubt
CLEARLY = 0.2  # a template that helps in so many more of the tried rows is worth naming


class Preflight:
    """Collects the first rows that a run scores, and reports on them once.

    They are rows of the run itself, from shards that are spread over the data, so nothing is computed twice.

    Args:
        total: rows that this process will score.
        say: prints a line.
    """

    def __init__(self, scorer: Scorer, total: int, say: Callable[[str], None]) -> None:
        self.scorer, self.total, self.say = scorer, total, say
        self.rows: list[dict] = []
        self.seconds_left = 0.0
        self.reported = False

    def add(self, shard: Dataset, seconds_left: float) -> None:
        """Take in a scored shard; reports as soon as there are enough rows."""
        if self.reported:
            return
        columns = ("variant", "instruction", "input", "output", "ifd_ppl", "score_status")
        self.rows += shard.select_columns([name for name in columns if name in shard.column_names]).to_list()
        self.seconds_left = seconds_left
        if len(self.rows) >= ROWS:
            self.finish()

    def finish(self) -> None:
        """Report on what there is, where that was not done yet."""
        if self.reported or not self.rows:
            return
        self.reported = True
        statuses = Counter(row["score_status"] for row in self.rows)
        cut = (statuses[TARGET_TRUNCATED] + statuses[TARGET_LOST]) / len(self.rows)
        # An oracle's rewrites can be harder than any template explains.
        originals = [row for row in self.rows if row.get("variant", ORIGINAL) == ORIGINAL] or self.rows
        above = share_above_one([row["ifd_ppl"] for row in originals])
        which = "" if len(originals) == len(self.rows) else f" of the {len(originals)} original ones"
        line = f"{len(self.rows)} rows: "
        line += "none has an IFD" if above is None else f"IFD of 1 or more in {above:.0%}{which}"
        line += f", cut at --max_length {self.scorer.max_length} in {cut:.0%}"
        if self.total > len(self.rows):
            line += f"; about {duration(self.seconds_left)} for the rest"
        self.say(line)
        if above is None:
            self.say("warning: see score_status for the reason; is --max_length too small?")
        elif above > TOO_MANY:
            self.say(f"warning: {self._advice(originals, above)}")

    def _advice(self, rows: list[dict], above: float) -> str:
        """Whether another template makes the student read the instruction, tried on some of these rows."""
        rows = rows[:: max(len(rows) // TRIED_ROWS, 1)][:TRIED_ROWS]
        batch = {name: [row[name] for row in rows] for name in ("instruction", "input", "output")}
        shares = {}
        for name in TEMPLATE_NAMES:
            if name == "chat_template" and not self.scorer.tokenizer.chat_template:
                continue
            other = replace(self.scorer, template=get_template(name, self.scorer.tokenizer))
            try:
                shares[name] = share_above_one(score_batch(batch, other)["ifd_ppl"])
            except BadInputError:  # a chat template that cannot render these rows; nobody asked for it
                continue
        known = {name: share for name, share in shares.items() if share is not None}
        mine = self.scorer.template.name
        best = min(known, key=known.get, default=mine)
        if best != mine and known[best] > known.get(mine, 1.0) - CLEARLY:
            best = mine
        found = ", ".join(f"{name} {share:.0%}" for name, share in sorted(known.items(), key=lambda item: item[1]))
        line = f"an IFD of 1 or more in {above:.0%} says that the instruction does not help this student"
        if best != mine:
            return f"{line}: does it know --template {mine}? On {len(rows)} of the rows: {found}; try --template {best}"
        return (
            f"{line}, with any template (on {len(rows)} of the rows: {found}); do responses and instructions belong "
            "together?"
        )


def share_above_one(ifd: list[float | None]) -> float | None:
    """The share of the rows with an IFD whose IFD is 1 or more; null where no row has one."""
    numbers = [value for value in ifd if value is not None]
    return sum(value >= 1 for value in numbers) / len(numbers) if numbers else None
