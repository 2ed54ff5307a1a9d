"""The plots: that they are drawn whatever the rows are like, and the numbers behind them."""

import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Value

from hub_cards.errors import BadInputError
from scoring.flow_plot import draw_flow, outcomes
from scoring.plots import Axis, axis_for, draw_distributions, draw_ratios

NAMES = ("original", "reflect_instruction", "reflect_response", "reflect_both")


def variant(size: int, seed: int = 0, nulls: bool = False) -> Dataset:
    """Rows with plausible numbers, heavy-tailed as the real ones are, or with none."""
    rng = np.random.default_rng(seed)
    columns = {
        "ifd_ppl": rng.lognormal(-0.4, 0.4, size),
        "rifd_ppl": rng.lognormal(-0.3, 0.6, size),
        "n_tokens_A": rng.lognormal(4, 1.2, size).astype(int),
        "n_tokens_Q": rng.lognormal(2.5, 0.7, size).astype(int),
    }
    features = Features({name: Value("float64" if "ifd" in name else "int64") for name in columns})
    values = {name: [None] * size if nulls else column.tolist() for name, column in columns.items()}
    return Dataset.from_dict(values, features=features)


def png_size(path: Path) -> tuple[int, int]:
    """Width and height by the header; the picture must hold more than one colour's worth of bytes."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"
    assert len(content) > 2_000
    return struct.unpack(">II", content[16:24])


def ledger(*groups: tuple[int, bool, str | None, str, str | None]) -> Dataset:
    lines = [line[1:] for line in groups for _ in range(line[0])]
    names = ("selected", "selected_variant", "select_reason", "select_step")
    features = Features({name: Value("bool" if name == "selected" else "string") for name in names})
    return Dataset.from_dict({name: [line[n] for line in lines] for n, name in enumerate(names)}, features=features)


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer dots an inch, which is quicker."""
    monkeypatch.setattr("scoring.plots.DPI", 50)


class TestAxis:
    def test_is_linear_for_what_lies_close_together(self):
        assert axis_for(np.array([0.5, 1.5, 1.0])) == Axis(0.5, 1.5, "linear")

    def test_is_logarithmic_for_a_heavy_tail(self):
        assert axis_for(np.array([4.0, 16.0, 400.0])) == Axis(4.0, 400.0, "log")

    def test_leaves_out_the_last_half_percent_on_either_side(self):
        values = np.concatenate([[-1e6], np.linspace(1, 2, 998), [1e6]])
        axis = axis_for(values)
        assert axis.scale == "linear"
        assert 1 <= axis.low < 1.01 and 1.99 < axis.high <= 2

    def test_of_one_number_has_a_width(self):
        assert axis_for(np.array([3.0, 3.0])) == Axis(1.5, 4.5, "linear")
        assert axis_for(np.array([0.0])) == Axis(-0.5, 0.5, "linear")

    def test_of_lengths_gives_none_of_them_a_place_on_a_logarithm(self):
        assert axis_for(np.array([0.0, 5.0, 500.0]), whole=True) == Axis(1.0, 500.0, "log")

    def test_of_no_numbers_there_is_none(self):
        assert axis_for(np.empty(0)) is None

    @pytest.mark.parametrize("axis", [Axis(1, 700, "log"), Axis(2, 55, "linear"), Axis(4, 4.4, "linear")])
    def test_bins_of_whole_numbers_hold_all_of_them_and_at_least_one_each(self, axis):
        edges = axis.edges(40, whole=True)
        assert edges[0] < axis.low and edges[-1] > axis.high
        held = np.histogram(np.arange(0, 1000), edges)[0]
        assert held.min() >= 1
        assert (edges % 1 == 0.5).all()

    def test_other_bins_end_at_the_gate(self):
        edges = Axis(0.55, 1.52, "linear").edges(10, whole=False)
        assert 1.0 in edges and len(edges) == 12
        assert edges[0] <= 0.55 and edges[-1] >= 1.52
        assert np.diff(edges) == pytest.approx([0.097] * 11)
        assert 1.0 in Axis(0.01, 30, "log").edges(10, whole=False)

    def test_one_length_has_one_bin(self):
        assert axis_for(np.array([3.0, 3.0]), whole=True).edges(12, whole=True).tolist() == [2.5, 3.5]
        assert axis_for(np.array([0.0]), whole=True).edges(12, whole=True).tolist() == [-0.5, 0.5]

    def test_other_bins_are_equally_wide_as_drawn(self):
        assert np.diff(Axis(1, 3, "linear").edges(4, whole=False)) == pytest.approx([0.5] * 4)
        assert np.diff(np.log(Axis(1, 16, "log").edges(4, whole=False))) == pytest.approx([np.log(2)] * 4)


class TestPictures:
    def test_of_all_variants(self, tmp_path):
        variants = {name: variant(60, seed) for seed, name in enumerate(NAMES)}
        draw_distributions(tmp_path / "d.png", variants)
        assert png_size(tmp_path / "d.png") == (550, 380)
        draw_ratios(tmp_path / "r.png", variants, {name: np.arange(3) for name in NAMES})
        assert png_size(tmp_path / "r.png") == (605, 490)

    def test_of_one_variant_and_an_empty_selection(self, tmp_path):
        rows = variant(30)
        draw_distributions(tmp_path / "d.png", {"original": rows, "selected": rows.select([])})
        draw_ratios(tmp_path / "r.png", {"original": rows}, {"original": np.array([], dtype=int)})
        assert png_size(tmp_path / "d.png") == (550, 380)
        assert png_size(tmp_path / "r.png") == (325, 260)

    @pytest.mark.parametrize("rows", [variant(5, nulls=True), variant(0), variant(5).select_columns("n_tokens_A")])
    def test_of_rows_without_numbers(self, tmp_path, rows):
        draw_distributions(tmp_path / "d.png", {"original": rows})
        draw_ratios(tmp_path / "r.png", {"original": rows}, None)
        assert png_size(tmp_path / "d.png") and png_size(tmp_path / "r.png")

    def test_of_thousands_of_rows_beside_a_variant_of_few(self, tmp_path):
        variants = {"original": variant(3000), "reflect_both": variant(20, 1)}
        kept = {"original": np.arange(900), "reflect_both": np.arange(2)}
        draw_ratios(tmp_path / "r.png", variants, kept)
        assert png_size(tmp_path / "r.png") == (605, 260)

    @pytest.mark.parametrize("gate", [True, False])
    def test_gate_is_shaded_and_named_only_where_it_is_asked_for(self, tmp_path, monkeypatch, gate):
        figures = []
        monkeypatch.setattr("scoring.plots.save", lambda figure, _: figures.append(figure))
        draw_ratios(tmp_path / "r.png", {"original": variant(30)}, {"original": np.arange(3)}, gate=gate)
        ((figure,), (panel,)) = figures, figures[0].axes
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[:2] == ["scored row", "kept in this variant"]
        assert labels[2:] == ["gate of selective: IFD < 1 and r-IFD < 1"] * gate
        clouds = 2  # all rows, and the kept ones
        assert len(panel.collections) == clouds + gate
        assert [list(line.get_xdata()) for line in panel.lines] == [[1, 1], [0, 1]]  # both lines at 1

    def test_draw_nothing_on_the_global_state(self, tmp_path):
        before = "matplotlib.pyplot" in sys.modules
        draw_distributions(tmp_path / "d.png", {"original": variant(10)})
        assert ("matplotlib.pyplot" in sys.modules) == before

    def test_need_matplotlib_and_say_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(BadInputError, match=r'pip install "reflection-tuning\[report\]"'):
            draw_distributions(tmp_path / "d.png", {"original": variant(10)})
        assert not (tmp_path / "d.png").exists()


class TestFlow:
    def test_outcomes_are_counted_by_variant_and_reason(self):
        rows = ledger(
            (3, True, "reflect_both", "kept", "select"),
            (1, True, "original", "only_scored", "select"),
            (2, False, "original", "ifd_not_below_1", "select"),
            (1, False, None, "unscored", None),
        )
        assert outcomes(rows) == Counter(
            {
                ("reflect_both", "kept"): 3,
                ("original", "kept: only_scored"): 1,
                ("original", "ifd_not_below_1"): 2,
                ("none", "unscored"): 1,
            }
        )
        assert outcomes(rows.remove_columns("select_step")) == outcomes(rows)

    def test_several_steps_are_named_where_they_dropped_rows(self):
        rows = ledger((2, False, "original", "below_the_cut", "cherry"), (1, True, "original", "kept", "diverse"))
        assert outcomes(rows) == Counter({("original", "cherry: below_the_cut"): 2, ("original", "kept"): 1})

    def test_picture_grows_with_the_reasons(self, tmp_path):
        few = ledger((90, True, "reflect_both", "kept", None), (1, False, None, "unscored", None))
        draw_flow(tmp_path / "few.png", few)
        many = ledger(*((number + 1, False, NAMES[number % 4], f"reason_{number}", None) for number in range(15)))
        draw_flow(tmp_path / "many.png", many)
        assert png_size(tmp_path / "many.png")[1] > png_size(tmp_path / "few.png")[1] > 200

    def test_picture_of_no_rows(self, tmp_path):
        draw_flow(tmp_path / "none.png", ledger())
        assert (tmp_path / "none.png").stat().st_size > 500
