"""Select: keep the rows, and of each row the variant, that the scores speak for. Needs no torch.

python recipes/select_rows.py --config recipes/quickstart/select.yaml
python recipes/select_rows.py --dataset tatsu-lab/alpaca --statistics MingLiiii/Alpaca_Analysis_llama2_7b \
    --strategy cherry --fraction 0.05
"""

from hub_cards.cli import run, say
from hub_cards.stages import lineage, run_stage
from scoring.config import SelectConfig
from scoring.selection.apply import select_rows
from scoring.selection.load import joined_lines, load_scored
from scoring.selection.table import ScoreTable


def main(config: SelectConfig) -> None:
    def compute():
        steps = config.steps()
        variants, joined = load_scored(config, steps)
        for line in joined_lines(joined):
            say("select", line)
        selected, counts = select_rows(ScoreTable(variants), steps)
        for step in counts["steps"]:
            say("select", f"{step['step']}: {step['kept']:,} of {step['rows']:,} rows kept")
        say("select", ", ".join(f"{reason} {count:,}" for reason, count in counts["select_reason"].items()))
        if not counts["selected"]:
            say("select", "warning: no row was kept")
        return selected, {**counts, "joined": joined}

    earlier = lineage(config.statistics or "", config.dataset)
    run_stage(config.output_dir, config.planned_record(), earlier, compute)


if __name__ == "__main__":
    run(main, SelectConfig, __doc__)
