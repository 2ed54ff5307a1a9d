"""Verify: score some rows of published statistics again, with the model that is said to have made them.

python recipes/verify_statistics.py --dataset umd-zhou-lab/Reflect_Alpaca_All --dtype float16 \
    --statistics MingLiiii/Alpaca_Analysis_llama2_7b --model_name_or_path meta-llama/Llama-2-7b-hf --template vicuna
"""

import sys

from hub_cards.cli import run, say
from hub_cards.tables import as_text
from scoring.verify import VerifyConfig, compare, comparison_table, draw_rows, load_published, score_again, verdict


def main(config: VerifyConfig) -> None:
    model = config.model()
    variants, notes = load_published(config)
    drawn = draw_rows(variants, config.count, config.seed)
    say("verify", ", ".join(f"{name} by {found['aligned_by']}" for name, found in notes.items()))
    for warning in (warning for found in notes.values() for warning in found["warnings"]):
        say("verify", f"warning: {warning}")

    from scoring.ifd import score_batch  # only now: bad input is found without torch
    from scoring.student import load_scorer

    scorer = load_scorer(
        config.model_name_or_path,
        template=config.template,
        dtype=config.dtype,
        max_length=config.max_length,
        span=config.span,
        source=model,
    )
    comparisons = compare(*score_again(drawn, lambda rows: score_batch(rows, scorer)))
    print(as_text(comparison_table(comparisons)))
    fits, sentence = verdict(comparisons)
    say("verify", sentence)
    if not fits:
        sys.exit(1)


if __name__ == "__main__":
    run(main, VerifyConfig, __doc__)
