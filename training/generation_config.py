"""The settings of generation: which model answers which questions, and how. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hub_cards.errors import BadInputError
from hub_cards.sources import Source, find_model
from reflection.oracles.config import check_endpoint
from scoring.templates import check_template_name

DTYPES = ("float32", "bfloat16", "float16", "auto")


@dataclass
class GenerationArguments:
    """Have a model answer judge sets, greedily."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "the model: a folder or a Hub id"})
    model_revision: str | None = field(default=None, metadata={"help": "Hub revision of the model"})
    template: str = field(default="vicuna", metadata={"help": "prompt template; the one the model was trained with"})
    judge_sets: list[str] = field(
        default_factory=lambda: ["vicuna"],
        metadata={"help": "questions: vicuna (in the package), .json/.jsonl/.parquet files, Hub ids"},
    )
    limit: int | None = field(default=None, metadata={"help": "take only the first N questions of each set"})
    max_new_tokens: int = field(
        default=1024,
        metadata={"help": "length limit of an answer, and less where a model in process has no more positions"},
    )
    generation_batch_size: int = field(default=8, metadata={"help": "questions answered together, in process"})
    server_url: str | None = field(
        default=None, metadata={"help": "OpenAI-compatible server that has the model; default: in process"}
    )
    served_model: str | None = field(
        default=None, metadata={"help": "the model's name at the server; default: model_name_or_path"}
    )
    dtype: str = field(
        default="auto", metadata={"help": f"the model's precision in process: {', '.join(DTYPES)} (its checkpoint's)"}
    )

    def __post_init__(self) -> None:
        if not self.model_name_or_path:
            raise BadInputError("--model_name_or_path: name the model that answers, a folder or a Hub id")
        check_template_name(self.template)
        if self.dtype not in DTYPES:
            raise BadInputError(f"--dtype {self.dtype!r} is unknown; the dtypes are {', '.join(DTYPES)}")
        if not isinstance(self.judge_sets, list) or not self.judge_sets:
            raise BadInputError(f"--judge_sets {self.judge_sets!r}: must be a list of at least one set of questions")
        for name in ("limit", "max_new_tokens", "generation_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInputError(f"--{name} {value}: must be at least 1")
        if self.server_url is not None:
            check_endpoint(self.server_url, "--server_url")
        elif self.served_model is not None:
            raise BadInputError(f"--served_model {self.served_model}: is a name at a server; give --server_url too")

    def find_generator(self) -> Source:
        """The model that `--model_name_or_path` names."""
        return find_generator(self.model_name_or_path, self.model_revision, self.server_url)


def find_generator(
    name: str, revision: str | None = None, server_url: str | None = None, flag: str = "--model_name_or_path"
) -> Source:
    """A model that answers. One at a server is known by its name alone, unless it is a folder here too.

    Args:
        flag: where the user named it, for the messages.

    Raises:
        BadInputError: it is to run in process, and there is no such model.
    """
    if server_url is None or Path(name).is_dir():
        return find_model(name, revision, flag)
    return Source("server", name, name)
