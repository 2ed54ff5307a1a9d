"""Two selections against each other, by hand-made ledgers and by scipy."""

import json

import numpy as np
import pytest
from datasets import Dataset
from scipy import stats

from hub_cards.errors import BadInputError
from scoring.selection.compare import Correlation, Overlap, as_report, compare, spearman

BOTH, RESPONSE = "reflect_both", "reflect_response"


def ledger(ids: str, kept: str = "", variants: dict[str, str | None] | None = None, **columns) -> Dataset:
    """One row a letter; those in `kept` are selected, in `reflect_both` unless `variants` says otherwise."""
    chosen = [(variants or {}).get(letter, BOTH) for letter in ids]
    return Dataset.from_dict(
        {
            "row_id": list(ids),
            "selected": [letter in kept for letter in ids],
            "selected_variant": chosen,
            "select_reason": ["kept" if letter in kept else f"not {letter}" for letter in ids],
            **columns,
        }
    )


class TestKept:
    # In both: b, c, d, e, f. A keeps b, c, d; B keeps c, d, e; d in another variant. The orders differ.
    a = ledger("abcdef", "abcd")
    b = ledger("gfedcb", "cdeg", {"d": RESPONSE, "f": None})

    def test_counts_are_of_the_rows_in_both(self):
        found = compare(self.a, self.b)
        assert found.rows == {"in_both": 5, "only_in_a": 1, "only_in_b": 1}
        assert found.kept == {"in_both": 2, "only_in_a": 1, "only_in_b": 1, "other_variant": 1}
        assert found.jaccard == 2 / 4
        assert (found.overlaps, found.correlations) == ([], {})

    def test_changed_rows_have_both_sides(self):
        rows = compare(self.a, self.b).changed.to_list()
        assert [(row["row_id"], row["change"]) for row in rows] == [
            ("b", "kept_only_in_a"),
            ("d", "other_variant"),
            ("e", "kept_only_in_b"),
        ]
        assert rows[1]["selected_variant_a"] == BOTH and rows[1]["selected_variant_b"] == RESPONSE
        assert rows[2] == {
            "row_id": "e",
            "change": "kept_only_in_b",
            "selected_a": False,
            "selected_b": True,
            "selected_variant_a": BOTH,
            "selected_variant_b": BOTH,
            "select_reason_a": "not e",
            "select_reason_b": "kept",
        }

    def test_sides_can_be_exchanged(self):
        one, other = compare(self.a, self.b), compare(self.b, self.a)
        assert one.jaccard == other.jaccard
        assert one.kept["only_in_a"] == other.kept["only_in_b"] == 1

    def test_same_selection_has_changed_nothing(self):
        found = compare(self.b, self.b.select([5, 4, 3, 2, 1, 0]))
        assert found.jaccard == 1.0
        assert len(found.changed) == 0
        assert found.changed.column_names[0] == "row_id"

    def test_nothing_kept_has_no_jaccard(self):
        assert compare(ledger("ab"), ledger("ab")).jaccard is None

    def test_no_common_row_is_refused(self):
        with pytest.raises(BadInputError, match="no row_id in common"):
            compare(ledger("ab"), ledger("cd"))

    def test_repeated_row_is_refused(self):
        with pytest.raises(BadInputError, match="B repeats a row_id: 3 rows, 2 different ids"):
            compare(ledger("ab"), ledger("aba"))


class TestOverlap:
    def test_best_ranked_rows_of_each_are_taken_by_rank_and_not_by_place(self):
        # A's order is c, a, b, d; B's is a, d, c, b. A keeps two rows, B three.
        a = ledger("abcd", "ca", select_rank=[2, 3, 1, 4])
        b = ledger("dcba", "adc", select_rank=[2, 3, 4, 1])
        assert compare(a, b).overlaps == [Overlap(2, None, 0.5), Overlap(1, 0.20, 0.0)]

    def test_kept_rows_without_a_rank_and_rows_in_one_ledger_do_not_count(self):
        # In both and ranked: a, b, c in A and b, c in B. d was kept without a rank.
        a = ledger("abcdx", "abdx", select_rank=[1, 2, 3, None, 1])
        b = ledger("abcd", "bcd", select_rank=[None, 2, 7, None])
        (first, *_) = compare(a, b).overlaps
        assert first == Overlap(2, None, 0.5)  # a, b against b, c

    def test_same_rank_from_two_steps_goes_to_the_kept_row(self):
        a = ledger("abcde", "e", select_rank=[1, 2, 3, 4, 1])
        b = ledger("abcde", "e", select_rank=[5, 4, 3, 2, 1])
        assert compare(a, b).overlaps == [Overlap(1, None, 1.0), Overlap(1, 0.10, 1.0), Overlap(1, 0.20, 1.0)]

    def test_fractions_are_of_the_rows_in_both_where_so_many_have_ranks(self):
        ids = [f"{number:03d}" for number in range(100)]
        base = {
            "row_id": ids,
            "selected": [False] * 100,
            "selected_variant": [BOTH] * 100,
            "select_reason": ["x"] * 100,
        }
        forward = [number + 1 if number < 15 else None for number in range(100)]
        shifted = [number - 1 if 2 <= number < 17 else None for number in range(100)]
        a, b = (Dataset.from_dict({**base, "select_rank": ranks}) for ranks in (forward, shifted))
        # The first k of 0, 1, 2 … against those of 2, 3, 4 …: k - 2 of them in common; only 15 have ranks.
        assert compare(a, b).overlaps == [Overlap(1, 0.01, 0.0), Overlap(5, 0.05, 0.6), Overlap(10, 0.10, 0.8)]


class TestSpearman:
    def test_is_that_of_scipy_with_ties_and_nulls(self):
        rng = np.random.default_rng(3)
        first, second = rng.integers(0, 20, 300).astype(float), rng.integers(0, 20, 300).astype(float)
        second += first
        first[::7], second[::11] = np.nan, np.nan
        expected = stats.spearmanr(first, second, nan_policy="omit")
        found = spearman(first, second)
        assert found.rho == pytest.approx(float(expected.statistic), abs=1e-12)
        assert found.n == int((~np.isnan(first) & ~np.isnan(second)).sum()) < 300

    @pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
    def test_nothing_to_rank_is_null(self, values):
        assert spearman(np.array(values), np.arange(len(values), dtype=float)) == Correlation(None, len(values))

    def test_scores_in_common_are_joined_by_row(self):
        scores = {"select_score": [0.1, 0.2, 0.3, None], "ifd_ppl_original": [1, 2, 3, 4], "only_here": [1, 2, 3, 4]}
        a = ledger("abcd", **scores, note=["t", "e", "x", "t"], select_rank=[4, 3, 2, 1])
        b = ledger(
            "dcba", select_score=[9.0, 1.0, 5.0, 4.0], ifd_ppl_original=[0.4, 0.3, 0.2, 0.1], note=list("text")
        ).add_column("select_rank", [1, 2, 3, 4])
        # By row, of a, b, c: 0.1, 0.2, 0.3 against 4, 5, 1: ranks 1, 2, 3 against 2, 3, 1.
        assert compare(a, b).correlations == {
            "select_score": Correlation(pytest.approx(-0.5), 3),
            "ifd_ppl_original": Correlation(pytest.approx(1.0), 4),
        }


def test_report_and_json_say_all_of_it():
    a = ledger("abcde", "ab", select_rank=[1, 2, 3, 4, 5], select_score=[5.0, 4.0, 3.0, 2.0, 1.0])
    b = ledger("abcdef", "ac", select_rank=[1, 5, 2, 3, 4, 6], select_score=[2.0, 2.0, 2.0, 2.0, 2.0, 1.0])
    found = compare(a, b)
    assert as_report(found) == (
        "                           in both  only in A  only in B\n"
        "rows                             5          0          1\n"
        "kept, of the rows in both        1          1          1\n"
        "\n"
        "0 of the 1 rows kept in both were kept in another variant.\n"
        "Jaccard of the kept rows: 0.333\n"
        "\n"
        "best-ranked rows                 k  in common\n"
        "the smaller number of kept rows  2      0.500\n"
        "10% of the rows                  1      1.000\n"
        "20% of the rows                  1      1.000\n"
        "\n"
        "the same order by  Spearman  rows\n"
        "select_score              –     5"
    )
    assert json.loads(json.dumps(found.as_dict())) == {
        "rows": {"in_both": 5, "only_in_a": 0, "only_in_b": 1},
        "kept": {"in_both": 1, "only_in_a": 1, "only_in_b": 1, "other_variant": 0},
        "jaccard": 1 / 3,
        "overlaps": [
            {"k": 2, "fraction": None, "share": 0.5},
            *({"k": 1, "fraction": fraction, "share": 1.0} for fraction in (0.1, 0.2)),
        ],
        "spearman": {"select_score": {"rho": None, "n": 5}},
    }
