import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_cards.errors import BadInputError
from training.global_batch import GlobalBatch, share_out


@pytest.mark.parametrize(
    ("processes", "per_device", "accumulated"), [(1, 8, 16), (4, 8, 4), (8, 16, 1), (1, 128, 1), (128, 1, 1)]
)
def test_128_rows_on_any_number_of_devices(processes, per_device, accumulated):
    batch = share_out(128, per_device, processes)
    assert (batch.accumulated, batch.size) == (accumulated, 128)


def test_the_line():
    assert str(share_out(128, 8, 4)) == "global batch 128 = 4 processes x 8 rows x 4 accumulated"
    assert str(GlobalBatch(1, 2, 1, "packed sequences")) == (
        "global batch 2 = 1 process x 2 packed sequences x 1 accumulated"
    )


@given(st.integers(1, 512), st.integers(1, 64), st.integers(1, 16))
def test_it_is_exact_or_refused(size, per_device, processes):
    fits = size % (per_device * processes) == 0
    if fits:
        assert share_out(size, per_device, processes).size == size
    else:
        with pytest.raises(BadInputError):
            share_out(size, per_device, processes)


def test_what_cannot_be_is_refused_with_what_can():
    with pytest.raises(BadInputError) as refused:
        share_out(128, 3, 2)
    assert str(refused.value) == (
        "--global_batch_size 128: is no multiple of 6 = 2 processes x --per_device_train_batch_size 3; "
        "a --per_device_train_batch_size of 1, 2, 4, 8, 16, 32 or 64 would do"
    )
    with pytest.raises(BadInputError) as refused:
        share_out(128, 8, 6)
    assert str(refused.value) == (
        "--global_batch_size 128: cannot be shared by 6 processes; start 1, 2 or 4 of them, or pass "
        "--global_batch_size 126 or 132"
    )
    with pytest.raises(BadInputError, match=r"start 1 of them, or pass --global_batch_size 4$"):
        share_out(1, 1, 4)
    with pytest.raises(BadInputError, match="a --per_device_train_batch_size of 1 would do"):
        share_out(4, 2, 4)
