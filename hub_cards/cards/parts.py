"""What the cards share: how a template becomes a text, and what all of them say of the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub_cards.cards.about import About, licence_text
from hub_cards.cards.citations import papers_of
from hub_cards.cards.limits import licence_lines, score_of
from hub_cards.cards.lineage import first_step, selection_of, steps_that_made
from hub_cards.cards.outcomes import SCORE_STATUSES, cost_table, fallback_line, joined_lines, outcome_table
from hub_cards.cards.own_section import EMPTY_SECTION
from hub_cards.cards.rules import rule_lines
from hub_cards.cards.text import code, fenced, hub_address, origin, plain, quoted
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source
from hub_cards.stages import find_record
from hub_cards.tables import (
    as_markdown,
    branch_table,
    cell_text,
    missing_line,
    settings_line,
    span_line,
    statistics_table,
    steps_table,
    strategy_line,
    usage_line,
)

if TYPE_CHECKING:
    from huggingface_hub import CardData
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
RECORDED = "recorded completions"
PLOTS = "plots"  # folder of the images, beside a data set's card


def write_card(folder: Path, template: str, data: CardData, content: Mapping[str, Any]) -> None:
    """Write `README.md`.

    Raises:
        jinja2.UndefinedError: the template uses what `content` lacks.
    """
    text = _environment().get_template(template).render(content, card_data=data.to_yaml())
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the result is Markdown, and what it is made of goes through `code`, `plain` and the like
    )
    found.filters |= {"code": code, "plain": plain, "cell": cell_text, "fenced": fenced, "quoted": quoted}
    found.globals |= {"settings": settings_line, "origin": origin}
    return found


def steps_of_rows(records: list[StepRecord], rewritten: bool) -> list[StepRecord]:
    """The steps that the rows went through: statistics may come from a run that rewrote rows, without these ones."""
    return [record for record in records if rewritten or record.step != "reflect"]


def shared(records: list[StepRecord], about: About, rewritten: bool) -> dict[str, Any]:
    """What every card says of the steps, of licence and citation.

    Args:
        records: the whole lineage.
        rewritten: whether there are rows of the oracle's among those that the card is about.
    """
    first, lineage = first_step(records), steps_that_made(records)
    records = steps_of_rows(lineage, rewritten)
    reflect = find_record(records, "reflect")
    costs = cost_table(records)
    return {
        "title": about.title,
        "notes": about.notes,
        "records": lineage,
        "inputs_of": lambda record: inputs_text(record, lineage),
        "source": first and first.inputs.get("dataset"),
        "source_rows": first and _rows_read(first),
        "licence": licence_text(about.license),
        "source_licence": licence_text(about.source_licence),
        "licence_notes": licence_lines(records),
        "papers": papers_of(records),
        "costs": as_markdown(costs) if len(costs) > 1 else "",
        "links": _links(about),
        "own_section": EMPTY_SECTION,
        "prompts": about.prompts if reflect else {},
        **_of_reflect(reflect),
        **_of_score(score_of(records)),
        **_of_select(selection_of(records)),
    }


def _rows_read(first: StepRecord) -> int | None:
    """How many rows a step read; None where it did not count them."""
    counts = first.counts
    of_parts = [statistics.get("rows", 0) for statistics in counts.get("statistics", {}).values()]
    return counts.get("rows") or max(of_parts, default=None)


def _of_reflect(reflect: StepRecord | None) -> dict[str, Any]:
    return {
        "reflect": reflect,
        "oracle": _oracle(reflect) if reflect else "",
        "oracle_name": _oracle_name(reflect) if reflect else "",
        "reflect_table": _outcomes(reflect, reflect.counts["reflect_status"]) if reflect else "",
        "fallback_line": fallback_line(reflect) if reflect else "",
        "usage_line": usage_line(reflect) if reflect and reflect.counts.get("usage") else "",
    }


def _oracle(reflect: StepRecord) -> str:
    """The oracle in words."""
    if reflect.config["oracle"] == "recorded":
        completions = reflect.inputs.get("completions")
        return f"{RECORDED}{f' ({origin(completions)})' if completions else ''}"
    model = reflect.inputs.get("oracle")
    return origin(model, "oracle") if model else code(reflect.config.get("oracle_model"))


def _oracle_name(reflect: StepRecord) -> str:
    model = reflect.config.get("oracle_model")
    return code(model) if model else RECORDED


def _of_score(score: StepRecord | None) -> dict[str, Any]:
    statuses = score.counts.get("score_status") if score else None
    statistics = statistics_table(score) if score else []
    return {
        "score": score,
        "student": score.inputs.get("model") if score else None,
        "span_line": span_line(score) if statuses and "depends_on_span" in score.counts else "",
        "score_table": _outcomes(score, statuses, SCORE_STATUSES) if statuses else "",
        "statistics_table": as_markdown(statistics) if len(statistics) > 1 else "",
        "missing_line": missing_line(score) if score else "",
    }


def _of_select(select: StepRecord | None) -> dict[str, Any]:
    steps = select.counts.get("steps", []) if select else []
    return {
        "select": select,
        "is_selective": is_selective(select),
        "strategy_line": plain(strategy_line(select)) if select else "",
        "rules": rule_lines(select) if select else [],
        "joined": joined_lines(select) if select else [],
        "steps_table": as_markdown(steps_table(select), words=True) if len(steps) > 1 else "",
        "branch_table": as_markdown(branch_table(select)) if select else "",
        "reason_table": _outcomes(select, {"rows": select.counts["select_reason"]}) if select else "",
    }


def _outcomes(
    record: StepRecord, counted: Mapping[str, Mapping[str, int]], meanings: Mapping[str, str] | None = None
) -> str:
    """What became of the rows of a step; what each outcome means is in its record, or in the contract."""
    table = outcome_table(counted, meanings or record.counts.get("meanings", {}))
    return as_markdown(table, words=table[0][-1] == "meaning")


def inputs_text(record: StepRecord, records: list[StepRecord]) -> str:
    """What a step read, by role; the result of an earlier step is called that, wherever it lay."""
    made = {earlier.result_fingerprint: earlier.step for earlier in records if earlier is not record}

    def text(role: str, source: Source) -> str:
        step = made.get(source.fingerprint)
        return f"the result of {step}" if step else f"{role.replace('_', ' ')} {origin(source, role)}"

    return ", ".join(text(role, source) for role, source in record.inputs.items())


def _links(about: About) -> dict[str, str]:
    """Links to the pages of the run's repositories, by what they are; empty for what is not on the Hub."""
    found = {kind: about.places.hub_id(kind) for kind in ("dataset", "statistics", "model")}
    return {
        kind: f"[{code(name)}]({hub_address(name, 'model' if kind == 'model' else 'dataset')})" if name else ""
        for kind, name in found.items()
    }


def is_selective(select: StepRecord | None) -> bool:
    """Whether a selection looks at IFD and r-IFD of every version."""
    return select is not None and "selective" in [step["step"] for step in select.counts.get("steps", [])]


def plots_of(folder: Path, select: StepRecord | None) -> dict[str, str]:
    """The captions of the images that lie in a data set's folder, by their paths from there.

    Args:
        select: the selection that they show; None where they show none.
    """
    gate = "; where both are below 1, `selective` keeps the version that won" if is_selective(select) else ""
    captions = {
        "distributions.png": f"What the rows are like, {'before and after the selection' if select else 'by variant'}",
        "ifd_against_rifd.png": f"IFD against r-IFD of every pair{gate}",
        "selection_flow.png": "How the rows flow through the selection",
    }
    return {f"{PLOTS}/{name}": text for name, text in captions.items() if (folder / PLOTS / name).is_file()}


def literal(text: str) -> str:
    """A text as Python, and every shell's user, reads it between double quotes."""
    return json.dumps(text, ensure_ascii=False)
