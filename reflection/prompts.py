"""What the oracle is asked: the prompts are data, this module only fills them in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub_cards.cli import read_yaml
from hub_cards.errors import BadInputError

PUBLISHED_PROMPTS = Path(__file__).parent / "oracle_prompts.yaml"
USER_TURN = (
    "[Instruction]\n{question}\n\n[The Start of Answer]\n{answer}\n\n[The End of Answer]\n\n[System]\n{criteria}\n\n"
)

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class ReflectionPrompt:
    """One oracle prompt: who the oracle is, and what it is asked about a pair (arXiv 2310.11716, Figures 3 and 4)."""

    system: str
    criteria: str

    def messages(self, instruction: str, input: str, output: str) -> Messages:
        """The chat request for one pair; the input, where there is one, stands on a line below the instruction."""
        question = f"{instruction}\n{input}" if input else instruction
        user = USER_TURN.format(question=question, answer=output, criteria=self.criteria)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def load_prompts(path: str | None = None) -> dict[str, ReflectionPrompt]:
    """The prompts `instruction` and `response` of a YAML file; the published ones by default.

    Raises:
        BadInputError: the file cannot be read, lacks one of them, or one lacks `system` or `criteria`.
    """
    try:
        content = read_yaml(path or str(PUBLISHED_PROMPTS))
    except BadInputError as error:  # it names the flag of the recipes
        raise BadInputError(f"--prompt_file {str(error).removeprefix('--config ')}") from error
    prompts = {}
    for name in ("instruction", "response"):
        entry = content.get(name)
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("system", "criteria")):
            raise BadInputError(f"--prompt_file {path}: {name!r} must hold the texts `system` and `criteria`")
        prompts[name] = ReflectionPrompt(entry["system"], entry["criteria"])
    return prompts
