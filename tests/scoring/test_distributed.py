import random

import pytest
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_cards.errors import BadInputError, StoppedError
from scoring.distributed import (
    CHARACTERS_A_ROW,
    Ranks,
    check_join,
    equal_shards,
    interleave,
    row_costs,
    score_variants,
    spread,
)
from scoring.measures import COUNTED, IfdMeasure

PROPERTY = settings(max_examples=100, deadline=None)


def part(ids: list[str], variant: str = "original", output: str = "out") -> Dataset:
    return Dataset.from_dict(
        {
            "row_id": ids,
            "variant": [variant] * len(ids),
            "instruction": [f"ask {name}" for name in ids],
            "input": [""] * len(ids),
            "output": [f"{output} {name}" for name in ids],
        }
    )


class TestInterleave:
    def test_joins_by_row_id_whatever_the_order(self):
        ids = [f"row {number}" for number in range(20)]
        orders = [random.Random(seed).sample(ids, 20) for seed in range(3)]
        names = ("original", "reflect_response", "reflect_both")
        found = interleave([part(order, name, name) for order, name in zip(orders, names, strict=True)])
        assert found["row_id"][:] == [name for name in orders[0] for _ in range(3)]
        assert found["variant"][:] == [*names] * 20
        assert found["output"][:] == [f"{name} {row}" for row in orders[0] for name in names]

    def test_one_part_stays_as_it_is(self):
        assert interleave([part(["b", "a"])])["row_id"][:] == ["b", "a"]

    def test_selected_rows_are_joined_too(self):
        """Rows that stand behind a table's indices, not in its order."""
        one = part(["a", "b", "c", "d"]).select([3, 0, 1])
        other = part(["x", "d", "b", "a"], "reflect_both").select([1, 2, 3])
        assert interleave([one, other])["row_id"][:] == ["d", "d", "a", "a", "b", "b"]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (["a", "b"], ["a", "c"]),
            (["a", "b"], ["a"]),
            (["a"], ["a", "b"]),
            (["a", "b"], ["a", "a"]),
            (["a", "a"], ["a", "b"]),
            (["a", "a"], ["a", "a"]),
        ],
    )
    def test_other_rows_and_rows_twice_are_refused(self, first, second):
        with pytest.raises(BadInputError, match="different rows"):
            interleave([part(first), part(second)])

    def test_a_row_twice_in_a_single_part_is_refused(self):
        with pytest.raises(BadInputError, match="twice"):
            interleave([part(["a", "a"])])


class TestRowCosts:
    def rows(self, texts) -> Dataset:
        columns = zip(*texts, strict=True)
        return Dataset.from_dict(dict(zip(("instruction", "input", "output"), map(list, columns), strict=True)))

    def test_are_characters_and_equal_variants_cost_once(self):
        rows = self.rows(
            [("abc", "", "de"), ("abc", "", "de"), ("abc", "x", "de"), ("abc", "", "de"), ("", "", ""), ("é😀", "", "")]
        )
        own = CHARACTERS_A_ROW
        assert list(row_costs(rows, 1)) == [own + 5, own + 5, own + 6, own + 5, own, own + 2]
        assert list(row_costs(rows, 2)) == [own + 5, 2 * own + 11, 2 * own + 2]
        assert list(row_costs(rows, 3)) == [2 * own + 11, 3 * own + 7]

    def test_of_more_rows_than_are_read_at_once(self):
        rows = self.rows([("x" * (number % 7), "", "") for number in range(2500)])
        assert list(row_costs(rows, 1)) == [CHARACTERS_A_ROW + number % 7 for number in range(2500)]
        even = [2 * number for number in range(1250)]
        assert sum(row_costs(rows, 2)) == sum(CHARACTERS_A_ROW * 2 + n % 7 + (n + 1) % 7 for n in even)


class TestEqualShards:
    @PROPERTY
    @given(
        costs=st.lists(st.integers(1, 3000), max_size=60),
        group_size=st.integers(1, 4),
        target=st.sampled_from([1, 500, 2000, 10_000]),
    )
    def test_hold_all_rows_once_and_whole_groups(self, costs, group_size, target):
        shards = equal_shards(costs, group_size, target)
        assert [row for shard in shards for row in shard] == list(range(len(costs) * group_size))
        assert all(len(shard) and shard.start % group_size == shard.stop % group_size == 0 for shard in shards)

    @PROPERTY
    @given(costs=st.lists(st.integers(1, 999), min_size=1, max_size=80), group_size=st.integers(1, 4))
    def test_are_of_about_the_same_cost_where_rows_are_small(self, costs, group_size):
        shards = equal_shards(costs, group_size, 1000)
        found = [sum(costs[shard.start // group_size : shard.stop // group_size]) for shard in shards]
        assert all(500 <= cost <= 2000 for cost in found[:-1])
        assert 0 < found[-1] <= 2000

    def test_a_row_beyond_the_target_stands_alone(self):
        assert equal_shards([10, 1000, 10, 10], 1, 100) == [range(1), range(1, 2), range(2, 4)]

    def test_no_rows_have_no_shards(self):
        assert equal_shards([], 4) == []


class TestSpread:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 1001])
    def test_is_every_number_once(self, count):
        assert sorted(spread(count)) == list(range(count))

    @pytest.mark.parametrize("count", [100, 1000, 4321])
    def test_every_beginning_is_even(self, count):
        """No quarter of the data has much more or less than a quarter of a beginning."""
        order = spread(count)
        for size in (8, 16, count // 4, count // 2):
            quarters = [sum(n * count // 4 <= found < (n + 1) * count // 4 for found in order[:size]) for n in range(4)]
            assert max(quarters) - min(quarters) <= 4, (size, quarters)

    def test_the_shares_of_ranks_are_even_too(self):
        for rank in range(4):
            share = spread(1000)[rank::4]
            quarters = [sum(n * 250 <= found < (n + 1) * 250 for found in share[:16]) for n in range(4)]
            assert max(quarters) - min(quarters) <= 4


class TestCheckJoin:
    def test_the_same_rows_pass(self):
        rows = interleave([part(["a", "b"]), part(["b", "a"], "reflect_both")])
        check_join(rows, rows.flatten_indices())

    @pytest.mark.parametrize(
        ("found", "column"),
        [
            (part(["b", "a"]), "row_id"),
            (part(["a"]), "row_id"),
            (part(["a", "b", "b"]), "row_id"),
            (part(["a", "b"], "reflect_both"), "variant"),
        ],
    )
    def test_other_rows_do_not(self, found, column):
        with pytest.raises(StoppedError, match=f"column {column}"):
            check_join(part(["a", "b"]), found)


class TestScoreVariants:
    @pytest.fixture
    def scored(self, model_of, tokenizer_of, make_scorer, tmp_path):
        scorer = make_scorer((model_of("llama"), tokenizer_of("SentencePiece-like, BOS")), "none")
        ids = [f"row {number}" for number in range(6)]
        changed = part(ids[::-1], "reflect_response", "a new answer for")
        changed = changed.map(lambda row: {"output": "out row 3"} if row["row_id"] == "row 3" else {})
        variants = DatasetDict({"reflect_response": changed, "original": part(ids)})
        said = []

        def run():
            ranks = Ranks("key", tmp_path / "work", PartialState(), said.append)
            return score_variants(variants, [IfdMeasure.of(scorer)], ranks)

        return run, scorer, said

    def test_every_variant_gets_its_scores_in_the_order_of_the_first(self, scored):
        run, _, said = scored
        found, counts = run()
        assert list(found) == ["original", "reflect_response"]
        original, changed = found["original"], found["reflect_response"]
        assert original["row_id"][:] == changed["row_id"][:] == [f"row {number}" for number in range(6)]
        assert set(original["variant"]) == {"original"} and set(changed["variant"]) == {"reflect_response"}
        same = [one == other for one, other in zip(original["loss_A_direct"], changed["loss_A_direct"], strict=True)]
        assert same == [False, False, False, True, False, False]  # an unchanged variant: its parent's bits
        assert original["loss_Q_direct"][:] == changed["loss_Q_direct"][:]
        assert counts["score_status"] == {"original": {"ok": 6}, "reflect_response": {"ok": 6}}
        assert counts["layout"] == "packed"
        assert counts["boundary_merged"] == counts["depends_on_span"] == {"original": 6, "reflect_response": 6}
        assert not set(COUNTED) & set(original.column_names)
        assert "self-check" in said[0]

    def test_a_second_run_computes_nothing(self, scored):
        run, scorer, said = scored
        first, _ = run()
        tokens = scorer.engine.tokens_run
        said.clear()
        again, _ = run()
        assert scorer.engine.tokens_run == tokens and said == []
        assert all(again[name].to_list() == first[name].to_list() for name in first)
