"""Describe: statistics and plots of scored data and of what a selection kept of it. Needs no torch.

python recipes/describe.py --dataset runs/mine/score --selection runs/mine/select --output_dir runs/mine/describe
"""

import time
from pathlib import Path

from datasets import DatasetDict

from hub_cards.cli import run, say
from hub_cards.provenance import read_records, write_records
from hub_cards.stages import lineage, stage
from hub_cards.storage import load_folder, new_folder
from scoring.describe_config import DescribeConfig
from scoring.plots import require_matplotlib
from scoring.report import as_markdown_report, as_terminal, describe_set


def main(config: DescribeConfig) -> None:
    record = config.planned_record()
    output_dir = Path(config.output_dir)
    scored, selected = lineage(config.dataset), lineage(config.selection) if config.selection else []
    with stage(output_dir, record) as needed:
        if needed:
            require_matplotlib()
            started = time.monotonic()
            description = describe_set(config.variants(), config.ledger())
            with new_folder(output_dir) as folder:
                DatasetDict(statistics=description.statistics).save_to_disk(folder)
                (folder / "statistics.md").write_text(
                    as_markdown_report(description, scored, selected), encoding="utf-8"
                )
                description.draw(folder)
                finished = record.finished(description.counts, time.monotonic() - started)
                write_records(folder, [*scored, finished])
            say("describe", f"saved {', '.join(sorted(p.name for p in output_dir.iterdir()))} in {output_dir}")
    rows = read_records(output_dir)[-1].counts["rows"]
    print(as_terminal(load_folder(output_dir)["statistics"], rows))


if __name__ == "__main__":
    run(main, DescribeConfig, __doc__)
