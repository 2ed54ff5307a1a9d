import shutil

import pyarrow.parquet as pq
import pytest

from hub_cards.errors import StoppedError
from hub_cards.publishing.manifest import write_manifest
from hub_cards.publishing.push import make_repository, push_folder
from hub_cards.publishing.read_back import DifferentError, compare, read_back
from hub_cards.publishing.target import Target

MODEL = "38 tensors, 2,557,632 parameters"
TEXTS = [f"text {number}" for number in range(30)]


def pushed(target: Target, folder) -> dict:
    make_repository(target)
    commit = push_folder(target, folder, "Publish").commit
    return described(target, folder, commit)


def described(target: Target, folder, commit: str, whole: bool = True) -> dict:
    return {
        "repo_id": target.repo_id,
        "repo_type": target.repo_type,
        "commit": commit,
        "folder": str(folder),
        "where": target.where,
        "whole": whole,
    }


@pytest.fixture
def rows(hub, lay_out):
    folder = lay_out("rows", TEXTS, score=[None, *(number / 7 for number in range(29))])
    return pushed(Target("tester/rows", "dataset", "dataset", "--hub_dataset_id"), folder)


@pytest.fixture
def model(hub, quickstart, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(quickstart / "student", folder)
    write_manifest(folder, "model")
    return pushed(Target("tester/model", "model", "model", "--hub_model_id"), folder)


def test_what_was_pushed_is_what_is_there(rows, model):
    assert compare(rows) == "2 configs, 60 rows"
    assert compare(model) == MODEL


def test_it_is_read_in_a_new_process_with_an_empty_cache(hub, rows, model):
    hub.clear()
    seen = read_back([rows, model])
    assert seen == ["2 configs, 60 rows", MODEL]
    fetched = [one["path"] for one in hub.requests("GET", "/resolve/")]
    assert any(path.endswith("README.md") for path in fetched)
    assert {one["user"] for one in hub.requests("GET", "/api/")} == {"tester"}


def test_a_file_that_the_hub_stores_otherwise_is_found(hub, lay_out):
    folder = lay_out("rows", TEXTS)
    target = Target("tester/rows", "dataset", "dataset", "--hub_dataset_id")
    make_repository(target)
    hub.fault("POST", "/commit/", replace={"plots/flow.png": "another plot"})
    commit = push_folder(target, folder, "Publish").commit
    with pytest.raises(DifferentError, match=r"plots/flow.png is not the file that was pushed"):
        compare(described(target, folder, commit))
    with pytest.raises(StoppedError, match=r"so it is not called published: run the same command again"):
        read_back([described(target, folder, commit)])


def test_a_file_that_is_missing_is_found(hub, rows):
    commit = hub.put("dataset", "tester/other", {"README.md": "none"})
    with pytest.raises(DifferentError, match="is not there"):
        compare({**rows, "repo_id": "tester/other", "commit": commit})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.slice(1), "has 30 rows and not 29"),
        (lambda table: table.rename_columns(["row_id", "output", "points"]), "has the features"),
        (lambda table: table.set_column(1, "output", [["other", *TEXTS[1:]]]), "its first 20 rows are not those"),
    ],
)
def test_rows_that_differ_are_found_by_their_numbers_features_and_values(hub, rows, lay_out, monkeypatch, change, said):
    """Were the Hub's own hashes wrong, the rows themselves would tell."""
    monkeypatch.setattr("hub_cards.publishing.read_back.compare_files", lambda *_: None)
    folder = lay_out("changed", TEXTS, score=[None, *(number / 7 for number in range(29))])
    for path in folder.glob("original/*.parquet"):
        pq.write_table(change(pq.read_table(path).replace_schema_metadata(None)), path)
    with pytest.raises(DifferentError, match=said):
        compare({**rows, "folder": str(folder)})


def test_a_model_that_differs_is_found(hub, model, tmp_path, monkeypatch):
    monkeypatch.setattr("hub_cards.publishing.read_back.compare_files", lambda *_: None)
    other = tmp_path / "other"
    shutil.copytree(model["folder"], other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"rms_norm_eps": 1e-0', '"rms_norm_eps": 1e-1'))
    with pytest.raises(DifferentError, match="its configuration is not the one that was pushed"):
        compare({**model, "folder": str(other)})


def test_files_put_beside_are_compared_alone(hub, rows, lay_out, tmp_path):
    (tmp_path / "page/plots").mkdir(parents=True)
    shutil.copy(f"{rows['folder']}/plots/flow.png", tmp_path / "page/plots")
    write_manifest(tmp_path / "page", "dataset")
    assert compare({**rows, "folder": str(tmp_path / "page"), "whole": False}) == "1 file"
