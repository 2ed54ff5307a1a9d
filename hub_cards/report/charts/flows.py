"""Where rows went, counted: what became of them in a selection, in the extraction, and in another selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hub_cards.report.charts.words import counted, of, percent, rows, rows_link, table
from hub_cards.report.columns import ALIKE, CHANGES, ONLY_HERE, ONLY_THERE, OTHER_VARIANT

NOBODY = "none"
NO_REASON = "no reason given"
ADOPTED = "ok"  # how the statuses of a pair that was adopted begin
Names = Sequence[str | None]
Outcome = tuple[bool, str, str | None]  # whether kept, its name, its reason
Found = Mapping[tuple[str, Outcome], int]  # rows by branch and outcome


def selection_flow(
    selected: np.ndarray, variants: Names | None, reasons: Names | None, steps: Names | None, order: Sequence[str]
) -> dict[str, Any] | None:
    """Rows, the branch that won, what became of them and why; the step is named where a selection has several.

    Args:
        selected: of N rows 1 where the row was kept, 0 where it was dropped, anything else where nothing was decided.
        variants, reasons, steps: of the same rows; None where there is no such column.
        order: of the branches.

    Returns:
        `rows` that were decided, `kept`, `branches` and `outcomes` (`name`, `rows`, `kept`, `href`), `links` from a
        branch to an outcome by their places, words and tables; None where nothing was decided.
    """
    decided = np.isin(selected, (0, 1))
    if not decided.any():
        return None
    blank: Names = [None] * len(selected)
    states = Counter(zip(selected.tolist(), variants or blank, reasons or blank, steps or blank, strict=True))
    states = Counter({state: count for state, count in states.items() if state[0] in (0, 1)})
    several = len({step for *_, step in states if step is not None}) > 1
    found: Counter[tuple[str, Outcome]] = Counter()
    for (kept, variant, reason, step), count in states.items():
        found[variant or NOBODY, (bool(kept), _outcome(bool(kept), reason, step, several), reason)] += count
    branches = _branches(found, order)
    outcomes = _outcomes(found)
    total, kept = int(decided.sum()), int((selected == 1).sum())
    places = {outcome["key"]: place for place, outcome in enumerate(outcomes)}
    links = [
        {"branch": place, "outcome": places[outcome], "rows": count, "href": _link(branch["name"], outcome)}
        for place, branch in enumerate(branches)
        for (name, outcome), count in found.items()
        if name == branch["name"]
    ]
    return {
        "rows": total,
        "kept": kept,
        "branches": branches,
        "outcomes": [{name: value for name, value in outcome.items() if name != "key"} for outcome in outcomes],
        "links": sorted(links, key=lambda link: (link["branch"], link["outcome"])),
        "finding": _flow_finding(total, kept, branches, outcomes),
        "notes": _undecided(len(selected) - total),
        "tables": [_flow_table(found, branches, outcomes)],
    }


def _outcome(kept: bool, reason: str | None, step: str | None, several: bool) -> str:
    if kept:
        return "kept" if reason in ("kept", None) else f"kept: {reason}"
    return f"{step}: {reason or NO_REASON}" if several else reason or NO_REASON


def _link(branch: str | None, outcome: Outcome) -> str:
    kept, _, reason = outcome
    known = None if branch == NOBODY else branch
    return rows_link(branch=known, reason=reason, kept="1" if kept else "0")


def _branches(found: Found, order: Sequence[str]) -> list[Any]:
    won, kept = Counter[str](), Counter[str]()
    for (name, outcome), count in found.items():
        won[name] += count
        kept[name] += count * outcome[0]
    names = sorted(won, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [{"name": name, "rows": won[name], "kept": kept[name], "href": _branch_link(name)} for name in names]


def _branch_link(name: str) -> str | None:
    """No link where no branch won: rows cannot be asked for by what they lack."""
    return None if name == NOBODY else rows_link(branch=name)


def _outcomes(found: Found) -> list[dict[str, Any]]:
    """The kept ones first, then the most frequent."""
    counts = Counter[Outcome]()
    for (_, outcome), count in found.items():
        counts[outcome] += count
    ordered = sorted(counts, key=lambda outcome: (not outcome[0], -counts[outcome], outcome[1]))
    return [
        {"key": outcome, "name": outcome[1], "rows": counts[outcome], "kept": outcome[0], "href": _link(None, outcome)}
        for outcome in ordered
    ]


def _flow_finding(total: int, kept: int, branches: list[Any], outcomes: list[Any]) -> str:
    parts = [f"{kept:,} of {rows(total)} kept ({percent(kept, total)})"]
    winners = [f"{branch['kept']:,} as {branch['name']}" for branch in branches if branch["kept"]]
    parts += [", ".join(winners)] if winners else []
    dropped = [f"{outcome['name']} ({outcome['rows']:,})" for outcome in outcomes if not outcome["kept"]]
    parts += [f"dropped: {', '.join(dropped)}"] if dropped else []
    return f"Selection: {'; '.join(parts)}."


def _undecided(count: int) -> list[str]:
    return [f"Nothing was decided of {rows(count)}; they are not drawn."] if count else []


def _flow_table(found: Found, branches: list[Any], outcomes: list[Any]) -> dict[str, Any]:
    lines = [
        [
            outcome["name"],
            "kept" if outcome["kept"] else "dropped",
            *(
                counted(found[branch["name"], outcome["key"]], _link(branch["name"], outcome["key"]))
                for branch in branches
            ),
            counted(outcome["rows"], outcome["href"]),
        ]
        for outcome in outcomes
    ]
    totals = ["total", "", *(counted(branch["rows"], branch["href"]) for branch in branches)]
    head = ["reason", "kept or dropped", *(f"{branch['name']} won" for branch in branches), "rows"]
    return table(head, [*lines, [*totals, sum(found.values())]])


def extraction(statuses: Mapping[str, Mapping[str, int]]) -> dict[str, Any] | None:
    """What became of the oracle's completions: one bar a variant, its rows by `reflect_status`.

    Args:
        statuses: rows by variant and status; a variant without any is left out.

    Returns:
        `segments` (`name`, `good`: the pair was adopted), the adopted ones first; `bars` (`name`, `rows`, `counts`
        and `hrefs` by segment), words and tables; None where there are none.
    """
    given = {name: {s: n for s, n in counts.items() if n} for name, counts in statuses.items()}
    given = {name: counts for name, counts in given.items() if counts}
    if not given:
        return None
    totals = sum((Counter(counts) for counts in given.values()), Counter[str]())
    names = sorted(totals, key=lambda name: (not name.startswith(ADOPTED), -totals[name], name))
    bars = [
        {
            "name": variant,
            "rows": sum(counts.values()),
            "counts": [counts.get(name, 0) for name in names],
            "hrefs": [rows_link(variant=variant, status=name) for name in names],
        }
        for variant, counts in given.items()
    ]
    segments = [{"name": name, "good": name.startswith(ADOPTED)} for name in names]
    adopted = [sum(count for count, one in zip(bar["counts"], segments, strict=True) if one["good"]) for bar in bars]
    words = [f"{bar['name']} {of(count, bar['rows'])}" for bar, count in zip(bars, adopted, strict=True)]
    return {
        "segments": segments,
        "bars": bars,
        "finding": f"The oracle's pair was adopted: {', '.join(words)}.",
        "notes": [],
        "tables": [_bars_table("variant", segments, bars)],
    }


def _bars_table(label: str, segments: list[dict[str, Any]], bars: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [[bar["name"], *map(counted, bar["counts"], bar["hrefs"]), bar["rows"]] for bar in bars]
    return table([label, *(segment["name"] for segment in segments), "rows"], lines)


def changes(selected: np.ndarray, variants: Names, other_selected: np.ndarray, other_variants: Names) -> dict[str, Any]:
    """The rows that either of two selections kept: by both, by both in another variant, only here, only there.

    Args:
        selected, other_selected: of N rows, as `selection_flow` takes them; a row that one has not decided is in
            no group.

    Returns:
        One bar, of the shape that `extraction` gives.
    """
    here, there = selected == 1, other_selected == 1
    same = np.array(variants, object) == np.array(other_variants, object)
    both = here & there
    groups = [
        ("kept by both", both & same, {"change": CHANGES[ALIKE][0], "kept": "1"}),
        ("kept by both in different variants", both & ~same, {"change": CHANGES[OTHER_VARIANT][0]}),
        ("kept only here", here & (other_selected == 0), {"change": CHANGES[ONLY_HERE][0]}),
        ("kept only by the other", (selected == 0) & there, {"change": CHANGES[ONLY_THERE][0]}),
    ]
    counts = [int(rows_N.sum()) for _, rows_N, _ in groups]
    total, neither = sum(counts), int(((selected == 0) & (other_selected == 0)).sum())
    segments = [{"name": name, "good": place == 0} for place, (name, *_) in enumerate(groups)]
    bars = [{"name": "", "rows": total, "counts": counts, "hrefs": [rows_link(**link) for *_, link in groups]}]
    words = ", ".join(f"{count:,} {name}" for count, (name, *_) in zip(counts, groups, strict=True))
    lines = [
        *(
            [name, counted(count, link)]
            for (name, *_), count, link in zip(groups, counts, bars[0]["hrefs"], strict=True)
        ),
        ["kept by neither", neither],
    ]
    return {
        "segments": segments,
        "bars": bars if total else [],
        "finding": f"Of {rows(total)} that either kept: {words}.",
        "notes": [f"{rows(neither)} kept by neither."],
        "tables": [table(["what changed", "rows"], lines)],
    }
