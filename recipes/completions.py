"""Completions: what a completion store holds; export it, import another one's.

python recipes/completions.py --store runs/completions.sqlite
python recipes/completions.py --store runs/completions.sqlite --export_to completions.jsonl
python recipes/completions.py --store other.sqlite --import_from completions.jsonl
python recipes/completions.py --store runs/completions.sqlite --forget_empty true
"""

from hub_cards.cli import run
from reflection.archive import describe, export_completions, forget_empty, import_completions
from reflection.config import CompletionsConfig
from reflection.store import CompletionStore


def main(config: CompletionsConfig) -> None:
    store = CompletionStore(config.store)
    if config.export_to:
        print(f"{config.export_to}: {export_completions(store, config.export_to):,} completions written")
    elif config.import_from:
        read, new = import_completions(store, config.import_from)
        print(f"{config.store}: {new:,} of {read:,} completions are new here")
    elif config.forget_empty:
        print(f"{config.store}: {forget_empty(store):,} answers without a text forgotten")
    else:
        print(describe(store))


if __name__ == "__main__":
    run(main, CompletionsConfig, __doc__)
