"""Replay: decide a selection again from its ledger, and say whether it comes out the same. Needs no torch.

python recipes/replay_selection.py runs/quickstart/select
"""

import argparse
from pathlib import Path

from hub_cards.cli import run_main, say
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.provenance import read_records
from hub_cards.storage import load_folder
from scoring.config import SELECT
from scoring.selection.ledger import check_saved, replay
from scoring.selection.load import load_scored, settings_of
from scoring.selection.steps import step_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("selection", help="a folder saved by recipes/select_rows.py")
    folder = Path(parser.parse_args().selection)
    records = read_records(folder)
    if not records or records[-1].step != SELECT:
        raise BadInputError(f"{folder}: holds no selection")
    record, saved = records[-1], load_folder(folder)
    ledger = saved["decisions"]
    check_saved(saved, record.counts["ledger"])
    steps = [step_of(view) for view in record.config["strategy"]]
    rows = None
    if any(step.strategy.needs for step in steps):  # texts, embeddings: those are not in the ledger
        rows, _ = load_scored(settings_of(record), steps)
    changed = replay(ledger, record.counts["variants"], steps, rows)
    if len(changed):
        raise StoppedError(
            f"{len(changed)} of {len(ledger)} decisions come out differently, row_id {changed[0]['row_id']} for one "
            f"({changed[0]['select_reason']} now): the ledger, or what it was made from, was changed"
        )
    say("replay", f"all {len(ledger):,} decisions come out the same")


if __name__ == "__main__":
    run_main(main)
