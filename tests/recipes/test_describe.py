"""Tables and plots of a folder of scores, made up by hand, and of a selection from it."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.sources import Source
from hub_cards.storage import save_result
from scoring.describe_config import DescribeConfig
from scoring.report import as_markdown_report, as_terminal, describe_set, draw_set, published_line, tables

PLOTS = {"distributions.png", "ifd_against_rifd.png"}


def scores(ids: str, ifd: list[float | None], tokens: list[int], **more) -> Dataset:
    columns = {"row_id": list(ids), "ifd_ppl": ifd, "rifd_ppl": [0.5] * len(ids), "n_tokens_A": tokens, **more}
    return Dataset.from_dict(columns)


VARIANTS = DatasetDict(
    original=scores("abcd", [0.2, 0.4, None, 0.9], [10, 20, 30, 40]),
    reflect_both=scores("dcba", [0.5, 0.8, 1.1, 0.7], [400, 300, 200, 100]),
)
LEDGER = Dataset.from_dict(
    {
        "row_id": list("bacd"),
        "selected": [False, True, True, False],
        "selected_variant": ["reflect_both", "reflect_both", "reflect_both", "original"],
        "select_reason": ["ifd_not_below_1", "kept", "kept", "response_not_reflected"],
    }
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of scores and a folder of a selection from it."""
    model = Source("folder", "models/tiny", "f-model")
    score = StepRecord("score", 2, {"template": "vicuna"}, {"model": model}).finished({"score_status": {}}, 1.0)
    source = Source("folder", str(tmp_path / "score"), score.result_fingerprint)
    select = StepRecord("select", 1, {}, {"dataset": source}).finished({"rows": 4, "selected": 2}, 1.0)
    save_result(tmp_path / "score", VARIANTS, [score])
    kept = VARIANTS["reflect_both"].select([3, 1])
    save_result(tmp_path / "select", DatasetDict(selected=kept, decisions=LEDGER), [score, select])
    return tmp_path / "score", tmp_path / "select"


class TestScript:
    def test_writes_tables_and_plots_and_is_then_up_to_date(self, script, folders, tmp_path):
        flags = ("--dataset", folders[0], "--selection", folders[1], "--output_dir", tmp_path / "describe")
        done = script("describe.py", *flags)
        assert done.returncode == 0, done.stderr
        written = {path.name for path in (tmp_path / "describe").iterdir()}
        assert written >= {*PLOTS, "selection_flow.png", "statistics.md", "statistics", "provenance.json"}

        saved = {(row["variant"], row["statistic"]): row for row in load_from_disk(tmp_path / "describe")["statistics"]}
        assert {variant for variant, _ in saved} == {"original", "reflect_both", "selected", "dropped"}
        assert saved["selected", "response_tokens"] == {
            "variant": "selected",
            "statistic": "response_tokens",
            "unit": "tokens",
            "n": 2,
            "mean": 200.0,
            "q1": 150.0,
            "median": 200.0,
            "q3": 250.0,  # a and c as reflected: 100 and 300
        }
        assert saved["dropped", "ifd_ppl"]["mean"] == pytest.approx(1.0)  # b as reflected, d as it was: 1.1 and 0.9
        assert saved["original", "ifd_ppl"]["n"] == 3

        report = (tmp_path / "describe/statistics.md").read_text(encoding="utf-8")
        assert "Scored by `models/tiny`, template `vicuna`." in report
        assert "Selected: 2 of 4 rows." in report
        assert "| rows | 4 | 4 | 2 | 2 |" in report
        assert "| response length (tokens) | 200.0 [150.0, 250.0] |" not in report  # the first column is the original
        assert "| 200.0 [150.0, 250.0] |" in report
        assert all(f"({name})" in report for name in (*PLOTS, "selection_flow.png"))
        records = read_records(tmp_path / "describe")
        assert [record.step for record in records] == ["score", "describe"]
        assert records[-1].counts == {"rows": {"original": 4, "reflect_both": 4, "selected": 2, "dropped": 2}}

        assert "rows                             4             4         2        2" in done.stdout
        again = script("describe.py", *flags)
        assert again.returncode == 0, again.stderr
        assert "up to date" in again.stdout
        assert again.stdout.split("mean over", 1)[1] == done.stdout.split("mean over", 1)[1]

    def test_bad_input_is_one_line_and_leaves_nothing_behind(self, script, folders, tmp_path):
        other = DatasetDict(decisions=LEDGER.map(lambda row: {"row_id": f"other {row['row_id']}"}))
        save_result(tmp_path / "other", other, read_records(folders[1]))
        flags = ("--selection", tmp_path / "other", "--output_dir", tmp_path / "describe")
        done = script("describe.py", "--dataset", folders[0], *flags)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "row_id other d, which is not in variant original of --dataset" in done.stderr
        assert not (tmp_path / "describe").exists()


class TestConfig:
    def test_key_is_that_of_the_inputs(self, folders):
        alone = DescribeConfig(str(folders[0])).planned_record()
        both = DescribeConfig(str(folders[0]), str(folders[1])).planned_record()
        assert alone.fingerprint != both.fingerprint
        assert alone.fingerprint == DescribeConfig(str(folders[0]), output_dir="x").planned_record().fingerprint

    @pytest.mark.parametrize("flags", [{"dataset": "no/such"}, {"selection": "no/such"}])
    def test_folder_that_is_not_there(self, folders, flags):
        with pytest.raises(BadInputError, match="no/such: there is no result of a stage"):
            DescribeConfig(**{"dataset": str(folders[0]), **flags}).planned_record()

    def test_folder_of_another_stage_is_no_selection(self, folders):
        with pytest.raises(BadInputError, match=r"--selection .*: holds original, reflect_both and no decisions"):
            DescribeConfig(str(folders[0]), str(folders[0])).ledger()

    def test_ledger_without_its_columns(self, folders, tmp_path):
        part = DatasetDict(decisions=LEDGER.remove_columns(["select_reason"]))
        save_result(tmp_path / "part", part, read_records(folders[1]))
        with pytest.raises(BadInputError, match="its decisions have no column select_reason; select again"):
            DescribeConfig(str(folders[0]), str(tmp_path / "part")).ledger()


class TestReport:
    def test_data_without_scores_are_refused(self):
        with pytest.raises(BadInputError, match=r"has none of the columns n_tokens_Q, .*; run score first"):
            describe_set({"original": Dataset.from_dict({"row_id": ["a"]})})

    def test_columns_of_the_tables_are_the_groups_and_all_statistics_have_a_line(self):
        columns = ("n_tokens_Q", "ppl_Q_direct", "ppl_Q_condition", "ppl_A_direct", "ppl_A_condition", "coherence")
        rows = scores("ab", [0.2, 0.4], [1, 3], **{name: [2.0, 4.0] for name in columns})
        description = describe_set({"original": rows})
        means, quartiles = tables(description.statistics, description.counts["rows"])
        assert [line[0] for line in means[1:]] == [
            "rows",
            "instruction length (tokens)",
            "response length (tokens)",
            "instruction ppl",
            "instruction ppl, given response",
            "response ppl",
            "response ppl, given instruction",
            "coherence (cosine)",
            "IFD",
            "r-IFD",
        ]
        assert [line[0] for line in quartiles[1:]] == [line[0] for line in means[1:]]
        assert ["coherence (cosine)", "3.000 [2.500, 3.500]"] in quartiles
        assert ["response length (tokens)", "2.000"] in means

    def test_group_without_rows_has_dashes(self):
        ledger = Dataset.from_dict({**LEDGER.to_dict(), "selected": [False] * 4})
        description = describe_set(VARIANTS, ledger)
        text = as_terminal(description.statistics, description.counts["rows"])
        assert "rows                             4             4         0        4" in text
        assert "IFD                          0.500         0.775         –    0.875" in text

    def test_without_a_selection_there_is_no_word_of_one(self, folders, tmp_path):
        description = describe_set(VARIANTS)
        description.draw(tmp_path)
        assert {path.name for path in tmp_path.glob("*.png")} == PLOTS
        report = as_markdown_report(description, read_records(folders[0]), [])
        assert "select" not in report.lower()

    @pytest.mark.parametrize(
        ("steps", "gate"),
        [(["selective"] * 4, True), (["selective", "random", "random", "selective"], True), (["cherry"] * 4, False)],
    )
    def test_gate_is_drawn_for_selections_by_it_alone(self, tmp_path, monkeypatch, steps, gate):
        drawn = {}
        monkeypatch.setattr("scoring.report.draw_ratios", lambda *given: drawn.update(gate=given[3]))
        monkeypatch.setattr("scoring.report.draw_distributions", lambda _, groups: drawn.update(groups=[*groups]))
        monkeypatch.setattr("scoring.report.draw_flow", lambda *_: None)
        assert draw_set(VARIANTS, LEDGER.add_column("select_step", steps), tmp_path / "plots")
        assert drawn == {"gate": gate, "groups": ["original", "selected"]}
        describe_set(VARIANTS, LEDGER).draw(tmp_path)
        assert not drawn["gate"]
        describe_set(VARIANTS).draw(tmp_path)
        assert drawn == {"gate": True, "groups": ["original", "reflect_both"]}

    def test_rows_before_a_selection_are_those_of_the_first_variant(self, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr("scoring.report.draw_distributions", lambda _, groups: drawn.extend(groups))
        monkeypatch.setattr("scoring.report.draw_ratios", lambda *_: None)
        monkeypatch.setattr("scoring.report.draw_flow", lambda *_: None)
        ledger = Dataset.from_dict({**LEDGER.to_dict(), "selected_variant": ["reflect_both"] * 4})
        describe_set({"reflect_both": VARIANTS["reflect_both"]}, ledger).draw(tmp_path)
        assert drawn == ["reflect_both", "selected"]

    def test_published_numbers_stand_beside_their_names(self):
        assert "instruction length (tokens) 20.7 → 37.9; response length (tokens) 65.5 → 377.2;" in published_line()
        assert "response ppl, given instruction 49.2 → 2.9; coherence (cosine) 0.53 → 0.67; IFD 0.72 → 0.83." in (
            published_line()
        )
