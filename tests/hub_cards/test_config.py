"""The settings of publish."""

from dataclasses import replace

import pytest

from hub_cards.config import PublishConfig
from hub_cards.provenance import write_records


@pytest.fixture
def run_folder(tmp_path, lineage):
    """A run with finished score and select."""
    for name, records in (("score", lineage[:2]), ("select", lineage)):
        (tmp_path / "run" / name).mkdir(parents=True)
        write_records(tmp_path / "run" / name, records)
    return tmp_path / "run"


def test_licence_must_be_named(complaint):
    assert complaint(PublishConfig, "run").startswith("--license: name the licence of the data")


def test_inputs_are_the_finished_stages(run_folder, lineage):
    record = PublishConfig(str(run_folder), license="mit").planned_record()
    assert {name: source.fingerprint for name, source in record.inputs.items()} == {
        "score": lineage[1].fingerprint,
        "select": lineage[2].fingerprint,
    }
    assert record.step == "publish"


def test_trained_model_is_one_of_them_where_there_is_one(run_folder, lineage, sft_record):
    without = PublishConfig(str(run_folder), license="mit").planned_record()
    (run_folder / "sft").mkdir()
    write_records(run_folder / "sft", [*lineage, sft_record])
    record = PublishConfig(str(run_folder), license="mit").planned_record()
    assert record.inputs["sft"].fingerprint == sft_record.fingerprint
    assert record.fingerprint != without.fingerprint


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
            return PublishConfig(str(run_folder), license="mit")

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
    config = PublishConfig(str(run_folder), license="mit")
    assert complaint(config.planned_record) == f"--folder {run_folder}: holds no finished {missing}"


@pytest.mark.parametrize("change", [{"license": "apache-2.0"}, {"title": "Other"}, {"notes": "More."}])
def test_what_the_cards_say_is_part_of_the_key(change, run_folder):
    settings = {"folder": str(run_folder), "license": "mit"}
    before, after = (PublishConfig(**options).planned_record() for options in (settings, {**settings, **change}))
    assert before.fingerprint != after.fingerprint


def test_places_are_not_part_of_the_key(run_folder):
    before = PublishConfig(str(run_folder), license="mit").planned_record()
    moved = run_folder.rename(run_folder.parent / "moved")
    after = PublishConfig(str(moved), output_dir="elsewhere", license="mit").planned_record()
    assert before.fingerprint == after.fingerprint
