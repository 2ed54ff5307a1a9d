"""Win rates of judge logs in the papers' format, or of folders saved by evaluate_model: table, report and chart.

python recipes/win_rates.py --reviews logs/vicuna_reviews.json logs/wizardlm_reviews.json --output_dir runs/win_rates
"""

import time
from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.provenance import read_records, write_records
from hub_cards.stages import lineage, stage
from hub_cards.storage import new_folder
from hub_cards.tables import as_text, judge_table
from training.judge import count_reasons
from training.win_rate import compare_sets, win_rate_section
from training.win_rate_chart import SVG, draw_win_rates, require_matplotlib
from training.win_rates_config import STEP, WinRatesConfig


def main(config: WinRatesConfig) -> None:
    record = config.planned_record()
    output_dir = Path(config.output_dir)
    with stage(output_dir, record) as needed:
        if needed:
            require_matplotlib()
            started = time.monotonic()
            verdicts = config.verdicts()
            comparisons = compare_sets(verdicts)
            reasons = {name: count_reasons(rows) for name, rows in verdicts.items()}
            with new_folder(output_dir) as folder:
                read = "\n".join(f"- {location}" for location in config.reviews)
                parts = ["# Win rates", f"Of:\n\n{read}", win_rate_section(comparisons, reasons), f"![chart]({SVG})"]
                (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
                draw_win_rates(folder, comparisons)
                counts = {"judge": {name: found.as_dict() for name, found in comparisons.items()}}
                finished = record.finished({**counts, "invalid_reasons": reasons}, time.monotonic() - started)
                write_records(folder, [*lineage(*config.reviews), finished])
            say(STEP, f"saved report.md and the chart in {output_dir}")
    print(as_text(judge_table(read_records(output_dir)[-1].counts["judge"])))


if __name__ == "__main__":
    run(main, WinRatesConfig, __doc__)
