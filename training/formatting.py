"""From rows to `prompt` / `completion`, as TRL's SFTTrainer takes them. Pure, no torch."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, Features, Value

from scoring.templates import TEXT_TEMPLATES, check_template_name

Batch = dict[str, list[Any]]
_MESSAGES = [{"role": Value("string"), "content": Value("string")}]


def prompt_completion(rows: Batch, template: str) -> Batch:
    """The `prompt` and `completion` columns of a batch of rows in the template's training format.

    A text template gives strings. `chat_template` gives message lists, to which SFTTrainer applies the tokenizer's own
    template. The end-of-sequence token is SFTTrainer's to add.
    """
    check_template_name(template)
    pairs = list(zip(rows["instruction"], rows["input"], rows["output"], strict=True))
    if template == "chat_template":
        return {
            "prompt": [[{"role": "user", "content": f"{i}\n{n}" if n else i}] for i, n, _ in pairs],
            "completion": [[{"role": "assistant", "content": output}] for *_, output in pairs],
        }
    text = TEXT_TEMPLATES[template]
    return {
        "prompt": [text.prompt(instruction, input) for instruction, input, _ in pairs],
        "completion": [text.completion_prefix + output for *_, output in pairs],
    }


def count_blank(rows: Dataset) -> int:
    """How many rows have nothing but blanks for an output: they teach a model to say nothing."""
    return sum(not text.strip() for text in rows["output"][:])


def example_prompt(template: str, question: str) -> Any:
    """The prompt of one question without an input, as a model card shows it."""
    return prompt_completion({"instruction": [question], "input": [""], "output": [""]}, template)["prompt"][0]


def prompt_completion_features(template: str) -> Features:
    """The `datasets` features of what `prompt_completion` returns."""
    kind = _MESSAGES if template == "chat_template" else Value("string")
    return Features({"prompt": kind, "completion": kind})
