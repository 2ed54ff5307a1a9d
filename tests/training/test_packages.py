from importlib.metadata import PackageNotFoundError, version

import pytest

from hub_cards.errors import BadInputError
from training import packages
from training.packages import check_adapter_packages, check_trackers


@pytest.fixture
def without(monkeypatch):
    """`without("peft")`: as if it were not installed."""

    def hide(*names):
        def found(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(packages, "version", found)

    return hide


def test_what_is_installed_is_let_through(without):
    check_adapter_packages(use_peft=True, quantized=None)
    check_trackers(["tensorboard"])
    without("peft", "bitsandbytes", "tensorboard", "wandb", "trackio")
    check_adapter_packages(use_peft=False, quantized=None)
    check_trackers([])


def test_without_peft_one_line_names_the_extra(without):
    without("peft")
    with pytest.raises(BadInputError) as refused:
        check_adapter_packages(use_peft=True, quantized=None)
    assert str(refused.value) == '--use_peft: needs the package peft; pip install "reflection-tuning[train]"'


def test_quantized_weights_need_bitsandbytes_and_an_adapter(without):
    with pytest.raises(BadInputError, match="--load_in_8bit: quantized weights are not trained themselves"):
        check_adapter_packages(use_peft=False, quantized="load_in_8bit")
    without("bitsandbytes")
    with pytest.raises(BadInputError, match="--load_in_4bit: needs the package bitsandbytes"):
        check_adapter_packages(use_peft=True, quantized="load_in_4bit")


@pytest.mark.parametrize("name", ["trackio", "tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed(without, name):
    without("trackio", "tensorboard", "tensorboardX", "wandb")
    with pytest.raises(BadInputError, match=f"^--report_to {name}: the package is not installed; pip install {name}$"):
        check_trackers([name])


def test_a_folder_of_a_trackers_name_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BadInputError, match=f"the folder {tmp_path / 'trackio'} would be taken for the package trackio"
    ):
        check_trackers([])
    with pytest.raises(BadInputError, match="--report_to trackio: the package is not installed"):
        check_trackers(["trackio"])
