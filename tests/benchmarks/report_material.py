"""Made-up runs for the tests and the benchmark of the report: texts, scores that belong together, and a selection."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict

from hub_cards.provenance import StepRecord
from hub_cards.report.joined import JoinedRows
from hub_cards.report.page import Report, Side, write_report
from hub_cards.schema import COLUMNS_BY_NAME, VARIANTS, features
from hub_cards.sources import Source
from hub_cards.storage import save_result

ORIGINAL, INSTRUCTION, RESPONSE, BOTH = VARIANTS
STATUSES, SHARES = ("ok", "refusal", "ok_prompt_cut", "no_marker"), (0.92, 0.04, 0.03, 0.01)
LOSSES = ("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition")
MEANINGS = {
    "reflect_status": {"ok": "the pair was adopted", "refusal": "the oracle refused: the parent row stands here"},
    "select_reason": {
        "kept": "kept",
        "ifd_not_below_1": "the winner's IFD is 1 or more",
        "rifd_not_below_1": "the winner's r-IFD is 1 or more",
        "winner_unscored": "the winner lacks a number",
    },
}
SELECTIVE = {"name": "selective", "require_reflected_response": False}
Columns = dict[str, list[Any]]


@dataclass
class Material:
    """Rows as lists by column: of each variant, and of what was decided; and the records of the steps."""

    variants: dict[str, Columns]
    decisions: Columns
    records: list[StepRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> list[str]:
        """The row ids, in the order of the data."""
        return next(iter(self.variants.values()))["row_id"]

    def datasets(self) -> DatasetDict:
        """The variants as a stage saves them."""
        return DatasetDict({name: as_dataset(columns) for name, columns in self.variants.items()})

    def side(self, name: str, row_ids: Sequence[str] | None = None) -> Side:
        """As one side of a report, of its own rows or of these."""
        ids = pa.chunked_array([pa.array(self.ids if row_ids is None else row_ids, pa.string())])
        return Side(name, JoinedRows(ids, self.datasets(), as_dataset(self.decisions)), self.records)

    def write(self, path: Path, title: str = "made up", other: "Material | None" = None, **more: Any) -> Path:
        """Write the report, compared with `other` where there is one; `more` as `Report` takes it."""
        compared = other and other.side("the other one", self.ids)
        report = Report(title, self.side("this one"), other=compared, **{"why_no_tokens": "None were kept.", **more})
        settings = {"title": title, "limit": None, "config": None, "split": None}
        write_report(path, StepRecord("report", 1, settings, {}), report)
        return path

    def save(self, folder: Path) -> Path:
        """Save it as a run's folder, with the results of `score` and `select`."""
        reflect, score, select = self.records
        save_result(folder / "score", self.datasets(), [reflect, score])
        kept = {name: [True] for name in ("selected",)}  # what the report reads of a selection are the decisions
        parts = DatasetDict(selected=Dataset.from_dict(kept), decisions=as_dataset(self.decisions))
        save_result(folder / "select", parts, [reflect, score, select])
        return folder


def as_dataset(columns: Mapping[str, Sequence[Any]]) -> Dataset:
    """Columns of the contract with its types."""
    schema = features([COLUMNS_BY_NAME[name] for name in columns]).arrow_schema
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    return Dataset(pa.table(arrays, names=list(columns)))


def material(texts: Mapping[str, Mapping[str, list[str]]], seed: int = 0, ids: Sequence[str] = ()) -> Material:
    """A run over these texts: by variant `instruction`, `input`, `output` and, of reflected ones, `critique`.

    A response that is empty has no score, and one in fifty others; scores are rounded, so that some are equal. What the
    oracle did not give stands as the row it was to rewrite. The selection is the student's choice, and keeps every
    branch.
    """
    numbers = np.random.default_rng(seed)
    n_rows = len(texts[ORIGINAL]["instruction"])
    ids = list(ids) or [hashlib.sha256(str(row).encode()).hexdigest()[:16] for row in range(n_rows)]
    variants = {}
    for place, (name, columns) in enumerate(texts.items()):
        parent = {} if name == ORIGINAL else variants[INSTRUCTION if name == BOTH else ORIGINAL]
        found = {"row_id": list(ids), "source_id": [f"source-{row}" for row in range(n_rows)]}
        variants[name] = found | _pairs(columns, parent, numbers) | _scores(columns, place, numbers)
    made = Material(variants, decided(variants))
    return replace(made, records=records(made))


def _pairs(columns: Mapping[str, list[str]], parent: Columns, numbers: np.random.Generator) -> Columns:
    texts = {name: list(columns[name]) for name in ("instruction", "input", "output")}
    if not parent:
        nothing = [None] * len(texts["output"])
        return texts | dict.fromkeys(("reflection", "reflect_status", "critique", "oracle_model"), nothing)
    statuses = numbers.choice(STATUSES, len(texts["output"]), p=SHARES).tolist()
    critiques = list(columns["critique"])
    whole = [f"{told}\n[Better Answer] {text} [End]" for told, text in zip(critiques, texts["output"], strict=True)]
    for row, status in enumerate(statuses):
        if not status.startswith("ok"):
            for name, values in texts.items():
                values[row] = parent[name][row]
            critiques[row] = None
    told = {"reflection": whole, "reflect_status": statuses, "critique": critiques}
    return texts | told | {"oracle_model": ["made-up-oracle"] * len(statuses)}


def _scores(columns: Mapping[str, list[str]], place: int, numbers: np.random.Generator) -> Columns:
    sides = {"Q": columns["instruction"], "A": columns["output"]}
    found: Columns = {}
    n_rows = len(columns["output"])
    missing = (numbers.random(n_rows) < 0.02) | np.array([not text for text in columns["output"]])
    for side, texts in sides.items():
        lengths = np.array([len(text) for text in texts])
        direct = np.round(np.clip(numbers.normal(2.6, 0.5, n_rows), 0.2, None), 3)
        given = np.round(np.clip(direct + numbers.normal(0.02 * place - 0.1, 0.15, n_rows), 0.1, None), 3)
        found |= {f"loss_{side}_direct": direct, f"loss_{side}_condition": given}
        found[f"n_tokens_{side}"] = np.ceil(lengths / 4.2)
    for name, side in (("ifd", "A"), ("rifd", "Q")):
        direct, given = found[f"loss_{side}_direct"], found[f"loss_{side}_condition"]
        found |= {f"{name}_ppl": np.round(np.exp(given - direct), 4), f"{name}_loss": given / direct}
    for name in found.keys() - {"loss_Q_direct", "n_tokens_Q", "n_tokens_A"}:
        found[name] = np.where(missing, np.nan, found[name])
    lists = {name: [None if value != value else value for value in values.tolist()] for name, values in found.items()}
    lists |= {name: [int(value) for value in lists[name]] for name in ("n_tokens_Q", "n_tokens_A")}
    return lists | {"score_status": np.where(missing, "empty_output", "ok").tolist()}


def decided(variants: Mapping[str, Columns]) -> Columns:
    """The student's choice, row by row; of fewer than four variants the first one always wins."""
    ids = next(iter(variants.values()))["row_id"]
    chosen = [_choice(variants, row) for row in range(len(ids))]
    winners, reasons = ([one[part] for one in chosen] for part in (0, 1))
    nothing = [None] * len(ids)
    return {
        "row_id": list(ids),
        "selected": [reason == "kept" for reason in reasons],
        "selected_variant": winners,
        "select_reason": reasons,
        "select_step": ["selective"] * len(ids),
        "select_rank": nothing,
        "select_score": nothing,
    }


def _choice(variants: Mapping[str, Columns], row: int) -> tuple[str, str]:
    winner = next(iter(variants))
    if len(variants) == len(VARIANTS):
        winner = _better(variants, ORIGINAL, INSTRUCTION, row, "ifd_ppl", lambda old, new: new > old)
        response = BOTH if winner == INSTRUCTION else RESPONSE
        winner = _better(variants, winner, response, row, "rifd_ppl", lambda old, new: new < old)
    ifd, rifd = (variants[winner][name][row] for name in ("ifd_ppl", "rifd_ppl"))
    if ifd is None or rifd is None:
        return winner, "winner_unscored"
    return winner, "ifd_not_below_1" if ifd >= 1 else "rifd_not_below_1" if rifd >= 1 else "kept"


def _better(
    variants: Mapping[str, Columns], old: str, new: str, row: int, score: str, wins: Callable[[float, float], bool]
) -> str:
    before, after = variants[old][score][row], variants[new][score][row]
    return new if after is not None and (before is None or wins(before, after)) else old


def records(made: Material) -> list[StepRecord]:
    """The records of the steps that would have made it."""
    rows, decisions = len(made), made.decisions
    statuses = {name: dict(Counter(one["reflect_status"])) for name, one in made.variants.items() if name != ORIGINAL}
    scored = {name: dict(Counter(one["score_status"])) for name, one in made.variants.items()}
    reflect = StepRecord(
        *("reflect", 1, {"oracle": "openai", "oracle_model": "made-up-oracle", "limit": None}),
        {"dataset": Source("hub", "somebody/rows", "f-rows", "0123456789abcdef0123456789abcdef01234567")},
    ).finished({"rows": rows, "reflect_status": statuses, "meanings": MEANINGS["reflect_status"]}, 1234.5)
    model = Source("folder", "models/made-up-student", "f-model")
    settings = {"scores": ["ifd"], "template": "vicuna", "dtype": "float32", "max_length": 512, "span": "published"}
    score = StepRecord(
        *("score", 1, {**settings, "limit": None}),
        {"dataset": Source("folder", "run/reflect", reflect.result_fingerprint), "model": model},
    ).finished({"rows": rows, "score_status": scored, "statistics": {name: {"rows": rows} for name in scored}}, 567)
    reasons = dict(Counter(decisions["select_reason"]))
    won, kept = (Counter(values) for values in _winners(decisions))
    select = StepRecord(
        *("select", 1, {"strategy": [SELECTIVE], "limit": None}),
        {"dataset": Source("folder", "run/score", score.result_fingerprint)},
    ).finished(
        {
            "rows": rows,
            "selected": sum(decisions["selected"]),
            "select_reason": reasons,
            "meanings": MEANINGS["select_reason"],
            "branches": {name: {"won": won[name], "kept": kept[name]} for name in made.variants},
            "variants": list(made.variants),
            "steps": [{"step": "selective", "rows": rows, "kept": sum(decisions["selected"])}],
        },
        1.5,
    )
    return [reflect, score, select]


def _winners(decisions: Columns) -> tuple[list[str], list[str]]:
    pairs = list(zip(decisions["selected_variant"], decisions["selected"], strict=True))
    return [winner for winner, _ in pairs], [winner for winner, is_kept in pairs if is_kept]
