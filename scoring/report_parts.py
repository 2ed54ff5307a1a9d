"""What a report shows that takes knowledge of scores: statistics, comparisons, the tokens of responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from datasets import Dataset, DatasetDict

from hub_cards.arrow import arrow_column, positions_in
from hub_cards.cards.limits import score_of
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.report.columns import LABELS
from hub_cards.report.entries import Token, Tokens
from hub_cards.report.joined import JoinedRows
from hub_cards.report.overview import Shown
from hub_cards.report.run import Run
from hub_cards.rows import first_rows, load_variants
from scoring.prescored import add_statistics
from scoring.report import are_scored, describe_set, published_line, tables
from scoring.selection.compare import Correlation, as_lines, as_tables, compare, correlation_table, spearman
from scoring.selection.load import settings_of
from scoring.statistics import locate
from scoring.tokens import ALONE, GIVEN, load_tokenizer, response_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALIKE = 1 - 1e-9  # a rank correlation above this is one of 1
# Why no tokens are shown.
NOT_KEPT = "The losses of the tokens were not kept: score with --keep_token_losses true to see them here."
UNKNOWN = "The losses of the tokens are there, but no record says which tokenizer they are of."
GONE = "The losses of the tokens are there, but the tokenizer of the student cannot be loaded here."


def selected_from(select: StepRecord) -> DatasetDict:
    """The variants that a selection was made from, with every score that it could have read.

    Raises:
        BadInputError: they are not there any more, or not what they were.
    """
    config = settings_of(select)
    variants, statistics = load_variants(replace(config, limit=None)), config.statistics_source()
    if statistics is not None:
        variants, _ = add_statistics(variants, statistics, None, config.source())
    return first_rows(variants, config.limit)


def statistics_of(run: Run) -> list[Shown]:
    """The tables of means and of quartiles (arXiv 2310.11716, Table 3); none where nothing was scored."""
    if not are_scored(run.variants):
        return []
    description = describe_set(run.variants, _located(run))
    means, quartiles = tables(description.statistics, description.counts["rows"])
    return [
        Shown("", ["Means, each over those rows that have the number."], means),
        Shown("Medians and quartiles, and the published numbers", [published_line()], quartiles, folded=True),
    ]


def _located(run: Run) -> Dataset | None:
    """The decisions of the rows that are shown; None where these were chosen among more than what is shown."""
    if run.shown_decisions is None:
        return None
    try:
        locate(run.variants, run.shown_decisions)
    except BadInputError:  # one variant of several, say: then kept and dropped rows cannot be described
        return None
    return run.shown_decisions


def compared(this: Run, other: Run) -> list[Shown]:
    """Tables of two selections, or of two students, by their rows in common.

    Raises:
        BadInputError: there are none.
    """
    if (positions_in(this.row_ids, other.row_ids) < 0).all():
        raise BadInputError(f"--compare {other.name}: has no row_id of --dataset; compare results of the same rows")
    found = []
    if this.decisions is not None and other.decisions is not None:
        comparison = compare(this.shown_decisions, other.shown_decisions)
        counts, *others = as_tables(comparison, ("the first", "the other"))
        found += [Shown("What both kept", as_lines(comparison), counts), *(Shown("", table=table) for table in others)]
    correlations = _correlations(this, other)
    if correlations and all(one.rho is not None and one.rho > ALIKE for one in correlations.values()):
        found.append(Shown("The scores", ["Both sides order the rows alike by every score: they have the same ones."]))
    elif correlations:
        said = "Spearman's rank correlation: 1 where both order the rows alike."
        found.append(Shown("Do both students order the rows alike?", [said], correlation_table(correlations)))
    return found


def _correlations(this: Run, other: Run) -> dict[str, Correlation]:
    here, there = (JoinedRows(this.row_ids, run.variants, None) for run in (this, other))
    found = {
        f"{LABELS.get(column, column)}, {variant}": spearman(*(side.numbers(variant, column) for side in (here, there)))
        for column in here.score_columns()
        for variant in this.variants
        if variant in other.variants and here.has(variant, column) and there.has(variant, column)
    }
    return {name: correlation for name, correlation in found.items() if correlation.n}


def tokens_of(run: Run) -> tuple[Tokens, str]:
    """By variant the tokens of its responses in the order of the first variant's rows, or why there are none."""
    with_losses = {name: rows for name, rows in run.variants.items() if {ALONE, GIVEN} <= set(rows.column_names)}
    if not with_losses:
        return {}, NOT_KEPT
    score = score_of(run.records)
    if score is None:
        return {}, UNKNOWN
    try:
        tokenizer = load_tokenizer(score)
    except BadInputError:
        return {}, GONE
    settings = (score.config["template"], score.config["max_length"], score.config["span"])
    return {name: _in_order(rows, run.row_ids, tokenizer, settings) for name, rows in with_losses.items()}, ""


def _in_order(
    rows: Dataset, row_ids: pa.ChunkedArray, tokenizer: PreTrainedTokenizerBase, settings: tuple[str, int, str]
) -> Iterator[list[Token] | None]:
    """The tokens of each row's response; None for a row that the variant does not have."""
    places = positions_in(row_ids, arrow_column(rows, "row_id"))
    found = response_tokens(tokenizer, rows.select(places[places >= 0]), *settings)
    return (next(found) if is_there else None for is_there in places >= 0)
