"""The `evaluate` measurement `ifd`: how much an instruction helps a model with its response, and the other way round.

`evaluate` copies this file alone into its cache of modules, so it reads no file beside itself. Its reader of imports
takes one module a line.
"""

from dataclasses import replace

import datasets
import evaluate

from scoring.config import DTYPES
from scoring.ifd import LOSS_KEYS, Scorer, score_batch
from scoring.spans import SPANS
from scoring.student import load_scorer
from scoring.templates import get_template

RATIO_NAMES = ("ifd_ppl", "rifd_ppl", "ifd_loss", "rifd_loss")
COLUMNS = (*RATIO_NAMES, *(f"loss_{key}" for key in LOSS_KEYS), "score_status")
ROWS_AT_ONCE = 256  # common prefixes are computed once within these; the number changes no score

DESCRIPTION = """
IFD (instruction-following difficulty) of instruction-response pairs under a causal language model, and reversed IFD.
Both are ratios of perplexities: of the response given the instruction over the response alone, and of the instruction
given the response over the instruction alone. Below 1 the condition helps the model; near 1 or above it does not.
"""
INPUTS_DESCRIPTION = """
Args:
    instructions (list of str): the instructions.
    responses (list of str): the responses, as many.
    model_id (str): a causal language model with a fast tokenizer, a folder or a Hub id.
    inputs (list of str, optional): further input of each instruction; an empty text or None where there is none.
    template (str): the prompt template that the model knows or will be trained with: alpaca, vicuna (default),
        wizardlm, none or chat_template.
    max_length (int): tokens kept of prompt and response together, 2048 by default.
    span (str): which tokens are the target's, `published` (default) or `aligned`.
    dtype (str): the model's precision, float32 (default), bfloat16 or float16.
    device (str, optional): where to run; the accelerator if there is one, else the CPU.
Returns:
    ifd_ppl, rifd_ppl (list of float or None): ratios of perplexities, conditioned over direct, a value a row.
    ifd_loss, rifd_loss (list of float or None): the same ratios of the losses.
    loss_Q_direct, loss_A_direct, loss_Q_condition, loss_A_condition (list of float or None): mean negative
        log-likelihood in nats a token, of the instruction (Q) and the response (A), alone and given the other.
    score_status (list of str): `ok`, or why a number is None or covers a part of the text only.
    mean_ifd_ppl, mean_rifd_ppl (float or None): means over the rows that have a number; None where none has.
Examples:
    >>> ifd = evaluate.load("scoring/measurements/ifd", module_type="measurement")
    >>> results = ifd.compute(
    ...     instructions=["Name a colour of the sky."], responses=["Blue."], model_id="recipes/quickstart/student"
    ... )
    >>> sorted(results)[:3]
    ['ifd_loss', 'ifd_ppl', 'loss_A_condition']
"""
CITATION = """
@article{li2023quantity,
  title={From Quantity to Quality: Boosting LLM Performance with Self-Guided Data Selection for Instruction Tuning},
  author={Li, Ming and others}, journal={arXiv preprint arXiv:2308.12032}, year={2023}
}
@article{li2024selective,
  title={Selective Reflection-Tuning: Student-Selected Data Recycling for LLM Instruction-Tuning},
  author={Li, Ming and others}, journal={arXiv preprint arXiv:2402.10110}, year={2024}
}
"""


class Ifd(evaluate.Measurement):
    """IFD and reversed IFD; keeps the models that it loaded for as long as it lives."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._loaded: dict[tuple, Scorer] = {}

    def _info(self) -> evaluate.MeasurementInfo:
        text = datasets.Value("string")
        return evaluate.MeasurementInfo(
            module_type="measurement",
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS_DESCRIPTION,
            # Without `inputs`: evaluate demands every feature in every call.
            features=datasets.Features({"instructions": text, "responses": text}),
            reference_urls=["https://arxiv.org/abs/2308.12032", "https://arxiv.org/abs/2402.10110"],
        )

    def add_batch(self, *, predictions=None, references=None, **columns) -> None:
        """Take in rows; `compute` calls it with what it was given.

        Raises:
            ValueError: a column is missing, has another length than the others, or holds something that is no text.
        """
        texts = {name: _texts(name, columns.get(name)) for name in self._feature_names()}
        _check_lengths(texts)
        super().add_batch(predictions=predictions, references=references, **{**columns, **texts})

    def _compute(
        self,
        instructions: list[str],
        responses: list[str],
        model_id: str | None = None,
        inputs: list[str | None] | None = None,
        template: str = "vicuna",
        max_length: int = 2048,
        span: str = "published",
        dtype: str = "float32",
        device: str | None = None,
    ) -> dict[str, list[float | None] | list[str] | float | None]:
        if not instructions:
            raise ValueError("there are no rows")
        instructions, responses = _texts("instructions", instructions), _texts("responses", responses)
        inputs = [""] * len(instructions) if inputs is None else _texts("inputs", inputs, missing="")
        _check_lengths({"instructions": instructions, "responses": responses, "inputs": inputs})
        scorer = self._scorer(model_id, template, max_length, span, dtype, device)
        found: dict[str, list] = {name: [] for name in COLUMNS}
        for start in range(0, len(instructions), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows = {"instruction": instructions[part], "input": inputs[part], "output": responses[part]}
            scored = score_batch(rows, scorer)
            for name, values in found.items():
                values += scored[name]
        return {**found, **{f"mean_{name}": _mean(found[name]) for name in ("ifd_ppl", "rifd_ppl")}}

    def _scorer(
        self, model_id: str | None, template: str, max_length: int, span: str, dtype: str, device: str | None
    ) -> Scorer:
        """The model, loaded once; template and span are settings of ours, no reason to load it again."""
        if not model_id:
            raise ValueError("model_id: name the model, a folder or a Hub id")
        if span not in SPANS:
            raise ValueError(f"span {span!r} is unknown; the spans are {', '.join(SPANS)}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is unknown; the dtypes are {', '.join(DTYPES)}")
        if max_length < 2:
            raise ValueError(f"max_length {max_length}: must be at least 2")
        key = (model_id, max_length, dtype, device)
        if key not in self._loaded:
            self._loaded[key] = load_scorer(
                model_id, template=template, max_length=max_length, dtype=dtype, device=device
            )
        scorer = self._loaded[key]
        return replace(scorer, template=get_template(template, scorer.tokenizer), span=span)


def _texts(name: str, values: object, missing: str | None = None) -> list[str]:
    """A column as a list of texts.

    Args:
        missing: what stands for None; None is refused where this is None too.
    """
    if values is None or isinstance(values, str | bytes):
        raise ValueError(f"{name}: must be a list of texts, not {'missing' if values is None else 'one text'}")
    texts = [missing if text is None else text for text in values]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name}: row {number} is {text!r}; a text that is missing is an empty string")
    return texts


def _check_lengths(columns: dict[str, list[str]]) -> None:
    if len({len(values) for values in columns.values()}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in columns.items())
        raise ValueError(f"there are {found}; they must be as many")


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None
