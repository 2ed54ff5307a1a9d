"""Select: keep the rows, and of each row the variant, that the student's scores speak for. Needs no torch.

python recipes/select_rows.py --config recipes/quickstart/select_rows.yaml
"""

from functools import partial

from hub_cards.cli import run
from hub_cards.rows import load_variants
from hub_cards.stages import lineage, run_stage
from scoring.config import SelectConfig
from scoring.selection import STRATEGIES
from scoring.selection.apply import select_rows


def main(config: SelectConfig) -> None:
    strategy = partial(STRATEGIES[config.strategy], require_reflected_response=config.require_reflected_response)
    run_stage(
        config.output_dir,
        config.planned_record(),
        lineage(config.dataset),
        lambda: select_rows(load_variants(config), strategy),
    )


if __name__ == "__main__":
    run(main, SelectConfig, __doc__)
