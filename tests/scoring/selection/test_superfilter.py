import numpy as np
import pyarrow as pa


def test_keeps_the_highest_ifd_below_1(decide):
    found = decide("superfilter count=1", ifd_ppl=[0.9, 1.0, 0.95, None])
    assert found.reasons == {"a": "below_the_cut", "b": "ifd_not_below_1", "c": "kept", "d": "unscored"}
    assert found.ranks == {"c": 1, "a": 2}


def test_looks_at_the_variant_of_each_row(select):
    variants = {
        "original": {"ifd_ppl": [0.2, 0.3], "loss_A_condition": [1.0, 2.0]},
        "reflect_both": {"ifd_ppl": [0.9, 0.1], "loss_A_condition": [2.0, 1.0]},
    }
    assert select("superfilter count=1", **variants).kept == ["b"]  # both originals
    assert select("grape", "superfilter count=1", **variants).kept == ["a"]


def test_is_the_head_of_the_sorted_rows(decide):
    numbers = np.random.default_rng(1)
    values = np.where(numbers.random(300) < 0.1, np.nan, numbers.choice(20, 300) / 16)
    ids = [f"{number:x}" for number in numbers.permutation(300)]
    in_order = sorted((-value, row) for row, value in zip(ids, values, strict=True) if value < 1)
    found = decide("superfilter fraction=0.2", row_id=ids, ifd_ppl=pa.array(values, from_pandas=False))
    assert set(found.kept) == {row for _, row in in_order[:60]}
    assert found.ranks == {row: rank for rank, (_, row) in enumerate(in_order, start=1)}
