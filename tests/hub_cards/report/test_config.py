"""The settings of report.py: what a page is made of, and which files it may take the place of."""

from dataclasses import replace
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.provenance import read_records, write_records
from hub_cards.report import page
from hub_cards.report.config import ReportConfig, check_output, is_written, named
from hub_cards.report.identity import Identity, seal
from hub_cards.storage import save_result


@pytest.fixture
def run_folder(tmp_path, scored, selection, lineage, sft_record) -> Path:
    folder = tmp_path / "run"
    (folder / "sft").mkdir(parents=True)
    save_result(folder / "score", scored, lineage[:2])
    save_result(folder / "select", selection, lineage)
    write_records(folder / "sft", [*lineage, sft_record])
    return folder


@pytest.fixture
def plan(run_folder):
    """The record of a report on the run."""
    return lambda **settings: ReportConfig(**{"dataset": str(run_folder), **settings}).planned_record()


def change(folder: Path) -> None:
    """As if the last step in a folder had been run with other settings."""
    *earlier, last = read_records(folder)
    write_records(folder, [*earlier, replace(last, config={**last.config, "other": len(str(last))})])


class TestInputs:
    def test_by_role(self, plan, lineage, sft_record):
        _, score, select = lineage
        inputs = {role: source.fingerprint for role, source in plan().inputs.items()}
        assert inputs == {
            "score": score.fingerprint,
            "select": select.fingerprint,
            "sft": sft_record.fingerprint,
            "selection": select.fingerprint,
            "dataset": score.fingerprint,
        }

    def test_of_a_comparison(self, plan, run_folder, lineage):
        compared = plan(compare=str(run_folder / "score")).inputs
        assert compared.keys() - plan().inputs.keys() == {"compared_dataset"}
        assert plan(compare=str(run_folder)).inputs["compared_select"].fingerprint == lineage[2].fingerprint

    def test_of_a_selection_by_itself(self, plan, run_folder):
        assert list(plan(dataset=str(run_folder / "select")).inputs) == ["selection"]

    def test_of_a_file(self, plan, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
        (role, source), *_ = plan(dataset=str(tmp_path / "rows.jsonl")).inputs.items()
        assert (role, source.kind) == ("dataset", "file")

    @pytest.mark.parametrize("stage", ["score", "select", "sft"])
    def test_a_stage_that_was_run_again_makes_another_page(self, plan, run_folder, stage):
        before = plan().fingerprint
        change(run_folder / stage)
        assert plan().fingerprint != before

    def test_so_does_another_comparison_or_selection(self, plan, run_folder):
        score, select = str(run_folder / "score"), str(run_folder / "select")
        settings = [{}, {"compare": score}, {"compare": select}, {"compare": str(run_folder)}]
        settings += [{"dataset": score}, {"dataset": score, "selection": select}]
        before = [plan(**one).fingerprint for one in settings]
        assert len(set(before)) == len(before)
        change(run_folder / "select")
        after = [plan(**one).fingerprint for one in settings]
        assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, False, False, True, False]


class TestFingerprint:
    @pytest.mark.parametrize("settings", [{"title": "Mine"}, {"limit": 2}, {"dataset_config": "original"}])
    def test_changes_with_what_is_shown(self, plan, settings):
        assert plan(**settings).fingerprint != plan().fingerprint

    def test_not_with_the_place_of_the_page(self, plan, tmp_path):
        assert plan(output=str(tmp_path / "other.html")).fingerprint == plan().fingerprint

    def test_not_with_how_the_run_is_written(self, plan, run_folder, monkeypatch):
        monkeypatch.chdir(run_folder.parent)
        assert plan(dataset="run/").fingerprint == plan(dataset="./run").fingerprint == plan().fingerprint

    def test_with_the_name_that_is_its_heading(self, plan, run_folder):
        before = plan().fingerprint
        assert plan(dataset=str(run_folder.rename(run_folder.with_name("moved")))).fingerprint != before

    def test_with_the_name_of_what_it_is_compared_with(self, plan, tmp_path):
        places = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
        for place in places:
            place.write_text('{"instruction": "a", "output": "b"}\n')
        assert len({plan(compare=str(place)).fingerprint for place in places}) == 2

    def test_with_the_sources_of_the_page(self, plan, tmp_path, monkeypatch):
        found = {}
        folder = tmp_path / "page"
        folder.mkdir()
        monkeypatch.setattr(page, "PAGE", folder)
        for name, text in (("a.js", "1"), ("a.js", "2"), ("b.css", ""), ("b.css", "1")):
            (folder / name).write_text(text)
            page.page_digest.cache_clear()
            found[name, text] = plan().fingerprint
        page.page_digest.cache_clear()
        assert len(set(found.values())) == len(found)

    def test_with_the_libraries_in_it(self, monkeypatch, tmp_path):
        before = page.page_digest()
        monkeypatch.setattr(page, "VENDOR", tmp_path)
        page.page_digest.cache_clear()
        assert page.page_digest() != before
        page.page_digest.cache_clear()


class TestHeading:
    def test_the_title_or_the_name(self, run_folder):
        assert ReportConfig(dataset=str(run_folder)).heading() == "run"
        assert ReportConfig(dataset=str(run_folder), title="Mine").heading() == "Mine"


class TestRefused:
    def test_no_dataset(self, complaint):
        assert complaint(ReportConfig) == "--dataset: name the run, or the data, to report on"

    def test_no_page(self, complaint):
        assert complaint(ReportConfig, dataset="x", output="report.htm") == "--output report.htm: must end in .html"

    @pytest.mark.parametrize("name", ["gone", "gone.jsonl", "run/sft"])
    def test_what_is_compared_with_is_named_by_its_flag(self, plan, complaint, tmp_path, name):
        message = complaint(plan, compare=str(tmp_path / name))
        assert message.startswith(f"--compare {tmp_path / name}: ")
        assert "--dataset" not in message
        assert complaint(plan, dataset=str(tmp_path / name)).startswith(f"--dataset {tmp_path / name}: ")

    @pytest.mark.parametrize("kind", [BadInputError, StoppedError])
    def test_whatever_is_said_of_it(self, kind):
        with pytest.raises(kind, match=r"^--compare x: see --dataset_config and --compare$"), named("--compare"):
            raise kind("--dataset x: see --dataset_config and --dataset")

    def test_a_selection_that_is_none(self, plan, complaint, run_folder, tmp_path):
        for place in (run_folder / "score", run_folder, tmp_path / "gone"):
            message = complaint(plan, selection=str(place))
            assert message == f"--selection {place}: holds no decisions; give a folder that select_rows saved"

    def test_decisions_without_a_record(self, plan, complaint, run_folder):
        (run_folder / "select/provenance.json").unlink()
        assert "holds no decisions" in complaint(plan, selection=str(run_folder / "select"))


class TestOutput:
    @pytest.fixture
    def record(self, plan):
        return plan()

    def write(self, path: Path, record) -> Path:
        path.write_text(f"<!doctype html>\n<!-- {Identity.of(record).as_line()} -->\n")
        with path.open("a") as file:
            file.write(seal(path))
        return path

    def test_a_page_of_exactly_this_is_there(self, tmp_path, record, plan):
        path = self.write(tmp_path / "report.html", record)
        check_output(path)
        assert is_written(path, record)
        assert not is_written(path, plan(title="other"))
        assert not is_written(tmp_path / "none.html", record)

    def test_a_page_that_was_cut_short_or_changed_is_made_again(self, tmp_path, record):
        path = self.write(tmp_path / "report.html", record)
        whole = path.read_bytes()
        for content in (whole[:-1], whole[:-90], whole + b"x", whole.replace(b"doctype", b"DOCTYPE")):
            path.write_bytes(content)
            check_output(path)
            assert not is_written(path, record)
        path.write_bytes(whole)
        assert is_written(path, record)

    def test_another_report_may_be_replaced(self, tmp_path, record):
        check_output(self.write(tmp_path / "report.html", replace(record, version=99)))
        check_output(tmp_path / "none.html")

    @pytest.mark.parametrize("kind", ["page", "folder", "binary"])
    def test_all_else_may_not(self, tmp_path, complaint, kind):
        path = tmp_path / "mine.html"
        if kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"<title>mine</title>" if kind == "page" else b"\xff\x00")
        message = f"--output {path}: exists and is no report of ours; choose another name or remove it"
        assert complaint(check_output, path) == message


def test_a_hub_id_is_asked_for_its_commit_once(monkeypatch):
    """A branch may move while a report is made."""
    commits = iter(["a" * 40, "b" * 40])
    asked = []

    def resolve(location, revision, *_):
        asked.append((location, revision))
        return revision or next(commits)

    monkeypatch.setattr("hub_cards.sources.resolve_commit", resolve)
    config = ReportConfig(dataset="me/one", compare="me/two")
    record = config.planned_record()
    assert record.inputs["dataset"].revision == "a" * 40
    assert record.inputs["compared_dataset"].revision == "b" * 40
    assert (config.source().revision, config.other.source().revision) == ("a" * 40, "b" * 40)
