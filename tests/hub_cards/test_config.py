"""The settings of publish."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from hub_cards.config import PublishConfig
from hub_cards.provenance import read_records, write_records
from hub_cards.publishing.about_run import tag_of
from hub_cards.report.config import ReportConfig
from hub_cards.report.identity import Identity, seal
from hub_cards.sources import Source


@pytest.fixture
def run_folder(tmp_path, lineage):
    """A run with finished score and select."""
    for name, records in (("score", lineage[:2]), ("select", lineage)):
        (tmp_path / "run" / name).mkdir(parents=True)
        write_records(tmp_path / "run" / name, records)
    return tmp_path / "run"


def test_the_licence_is_the_sources_or_must_be_named(run_folder, lineage, complaint, tmp_path):
    config = PublishConfig(folder=str(run_folder))
    said = complaint(config.planned_record)
    assert said.startswith("--license: ") and "states no licence that could be passed on; name it" in said
    (tmp_path / "README.md").write_text("---\nlicense: odc-by\n---\n")
    lineage[0].inputs["dataset"] = Source("folder", str(tmp_path), "f")
    write_records(run_folder / "select", lineage)
    assert config.planned_record().config["license"] == "odc-by"
    assert PublishConfig(folder=str(run_folder), license="mit").planned_record().config["license"] == "mit"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "--folder: name the run to publish"),
        ({"folder": "run", "language": "en"}, "--language 'en': must be a list"),
        ({"folder": "run", "push_to_hub": True}, "--push_to_hub: name --hub_dataset_id user/name, --hub_model_id"),
        ({"folder": "run", "dry_run": True}, "--dry_run: name --hub_dataset_id user/name, --hub_model_id"),
        ({"folder": "run", "hub_statistics_id": "a/b"}, "--hub_statistics_id: goes with --hub_dataset_id"),
    ],
)
def test_settings_that_say_too_little_are_refused(settings, said, complaint):
    assert complaint(PublishConfig, **settings).startswith(said)


def test_a_model_that_was_not_trained_is_not_published(run_folder, complaint):
    config = PublishConfig(folder=str(run_folder), license="mit", push_to_hub=True, hub_model_id="tester/model")
    assert "holds no finished sft, so no model" in complaint(config.planned_record)


def test_the_names_on_the_hub_follow_from_that_of_the_data_set():
    config = PublishConfig(folder="run", hub_dataset_id="a/rows", hub_model_id="b/model", private=False)
    found = {kind: (one.repo_id, one.repo_type, one.kind, one.private) for kind, one in config.targets().items()}
    assert found == {
        "dataset": ("a/rows", "dataset", "dataset", False),
        "statistics": ("a/rows-statistics", "dataset", "statistics", False),
        "model": ("b/model", "model", "model", False),
    }
    assert PublishConfig(folder="run").targets() == {}


def test_the_tag_is_the_runs_or_the_one_that_is_given(run_folder):
    settings = {"folder": str(run_folder), "license": "mit"}
    named, given, local = (
        PublishConfig(**settings, **more)
        for more in ({"hub_dataset_id": "a/rows"}, {"hub_dataset_id": "a/rows", "hub_tag": "v1"}, {})
    )
    assert tag_of(record := named.planned_record()) == f"run-{record.fingerprint[:12]}"
    assert tag_of(given.planned_record()) == "v1"
    assert tag_of(local.planned_record()) is None
    assert local.local_places() == {kind: f"./runs/publish/{kind}" for kind in ("dataset", "statistics")}


@pytest.mark.parametrize(("name", "of"), [("select", "score"), ("sft", "select")])
def test_parts_of_different_runs_are_not_published_together(name, of, run_folder, lineage, sft_record, complaint):
    (run_folder / "sft").mkdir()
    write_records(run_folder / "sft", [*lineage, sft_record])
    config = PublishConfig(folder=str(run_folder), license="mit")
    config.planned_record()
    (*earlier, last) = read_records(run_folder / of)
    write_records(run_folder / of, [*earlier, replace(last, config={**last.config, "other": 1})])
    said = complaint(config.planned_record)
    assert f"its {name} was made of" in said and f"and not of the {of} beside it; run {name} again" in said


def test_inputs_are_the_finished_stages(run_folder, lineage):
    record = PublishConfig(folder=str(run_folder), license="mit").planned_record()
    assert {name: source.fingerprint for name, source in record.inputs.items()} == {
        "score": lineage[1].fingerprint,
        "select": lineage[2].fingerprint,
    }
    assert record.step == "publish"


def test_trained_model_is_one_of_them_where_there_is_one(run_folder, lineage, sft_record):
    without = PublishConfig(folder=str(run_folder), license="mit").planned_record()
    (run_folder / "sft").mkdir()
    write_records(run_folder / "sft", [*lineage, sft_record])
    record = PublishConfig(folder=str(run_folder), license="mit").planned_record()
    assert record.inputs["sft"].fingerprint == sft_record.fingerprint
    assert record.fingerprint != without.fingerprint


class TestReport:
    @pytest.fixture
    def reported(self, run_folder) -> Path:
        """A page on the run, as its first line says."""
        return self.write(run_folder)

    def write(self, run_folder, **settings) -> Path:
        record = ReportConfig(dataset=str(run_folder), **settings).planned_record()
        page = run_folder / "report.html"
        page.write_text(f"<!doctype html>\n<!-- {Identity.of(record).as_line()} -->\n")
        with page.open("a") as file:
            file.write(seal(page))
        return page

    def test_is_one_of_the_inputs_by_its_content(self, reported, run_folder):
        record = PublishConfig(folder=str(run_folder), license="mit").planned_record()
        written = reported.read_bytes()
        digest = hashlib.sha256(written[: written.index(b"<!-- reflection-tuning report ends")]).hexdigest()
        assert record.inputs["report"].fingerprint == digest

    def test_that_was_changed_or_cut_short_is_refused(self, reported, run_folder, complaint):
        for content in (reported.read_bytes() + b" ", reported.read_bytes()[:-20]):
            reported.write_bytes(content)
            assert complaint(PublishConfig(folder=str(run_folder), license="mit").planned_record) == (
                f"{reported}: is cut short, or was changed by hand; run report again, or remove the page"
            )

    def test_of_some_rows_is_refused(self, run_folder, complaint):
        page = self.write(run_folder, limit=2)
        assert complaint(PublishConfig(folder=str(run_folder), license="mit").planned_record) == (
            f"{page}: shows a part of the run only; make it without --limit, or remove the page"
        )

    def test_of_an_earlier_state_of_the_run_is_refused(self, reported, run_folder, complaint):
        (*earlier, last) = read_records(run_folder / "select")
        write_records(run_folder / "select", [*earlier, replace(last, config={**last.config, "other": 1})])
        assert complaint(PublishConfig(folder=str(run_folder), license="mit").planned_record) == (
            f"{reported}: shows another select than the one beside it; run report again, or remove the page"
        )

    def test_of_somebody_else_is_refused(self, reported, run_folder, complaint):
        reported.write_text("<!doctype html>\n<title>mine</title>\n")
        said = complaint(PublishConfig(folder=str(run_folder), license="mit").planned_record)
        assert said == f"{reported}: is no report of ours; remove it, or give it another name"


class TestEvaluation:
    @pytest.fixture
    def evaluated(self, run_folder, lineage, sft_record, evaluate_record):
        """The run with a training and its evaluation; `trained` is the model that was measured."""

        def write(trained=sft_record):
            for name, records in (
                ("sft", [*lineage, sft_record]),
                ("evaluate", [*lineage, trained, evaluate_record]),
            ):
                (run_folder / name).mkdir(exist_ok=True)
                write_records(run_folder / name, records)
            return PublishConfig(folder=str(run_folder), license="mit")

        return write

    def test_is_one_of_the_inputs(self, evaluated, evaluate_record):
        assert evaluated().planned_record().inputs["evaluate"].fingerprint == evaluate_record.fingerprint

    def test_of_another_model_is_refused(self, evaluated, run_folder, sft_record, complaint):
        config = evaluated(replace(sft_record, config={**sft_record.config, "max_steps": 99}))
        assert complaint(config.planned_record) == (
            f"--folder {run_folder}: its evaluate measured another model than the one in sft; evaluate again, or "
            f"remove {run_folder}/evaluate"
        )

    def test_without_its_model_is_left_out(self, evaluated, run_folder):
        config = evaluated()
        (run_folder / "sft/provenance.json").unlink()
        assert set(config.planned_record().inputs) == {"score", "select"}


@pytest.mark.parametrize("missing", ["score", "select"])
def test_unfinished_stage_is_named(missing, run_folder, complaint):
    (run_folder / missing / "provenance.json").unlink()
    config = PublishConfig(folder=str(run_folder), license="mit")
    assert complaint(config.planned_record) == f"--folder {run_folder}: holds no finished {missing}"


@pytest.mark.parametrize("change", [{"license": "apache-2.0"}, {"title": "Other"}, {"notes": "More."}])
def test_what_the_cards_say_is_part_of_the_key(change, run_folder):
    settings = {"folder": str(run_folder), "license": "mit"}
    before, after = (PublishConfig(**options).planned_record() for options in (settings, {**settings, **change}))
    assert before.fingerprint != after.fingerprint


def test_places_are_not_part_of_the_key(run_folder):
    before = PublishConfig(folder=str(run_folder), license="mit").planned_record()
    moved = run_folder.rename(run_folder.parent / "moved")
    after = PublishConfig(folder=str(moved), output_dir="elsewhere", license="mit").planned_record()
    assert before.fingerprint == after.fingerprint
