"""Every column a row can have: name, type, unit, meaning and source. The cards print this table, the stages obey it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from datasets import Features, List, Value

VARIANTS = ("original", "reflect_instruction", "reflect_response", "reflect_both")
REFLECTED_VARIANTS = VARIANTS[1:]

V1 = "Reflection-Tuning, arXiv 2310.11716"
V2 = "Selective Reflection-Tuning, arXiv 2402.10110"
CHERRY = "Cherry LLM, arXiv 2308.12032"
SELECTIT = "SelectIT, arXiv 2402.16705"
ALPAGASUS = "AlpaGasus, arXiv 2307.08701"


@dataclass(frozen=True)
class Column:
    """One column of the contract.

    Attributes:
        dtype: an Arrow type name as `datasets.Value` takes it, or `list<…>` of one.
        unit: what a number counts; empty for text.
        paper: where the quantity is defined, empty where it is ours.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    paper: str = ""


ROW_COLUMNS = (
    Column("row_id", "string", "", "content hash of instruction, input and output; `-2`, `-3` … mark exact duplicates"),
    Column("source_id", "string", "", "the row's own `id` in the source, null where it had none"),
    Column("instruction", "string", "", "what is asked"),
    Column("input", "string", "", "context that belongs to the instruction; empty in the instruction variants"),
    Column("output", "string", "", "the response"),
    Column("variant", "string", "", f"which pair the row holds: {', '.join(VARIANTS)}", V2),
)
REFLECT_COLUMNS = (
    Column("reflection", "string", "", "the oracle's whole completion; null in `original`", V1),
    Column(
        "reflect_status",
        "string",
        "",
        "`ok` (`ok_prompt_cut`: of a pair that was cut to fit), or why the parent row stands here; null in `original`",
    ),
    Column("critique", "string", "", "what the oracle wrote before its first marker", V1),
    Column("oracle_model", "string", "", "the model that wrote the completion"),
)
_LOSSES = {
    "Q_direct": "the instruction (with its input), without context",
    "A_direct": "the response, without context",
    "Q_condition": "the instruction, given the response and the question for its instruction",
    "A_condition": "the response, given the instruction in the prompt template",
}
SCORE_COLUMNS = (
    *(
        Column(f"loss_{key}", "float64", "nats per target token", f"mean negative log-likelihood of {what}", V2)
        for key, what in _LOSSES.items()
    ),
    *(
        Column(f"ppl_{key}", "float64", "perplexity", f"exp(loss_{key}): perplexity of {what}", V2)
        for key, what in _LOSSES.items()
    ),
    Column("ifd_ppl", "float64", "ratio", "instruction-following difficulty, ppl_A_condition / ppl_A_direct", V2),
    Column("rifd_ppl", "float64", "ratio", "reversed IFD, ppl_Q_condition / ppl_Q_direct", V2),
    Column("ifd_loss", "float64", "ratio", "the same by losses, loss_A_condition / loss_A_direct", CHERRY),
    Column("rifd_loss", "float64", "ratio", "the same by losses, loss_Q_condition / loss_Q_direct"),
    Column("n_tokens_Q", "int64", "tokens", "length of instruction and input in the student's tokens, untruncated"),
    Column("n_tokens_A", "int64", "tokens", "length of the response in the student's tokens, untruncated"),
    Column(
        "score_status",
        "string",
        "",
        "`ok`; `target_truncated`: scored on what max_length left; `empty_output`, `empty_instruction`, `target_lost`, "
        "`error`: the losses that could not be taken are null",
    ),
)
# Kept where they are asked for: every loss, ppl and ratio can be taken from them again without a model.
TOKEN_LOSS_COLUMNS = tuple(
    Column(f"token_losses_{key}", "list<float32>", "nats", f"negative log-likelihood of each target token of {what}")
    for key, what in _LOSSES.items()
)
SELECTIT_COLUMNS = (
    Column("selectit_token", "float64", "rating", "token-level score under the first rating prompt", SELECTIT),
    Column(
        "selectit_sentence", "float64", "rating", "token-level scores of all rating prompts, mean over spread", SELECTIT
    ),
    Column(
        *("selectit_model", "float64", "rating"),
        "sentence-level scores of all raters, weighted by their numbers of parameters",
        SELECTIT,
    ),
)
EMBEDDING_COLUMNS = (
    Column(
        "embedding", "list<float32>", "component", "sentence embedding of instruction, input and output, of length 1"
    ),
)
COHERENCE_COLUMNS = (
    Column("coherence", "float64", "cosine", "similarity of the sentence embeddings of instruction and output", V1),
)
PROMPT_EMBEDDING_COLUMNS = (
    Column(
        "prompt_embedding", "list<float32>", "component", "the student's mean last hidden state over the prompt", CHERRY
    ),
    Column("loss_prompt", "float64", "nats per target token", "mean negative log-likelihood of the prompt", CHERRY),
    Column("ppl_prompt", "float64", "perplexity", "exp(loss_prompt): perplexity of the prompt", CHERRY),
)
SELECT_COLUMNS = (
    Column("selected", "bool", "", "whether this variant of the row was selected"),
    Column("selected_variant", "string", "", "the variant that won the row's comparisons, kept or not", V2),
    Column("select_reason", "string", "", "why the row was kept or dropped"),
    Column("select_step", "string", "", "the step of the selection that dropped the row, or the last one"),
    Column(
        "select_rank", "int64", "place", "place among the rows that were ranked, 1 the best; null where none was given"
    ),
    Column("select_score", "float64", "as the step's", "what the row was ranked by; null where nothing was"),
)
QUESTION_COLUMNS = (
    Column("row_id", "string", "", "content hash of instruction and input; `-2`, `-3` … mark exact duplicates"),
    Column("source_id", "string", "", "the question's own id in its test set, null where it has none"),
    Column("instruction", "string", "", "what is asked"),
    Column("input", "string", "", "context that belongs to the instruction, or empty"),
    Column("category", "string", "", "the test set's own kind of question, null where it has none"),
)
ANSWER_COLUMNS = (
    Column("answer", "string", "", "what the model wrote; null where there is no answer"),
    Column(
        *("answer_status", "string", ""),
        "`ok`, `truncated` (ended by the length limit), `empty`, or why there is no answer",
    ),
    Column("answer_tokens", "int64", "tokens", "length of the answer, as the model's tokenizer counts it"),
    Column("generator", "string", "", "the model that answered"),
)
VERDICT_COLUMNS = (
    Column("baseline_answer", "string", "", "the answer that `answer` is compared with"),
    Column("baseline_generator", "string", "", "the model that wrote the baseline's answer"),
    Column("review", "string", "", "the judge's whole reply, `answer` shown first", ALPAGASUS),
    Column("review_reverse", "string", "", "the judge's whole reply, `baseline_answer` shown first", ALPAGASUS),
    Column("mark", "float64", "0 to 10", "of `answer` in `review`; null where it gave none"),
    Column("baseline_mark", "float64", "0 to 10", "of `baseline_answer` in `review`"),
    Column("mark_reverse", "float64", "0 to 10", "of `answer` in `review_reverse`"),
    Column("baseline_mark_reverse", "float64", "0 to 10", "of `baseline_answer` in `review_reverse`"),
    Column("outcome", "string", "", "`win`, `tie` or `lose` of `answer`; `invalid` where a mark is missing", ALPAGASUS),
    Column("invalid_reason", "string", "", "why the outcome is `invalid`, else null"),
    Column("judge_model", "string", "", "the model that judged"),
)
TRAIN_COLUMNS = (
    Column("prompt", "string", "", "the instruction in the prompt template, as TRL's SFTTrainer takes it"),
    Column("completion", "string", "", "the response, as TRL's SFTTrainer takes it"),
)
ALL_COLUMNS = (
    *(*ROW_COLUMNS, *REFLECT_COLUMNS, *SCORE_COLUMNS, *TOKEN_LOSS_COLUMNS, *SELECTIT_COLUMNS),
    *(*EMBEDDING_COLUMNS, *COHERENCE_COLUMNS, *PROMPT_EMBEDDING_COLUMNS),
    *(*SELECT_COLUMNS, *TRAIN_COLUMNS),
    *(*ANSWER_COLUMNS, *VERDICT_COLUMNS),
)
COLUMNS_BY_NAME = {column.name: column for column in ALL_COLUMNS}


def features(columns: Iterable[Column]) -> Features:
    """The `datasets` features of these columns; always given to `map`, so that an all-null batch keeps its type."""
    return Features({column.name: _feature(column.dtype) for column in columns})


def _feature(dtype: str) -> Value | List:
    item = dtype.removeprefix("list<").removesuffix(">")
    return Value(dtype) if item == dtype else List(Value(item))
