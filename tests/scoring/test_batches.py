from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.batches import Batch, Run, Tree, pack_spans, pad_spans
from scoring.spans import TargetSpan

PROPERTY = settings(max_examples=150, deadline=None)
BUDGETS = st.sampled_from([1, 7, 20, 40, 100, 100_000])


def span(ids, start: int = 1) -> TargetSpan:
    return TargetSpan(tuple(ids), start, truncated=False)


@st.composite
def many_spans(draw) -> list[TargetSpan]:
    """Texts that part at every depth: beginnings of a few stems with short ends, few distinct tokens."""
    tokens = st.integers(0, 2)
    stems = draw(st.lists(st.lists(tokens, max_size=30), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(0, 12))):
        stem = draw(st.sampled_from(stems))
        ids = stem[: draw(st.integers(0, len(stem)))] + draw(st.lists(tokens, max_size=6))
        found.append(span(ids, draw(st.integers(0, len(ids) + 1))))
    return found


def paths(tree: Tree) -> list[list[int]]:
    """For every token those on its own path, itself the last: found from `ends_T` alone, one by one."""
    return [[k for k in range(q + 1) if q < tree.ends_T[k]] for q in range(len(tree.ends_T))]


def predictions(batch: Batch, number: int) -> list[tuple[int, int]]:
    """Where span `number` of a batch is predicted from, and which tokens."""
    picks = batch.picks[number]
    return list(zip(batch.predictors_N[picks].tolist(), batch.targets_N[picks].tolist(), strict=True))


def wanted_spans(spans: list[TargetSpan]) -> Counter:
    """Every distinct one with something to score, once."""
    return Counter({found for found in spans if len(found.ids) > max(found.start, 1)})


def found_spans(batches: list[Batch]) -> Counter:
    return Counter(found for batch in batches for found in batch.spans)


class TestPacked:
    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS, min_shared=st.sampled_from([1, 4, 16]))
    def test_every_target_token_is_predicted_from_its_own_text(self, spans, budget, min_shared):
        batches = pack_spans(spans, budget, min_shared)
        assert found_spans(batches) == wanted_spans(spans)
        for batch in batches:
            on_path = paths(batch.tree)
            assert batch.ids_BT.shape == (1, len(batch.tree.ends_T)) == (1, len(batch.tree.positions_T))
            for number, found in enumerate(batch.spans):
                positions = range(max(found.start, 1), len(found.ids))
                for position, (place, target) in zip(positions, predictions(batch, number), strict=True):
                    assert tuple(batch.ids_BT[0, on_path[place]]) == found.ids[:position]
                    assert batch.tree.positions_T[on_path[place]].tolist() == list(range(position))
                    assert target == found.ids[position]

    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS, min_shared=st.sampled_from([1, 4, 16]))
    def test_runs_say_the_same_as_ends(self, spans, budget, min_shared):
        for batch in pack_spans(spans, budget, min_shared):
            on_path = paths(batch.tree)
            new = [range(run.start, run.stop) for run in batch.tree.runs]
            assert [token for run in new for token in run] == list(range(batch.ids_BT.size))
            for run, tokens in zip(batch.tree.runs, new, strict=True):
                before = [token for start, stop in run.before for token in range(start, stop)]
                assert all(start < stop for start, stop in run.before)
                for number, token in enumerate(tokens):
                    assert on_path[token] == [*before, *tokens[: number + 1]]

    @PROPERTY
    @given(spans=many_spans(), min_shared=st.sampled_from([1, 4, 16]))
    def test_every_distinct_prefix_stands_once_in_a_large_pack(self, spans, min_shared):
        wanted = {found.ids[:length] for found in wanted_spans(spans) for length in range(min_shared, len(found.ids))}
        batches = pack_spans(spans, 100_000, min_shared)
        assert len(batches) == bool(wanted_spans(spans))
        stand = Counter(tuple(batch.ids_BT[0, path].tolist()) for batch in batches for path in paths(batch.tree))
        assert {prefix: stand[prefix] for prefix in stand if len(prefix) >= min_shared} == dict.fromkeys(wanted, 1)

    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS)
    def test_the_budget_is_kept_but_for_single_longer_texts(self, spans, budget):
        for batch in pack_spans(spans, budget, 4):
            assert batch.ids_BT.size <= budget or len(batch.tree.runs) == 1
            assert batch.ids_BT.size == len(batch.tree.ends_T)

    def test_by_hand(self):
        one, other, apart = span([1, 2, 3, 4, 9]), span([1, 2, 5, 9], 2), span([6, 9], 0)
        (batch,) = pack_spans([one, apart, other], 100, min_shared=2)
        assert batch.ids_BT.tolist() == [[1, 2, 3, 4, 5, 6]]
        assert batch.tree.positions_T.tolist() == [0, 1, 2, 3, 2, 0]
        assert batch.tree.ends_T.tolist() == [5, 5, 4, 4, 5, 6]
        assert batch.tree.runs == (Run(0, 4, ()), Run(4, 5, ((0, 2),)), Run(5, 6, ()))
        assert dict(zip(batch.spans, (predictions(batch, n) for n in range(3)), strict=True)) == {
            one: [(0, 2), (1, 3), (2, 4), (3, 9)],
            other: [(1, 5), (4, 9)],
            apart: [(5, 9)],
        }

    def test_short_common_beginnings_are_not_shared(self):
        texts = [span([*range(15), 20, 21]), span([*range(15), 30, 31])]
        (batch,) = pack_spans(texts, 100)
        assert batch.ids_BT.size == 32
        texts = [span([*range(16), 20, 21]), span([*range(16), 30, 31])]
        (batch,) = pack_spans(texts, 100)
        assert batch.ids_BT.size == 18

    def test_what_was_shared_is_repeated_in_the_next_pack(self):
        texts = [span([*range(10), last, last, 0]) for last in (11, 12, 13)]
        batches = pack_spans(texts, 14, min_shared=4)
        assert [batch.ids_BT.tolist()[0] for batch in batches] == [
            [*range(10), 11, 11, 12, 12],
            [*range(10), 13, 13],
        ]

    def test_large_token_ids_keep_their_order_and_value(self):
        """Sorted by bytes: 256 must not come before 2, or beginnings would not meet."""
        stem = [70_000, 256, 2, 2**31 - 1] * 5
        texts = [span([*stem, tail, 5]) for tail in (2, 256, 65_536, 3)]
        (batch,) = pack_spans(texts, 1000)
        assert batch.ids_BT.size == 24
        assert batch.targets_N.max() == 2**31 - 1


class TestPadded:
    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS)
    def test_every_target_token_is_predicted_from_its_own_text(self, spans, budget):
        batches = pad_spans(spans, budget)
        assert found_spans(batches) == wanted_spans(spans)
        for batch in batches:
            assert batch.tree is None
            width = batch.ids_BT.shape[1]
            for number, found in enumerate(batch.spans):
                positions = range(max(found.start, 1), len(found.ids))
                for position, (place, target) in zip(positions, predictions(batch, number), strict=True):
                    row, column = divmod(place, width)
                    assert tuple(batch.ids_BT[row, : column + 1]) == found.ids[:position]
                    assert target == found.ids[position]

    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS)
    def test_the_budget_is_kept_but_for_single_longer_texts(self, spans, budget):
        for batch in pad_spans(spans, budget):
            assert batch.ids_BT.size <= budget or len(batch.ids_BT) == 1

    @PROPERTY
    @given(spans=many_spans())
    def test_every_distinct_text_stands_once(self, spans):
        batches = pad_spans(spans, 100_000)
        assert sum(len(batch.ids_BT) for batch in batches) == len({found.ids[:-1] for found in wanted_spans(spans)})

    def test_texts_of_like_length_stand_together(self):
        texts = [span(range(length)) for length in (3, 40, 4, 41)]
        assert [batch.ids_BT.shape for batch in pad_spans(texts, 80)] == [(2, 3), (2, 40)]


@pytest.mark.parametrize("layout", [pack_spans, pad_spans])
class TestBoth:
    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS)
    def test_no_prediction_is_made_twice(self, layout, spans, budget):
        for batch in layout(spans, budget):
            pairs = list(zip(batch.predictors_N.tolist(), batch.targets_N.tolist(), strict=True))
            assert len(pairs) == len(set(pairs))
            assert {number for picks in batch.picks for number in picks.tolist()} == set(range(len(pairs)))

    @PROPERTY
    @given(spans=many_spans(), budget=BUDGETS, seed=st.randoms(use_true_random=False))
    def test_order_does_not_matter_to_what_is_computed(self, layout, spans, budget, seed):
        other = list(spans)
        seed.shuffle(other)
        sizes = [sorted(batch.ids_BT.size for batch in layout(texts, budget)) for texts in (spans, other)]
        assert sizes[0] == sizes[1]

    def test_two_ends_and_two_starts_of_one_text_run_it_once(self, layout):
        texts = [span([1, 2, 3]), span([1, 2, 4]), span([1, 2, 3], 2), span([1, 2, 3])]
        (batch,) = layout(texts, 100)
        assert batch.ids_BT.tolist() == [[1, 2]]
        assert sorted(zip(batch.predictors_N.tolist(), batch.targets_N.tolist(), strict=True)) == [
            (0, 2),
            (1, 3),
            (1, 4),
        ]

    def test_nothing_to_score_gives_no_batch(self, layout):
        assert layout([], 10) == []
        assert layout([span([]), span([5], 0), span([5, 6], 2)], 10) == []


class TestTreePadded:
    TREE = Tree(np.array([0, 1, 1]), np.array([3, 2, 3]), (Run(0, 2, ()), Run(2, 3, ((0, 1),))))

    def test_further_tokens_see_themselves_only_and_nobody_sees_them(self):
        padded = self.TREE.padded(6)
        assert paths(padded) == [[0], [0, 1], [0, 2], [3], [4], [5]]
        assert padded.positions_T.tolist() == [0, 1, 1, 0, 0, 0]
        assert padded.runs == self.TREE.runs

    def test_to_its_own_width_it_stays_as_it_is(self):
        padded = self.TREE.padded(3)
        assert (padded.positions_T == self.TREE.positions_T).all()
        assert (padded.ends_T == self.TREE.ends_T).all()
