"""Tables from step records, as text and as Markdown."""

from dataclasses import replace

import pytest

from hub_cards.tables import (
    as_markdown,
    as_text,
    benchmark_table,
    branch_table,
    cell_text,
    judge_table,
    means_table,
    quartiles_table,
    reason_table,
    settings_line,
    span_line,
    statistics_table,
    status_table,
    usage_line,
)


def test_statistics_have_a_column_a_variant_and_a_dash_for_what_is_missing(lineage):
    assert statistics_table(lineage[1]) == [
        ["mean over the rows", "original", "reflect_response"],
        ["instruction length (tokens)", "2.500", "2.500"],
        ["response length (tokens)", "1,234.5", "30.0"],
        ["instruction ppl", "9.999", "12.2"],
        ["response ppl", "–", "20.0"],
        ["response ppl, given instruction", "–", "10.0"],
        ["IFD", "–", "0.500"],
        ["r-IFD", "–", "1.000"],
    ]


def described(mean: float | None) -> dict:
    """A statistic with a wider spread to the right."""
    found = dict.fromkeys(("mean", "q1", "median", "q3"))
    return found if mean is None else {"mean": mean, "q1": mean / 2, "median": mean, "q3": mean * 100}


GROUPS = {
    "original": {"rows": 4, "coherence": described(None), "ifd_ppl": described(0.5)},
    "selected": {"rows": 2, "coherence": described(None), "ifd_ppl": described(None)},
}
LABELS = {"coherence": "coherence", "ifd_ppl": "IFD", "rifd_ppl": "r-IFD"}


class TestDescribedGroups:
    def test_means_leave_out_what_no_group_has(self):
        assert means_table(GROUPS, LABELS) == [
            ["mean over the rows", "original", "selected"],
            ["IFD", "0.500", "–"],
        ]

    def test_quartiles_stand_around_the_median(self):
        assert quartiles_table(GROUPS, LABELS) == [
            ["median [q1, q3]", "original", "selected"],
            ["IFD", "0.500 [0.250, 50.0]", "–"],
        ]

    def test_a_statistic_that_one_group_lacks_is_a_dash(self):
        groups = {"original": {}, "selected": {"rifd_ppl": described(2.0)}}
        assert means_table(groups, LABELS)[1:] == [["r-IFD", "–", "2.000"]]
        assert quartiles_table(groups, LABELS)[1:] == [["r-IFD", "–", "2.000 [1.000, 200.0]"]]

    def test_record_with_quartiles_shows_the_means_of_the_papers_table(self, lineage):
        statistics = {
            "reflect_response": {"rows": 1, "coherence": described(0.25), "ifd_ppl": described(0.75)},
            "original": {"rows": 1, "coherence": described(0.5), "instruction_ppl_given_response": described(9.0)},
        }
        assert statistics_table(replace(lineage[1], counts={"statistics": statistics})) == [
            ["mean over the rows", "original", "reflect_response"],
            ["coherence (cosine)", "0.500", "0.250"],
            ["IFD", "–", "0.750"],
        ]


def test_statuses_have_a_line_a_variant_and_a_zero_for_what_did_not_occur(lineage):
    assert status_table(lineage[1], "score_status", "variant") == [
        ["variant", "ok", "empty_output", "error"],
        ["original", "2", "2", "0"],
        ["reflect_response", "3", "0", "1"],
    ]


def test_branches_end_with_their_total(lineage):
    assert branch_table(lineage[2]) == [
        ["branch", "won", "kept"],
        ["original", "1", "1"],
        ["reflect_response", "2", "2"],
        ["none", "1", "0"],
        ["total", "4", "3"],
    ]


def test_reasons_are_counted(lineage):
    assert reason_table(lineage[2]) == [["reason", "rows"], ["kept", "3"], ["unscored", "1"]]


USAGE = {"completions": 1234, "without_usage": 0, "prompt_tokens": 2_000_000, "completion_tokens": 500_000}
PRICE = {"input": 0.4, "output": 1.6, "source": "the table of 2026-06"}


class TestUsageLine:
    def line(self, lineage, **usage):
        reflect = lineage[0]
        config = {**reflect.config, "oracle_model": "gpt-4.1-mini"}
        return usage_line(replace(reflect, config=config, counts={**reflect.counts, "usage": {**USAGE, **usage}}))

    def test_says_tokens_and_dollars_and_where_the_price_is_from(self, lineage):
        assert self.line(lineage, cost_usd=1.6, usd_per_million_tokens=PRICE) == (
            "Made from 1,234 completions of `gpt-4.1-mini`: 2,000,000 tokens in, 500,000 tokens out, $1.60 at $0.4 in "
            "and $1.6 out per million tokens (the table of 2026-06; answers of the batch service at its price)."
        )

    def test_without_a_price_says_no_dollars(self, lineage):
        assert self.line(lineage).endswith("2,000,000 tokens in, 500,000 tokens out.")

    def test_says_what_was_not_counted(self, lineage):
        assert "(7 completions came without a count)" in self.line(lineage, without_usage=7)


TABLE = [["name", "n"], ["long name", "5"], ["x", "1,000"]]


def test_span_line_counts_the_rows_of_all_variants(lineage):
    score = lineage[1]
    line = span_line(score)
    rows = sum(variant["rows"] for variant in score.counts["statistics"].values())
    assert line.startswith("Target tokens: `published` (context and target tokenized as one text")
    assert f"`aligned` would score other tokens in 3 of {rows} rows" in line
    assert "in 1 the tokenizer joins" in line
    other = span_line(replace(score, config={**score.config, "span": "aligned"}))
    assert other.startswith("Target tokens: `aligned` (context and target tokenized apart")
    assert "`published` would score" in other


def test_text_has_aligned_columns_numbers_to_the_right():
    assert as_text(TABLE) == "name           n\nlong name      5\nx          1,000"


def test_markdown_has_its_header_line():
    assert as_markdown(TABLE) == "| name | n |\n| --- | ---: |\n| long name | 5 |\n| x | 1,000 |"


def test_markdown_words_stand_to_the_left():
    table = [["outcome", "n", "meaning"], ["ok", "1", "all < well"]]
    expected = "| outcome | n | meaning |\n| --- | ---: | --- |\n| ok | 1 | all < well |"
    assert as_markdown(table, words=True) == expected


def test_markdown_cells_open_no_html_and_leave_code_alone():
    lines = as_markdown([["h"], ["<!-- a"], ["`<b> | c`"], ["<0.001"]]).splitlines()[2:]
    assert lines == ["| &lt;!-- a |", "| `<b> \\| c` |", "| <0.001 |"]


def test_settings_of_any_kind_are_code(lineage):
    record = replace(lineage[0], config={"limit": None, "path": "a`b", "scores": ["x", 1], "flag": True})
    assert settings_line(record) == "path ``a`b``, scores `x, 1`, flag `true`"


@pytest.mark.parametrize(("cell", "shown"), [("a|b", "a\\|b"), ("–", "–")])
def test_markdown_cell_cannot_end_its_column(cell, shown):
    assert as_markdown([["h", "n"], [cell, "1"]]).splitlines()[-1] == f"| {shown} | 1 |"


class TestEvaluationTables:
    def test_comparisons_without_a_valid_pair_are_dashes(self, evaluate_record):
        header, vicuna, koala, total = judge_table(evaluate_record.counts["judge"])
        assert header[:6] == ["test set", "n", "win", "tie", "lose", "invalid"]
        assert vicuna[6:9] == ["1.128", "0.910 to 1.340", "0.282"]
        assert koala == ["koala", "0", "0", "0", "0", "252", *["–"] * 7]
        assert total[5] == "254"

    def test_a_tiny_p_value_is_a_bound(self, evaluate_record):
        found = {**evaluate_record.counts["judge"]["vicuna"], "p_value": 0.00009}
        assert judge_table({"a": found}, "model")[1][8] == "<0.001"

    def test_benchmarks_have_a_line_each(self, evaluate_record):
        header, *lines = benchmark_table(evaluate_record.counts["benchmarks"])
        assert header == ["benchmark", "suite", "metric", "value", "stderr", "shots", "version", "questions"]
        assert lines[1:] == [
            ["gsm8k", "–", "exact_match", "0.250", "–", "5", "3.0", "20 of 1,319"],
            ["open_llm_leaderboard_v1", "open_llm_leaderboard_v1", "mean", "0.400", "–", "–", "–", "–"],
        ]

    def test_benchmarks_of_another_hand_may_say_less(self):
        assert benchmark_table([{"task": "a", "metric": "acc", "value": None}])[1] == ["a", "–", "acc", *["–"] * 5]


@pytest.mark.parametrize(
    ("value", "cell"),
    [("a|b", r"a\|b"), (r"a\|b", r"a\\\|b"), ("a\r\nb\n\nc ", "a b c"), (1.5, "1.5"), ("C:\\dir", "C:\\dir"), ("", "")],
)
def test_a_cell_is_one_line_whose_bars_are_escaped(value, cell):
    assert cell_text(value) == cell
