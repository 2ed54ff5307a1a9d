"""Reflect: an oracle criticises and rewrites every row; the pairs it wrote are extracted.

python recipes/reflect.py --config recipes/quickstart/reflect.yaml
"""

from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.rows import load_rows
from hub_cards.stages import lineage, run_stage
from hub_cards.storage import work_dir
from reflection.config import ReflectConfig
from reflection.extract import ORACLE_ERROR
from reflection.oracles import make_oracle
from reflection.prompts import load_prompts
from reflection.reflect import reflect


def main(config: ReflectConfig) -> None:
    record = config.planned_record()

    def compute():
        loaded = load_rows(config)
        variants, counts = reflect(
            loaded.dataset,
            config.variants,
            make_oracle(config),
            load_prompts(config.prompt_file),
            key=record.fingerprint,
            work_dir=work_dir(Path(config.output_dir)),
        )
        unanswered = sum(statuses.get(ORACLE_ERROR, 0) for statuses in counts["reflect_status"].values())
        if unanswered:
            say(
                "reflect",
                f"warning: {unanswered} request(s) got no answer, their parent rows stay; to ask for them again remove "
                f"{config.output_dir} and run the same command: what was answered comes from the store",
            )
        return variants, {**loaded.notes, **counts}

    run_stage(config.output_dir, record, lineage(config.dataset), compute)


if __name__ == "__main__":
    run(main, ReflectConfig, __doc__)
