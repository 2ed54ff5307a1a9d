"""The columns of a report's rows that the page sorts, filters and counts by: described here, decoded there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hub_cards.report.blocks import packed_json, packed_numbers
from hub_cards.report.joined import NONE, JoinedRows, codes_of
from hub_cards.schema import COLUMNS_BY_NAME

TITLE_CHARACTERS = 160
LABELS = {
    "ifd_ppl": "IFD",
    "rifd_ppl": "r-IFD",
    "ifd_loss": "IFD (losses)",
    "rifd_loss": "r-IFD (losses)",
    "loss_Q_direct": "loss of the instruction",
    "loss_A_direct": "loss of the response",
    "loss_Q_condition": "loss of the instruction, given the response",
    "loss_A_condition": "loss of the response, given the instruction",
    "n_tokens_Q": "instruction length",
    "n_tokens_A": "response length",
    "coherence": "coherence",
    "select_rank": "rank",
    "select_score": "ranked by",
}
STATUSES = ("reflect_status", "score_status")
OTHER = "other_"
ALIKE, ONLY_HERE, ONLY_THERE, OTHER_VARIANT, NOT_THERE = range(5)
CHANGES = (
    ("alike", "decided alike"),
    ("kept_only_here", "kept here, dropped by the other selection"),
    ("kept_only_there", "dropped here, kept by the other selection"),
    ("other_variant", "kept by both, in another variant"),
    ("not_there", "one of the selections does not have the row"),
)


@dataclass(frozen=True)
class ColumnOfPage:
    """One column as the page reads it.

    Attributes:
        variant: whose it is; None for one of the row.
        type: `json` (texts), `f64` (numbers, NaN for null) or `code` (uint8: a place in its categories, 255 for null).
        content: packed; what stands in the page, apart from this description.
    """

    key: str
    variant: str | None
    type: str
    label: str
    unit: str
    meaning: str
    content: str = field(repr=False)

    def described(self) -> dict[str, Any]:
        """All but the content."""
        return {name: value for name, value in asdict(self).items() if name != "content"}


@dataclass
class PageColumns:
    """The columns and, by key, the names that the codes stand for, each with its meaning."""

    columns: list[ColumnOfPage] = field(default_factory=list)
    categories: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    changes: list[tuple[str, str, int]] = field(default_factory=list)  # name, meaning and rows of each

    def add(self, key: str, kind: str, content: str, variant: str | None = None) -> None:
        """Add a column; what it means is in the contract."""
        known = COLUMNS_BY_NAME.get(key.removeprefix(OTHER))
        label = LABELS.get(key.removeprefix(OTHER), key.replace("_", " "))
        self.columns.append(
            ColumnOfPage(
                *(key, variant, kind, f"{label} (other)" if key.startswith(OTHER) else label),
                *((known.unit, known.meaning) if known else ("", "")),
                content,
            )
        )

    def add_numbers(self, key: str, values: np.ndarray, variant: str | None = None) -> None:
        """Add numbers, unless there are none."""
        if not np.isnan(values).all():
            self.add(key, "f64", packed_numbers(values), variant)

    def add_names(
        self, key: str, columns: Mapping[str | None, pa.ChunkedArray | None], meanings: Mapping[str, str]
    ) -> None:
        """Add text columns by variant, as codes into their categories; those that are None or all null are left out."""
        there = {variant: column for variant, column in columns.items() if column is not None}
        names, codes = codes_of(list(there.values()))
        for variant, found in zip(there, codes, strict=True):
            self.add_codes(key, found, variant)
        self.categories[key] = [{"name": name, "meaning": meanings.get(name, "")} for name in names]

    def add_codes(self, key: str, codes: np.ndarray, variant: str | None = None) -> None:
        """Add codes, unless all are `NONE`."""
        if (codes != NONE).any():
            self.add(key, "code", packed_numbers(codes), variant)


def columns_of(
    rows: JoinedRows, meanings: Mapping[str, Mapping[str, str]], other: JoinedRows | None = None
) -> PageColumns:
    """Every column of the page.

    Args:
        meanings: by column (`select_reason`, `reflect_status`, `score_status`) what its values mean.
        other: the same rows by another selection or student.
    """
    page, variants = PageColumns(), list(rows.variants)
    page.add("row_id", "json", packed_json(rows.ids))
    page.add("title", "json", packed_json(_titles(rows)))
    _add_decisions(page, rows, meanings, variants)
    _add_scores(page, rows, variants)
    for column in STATUSES:
        page.add_names(column, {name: rows.words(name, column) for name in variants}, meanings.get(column, {}))
    if other is not None:
        _add_decisions(page, other, meanings, variants, OTHER)
        _add_scores(page, other, variants, OTHER)
        if rows.decisions is not None and other.decisions is not None:
            changes = _changes(rows, other)
            page.add("change", "code", packed_numbers(changes))
            page.categories["change"] = [{"name": name, "meaning": meaning} for name, meaning in CHANGES]
            counts = np.bincount(changes, minlength=len(CHANGES)).tolist()
            page.changes = [(*change, count) for change, count in zip(CHANGES, counts, strict=True)]
    return page


def _titles(rows: JoinedRows) -> list[str]:
    """The start of each row's instruction, in one line: of the first variant that has one."""
    titles: list[str | None] = [None] * len(rows)
    for variant in rows.variants:
        column = rows.words(variant, "instruction")
        if column is not None and None in titles:
            titles = [new if old is None else old for old, new in zip(titles, _starts(column), strict=True)]
    return [title or "" for title in titles]


def _starts(column: pa.ChunkedArray) -> list[str | None]:
    starts = pc.utf8_slice_codeunits(column, 0, 4 * TITLE_CHARACTERS)  # white space at the start is no title
    line = pc.utf8_trim_whitespace(pc.replace_substring_regex(starts, r"\s+", " "))
    return pc.utf8_slice_codeunits(line, 0, TITLE_CHARACTERS).to_pylist()


def _add_decisions(
    page: PageColumns,
    rows: JoinedRows,
    meanings: Mapping[str, Mapping[str, str]],
    variants: Sequence[str],
    side: str = "",
) -> None:
    """The decisions; the variant that won is a place among `variants`, those of the page."""
    if rows.decisions is None:
        return
    page.add(f"{side}selected", "code", packed_numbers(rows.selected()))
    winners = rows.decision_words("selected_variant")
    if winners is not None:
        places = pc.index_in(winners, value_set=pa.array(variants, pa.string()))
        page.add_codes(f"{side}selected_variant", pc.fill_null(places, NONE).to_numpy().astype(np.uint8))
    reasons = meanings.get("select_reason", {})
    page.add_names(f"{side}select_reason", {None: rows.decision_words("select_reason")}, reasons)
    page.add_names(f"{side}select_step", {None: rows.decision_words("select_step")}, {})
    for column in ("select_rank", "select_score"):
        page.add_numbers(f"{side}{column}", rows.decision_numbers(column))


def _add_scores(page: PageColumns, rows: JoinedRows, variants: Sequence[str], side: str = "") -> None:
    for column in rows.score_columns():
        for variant in (name for name in variants if name in rows.variants):
            page.add_numbers(f"{side}{column}", rows.numbers(variant, column), variant)


def _changes(rows: JoinedRows, other: JoinedRows) -> np.ndarray:
    """What became of each row in the two selections, as a place in `CHANGES`."""
    here, there = rows.selected(), other.selected()
    chosen = [side.decision_words("selected_variant").to_numpy() for side in (rows, other)]
    found = np.full(len(rows), ALIKE, dtype=np.uint8)
    found[(here == 1) & (there == 1) & (chosen[0] != chosen[1])] = OTHER_VARIANT
    found[(here == 1) & (there == 0)] = ONLY_HERE
    found[(here == 0) & (there == 1)] = ONLY_THERE
    found[(here == NONE) | (there == NONE)] = NOT_THERE
    return found
