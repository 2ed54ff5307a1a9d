"""How long a prompt may be for the oracle that the settings name."""

from __future__ import annotations

from reflection.oracles.config import OracleArguments
from reflection.tokens import PromptLimit, load_tokenizer


def find_limit(arguments: OracleArguments) -> PromptLimit | None:
    """The limit that `--oracle_context` sets; None where it sets none. A local model counts by its own tokenizer.

    Raises:
        BadInputError: the tokenizer cannot be loaded, or the local model has not so many positions.
    """
    if arguments.oracle_context is None:
        return None
    if arguments.oracle == "transformers":
        import torch

        from reflection.oracles.chat_model import ChatModel

        chat = ChatModel(arguments.oracle_model, arguments.oracle_revision, torch.device("cpu"))
        return chat.prompt_limit(arguments.oracle_context, arguments.max_tokens)
    tokenizer = load_tokenizer(arguments.oracle_tokenizer)
    return PromptLimit(tokenizer, arguments.oracle_context - arguments.max_tokens)
