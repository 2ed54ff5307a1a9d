"""The charts as a whole: what there is for which rows, that it is JSON, and that the templates escape it."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import hub_cards.report
from hub_cards.report.charts.charts import ChartRows, OtherRows, charts_of

NAN = float("nan")
PAGE = Path(hub_cards.report.__file__).parent / "page"
NAMES = ("original", "reflect_response", "reflect_both")
EVIL = "<script>alert(1)</script> & \"quoted\" 'too'"


def scored(size, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: {
            "ifd_ppl": np.exp(rng.normal(-0.3, 0.3, size)),
            "rifd_ppl": np.exp(rng.normal(-0.2, 0.3, size)),
            "n_tokens_Q": rng.integers(1, 60, size).astype(float),
            "n_tokens_A": rng.integers(1, 900, size).astype(float),
        }
        for name in NAMES
    }


def chart_rows(size=40, **more):
    rng = np.random.default_rng(9)
    given = {
        "row_ids": [f"id{n}" for n in range(size)],
        "variants": scored(size),
        "reflect_status": {name: {"ok": size - 1, EVIL: 1} for name in NAMES[1:]},
        "selected": rng.random(size) < 0.4,
        "selected_variant": rng.choice(NAMES, size).tolist(),
        "select_reason": [EVIL] * size,
    }
    return ChartRows(**{**given, **more})


def rendered(charts):
    environment = Environment(loader=FileSystemLoader(PAGE), undefined=StrictUndefined, autoescape=True)
    names = ("charts.html.jinja", "compare_charts.html.jinja")
    return [environment.get_template(name).render(charts=charts) for name in names]


class Elements(HTMLParser):
    """All elements, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def tagged(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


class TestDistributions:
    def test_are_of_both_ratios_and_both_lengths(self):
        found = charts_of(chart_rows())["distributions"]
        assert [chart["key"] for chart in found] == ["ifd_ppl", "rifd_ppl", "n_tokens_Q", "n_tokens_A"]
        assert [group["name"] for group in found[0]["groups"]] == [*NAMES, "selected"]
        assert all(chart["listed"] for chart in found)

    def test_of_the_kept_rows_are_of_the_variants_that_won(self):
        rows = chart_rows()
        kept = [
            rows.variants[variant]["ifd_ppl"][place]
            for place, variant in enumerate(rows.selected_variant)
            if rows.selected[place]
        ]
        selected = charts_of(rows)["distributions"][0]["groups"][-1]
        assert selected["numbers"] == len(kept) and selected["median"] == pytest.approx(np.median(kept))

    def test_have_no_number_of_a_kept_row_whose_variant_has_none(self):
        rows = chart_rows(variants={"original": scored(40)["original"], "reflect_both": {}})
        selected = charts_of(rows)["distributions"][0]["groups"][-1]
        kept = [v for v, chosen in zip(rows.selected_variant, rows.selected, strict=True) if chosen]
        assert selected["numbers"] == kept.count("original")

    def test_are_of_characters_where_no_tokens_were_counted(self):
        lengths = {"n_characters_Q": np.array([5.0, 9.0]), "n_characters_A": np.array([7.0, 8.0])}
        (first, second) = charts_of(ChartRows(["a", "b"], {"original": lengths}))["distributions"]
        assert (first["unit"], second["key"]) == ("characters", "n_characters_A")
        assert not first["listed"]
        counted = {"n_tokens_Q": np.array([1.0, NAN]), **lengths}
        units = [one["unit"] for one in charts_of(ChartRows(["a", "b"], {"original": counted}))["distributions"]]
        assert units == ["tokens of the student", "characters"]


class TestRatios:
    def test_say_how_many_rows_lie_where(self):
        columns = {
            "ifd_ppl": np.array([0.5, 0.6, 0.7, 1.0, 1.5, NAN]),
            "rifd_ppl": np.array([0.5, 1.0, 1.1, 0.9, 2.0, 0.1]),
        }
        found = charts_of(ChartRows(list("abcdef"), {"original": columns}))["ratios"]
        assert found["finding"] == "Rows with IFD and r-IFD below 1: 1 of 5 in original."
        lines = {line[0]["text"]: line[1]["text"] for line in found["tables"][0]["lines"]}
        assert lines == {
            "with both scores": "5",
            "both below 1": "1",
            "r-IFD 1 or more": "2",
            "IFD 1 or more": "1",
            "both 1 or more": "1",
            "outside the axes": "0",
        }
        assert found["notes"] == ["Without both scores: 1 row of original."]
        assert found["gate"] and found["panels"][0]["kept"] is None

    def test_mark_the_rows_that_were_kept_in_the_variant(self):
        rows = chart_rows(gate=False)
        found = charts_of(rows)["ratios"]
        assert not found["gate"]
        for panel in found["panels"]:
            won = [variant == panel["name"] for variant in rows.selected_variant]
            kept = {rows.row_ids[n] for n in np.flatnonzero(rows.selected & won)}
            points = panel["points"]
            drawn = {found["ids"][row] for row, chosen in zip(points["row"], points["kept"], strict=True) if chosen}
            assert panel["kept"] == len(kept) and drawn <= kept and len(kept - drawn) <= panel["outside"]

    def test_take_codes_for_decisions(self):
        rows = chart_rows(4, selected=np.array([1, 0, 255, 1], np.uint8), selected_variant=["original"] * 4)
        found = charts_of(rows)
        assert found["ratios"]["panels"][0]["kept"] == 2 and found["flow"]["rows"] == 3


class TestComparison:
    def test_counts_the_rows_that_are_greater_on_the_other_side(self):
        here = chart_rows().variants["original"]["ifd_ppl"]
        there = here + np.array([0.1] * 7 + [-0.1] * 30 + [0.0] * 3)
        found = charts_of(chart_rows(other=OtherRows({"original": {"ifd_ppl": there}})))
        assert [panel["name"] for panel in found["scores"]["panels"]] == ["original"]
        assert found["scores"]["finding"] == "Rows whose IFD is greater on the other side: 18 % in original."
        assert found["changes"] is None and "changes" in found["absent"]

    def test_of_the_same_scores_draws_them_not(self):
        other = OtherRows(scored(40), np.ones(40, bool), ["original"] * 40)
        found = charts_of(chart_rows(other=other))
        assert found["scores"] is None and sum(found["changes"]["bars"][0]["counts"]) == 40


class TestWithoutMuch:
    def test_of_texts_alone_there_is_nothing_and_each_says_so(self):
        found = charts_of(ChartRows(["a"], {"original": {}}))
        assert set(found["absent"]) == {"distributions", "ratios", "flow", "outcomes", "scores", "changes"}
        overview = rendered(found)[0]
        assert found["absent"]["ratios"] in overview and "<figure" not in overview

    def test_of_nulls_alone_there_is_nothing(self):
        nulls = {name: np.full(3, NAN) for name in scored(1)["original"]}
        found = charts_of(ChartRows(list("abc"), {"original": nulls}, selected=np.zeros(3, bool)))
        assert found["distributions"] == [] and found["ratios"] is None and found["flow"]["kept"] == 0

    @pytest.mark.parametrize("size", [1, 2])
    def test_of_very_few_rows_is_drawn(self, size):
        found = charts_of(chart_rows(size, selected=np.ones(size, bool)))
        assert not set(found["absent"]) - {"scores", "changes"}
        json.dumps(found, allow_nan=False)

    def test_of_no_rows_there_is_nothing(self):
        found = charts_of(chart_rows(0, reflect_status={}))
        assert not any(found[name] for name in ("distributions", "ratios", "flow", "outcomes"))


class TestPage:
    @pytest.fixture(scope="class")
    def charts(self):
        return charts_of(chart_rows(other=OtherRows(scored(40, 5), np.arange(40) % 2 == 0, ["original"] * 40)))

    def test_is_json_without_nan(self, charts):
        assert json.loads(json.dumps(charts, allow_nan=False)) == charts

    def test_has_a_place_with_a_finding_for_every_chart(self, charts):
        places = [one for text in rendered(charts) for one in Elements(text).tagged("div") if "data-chart" in one]
        assert [one["data-chart"] for one in places] == [
            *(f"distributions:{n}" for n in range(4)),
            *(f"ratios:{n}" for n in range(3)),
            *("flow", "outcomes", "changes"),
            *(f"scores:{n}" for n in range(3)),
        ]
        assert all(one["role"] == "img" and one["aria-label"] for one in places)
        assert places[0]["aria-label"] == charts["distributions"][0]["finding"]

    def test_has_a_table_with_the_numbers_of_every_figure(self, charts):
        for text in rendered(charts):
            parts = text.split("<figure")[1:]
            assert parts and all("<figcaption" in part and "<details" in part and "<table" in part for part in parts)
        flow = charts["flow"]["outcomes"][0]
        assert f">{flow['rows']}</a>" in rendered(charts)[0]

    def test_keeps_text_of_the_data_text(self, charts):
        assert EVIL in charts["flow"]["finding"]
        for text in rendered(charts):
            elements = Elements(text)
            assert elements.tagged("script") == []
            assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
            assert all(one["href"].startswith("#/rows?") for one in elements.tagged("a"))
        assert "&lt;script&gt;alert(1)" in rendered(charts)[0]
