"""Select: keep the rows, and of each row the variant, that the scores speak for. Needs no torch.

python recipes/select_rows.py --config recipes/quickstart/select.yaml
python recipes/select_rows.py --dataset tatsu-lab/alpaca --statistics MingLiiii/Alpaca_Analysis_llama2_7b \
    --strategy cherry --fraction 0.05
"""

from hub_cards.cli import run
from hub_cards.stages import lineage, run_stage
from scoring.config import SelectConfig
from scoring.selection.apply import select_rows
from scoring.selection.load import load_scored
from scoring.selection.table import ScoreTable


def main(config: SelectConfig) -> None:
    def compute():
        steps = config.steps()
        variants, notes = load_scored(config, steps)
        selected, counts = select_rows(ScoreTable(variants), steps)
        return selected, {**counts, **notes}

    run_stage(config.output_dir, config.planned_record(), lineage(config.dataset), compute)


if __name__ == "__main__":
    run(main, SelectConfig, __doc__)
