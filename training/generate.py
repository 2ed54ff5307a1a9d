"""Generation: a model's greedy answers to judge sets, through the oracles and their completion store.

Every question is one job of an oracle (`reflection.oracles.base`): a text prompt in the training template, or a chat.
Its answer is in the store as soon as it is written, so a run that died goes on where it was. The rows are then made
from what the store holds. Imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict

from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, features
from hub_cards.shards import apply_step
from hub_cards.sources import Source
from reflection.oracles import OPEN, Completion, Job, Oracle, OracleArguments, OracleRequest, open_store
from reflection.oracles.base import replay
from reflection.oracles.config import Flags
from scoring.templates import TEXT_TEMPLATES
from training.formatting import prompt_completion
from training.generation_config import GenerationArguments

if TYPE_CHECKING:
    from accelerate import PartialState

STEP = "evaluate"
OK, TRUNCATED, EMPTY = "ok", "truncated", "empty"
FEATURES = features((*QUESTION_COLUMNS, *ANSWER_COLUMNS))

Batch = dict[str, list[Any]]


def make_generator(
    model: Source,
    settings: GenerationArguments,
    service: OracleArguments,
    state: PartialState | None,
    flag: str = "--model_name_or_path",
    served_model: str | None = None,
) -> Oracle:
    """Who answers: the model in process, on every process of a launcher, or at `--server_url`.

    In process an answer may have fewer than `--max_new_tokens` where prompt and answer together would need more
    positions than the model has: what is left of them. A server refuses such a question, which is then a
    `context_overflow`.

    Args:
        model: as `find_generator` gives it.
        service: whose store, concurrency, time limit and tolerance of errors hold.
        state: the processes that share the work in process.
        flag: where the user named the model, for the messages.
        served_model: the model's name at the server; its location where not given.

    Raises:
        BadInputError: the model cannot be loaded, has no chat template that is needed, or the key for the server is
            missing.
    """
    from reflection.oracles.chat import Sampling

    store, limit = open_store(service.store), settings.max_new_tokens
    if settings.server_url is None:
        from reflection.oracles.transformers import TransformersOracle

        # Another precision gives other answers; `auto` goes without saying.
        name = f"{model.location}@{model.fingerprint}" + (f" {settings.dtype}" if settings.dtype != "auto" else "")
        sampling = Sampling(name, limit, shorten=True)
        flags = Flags(flag, flag, max_tokens="--max_new_tokens", batch_size="--generation_batch_size")
        chat, size = settings.template == "chat_template", settings.generation_batch_size
        return TransformersOracle(
            *(model.location, model.revision, sampling, store, size, state),
            step=STEP,
            flags=flags,
            chat=chat,
            dtype=settings.dtype,
        )
    from reflection.oracles.openai import OpenAIOracle, Pace

    served = served_model or model.location
    # A folder's content is part of the key: trained anew, and served under the old name, it is another model.
    name = served if model.kind == "server" else f"{served}@{model.fingerprint}"
    flags = Flags(f"--server_url {settings.server_url}", "--served_model", "--server_url", "--max_new_tokens")
    pace = Pace(service.concurrency, None, None, service.timeout_seconds, service.max_error_fraction)
    return OpenAIOracle(
        Sampling(name, limit), store, settings.server_url, pace, step=STEP, flags=flags, served_model=served
    )


def answer_question(question: Mapping[str, str | None], set_name: str, template: str) -> Job[dict[str, Any]]:
    """Ask one question in the template's prompt; returns the columns of `ANSWER_COLUMNS`."""
    rows = {name: [question[name]] for name in ("instruction", "input")} | {"output": [""]}
    prompt = prompt_completion(rows, template)["prompt"][0]  # as the model was trained
    stop = TEXT_TEMPLATES[template].stop if template in TEXT_TEMPLATES else ()
    asked = {"messages": None, "prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
    completion = yield OracleRequest(question["row_id"], question["source_id"], set_name, stop=stop, **asked)
    return read_answer(completion, stop)


def read_answer(completion: Completion, stop: tuple[str, ...] = ()) -> dict[str, Any]:
    """The columns of `ANSWER_COLUMNS`: the text without the blanks around it and without what follows a stop text.

    The status is `ok`, `truncated` (the length limit ended it), `empty` (nothing but blanks), or the reason for
    which there is no text (null).
    """
    from reflection.oracles.chat import before_stop

    known = {"answer_tokens": completion.completion_tokens, "generator": completion.model}
    if completion.text is None:
        return {"answer": None, "answer_status": completion.failure, **known}
    cut = before_stop(completion.text, stop)  # some servers go on behind it
    text = (completion.text if cut is None else cut).strip()
    status = TRUNCATED if completion.finish_reason == "length" and cut is None else OK
    # A model that writes nothing has answered, badly: the text is empty and not missing, so that it is judged.
    return {"answer": text, "answer_status": status if text else EMPTY, **known}


def question_jobs(questions: DatasetDict, template: str) -> Iterator[Job[dict[str, Any]]]:
    """The jobs of all sets' questions, made as they are taken."""
    for name, rows in questions.items():
        for row in rows:
            yield answer_question(row, name, template)


def ask(questions: DatasetDict, oracle: Oracle, template: str) -> None:
    """Have the oracle answer every question; it keeps the answers."""
    oracle.run(lambda: question_jobs(questions, template), sum(map(len, questions.values())))


def answer_sets(
    questions: DatasetDict, oracle: Oracle, template: str, key: str, work_dir: Path
) -> tuple[DatasetDict, dict[str, Any]]:
    """The answers that the oracle kept, joined to their questions.

    Args:
        questions: by set, columns of `QUESTION_COLUMNS`.
        key, work_dir: cache key and place of the parts. It must hold none of an earlier run: what had no answer then
            may have one now.

    Returns:
        By set, the questions in their order with `ANSWER_COLUMNS`; and `answers` (by set, how many of each status) with
        `unfinished` (rows that another run may mend).
    """

    def answered(batch: Batch, name: str) -> Batch:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        answers = [replay(answer_question(row, name, template), oracle.answer) for row in rows]
        return {**batch, **{column.name: [one[column.name] for one in answers] for column in ANSWER_COLUMNS}}

    made = DatasetDict()
    for name, rows in questions.items():
        made[name] = apply_step(
            rows,
            lambda batch, name=name: answered(batch, name),
            key=f"{key} {name}",
            features=FEATURES,
            work_dir=work_dir,
        )
    counts = {name: dict(Counter(rows["answer_status"][:]).most_common()) for name, rows in made.items()}
    unfinished = sum(found.get(status, 0) for found in counts.values() for status in OPEN)
    return made, {"answers": counts, "unfinished": unfinished}
