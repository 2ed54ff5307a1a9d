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
    """One oracle prompt: who the oracle is, and what it is asked about a pair (arXiv 2310.11716, Figures 3 and 4).

    Attributes:
        structured_criteria: the criteria for a structured output; None where the user's file has none.
    """

    kind: str
    system: str
    criteria: str
    structured_criteria: str | None

    def messages(self, instruction: str, input: str, output: str, *, structured: bool = False) -> Messages:
        """The chat request for one pair; the input, where there is one, stands on a line below the instruction.

        Args:
            structured: ask for a JSON object (see `structured.RESPONSE_FORMATS`) instead of markers.

        Raises:
            BadInputError: `structured`, and the prompt file has no criteria for it.
        """
        criteria = self.structured_criteria if structured else self.criteria
        if criteria is None:
            raise BadInputError(f"--prompt_file has no `structured_criteria` for {self.kind!r}: add them to the file")
        question = f"{instruction}\n{input}" if input else instruction
        user = USER_TURN.format(question=question, answer=output, criteria=criteria)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def load_prompts(path: str | None = None) -> dict[str, ReflectionPrompt]:
    """The prompts `instruction` and `response` of a YAML file; the published ones by default.

    Raises:
        BadInputError: the file cannot be read, lacks one of them, or one lacks `system` or `criteria` or holds
            something else than texts.
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
        structured = entry.get("structured_criteria")
        if not isinstance(structured, str | None):
            raise BadInputError(f"--prompt_file {path}: `structured_criteria` of {name!r} must be a text")
        prompts[name] = ReflectionPrompt(name, entry["system"], entry["criteria"], structured)
    return prompts
