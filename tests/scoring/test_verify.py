"""The comparison of published statistics with what a model gives, on numbers made by hand."""

import math

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.storage import save_result
from scoring.verify import (
    VerifyConfig,
    compare,
    comparison_table,
    draw_rows,
    load_published,
    score_again,
    verdict,
)

NAN = float("nan")


def rows_of(variant: str, ids: str, ppls: list[float | None]) -> Dataset:
    columns = {"row_id": list(ids), **dict.fromkeys(("instruction", "input", "output"), [f"{variant} x"] * len(ids))}
    return Dataset.from_dict({**columns, "ppl_A_condition": ppls, "score_status": ["ok"] * len(ids)})


@pytest.fixture
def variants() -> DatasetDict:
    return DatasetDict(
        original=rows_of("original", "dbca", [4.0, None, 3.0, 1.0]),
        reflect_both=rows_of("reflect_both", "abcd", [10.0, 20.0, 30.0, 40.0]),
    )


class TestDrawRows:
    def test_takes_all_that_have_a_number_where_there_are_no_more(self, variants):
        drawn = draw_rows(variants, 99, 0)
        assert {name: rows["row_id"][:] for name, rows in drawn.items()} == {
            "original": ["a", "c", "d"],
            "reflect_both": ["a", "b", "c", "d"],
        }

    def test_depends_on_the_seed_and_not_on_the_order_of_the_rows(self, variants):
        def pick(data, seed):
            return {(name, one) for name, rows in draw_rows(data, 3, seed).items() for one in rows["row_id"][:]}

        backward = DatasetDict({name: rows.select(range(len(rows))[::-1]) for name, rows in variants.items()})
        assert pick(variants, 1) == pick(backward, 1)
        assert len({frozenset(pick(variants, seed)) for seed in range(9)}) > 1
        assert all(len(pick(variants, seed)) == 3 for seed in range(9))

    def test_nothing_to_compare(self):
        with pytest.raises(BadInputError, match="no row has a number"):
            draw_rows(DatasetDict(original=rows_of("original", "a", [None])), 1, 0)


def test_scored_again_are_the_published_columns_of_the_drawn_rows(variants):
    seen = []

    def score(rows):
        seen.append(rows)
        return {"ppl_A_condition": [1.0, *[None] * (len(rows["output"]) - 1)], "ifd_ppl": [2.0] * len(rows["output"])}

    published, again = score_again(draw_rows(variants, 99, 0), score)
    assert list(published) == list(again) == ["ppl_A_condition"]
    np.testing.assert_equal(published["ppl_A_condition"], [1, 3, 4, 10, 20, 30, 40])
    np.testing.assert_equal(again["ppl_A_condition"], [1, NAN, NAN, 1, NAN, NAN, NAN])
    assert [set(rows) for rows in seen] == [{"instruction", "input", "output"}] * 2


class TestCompare:
    def test_relative_differences_are_against_the_published_number(self):
        published = np.array([100.0, 10.0, 1.0, 2.0, NAN, 5.0, NAN])
        again = np.array([101.0, 10.2, 1.5, 2.0, 1.0, NAN, NAN])
        (found,) = compare({"ppl_A_condition": published}, {"ppl_A_condition": again})
        assert (found.rows, found.one_sided) == (4, 2)
        # 0, 0.01, 0.02, 0.5
        assert found.median == pytest.approx(0.01) and found.percentile_95 == pytest.approx(0.02)
        assert found.maximum == pytest.approx(0.5)
        assert found.spearman == pytest.approx(1.0)

    def test_a_published_zero(self):
        (found,) = compare({"loss_A_direct": np.zeros(2)}, {"loss_A_direct": np.array([0.0, 1.0])})
        assert (found.median, found.maximum) == (0.0, math.inf)

    def test_no_number_on_both_sides(self):
        (found,) = compare({"ifd_ppl": np.array([NAN])}, {"ifd_ppl": np.array([1.0])})
        assert (found.rows, found.one_sided, found.median, found.spearman) == (0, 1, None, None)
        assert comparison_table([found])[1] == ["ifd_ppl", "0", "1", "–", "–", "–", "–"]


class TestVerdict:
    @pytest.mark.parametrize(("factor", "fits"), [(1.0, True), (1.04, True), (0.96, True), (1.06, False), (0.5, False)])
    def test_is_by_the_median_difference(self, factor, fits):
        numbers = np.array([2.0, 3.0, 4.0])
        found, sentence = verdict(compare({"ppl_A_condition": numbers}, {"ppl_A_condition": numbers * factor}))
        assert found is fits
        assert ("do NOT fit" in sentence) is not fits
        assert "ppl_A_condition" in sentence and "3 rows" in sentence

    def test_one_wild_row_decides_nothing(self):
        numbers = np.array([2.0, 3.0, 4.0])
        assert verdict(compare({"ppl_A_condition": numbers}, {"ppl_A_condition": np.array([2.0, 3.0, 400.0])}))[0]

    @pytest.mark.parametrize("odd", ["ppl_Q_direct", "ppl_A_direct", "ppl_Q_condition", "ppl_A_condition"])
    def test_the_perplexity_that_differs_most_decides(self, odd):
        published = {
            name: np.ones(3) for name in ("ppl_A_condition", "ppl_Q_condition", "ppl_A_direct", "ppl_Q_direct")
        }
        fits, sentence = verdict(compare(published, {**published, odd: np.full(3, 2.0)}))
        assert not fits and f"{odd} is 100.00%" in sentence

    def test_lengths_and_ratios_do_not_decide(self):
        published = {"ppl_A_direct": np.ones(2), "ifd_ppl": np.ones(2), "n_tokens_A": np.ones(2)}
        assert verdict(compare(published, {**published, "ifd_ppl": np.full(2, 9.0), "n_tokens_A": np.full(2, 9.0)}))[0]

    @pytest.mark.parametrize(("again", "fits"), [(np.arange(12.0), True), (np.arange(12.0)[::-1], False)])
    def test_the_order_by_ifd_decides_where_there_are_rows_enough(self, again, fits):
        """Another template moves perplexities by 1 % and turns the order around."""
        published = {"ppl_A_direct": np.ones(12), "ifd_ppl": 0.99 + np.arange(12) / 1e3}
        found, sentence = verdict(compare(published, {**published, "ifd_ppl": 0.99 + again / 1e3}))
        assert found is fits and ("ifd_ppl ranks the rows in another order (Spearman -1.00" in sentence) is not fits

    def test_no_perplexity(self):
        with pytest.raises(BadInputError, match="nothing to judge by"):
            verdict(compare({"ifd_ppl": np.ones(2)}, {"ifd_ppl": np.ones(2)}))


class TestConfig:
    def config(self, **settings) -> VerifyConfig:
        return VerifyConfig(**{"dataset": "d.json", "statistics": "s", "model_name_or_path": "m", **settings})

    @pytest.mark.parametrize(
        "bad",
        [
            {"statistics": ""},
            {"model_name_or_path": ""},
            {"count": 0},
            {"dtype": "int8"},
            {"span": "x"},
            {"template": "x"},
        ],
    )
    def test_bad_settings_are_refused(self, bad):
        with pytest.raises(BadInputError):
            self.config(**bad)

    def test_limit_is_of_what_was_joined(self, variants, tmp_path):
        save_result(tmp_path / "d", variants, [StepRecord("score", 1, {}, {})])
        config = self.config(dataset=str(tmp_path / "d"), statistics=str(tmp_path / "d"), limit=2)
        found, notes = load_published(config)
        assert found["original"]["ppl_A_condition"][:] == [4.0, None]
        assert notes["original"]["rows"] == 4
