"""The numbers by which a recycled set is described."""

import math
import random
import statistics

import pytest
from datasets import Dataset, Features, Value

from hub_cards.errors import BadInputError
from scoring.statistics import (
    TABLE_COLUMNS,
    as_dataset,
    describe,
    finite_numbers,
    from_dataset,
    locate,
    summarize,
)

NUMBERS = [None, 1.0, 2.0, None, 4.0, 9.0]  # without nulls: q1 1.75, median 3, q3 5.25
DESCRIBED = {"n": 4, "mean": 4.0, "q1": 1.75, "median": 3.0, "q3": 5.25}
NOTHING = {"n": 0, "mean": None, "q1": None, "median": None, "q3": None}


class TestDescribe:
    def test_numbers_are_over_the_rows_that_have_them(self):
        rows = Dataset.from_dict(dict.fromkeys(TABLE_COLUMNS.values(), NUMBERS))
        assert describe(rows) == {"rows": 6, **dict.fromkeys(TABLE_COLUMNS, DESCRIBED)}

    def test_column_without_a_number_is_null_and_a_column_that_is_not_there_is_left_out(self):
        features = Features({"ifd_ppl": Value("float64"), "n_tokens_A": Value("int64")})
        rows = Dataset.from_dict({"ifd_ppl": [None, None], "n_tokens_A": [3, 4]}, features=features)
        assert describe(rows) == {
            "rows": 2,
            "response_tokens": {"n": 2, "mean": 3.5, "q1": 3.25, "median": 3.5, "q3": 3.75},
            "ifd_ppl": NOTHING,
        }

    def test_no_rows(self):
        rows = Dataset.from_dict({"ifd_ppl": []}, features=Features({"ifd_ppl": Value("float64")}))
        assert describe(rows) == {"rows": 0, "ifd_ppl": NOTHING}

    def test_quartiles_are_those_of_the_standard_library(self):
        values = [random.Random(7).lognormvariate(0, 1) for _ in range(101)]
        found = summarize(finite_numbers(Dataset.from_dict({"x": values}), "x"))
        expected = statistics.quantiles(values, n=4, method="inclusive")
        assert [found["q1"], found["median"], found["q3"]] == pytest.approx(expected)

    def test_order_of_the_rows_does_not_show(self):
        values = [1e16, 1.0, -1e16, 1e-3]  # a plain sum from left to right loses the 1
        means = {describe(Dataset.from_dict({"ifd_ppl": part}))["ifd_ppl"]["mean"] for part in (values, values[::-1])}
        assert means == {math.fsum(values) / 4}


def test_data_set_of_the_statistics_has_units_and_gives_back_what_it_was_made_of():
    described = {
        "original": {"rows": 6, "ifd_ppl": NOTHING, "response_tokens": DESCRIBED},
        "selected": {"rows": 0, "ifd_ppl": DESCRIBED},
    }
    saved = as_dataset(described)
    assert [(row["variant"], row["statistic"], row["unit"]) for row in saved] == [
        ("original", "response_tokens", "tokens"),
        ("original", "ifd_ppl", "ratio"),
        ("selected", "ifd_ppl", "ratio"),
    ]
    for group, found in from_dataset(saved).items():
        for name, line in found.items():
            assert {key: line[key] for key in DESCRIBED} == described[group][name]


VARIANTS = {
    "original": Dataset.from_dict({"row_id": ["a", "b", "c", "d"], "ifd_ppl": [0.1, 0.2, 0.3, 0.4]}),
    "reflect_both": Dataset.from_dict({"row_id": ["d", "c", "b", "a"], "ifd_ppl": [1.4, 1.3, 1.2, 1.1]}),
}


def ledger(rows: list[tuple[str, bool, str | None]]) -> Dataset:
    names = ("row_id", "selected", "selected_variant")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return Dataset.from_dict(columns)


class TestLocate:
    def test_rows_stand_in_the_variant_that_won_whatever_the_order(self):
        decided = [
            ("c", True, "reflect_both"),
            ("a", False, "reflect_both"),
            ("b", True, "original"),
            ("d", False, None),
        ]
        groups = dict(locate(VARIANTS, ledger(decided)).groups(VARIANTS))
        assert sorted(groups["selected"]["ifd_ppl"]) == [0.2, 1.3]
        assert sorted(groups["dropped"]["ifd_ppl"]) == [0.4, 1.1]  # where nothing had won: the original

    def test_nothing_kept_and_nothing_that_won(self):
        groups = dict(locate(VARIANTS, ledger([("a", False, None)])).groups(VARIANTS))
        assert (len(groups["selected"]), len(groups["dropped"])) == (0, 1)
        assert describe(groups["selected"]) == {"rows": 0, "ifd_ppl": NOTHING}

    def test_rows_that_are_not_in_the_ledger_are_in_neither_group(self):
        outcome = locate(VARIANTS, ledger([("b", True, "reflect_both")]))
        assert outcome.kept["reflect_both"].tolist() == [2]
        assert sum(map(len, [*outcome.kept.values(), *outcome.dropped.values()])) == 1

    def test_row_of_other_data_is_refused(self):
        with pytest.raises(BadInputError, match="has row_id x, which is not in variant reflect_both of --dataset"):
            locate(VARIANTS, ledger([("a", True, "reflect_both"), ("x", True, "reflect_both")]))

    def test_variant_that_the_data_lack_is_refused(self):
        with pytest.raises(
            BadInputError, match="chose variant reflect_response, but --dataset holds original, reflect"
        ):
            locate(VARIANTS, ledger([("a", True, "reflect_response")]))
