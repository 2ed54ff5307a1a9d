"""Reflect: an oracle criticises and rewrites every row; the pairs it wrote are extracted.

python recipes/reflect.py --config recipes/quickstart/reflect.yaml
"""

import shutil
from pathlib import Path

from hub_cards.cli import run, say
from hub_cards.errors import BadInputError
from hub_cards.rows import load_rows
from hub_cards.stages import lineage, run_stage
from hub_cards.storage import work_dir
from reflection.config import ReflectConfig
from reflection.extract import OK, ORACLE_ERROR
from reflection.oracles import make_oracle
from reflection.prompts import load_prompts
from reflection.reflect import reflect


def main(config: ReflectConfig) -> None:
    record = config.planned_record()

    def compute():
        parts = work_dir(Path(config.output_dir))
        if config.oracle != "recorded":  # what was answered is in the store; a part may hold rows that were not
            shutil.rmtree(parts, ignore_errors=True)
        loaded = load_rows(config)
        variants, counts = reflect(
            loaded.dataset,
            config.variants,
            make_oracle(config),
            load_prompts(config.prompt_file),
            key=record.fingerprint,
            work_dir=parts,
        )
        statuses = counts["reflect_status"].values()
        unanswered = sum(status.get(ORACLE_ERROR, 0) for status in statuses)
        if unanswered and not any(status.get(OK) for status in statuses):
            raise BadInputError(
                f"--oracle {config.oracle}: not one of {unanswered} requests was answered; check the oracle "
                f"({config.base_url or config.recorded_path or 'OpenAI'}) and run the same command again"
            )
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
