"""The script on the published logs and on saved verdicts."""

import json
from pathlib import Path

import pytest
from datasets import DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records, write_records
from training.reviews import read_reviews
from training.win_rate import compare_sets
from training.win_rates_config import WinRatesConfig

LOGS = Path(__file__).parents[1] / "training/judge_logs"
VICUNA, WIZARD = (LOGS / f"{name}_reviews_gpt4.json" for name in ("vicuna", "wizardlm"))


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """A folder as evaluate_model saves it, its verdicts those of a log."""
    folder = tmp_path / "evaluate"
    verdicts = DatasetDict(vicuna=read_reviews(VICUNA).verdicts)
    verdicts.save_to_disk(folder / "verdicts")
    (folder / "results.json").write_text("{}")
    write_records(folder, [StepRecord("evaluate", 1, {"judge": "j"}, {}).finished({}, 1.0, result="digest")])
    return folder


def record(text: str, review: str = "8 7", reverse: str = "7 8", **more) -> dict:
    return {"text": text, "Answer1": "a", "Answer2": "b", "review": review, "review_reverse": reverse, **more}


def write_log(path: Path, *records: dict) -> Path:
    path.write_text(json.dumps({"Meta_Info": {}, "data": list(records)}), encoding="utf-8")
    return path


def test_logs_and_saved_verdicts_give_the_published_counts_in_table_report_and_record(script, evaluation, tmp_path):
    flags = ("--reviews", WIZARD, evaluation, "--output_dir", tmp_path / "out")
    done = script("win_rates.py", *flags)
    assert done.returncode == 0, done.stderr
    lines = [line.split()[:7] for line in done.stdout.splitlines()]
    assert ["wizardlm_reviews_gpt4", "218", "102", "54", "62", "0", "1.183"] in lines
    assert ["vicuna", "80", "44", "15", "21", "0", "1.288"] in lines
    assert ["total", "298", "146", "69", "83", "0", "1.211"] in lines
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.md", "chart.svg", "chart.png", "provenance.json"}
    report = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "| vicuna | 80 | 44 | 15 | 21 | 0 |" in report and "![chart](chart.svg)" in report
    first, saved = read_records(tmp_path / "out")
    assert (first.step, saved.step) == ("evaluate", "win_rates")
    assert [source.location for source in saved.inputs.values()] == [str(WIZARD), str(evaluation)]
    wanted = compare_sets(
        {"wizardlm_reviews_gpt4": read_reviews(WIZARD).verdicts, "vicuna": read_reviews(VICUNA).verdicts}
    )
    assert saved.counts["judge"] == {name: found.as_dict() for name, found in wanted.items()}

    again = script("win_rates.py", *flags)
    assert again.returncode == 0 and "up to date" in again.stdout
    assert again.stdout.split("test set", 1)[1] == done.stdout.split("test set", 1)[1]


class TestConfig:
    def test_folder_of_logs_is_all_of_them(self, capsys):
        found = WinRatesConfig([str(LOGS)]).verdicts()
        names = ("vicuna_reviews_gpt3.5", "vicuna_reviews_gpt4", "wizardlm_reviews_gpt3.5", "wizardlm_reviews_gpt4")
        assert tuple(found) == names
        # 80 of Vicuna and 218 of WizardLM, each judged twice; one question is of both.
        assert "warning: 297 question(s) stand in several sets" in capsys.readouterr().out

    def test_says_what_a_reader_should_know(self, tmp_path, capsys):
        first = write_log(tmp_path / "first.json", record("Why?", scores="[7, 8]"), record("How?", scores="[1, 1]"))
        second = write_log(tmp_path / "second.json", record("Why?"), record("Who?"))
        WinRatesConfig([str(first), str(second)]).verdicts()
        said = capsys.readouterr().out
        assert "record 0: scores is '[7, 8]', the review says 8 7 (and 1 more); the review counts" in said
        assert "warning: 1 question(s) stand in several sets" in said

    def test_key_is_that_of_the_content(self, tmp_path, evaluation):
        log = write_log(tmp_path / "log.json", record("Why?"))
        config = WinRatesConfig([str(log), str(evaluation)])
        before = config.planned_record().fingerprint
        assert WinRatesConfig(config.reviews, output_dir="elsewhere").planned_record().fingerprint == before
        write_log(log, record("Why?", review="7 8"))
        assert config.planned_record().fingerprint != before

    def test_key_of_saved_verdicts_is_that_of_their_result(self, evaluation):
        before = WinRatesConfig([str(evaluation)]).planned_record().fingerprint
        write_records(evaluation, [StepRecord("evaluate", 1, {"judge": "j"}, {}).finished({}, 1.0, result="other")])
        assert WinRatesConfig([str(evaluation)]).planned_record().fingerprint != before

    def test_two_sets_of_one_name_are_refused(self, evaluation):
        with pytest.raises(BadInputError, match=r"--reviews .*evaluate: a second set is named vicuna"):
            WinRatesConfig([str(evaluation)] * 2).verdicts()

    @pytest.mark.parametrize(
        ("reviews", "said"),
        [(["no/such/thing"], "--reviews no/such/thing: there is no such file"), ([], r"--reviews \[\]: name at least")],
    )
    def test_what_is_not_there_is_refused(self, reviews, said):
        with pytest.raises(BadInputError, match=said):
            WinRatesConfig(reviews).planned_record()

    def test_folder_without_verdicts_is_refused(self, tmp_path):
        with pytest.raises(BadInputError, match="holds neither verdicts, as evaluate_model saves them, nor"):
            WinRatesConfig([str(tmp_path)]).verdicts()
        (tmp_path / "answers").mkdir()
        with pytest.raises(BadInputError, match="an evaluation without verdicts; evaluate with --judge and --baseline"):
            WinRatesConfig([str(tmp_path)]).verdicts()
