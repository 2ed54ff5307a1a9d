"""The chart: that it is drawn whatever the numbers, that its bars are the shares, and that it is always the same."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hub_cards.errors import BadInputError
from training.win_rate import Comparison, compare
from training.win_rate_chart import PARTS, draw_win_rates


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer dots an inch, which is quicker."""
    monkeypatch.setattr("training.win_rate_chart.DPI", 40)


def comparison(wins: int, ties: int, losses: int, invalid: int = 0) -> Comparison:
    return compare(["win"] * wins + ["tie"] * ties + ["lose"] * losses + ["invalid"] * invalid)


def texts(svg: Path) -> list[str]:
    """What is written in the picture."""
    return ["".join(node.itertext()).strip() for node in ElementTree.parse(svg).iter() if node.tag.endswith("}text")]


def bars(svg: Path, colour: str) -> list[tuple[float, float]]:
    """Left and right ends of the rectangles of a colour, in their order; the last one is the legend's."""
    path = rf'd="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*"[^>]*style="fill: {colour.lower()}'
    found = re.findall(path, svg.read_text(encoding="utf-8"))
    return [(float(left), float(right)) for left, right in found][:-1]


class TestChart:
    def test_bars_are_as_wide_as_the_shares(self, tmp_path):
        draw_win_rates(tmp_path, {"vicuna": comparison(44, 15, 21), "lima": comparison(10, 0, 30)})
        drawn = {name: bars(tmp_path / "chart.svg", colour) for name, (_, colour, _) in PARTS.items()}
        (start, _), (_, end) = drawn["win"][0], drawn["lose"][0]

        def place(share: float) -> float:
            return pytest.approx(start + share * (end - start), abs=0.01)

        assert drawn["win"] == [(start, place(44 / 80)), (start, place(0.25))]
        assert drawn["tie"] == [(place(44 / 80), place(59 / 80))]  # none of the second comparison
        assert drawn["lose"] == [(place(59 / 80), end), (place(0.25), place(1))]

    def test_says_the_counts_the_score_and_what_is_invalid(self, tmp_path):
        sets = {
            "vicuna": comparison(44, 15, 21, invalid=3),
            "lima": comparison(1, 1, 1),
            "total": comparison(44, 15, 21),
        }
        draw_win_rates(tmp_path, sets, model="ours", baseline="alpaca")
        found = " | ".join(texts(tmp_path / "chart.svg"))
        assert "ours against alpaca" in found
        assert "n = 80, 3 invalid" in found and "44 / 15 / 21" in found
        assert f"win score 1.29 [{sets['total'].win_score_low:.2f}, " in found
        assert all(name in found for name in ("win", "tie", "lose", "vicuna", "total"))

    def test_number_without_room_stands_beside_the_bar_alone(self, tmp_path):
        draw_win_rates(tmp_path, {"vicuna": comparison(1, 98, 1)})
        found = texts(tmp_path / "chart.svg")
        assert "98" in found and "1" not in found and "1 / 98 / 1" in found

    def test_the_total_of_one_set_is_not_drawn_again(self, tmp_path):
        draw_win_rates(tmp_path, {"vicuna": comparison(3, 2, 1), "total": comparison(3, 2, 1)})
        found = " | ".join(texts(tmp_path / "chart.svg"))
        assert "vicuna" in found and "total" not in found

    def test_set_without_a_valid_verdict_says_so(self, tmp_path):
        draw_win_rates(tmp_path, {"vicuna": comparison(0, 0, 0, invalid=4)})
        found = " | ".join(texts(tmp_path / "chart.svg"))
        assert "no valid verdict" in found and "n = 0, 4 invalid" in found

    def test_is_the_same_every_time_and_a_picture(self, tmp_path):
        made = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            draw_win_rates(tmp_path / name, {"vicuna": comparison(4, 5, 6)})
            made.append((tmp_path / name / "chart.svg").read_bytes())
        assert made[0] == made[1]
        png = (tmp_path / "a/chart.png").read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and len(png) > 2_000

    def test_names_are_texts_and_no_formulas(self, tmp_path):
        draw_win_rates(tmp_path, {"a$b_c$ <x> & y": comparison(1, 0, 0)}, model="m$1$")
        found = " | ".join(texts(tmp_path / "chart.svg"))
        words = " ".join(found.replace("\xa0", " ").split())
        assert "a$b_c$ <x> & y" in words and "m$1$" in words

    def test_without_matplotlib_one_line_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(BadInputError, match=r'pip install "reflection-tuning\[report\]"'):
            draw_win_rates(tmp_path, {"vicuna": comparison(1, 0, 0)})
        assert not list(tmp_path.iterdir())
