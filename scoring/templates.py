"""Prompt templates: the only copy, used alike by scoring, training and generation. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jinja2 import TemplateError

from hub_cards.errors import BadInputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALPACA_PREAMBLE = "Below is an instruction that describes a task"
VICUNA_PREAMBLE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
# Selective Reflection-Tuning (arXiv 2402.10110), the context of the reversed losses.
REVERSE_PROMPT = (
    "Below is the response to an instruction, please guess the corresponding instruction for the given response.\n"
    "{output}\n"
    "Generate the instruction for the above response."
)


class PromptTemplate(Protocol):
    """What scoring, training and generation ask of a template."""

    name: str
    completion_prefix: str
    stop: tuple[str, ...]

    def prompt(self, instruction: str, input: str = "") -> str:
        """The text that precedes the response."""
        ...


@dataclass(frozen=True)
class TextTemplate:
    """A template made of plain text.

    Attributes:
        name: what `--template` calls it.
        without_input, with_input: the prompt, with `{instruction}` and `{input}` in it.
        completion_prefix: what stands between prompt and response in *training and generation*. Vicuna's training
            format (FastChat) has a space there; the published scores were taken without it, so scoring never adds it.
        stop: texts that end an answer in generation, beside the end-of-sequence token: how the next turn opens, which a
            model that was not trained to stop goes on to write. Whole headers at the start of a line (Vicuna's next
            turn follows a space too), so that prose, lists and code are left alone.
    """

    name: str
    without_input: str
    with_input: str
    completion_prefix: str = ""
    stop: tuple[str, ...] = ()

    def prompt(self, instruction: str, input: str = "") -> str:
        """Render the prompt of one row; an empty `input` takes the form without one."""
        pattern = self.with_input if input else self.without_input
        return pattern.format(instruction=instruction, input=input)


@dataclass(frozen=True)
class ChatTemplate:
    """The tokenizer's own chat template: one user turn, then the opening of the assistant's."""

    tokenizer: PreTrainedTokenizerBase
    name: str = "chat_template"
    completion_prefix: str = ""
    stop: tuple[str, ...] = ()  # its turns end with tokens

    def __post_init__(self) -> None:
        if not self.tokenizer.chat_template:
            raise BadInputError(
                f"--template chat_template: the tokenizer of {self.tokenizer.name_or_path!r} has no chat template; "
                f"use one of {', '.join(TEXT_TEMPLATES)}"
            )

    def prompt(self, instruction: str, input: str = "") -> str:
        """Render one user turn, the input on a line of its own below the instruction."""
        content = f"{instruction}\n{input}" if input else instruction
        try:
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise BadInputError(
                f"--template chat_template: the template of the tokenizer of {self.tokenizer.name_or_path!r} cannot "
                f"render a question ({error})"
            ) from error
        # Most chat templates write the BOS out; tokenizing the text would then add a second one.
        bos = self.tokenizer.bos_token
        adds_bos = bos is not None and self.tokenizer("")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        return text.removeprefix(bos) if adds_bos else text


TEXT_TEMPLATES: dict[str, TextTemplate] = {
    template.name: template
    for template in (
        TextTemplate(
            name="alpaca",
            without_input=(
                f"{ALPACA_PREAMBLE}. Write a response that appropriately completes the request.\n\n"
                "### Instruction:\n{instruction}\n\n### Response:"
            ),
            with_input=(
                f"{ALPACA_PREAMBLE}, paired with an input that provides further context. "
                "Write a response that appropriately completes the request.\n\n"
                "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
            ),
            stop=("\n### Instruction:",),
        ),
        TextTemplate(
            name="vicuna",
            without_input=f"{VICUNA_PREAMBLE} USER: {{instruction}} ASSISTANT:",
            with_input=f"{VICUNA_PREAMBLE} USER: {{instruction}}\nInput:\n{{input}} ASSISTANT:",
            completion_prefix=" ",
            stop=("\nUSER:", " USER:"),
        ),
        TextTemplate(
            name="wizardlm",
            without_input="{instruction}\n\n### Response:",
            with_input="{instruction}\n{input}\n\n### Response:",
            stop=("\n### Response:",),
        ),
        TextTemplate(name="none", without_input="{instruction}\n", with_input="{instruction}\n{input}\n"),
    )
}
TEMPLATE_NAMES = (*TEXT_TEMPLATES, "chat_template")


def check_template_name(name: str) -> None:
    """Raise `BadInputError`, listing the known names, unless `name` is a template."""
    if name not in TEMPLATE_NAMES:
        raise BadInputError(f"--template {name!r} is unknown; the templates are {', '.join(TEMPLATE_NAMES)}")


def get_template(name: str, tokenizer: PreTrainedTokenizerBase | None = None) -> PromptTemplate:
    """The template called `name`; `chat_template` needs the tokenizer that carries it.

    Raises:
        BadInputError: the name is unknown, or the tokenizer has no chat template.
    """
    check_template_name(name)
    if name in TEXT_TEMPLATES:
        return TEXT_TEMPLATES[name]
    if tokenizer is None:
        raise ValueError("chat_template needs a tokenizer")
    return ChatTemplate(tokenizer)


def reverse_prompt(template: PromptTemplate, output: str) -> str:
    """The context of `loss_Q_condition`: the model is shown the response and asked for the instruction."""
    return template.prompt(REVERSE_PROMPT.format(output=output))
