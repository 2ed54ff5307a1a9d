"""Select: keep the rows, and of each row the variant, that the scores speak for. Needs no torch.

python recipes/select_rows.py --config recipes/quickstart/select.yaml
python recipes/select_rows.py --dataset tatsu-lab/alpaca --statistics MingLiiii/Alpaca_Analysis_llama2_7b \
    --strategy cherry --fraction 0.05
"""

from functools import partial

from hub_cards.cli import run, say
from hub_cards.publishing.contents import check_kept, with_prompts
from hub_cards.publishing.stage import StagePush
from hub_cards.stages import find_record, lineage_of, run_stage
from scoring.config import SelectConfig
from scoring.selection.apply import select_rows
from scoring.selection.load import joined_lines, load_scored
from scoring.selection.table import ScoreTable
from training.formatting import prompt_completion


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

    record = config.planned_record()
    earlier = lineage_of(record, "statistics", "dataset")
    run_stage(config.output_dir, record, earlier, compute, push=StagePush(config, published_parts))


def published_parts(result, records):
    """What is selected, with prompts where the rows were scored in a template; and what was decided of each row."""
    score = find_record(records, "score")
    template = score and score.config.get("template")
    check_kept(result["selected"])
    if template is None:
        return result
    return {**result, "selected": with_prompts(result["selected"], partial(prompt_completion, template=template))}


if __name__ == "__main__":
    run(main, SelectConfig, __doc__)
