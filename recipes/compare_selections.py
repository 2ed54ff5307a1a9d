"""Compare two selections of the same rows: what both kept, what only one did, and whether they rank alike.

python recipes/compare_selections.py runs/student/select runs/gpt2/select --output_dir runs/student_and_gpt2
"""

import argparse
import json
import time
from pathlib import Path

from datasets import DatasetDict

from hub_cards.cli import run_main, say
from hub_cards.provenance import StepRecord, write_records
from hub_cards.stages import stage
from hub_cards.storage import new_folder
from scoring.describe_config import folder_source, read_ledger
from scoring.selection.compare import Comparison, as_report, compare

STEP, VERSION = "compare_selections", 1


def main() -> None:
    arguments = parse_arguments()
    started = time.monotonic()
    folders = {"A": arguments.a, "B": arguments.b}
    comparison = compare(*(read_ledger(folder, name) for name, folder in folders.items()))
    print("\n".join(f"{name}: {folder}" for name, folder in folders.items()))
    print(f"\n{as_report(comparison)}", flush=True)
    if arguments.output_dir is not None:
        inputs = {name.lower(): folder_source(folder, name) for name, folder in folders.items()}
        save(Path(arguments.output_dir), StepRecord(STEP, VERSION, {}, inputs), comparison, started)


def save(output_dir: Path, record: StepRecord, comparison: Comparison, started: float) -> None:
    """Save the changed rows and `comparison.json`, all or nothing."""
    with stage(output_dir, record) as needed:
        if not needed:
            return
        with new_folder(output_dir) as folder:
            # Without the number of shards `datasets` cannot load what has no rows.
            DatasetDict(changed=comparison.changed).save_to_disk(folder, num_shards={"changed": 1})
            content = json.dumps(comparison.as_dict(), indent=2)
            (folder / "comparison.json").write_text(f"{content}\n", encoding="utf-8")
            write_records(folder, [record.finished(comparison.as_dict(), time.monotonic() - started)])
        say(STEP, f"saved {len(comparison.changed)} changed rows and comparison.json in {output_dir}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="A", help="a folder saved by select_rows")
    parser.add_argument("b", metavar="B", help="another one, from the same rows")
    parser.add_argument("--output_dir", help="folder for the rows that changed and comparison.json (default: none)")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
