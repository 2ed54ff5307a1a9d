"""Flows and outcomes: every row is counted once, and every link asks for those rows."""

from collections import Counter

import numpy as np

from hub_cards.report.charts.flows import changes, extraction, selection_flow

ORDER = ["original", "reflect_response", "reflect_both"]


def flow(lines, order=ORDER):
    """Of (rows, selected, variant, reason, step)."""
    rows = [line[1:] for line in lines for _ in range(line[0])]
    columns = list(zip(*rows, strict=True))
    return selection_flow(np.array(columns[0]), *columns[1:], order)


def texts(made):
    return [[cell["text"] for cell in line] for line in made["lines"]]


class TestSelectionFlow:
    LINES = (
        (5, 1, "reflect_both", "kept", None),
        (3, 0, "reflect_both", "ifd_not_below_1", None),
        (1, 1, "original", "kept", None),
        (4, 0, "original", "response_not_reflected", None),
        (2, 0, None, "unscored", None),
    )

    def test_by_hand(self):
        found = flow(self.LINES)
        assert (found["rows"], found["kept"]) == (15, 6)
        assert [(one["name"], one["rows"], one["kept"]) for one in found["branches"]] == [
            *(("original", 5, 1), ("reflect_both", 8, 5), ("none", 2, 0))
        ]
        assert [(one["name"], one["rows"], one["kept"]) for one in found["outcomes"]] == [
            *(("kept", 6, True), ("response_not_reflected", 4, False)),
            *(("ifd_not_below_1", 3, False), ("unscored", 2, False)),
        ]
        assert [(link["branch"], link["outcome"], link["rows"]) for link in found["links"]] == [
            *((0, 0, 1), (0, 1, 4), (1, 0, 5), (1, 2, 3), (2, 3, 2))
        ]
        assert found["finding"] == (
            "Selection: 6 of 15 rows kept (40 %); 1 as original, 5 as reflect_both; dropped: response_not_reflected "
            "(4), ifd_not_below_1 (3), unscored (2)."
        )
        assert texts(found["tables"][0]) == [
            ["kept", "kept", "1", "5", "0", "6"],
            ["response_not_reflected", "dropped", "4", "0", "0", "4"],
            ["ifd_not_below_1", "dropped", "0", "3", "0", "3"],
            ["unscored", "dropped", "0", "0", "2", "2"],
            ["total", "", "5", "8", "2", "15"],
        ]

    def test_links_ask_for_the_rows(self):
        found = flow(self.LINES)
        assert [one["href"] for one in found["branches"]] == [
            "#/rows?branch=original",
            "#/rows?branch=reflect_both",
            None,
        ]
        assert found["outcomes"][1]["href"] == "#/rows?reason=response_not_reflected&kept=0"
        assert found["links"][2]["href"] == "#/rows?branch=reflect_both&reason=kept&kept=1"
        assert found["links"][4]["href"] == "#/rows?reason=unscored&kept=0"
        assert all(sum(cell["href"] is None for cell in line) >= 2 for line in found["tables"][0]["lines"])

    def test_names_the_step_where_there_are_several(self):
        lines = [(2, 1, "original", "kept", "diverse"), (1, 0, "original", "far", "diverse")]
        lines += [(3, 0, "original", "far", "selective")]
        found = flow(lines)
        assert [(one["name"], one["rows"]) for one in found["outcomes"]] == [
            *(("kept", 2), ("selective: far", 3), ("diverse: far", 1))
        ]

    def test_of_one_step_does_not_name_it(self):
        found = flow([(2, 0, "original", "far", "selective"), (1, 0, "original", None, None)])
        assert [one["name"] for one in found["outcomes"]] == ["far", "no reason given"]

    def test_says_why_rows_were_kept(self):
        found = flow([(2, 1, "original", "only_scored", None), (1, 1, "original", None, None)])
        assert [(one["name"], one["kept"]) for one in found["outcomes"]] == [
            ("kept: only_scored", True),
            ("kept", True),
        ]

    def test_leaves_out_what_nothing_was_decided_of(self):
        found = flow([(2, 1, "original", "kept", None), (3, 255, None, None, None)])
        assert found["rows"] == 2 and sum(link["rows"] for link in found["links"]) == 2
        assert found["notes"] == ["Nothing was decided of 3 rows; they are not drawn."]
        assert selection_flow(np.full(4, 255), None, None, None, ORDER) is None

    def test_knows_no_more_than_which_rows_were_kept(self):
        found = selection_flow(np.array([1, 0, 0]), None, None, None, ORDER)
        assert [one["name"] for one in found["branches"]] == ["none"]
        assert [(one["name"], one["rows"]) for one in found["outcomes"]] == [("kept", 1), ("no reason given", 2)]

    def test_agrees_with_counting_one_by_one(self):
        rng = np.random.default_rng(3)
        selected = rng.integers(0, 2, 500)
        variants = rng.choice(np.array([*ORDER, None], object), 500).tolist()
        reasons = [f"r{n}" for n in rng.integers(0, 4, 500)]
        found = selection_flow(selected, variants, reasons, None, ORDER)
        expected = Counter(zip(map(bool, selected), (name or "none" for name in variants), reasons, strict=True))
        seen = Counter()
        for link in found["links"]:
            outcome = found["outcomes"][link["outcome"]]
            reason = outcome["name"].removeprefix("kept: ")
            seen[outcome["kept"], found["branches"][link["branch"]]["name"], reason] += link["rows"]
        assert seen == expected


class TestExtraction:
    def test_by_hand(self):
        found = extraction(
            {
                "original": {},
                "reflect_response": {"no_marker": 3, "ok": 6},
                "reflect_both": {"ok": 7, "ok_prompt_cut": 2},
            }
        )
        assert [(one["name"], one["good"]) for one in found["segments"]] == [
            *(("ok", True), ("ok_prompt_cut", True), ("no_marker", False))
        ]
        assert [(bar["name"], bar["rows"], bar["counts"]) for bar in found["bars"]] == [
            *(("reflect_response", 9, [6, 0, 3]), ("reflect_both", 9, [7, 2, 0]))
        ]
        assert found["bars"][0]["hrefs"][2] == "#/rows?variant=reflect_response&status=no_marker"
        assert found["finding"] == (
            "The oracle's pair was adopted: reflect_response 6 of 9 rows (67 %), reflect_both 9 of 9 rows (100 %)."
        )
        assert texts(found["tables"][0]) == [
            ["reflect_response", "6", "0", "3", "9"],
            ["reflect_both", "7", "2", "0", "9"],
        ]

    def test_of_no_statuses_there_is_none(self):
        assert extraction({}) is None
        assert extraction({"original": {}, "reflect_both": {"ok": 0}}) is None


class TestChanges:
    def test_by_hand(self):
        here = np.array([1, 1, 1, 0, 0, 1, 255])
        there = np.array([1, 1, 0, 1, 0, 255, 1])
        mine = ["original", "original", "original", None, None, "original", None]
        found = changes(here, mine, there, ["original", "reflect_both", None, "original", None, None, "original"])
        (bar,) = found["bars"]
        assert bar["counts"] == [1, 1, 1, 1] and bar["rows"] == 4  # the last two were decided by one side only
        assert found["notes"] == ["1 row kept by neither."]
        assert bar["hrefs"] == [
            *("#/rows?change=alike&kept=1", "#/rows?change=other_variant"),
            *("#/rows?change=kept_only_here", "#/rows?change=kept_only_there"),
        ]

    def test_of_nothing_kept_has_no_bar(self):
        none = np.zeros(3, int)
        assert changes(none, [None] * 3, none, [None] * 3)["bars"] == []
