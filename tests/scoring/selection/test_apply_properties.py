"""What holds of every strategy on any table: rows with many ties and many holes."""

import functools
import itertools
import math
import re

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hub_cards.errors import BadInputError
from hub_cards.schema import VARIANTS
from scoring.selection import STRATEGIES
from scoring.selection.base import NOBODY, Outcome
from scoring.selection.share import Share
from scoring.selection.steps import parse_steps
from scoring.selection.table import Rows, ScoreTable

OPTIONS = {
    "cherry": ("", "ratio=ppl"),
    "selectit": ("", "level=token"),
    "sifd": ("", "informative=0.8"),
    "longest": ("", "unit=characters"),
    "selective": ("", "require_reflected_response=false"),
    "pre_experience": ("clusters=2 per_cluster=2",),
    "length_matched_random": ("like=earlier",),
}
CALLS = [f"{name} {options}".strip() for name in STRATEGIES for options in OPTIONS.get(name, ("",))]
# Those that are told how many rows to keep.
SHARES = [call for call in CALLS if issubclass(STRATEGIES[call.split()[0]], Share)]
GREEDY = ("facility_location", "iterit")  # they rank what they pick, and nothing else
SEEDS, SIZES = st.integers(0, 10**6), st.integers(4, 12)
NAMES = st.sets(st.sampled_from(VARIANTS[1:])).map(
    lambda others: [name for name in VARIANTS if name in (VARIANTS[0], *others)]
)
# Seeds do not become simpler by shrinking.
FEW = settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")


def earlier(parts: dict[str, pa.Table]) -> DatasetDict:
    """A selection of two rows that could be drawn again."""
    scored = parts["original"].filter(np.isfinite(parts["original"]["ifd_ppl"].to_numpy())).sort_by("row_id")
    return DatasetDict(selected=Dataset(scored.select(["output"]).slice(0, 2)))


def rows_from(parts: dict[str, pa.Table]) -> Rows:
    """All rows of a table that reads each column once, because reading is what takes the time here."""
    datasets = DatasetDict({name: Dataset(part, fingerprint=name) for name, part in parts.items()})
    table = ScoreTable(datasets, lambda _: earlier(parts))
    table.column = functools.cache(table.column)
    return Rows(table, np.arange(len(table)), np.zeros(len(table), dtype=np.int64))


def decide(call: str, rows: Rows, **settings: float) -> Outcome:
    return parse_steps([call], settings)[0].strategy.decide(rows)


def survivors(call: str, rows: Rows) -> int:
    """How many rows can be kept, as the strategy says when it is asked for too many."""
    with pytest.raises(BadInputError) as caught:
        decide(call, rows, count=10**6)
    found = re.search(r"of the [\d,]+ rows only (\d+) can be kept|no row has token_losses", str(caught.value))
    return int(found.group(1) or 0)


def outcomes(rows: Rows) -> dict[str, Outcome]:
    """Of every strategy that can decide these rows; about half of what it can keep where it has to be told."""
    found = {}
    for call in CALLS:
        count = {"count": (survivors(call, rows) + 1) // 2} if call in SHARES else {}
        if count == {"count": 0} or (call == "recycled" and "reflect_both" not in rows.table.variants):
            continue
        try:
            found[call] = decide(call, rows, **count)
        except BadInputError as error:  # too few rows of one kind, which is said
            assert re.search("clusters cannot be made of|kept no row|their lengths cannot be matched", str(error)), call
    return found


def by_id(rows: Rows, values_N: np.ndarray | None) -> list[tuple[str, str]]:
    return (
        []
        if values_N is None
        else sorted((str(row), str(value)) for row, value in zip(rows.ids, values_N, strict=True))
    )


class TestEveryStrategy:
    @FEW
    @given(SEEDS, SIZES, NAMES)
    def test_keeps_no_row_without_a_score_and_gives_known_reasons(self, random_variants, seed, size, names):
        rows = rows_from(random_variants(seed, size, names))
        for call, outcome in outcomes(rows).items():
            strategy = parse_steps([call], {"count": 1} if call in SHARES else {})[0].strategy
            assert len(outcome.reasons_N) == len(outcome.kept_N) == size, call
            assert set(outcome.reasons_N) <= set(strategy.reasons), call
            assert [reason in ("kept", "only_scored") for reason in outcome.reasons_N] == outcome.kept_N.tolist(), call
            winners_N = rows.variants_N if outcome.variants_N is None else outcome.variants_N
            assert not (outcome.kept_N & (winners_N == NOBODY)).any(), call
            winners = Rows(rows.table, rows.positions_N, winners_N)
            for column in {*strategy.reads, *(() if call == "grape" else ("ifd_ppl",))}:  # GRAPE looks at no IFD
                assert np.isfinite(winners.numbers(column)[outcome.kept_N]).all(), (call, column)

    @FEW
    @given(SEEDS, SIZES, NAMES)
    def test_decides_the_same_whatever_the_order_of_the_rows(self, random_variants, seed, size, names):
        parts, numbers = random_variants(seed, size, names), np.random.default_rng(seed)
        rows = rows_from(parts)
        other = rows_from({name: part.take(pa.array(numbers.permutation(size))) for name, part in parts.items()})
        first, second = outcomes(rows), outcomes(other)
        assert first.keys() == second.keys()
        for call, outcome in first.items():
            for part in ("reasons_N", "kept_N", "variants_N", "ranks_N", "scores_N"):
                again = by_id(other, getattr(second[call], part))
                assert by_id(rows, getattr(outcome, part)) == again, (call, part)


class TestEveryStrategyThatIsToldHowManyRows:
    @FEW
    @given(SEEDS, SIZES, NAMES, st.floats(0.01, 1))
    def test_keeps_exactly_that_many_of_those_that_came_in(self, random_variants, seed, size, names, part):
        rows = rows_from(random_variants(seed, size, names))
        for call in SHARES:
            most = survivors(call, rows)
            if not most:
                continue
            with pytest.raises(
                BadInputError, match=f"count {most + 1}, but of the {size} rows only {most} can be kept"
            ):
                decide(call, rows, count=most + 1)
            for count in {1, most}:
                assert decide(call, rows, count=count).kept_N.sum() == count, call
            wanted = math.floor(part * size + 0.5)
            if 0 < wanted <= most:
                assert decide(call, rows, fraction=part).kept_N.sum() == wanted, call
            else:
                with pytest.raises(BadInputError, match=f"fraction .* of {size} rows is (not even|{wanted},)"):
                    decide(call, rows, fraction=part)

    @FEW
    @given(SEEDS, SIZES, NAMES)
    def test_ranks_without_gaps_and_keeps_the_best(self, random_variants, seed, size, names):
        rows = rows_from(random_variants(seed, size, names))
        for call in SHARES:
            most = survivors(call, rows)
            if not most:
                continue
            outcome = decide(call, rows, count=(most + 1) // 2)
            ranked = np.flatnonzero(outcome.ranks_N)
            kept = np.flatnonzero(outcome.kept_N)
            assert sorted(outcome.ranks_N[ranked]) == list(range(1, len(ranked) + 1)), call
            assert sorted(outcome.ranks_N[kept]) == list(range(1, len(kept) + 1)), call
            assert len(ranked) == (len(kept) if call.split()[0] in GREEDY else most), call
            scores = outcome.scores_N[ranked] * (1 if call == "random" else -1)  # the smallest draws are the best
            if call.split()[0] in GREEDY:
                assert (np.diff(scores[np.argsort(outcome.ranks_N[ranked])]) >= -1e-9).all(), call
            else:
                expected = sorted(zip(scores, rows.ids[ranked], ranked, strict=True))
                assert [row for *_, row in expected] == list(ranked[np.argsort(outcome.ranks_N[ranked])]), call

    @FEW
    @given(SEEDS, SIZES, NAMES)
    def test_keeps_more_of_the_same_when_asked_for_more(self, random_variants, seed, size, names):
        rows = rows_from(random_variants(seed, size, names))
        for call in SHARES:
            kept = [
                set(np.flatnonzero(decide(call, rows, count=k).kept_N)) for k in range(1, survivors(call, rows) + 1)
            ]
            assert all(fewer < more for fewer, more in itertools.pairwise(kept)), call
