import numpy as np
import pyarrow as pa

from hub_cards.schema import VARIANTS


def losses(*values):
    return {"loss_A_condition": pa.array(values, pa.float64())}


def test_keeps_the_likeliest_response_and_of_equal_ones_the_first(select):
    found = select(
        "grape",
        original=losses(1.0, 2.0, 2.0, None, None, float("nan")),
        reflect_response=losses(2.0, 1.0, 2.0, 3.0, None, 0.5),
        reflect_both=losses(1.5, 0.5, 2.0, 3.0, None, None),
    )
    assert found.variants == {
        "a": "original",
        "b": "reflect_both",
        "c": "original",
        "d": "reflect_response",
        "f": "reflect_response",
    }
    assert found.reasons == {**dict.fromkeys("abcdf", "kept"), "e": "unscored"}
    assert found.kept == list("abcdf")
    assert found.counts["branches"]["none"] == {"won": 1, "kept": 0}


def test_is_the_minimum_of_what_there_is(select):
    numbers = np.random.default_rng(0)
    grid = numbers.choice([None, 0.5, 1.0, 1.5, 2.0], (4, 26))
    found = select("grape", **{name: losses(*row) for name, row in zip(VARIANTS, grid, strict=True)})
    for row, values in zip(found.decisions["row_id"], grid.T, strict=True):
        scored = {name: value for name, value in zip(VARIANTS, values, strict=True) if value is not None}
        assert found.variants.get(row) == (min(scored, key=scored.get) if scored else None)
