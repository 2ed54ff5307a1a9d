"""Report: one self-contained HTML page on what recycling did, from the whole down to one row. Needs no torch.

python recipes/report.py --dataset runs/quickstart --output report.html
python recipes/report.py --dataset runs/mine --compare runs/other --output report.html
"""

from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.report.config import STEP, ReportConfig, check_output, is_written, named
from hub_cards.report.joined import JoinedRows
from hub_cards.report.page import Report, Side, write_report
from hub_cards.report.run import Run, load_run
from hub_cards.storage import locked
from scoring.report_parts import compared, selected_from, statistics_of, tokens_of


def main(config: ReportConfig) -> None:
    path, record = Path(config.output), config.planned_record()
    check_output(path)
    if is_written(path, record):
        say(STEP, f"up to date: {path}")
        return
    with locked(path, "--output"):
        report = make_report(config)
        write_report(path, record, report)
    size = path.stat().st_size / 1e6
    say(STEP, f"{len(report.this.rows):,} rows in {path}, {size:,.1f} MB: open it in a browser")


def make_report(config: ReportConfig) -> Report:
    """Everything that the page shows."""
    shown = load_run(config, config.selection, selected_from)
    this, other, tables = side_of(shown, shown), None, []
    if config.other is not None:
        with named("--compare"):
            found = load_run(config.other, None, selected_from)
        other, tables = side_of(found, shown), compared(shown, found)
    tokens, why = tokens_of(shown)
    return Report(config.heading(), this, config.part(), statistics_of(shown), other, tables, tokens, why)


def side_of(found: Run, shown: Run) -> Side:
    """A run's scores and decisions, of the rows that are shown."""
    rows = JoinedRows(shown.row_ids, found.variants, found.decisions)
    return Side(found.name, rows, found.shown_records)


if __name__ == "__main__":
    run(main, ReportConfig, __doc__)
