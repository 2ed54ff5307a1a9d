"""A report as one HTML file: the page from its template, then the rows, compressed, as elements that it reads."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING, Any

from markupsafe import Markup

from hub_cards.cards.lineage import selection_of
from hub_cards.cards.outcomes import SCORE_STATUSES
from hub_cards.provenance import StepRecord
from hub_cards.report.blocks import element, write_blocks
from hub_cards.report.charts.charts import charts_of
from hub_cards.report.charts.series import chart_rows
from hub_cards.report.columns import LABELS, PageColumns, columns_of
from hub_cards.report.entries import Selection, Tokens, note_entries, text_entries, token_entries
from hub_cards.report.identity import Identity, seal
from hub_cards.report.joined import JoinedRows
from hub_cards.report.markup import inline
from hub_cards.report.overview import Shown, facts_of, sections_of
from hub_cards.stages import find_record
from hub_cards.storage import new_file

if TYPE_CHECKING:
    from jinja2 import Environment

PROJECT = "https://arxiv.org/abs/2402.10110"
PAGE, VENDOR = Path(__file__).parent / "page", Path(__file__).parent / "vendor"
STYLES = ("base.css", "rows.css", "row.css", "charts.css")
# One after the other in one scope; the last one starts the page.
SCRIPTS = (
    *("dom.js", "data.js", "state.js", "worker.js", "search.js", "scores.js", "diff.js", "tokens.js"),
    *("table.js", "rows.js", "row.js", "theme.js"),
    *("charts_strips.js", "charts_panels.js", "charts_bars.js", "charts.js"),
    "app.js",
)
VENDORED = ("echarts.min.js", "diff.min.js")
LICENCES = {
    "Apache ECharts": ("echarts.NOTICE", "echarts.LICENSE", "echarts.LICENSE-d3"),
    "jsdiff": ("diff.LICENSE",),
}
HEADINGS = {
    "selection": "The selection",
    "oracle": "The oracle's answers",
    "scores": "The scores",
    "training": "What was trained on it",
    "limits": "Limits",
}
DATA = "<!-- rows -->"


@dataclass(frozen=True)
class Side:
    """One selection, or one student, of a comparison.

    Attributes:
        name: what it is called.
        rows: its scores and decisions, of the rows of the report.
        records: of the steps that made it, as strangers may read them.
    """

    name: str
    rows: JoinedRows
    records: list[StepRecord]

    @property
    def selection(self) -> Selection:
        """The selection that its rows stand after."""
        select = selection_of(self.records)
        return Selection(select.config["strategy"], select.counts.get("variants", ())) if select else Selection()

    def meanings(self) -> dict[str, Mapping[str, str]]:
        """What the states of its rows mean, by column."""
        found = {step: find_record(self.records, step) for step in ("reflect", "select")}
        named = {step: record.counts.get("meanings", {}) if record else {} for step, record in found.items()}
        return {
            "reflect_status": named["reflect"],
            "select_reason": named["select"],
            "score_status": SCORE_STATUSES,
        }


@dataclass(frozen=True)
class Report:
    """All that a report shows.

    Attributes:
        part: in words why these are not all rows and variants; empty where they are.
        statistics, compared: tables made beforehand, of the rows and of the comparison.
        other: what it is compared with, None for nothing.
        tokens: by variant the tokens of its responses with what the student found of them.
        why_no_tokens: one sentence where there are none.
    """

    title: str
    this: Side
    part: str = ""
    statistics: Sequence[Shown] = ()
    other: Side | None = None
    compared: Sequence[Shown] = ()
    tokens: Tokens = field(default_factory=dict)
    why_no_tokens: str = ""


def write_report(path: Path, record: StepRecord, report: Report) -> None:
    """Write the page, beside its place first; a report that exists there is replaced.

    Args:
        record: what the page is made of; its fingerprints stand in it, see `hub_cards.report.identity`.

    Raises:
        BadInputError: the folder cannot be written.
    """
    side, other = report.this, report.other
    columns = columns_of(side.rows, side.meanings(), other.rows if other else None)
    charts = charts_of(chart_rows(side.rows, other.rows if other else None, side.selection.steps))
    with new_file(path, "--output", replace=True) as file, ExitStack() as stack:
        parts = {kind: stack.enter_context(_scratch(path.parent)) for kind in ("texts", "notes", "tokens")}
        entries = {
            "texts": text_entries(side.rows),
            "notes": note_entries(side.rows, side.selection, *((other.rows, other.selection) if other else ())),
            "tokens": token_entries(report.tokens, list(side.rows.variants)) if report.tokens else (),
        }
        starts = {kind: write_blocks(parts[kind], kind, entries[kind]) for kind in parts}
        meta = _meta(report, columns, starts, charts)
        head, tail = _page(report, Identity.of(record), meta, columns).split(DATA)
        file.write(head)
        for number, column in enumerate(columns.columns):
            file.write(element(f"column-{number}", column.content))
        for part in parts.values():
            part.seek(0)
            copyfileobj(part, file)
        file.write(tail)
        file.flush()
        file.write(seal(Path(file.name)))


@cache
def page_digest() -> str:
    """sha256 of everything that the page is made of beside the rows, as hex: part of a report's cache key."""
    digest = hashlib.sha256()
    for path in sorted([*PAGE.iterdir(), *VENDOR.iterdir()]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _meta(report: Report, columns: PageColumns, starts: Mapping[str, list[int]], charts: Any) -> dict[str, Any]:
    rows = report.this.rows
    return {
        "title": report.title,
        "rows": len(rows),
        "variants": list(rows.variants),
        "columns": [column.described() for column in columns.columns],
        "categories": columns.categories,
        "blocks": starts,
        "tokens": {"why": report.why_no_tokens} if not report.tokens else None,
        "comparison": _compared(report),
        "score_labels": {name: LABELS.get(name, name.replace("_", " ")) for name in rows.score_columns()},
        "charts": charts,
    }


def _compared(report: Report) -> dict[str, str] | None:
    return {"a": report.this.name, "b": report.other.name} if report.other else None


def _page(report: Report, identity: Identity, meta: Mapping[str, Any], columns: PageColumns) -> str:
    """The page without its rows: `DATA` stands where they come."""
    records = report.this.records
    content = {
        "identity": Markup(identity.as_line()),
        "version": version("reflection-tuning"),
        "project": PROJECT,
        "title": report.title,
        "css": Markup("\n".join(_source(name) for name in STYLES)),
        "js": Markup("\n".join(_source(name) for name in SCRIPTS)),
        "vendored": [Markup((VENDOR / name).read_text(encoding="utf-8")) for name in VENDORED],
        "licences": {
            name: "\n\n".join((VENDOR / file).read_text(encoding="utf-8").strip() for file in files)
            for name, files in LICENCES.items()
        },
        "meta": Markup(_script_json(meta)),
        "charts": meta["charts"],
        "variants": meta["variants"],
        "facts": facts_of(records, len(report.this.rows), report.part),
        "statistics": report.statistics,
        "sections": sections_of(records),
        "headings": HEADINGS,
        "comparison": _comparison(report, columns),
        "data": Markup(DATA),
    }
    return _environment().get_template("report.html.jinja").render(content)


def _comparison(report: Report, columns: PageColumns) -> dict[str, Any] | None:
    if report.other is None:
        return None
    changes = columns.changes[1:] if columns.changes else []
    return {**_compared(report), "tables": report.compared, "changes": [change for change in changes if change[2]]}


def _source(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end that."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(PAGE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
    found.filters["inline"] = inline
    return found


@contextmanager
def _scratch(folder: Path) -> Iterator[IO[str]]:
    """A nameless file on the disk of the report: it dies with the process."""
    with tempfile.TemporaryFile("w+", encoding="ascii", dir=folder) as file:
        yield file
