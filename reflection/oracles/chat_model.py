"""A local chat model: a causal LM whose prompts are made by its tokenizer's chat template."""

from __future__ import annotations

import torch
from jinja2 import TemplateError

from hub_cards.errors import BadInputError
from reflection.oracles.config import Flags
from reflection.oracles.local_model import FLAGS, LocalModel
from reflection.prompts import Messages
from reflection.tokens import TOKENS_PER_MESSAGE, PromptLimit

_PROBE = [{"role": "system", "content": "a system text"}, {"role": "user", "content": "a question"}]


class ChatModel(LocalModel):
    """A causal LM with a chat template.

    Attributes:
        template_tokens: what the chat template puts around a system and a user turn.

    Raises:
        BadInputError: there is no such model, or its tokenizer has no chat template that takes a user's turn.
    """

    def __init__(
        self, name: str, revision: str | None, device: torch.device, flags: Flags = FLAGS, dtype: str = "auto"
    ) -> None:
        super().__init__(name, revision, device, flags, dtype)
        self.takes_system = self._takes_system()
        texts = (self.tokenizer(turn["content"], add_special_tokens=False)["input_ids"] for turn in _PROBE)
        self.template_tokens = len(self.encode(_PROBE)) - sum(len(ids) for ids in texts)

    def prompt_limit(self, context: int, max_tokens: int) -> PromptLimit:
        """How long prompts may be in a context of so many tokens, of which the answer takes `max_tokens`.

        Raises:
            BadInputError: the model has not so many positions.
        """
        if self.positions is not None and context > self.positions:
            raise BadInputError(
                f"--oracle_context {context}: {self.flag} {self.name} has only {self.positions} positions; "
                f"pass --oracle_context {self.positions}"
            )
        # The limit's own count adds a constant to each of the two turns; some templates write more around them.
        unseen = max(0, self.template_tokens - 2 * TOKENS_PER_MESSAGE)
        return PromptLimit(self.tokenizer, context - max_tokens - unseen)

    def _takes_system(self) -> bool:
        """Whether the chat template has a place for a system turn: some refuse it, some leave it out."""
        try:
            if _PROBE[0]["content"] in self._render(_PROBE):
                return True
        except TemplateError:
            pass  # what it says of a user's turn alone is told below
        except ValueError as error:
            raise BadInputError(
                f"{self.flag} {self.name}: its tokenizer has no chat template; take an instruction-tuned model"
            ) from error
        try:
            self._render(_PROBE[1:])
        except TemplateError as error:
            raise BadInputError(f"{self.flag} {self.name}: its chat template cannot be used ({error})") from error
        return False

    def _render(self, messages: Messages) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def encode(self, messages: Messages) -> list[int]:
        """The prompt's tokens; without a place for it, the system text stands in front of the user's."""
        if not self.takes_system and messages[0]["role"] == "system":
            system, user, *others = messages
            messages = [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]
        return self.tokenizer(self._render(messages), add_special_tokens=False)["input_ids"]
