"""Where data and models come from: local paths and the Hub's cache; what the Hub says is in test_remote.py."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub_cards.provenance import StepRecord, write_records
from hub_cards.sources import Source, find_model, find_source, hash_file, hash_folder, looks_like_hub_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
# What a script would print, one line a look-up.
PROBE = """
import json, sys
from hub_cards.errors import BadInputError, StoppedError
from hub_cards.rows import DataArguments, load_rows
from hub_cards.sources import find_model, find_source
for kind, location, revision in json.loads(sys.argv[1]):
    look_up = {"dataset": find_source, "model": find_model, "rows": lambda d, r: load_rows(DataArguments(d))}[kind]
    try:
        source = look_up(location, revision)
        print(json.dumps([source.kind, source.fingerprint, source.revision]))
    except (BadInputError, StoppedError) as error:
        print(json.dumps(str(error)))
"""


def probe(root: Path, look_ups: list[tuple[str, str, str | None]], **environment: str) -> list:
    """Look up in a process of its own: huggingface_hub reads its environment when it is imported."""
    command = [sys.executable, "-c", PROBE, json.dumps(look_ups)]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestFindSource:
    @pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
    def test_file_is_identified_by_its_bytes(self, name, tmp_path):
        (tmp_path / name).write_bytes(b"abc")
        location = str(tmp_path / name)
        assert find_source(location) == Source("file", location, ABC_SHA256)

    def test_folder_is_identified_by_the_step_that_made_it(self, tmp_path):
        records = [StepRecord("reflect", 1, {}, {}), StepRecord("score", 1, {"max_length": 9}, {})]
        write_records(tmp_path, records)
        assert find_source(str(tmp_path)) == Source("folder", str(tmp_path), records[1].fingerprint)

    def test_folder_of_data_files_is_identified_by_all_of_them(self, tmp_path):
        (tmp_path / "d/data").mkdir(parents=True)
        for name in ("data/train.jsonl", "README.md", ".hidden.json", "dataset_info.json"):
            (tmp_path / "d" / name).write_text(name)
        before = find_source(str(tmp_path / "d"))
        assert before.kind == "folder"
        (tmp_path / "d/README.md").write_text("says something else")
        (tmp_path / "d/dataset_info.json").unlink()
        moved = (tmp_path / "d").rename(tmp_path / "e")
        assert find_source(str(moved)).fingerprint == before.fingerprint
        (moved / "data/train.jsonl").rename(moved / "data/test.jsonl")
        assert find_source(str(moved)).fingerprint != before.fingerprint

    def test_a_large_file_that_changes_is_another_one(self, tmp_path):
        """Its hash is kept for the process, under its size and times."""
        path = tmp_path / "d.jsonl"
        path.write_bytes(b"a" * 2**20)
        os.utime(path, ns=(1, 1))
        before = hash_file(path)
        assert hash_file(path) == before == hashlib.sha256(b"a" * 2**20).hexdigest()
        path.write_bytes(b"b" * 2**20)
        assert hash_file(path) == hashlib.sha256(b"b" * 2**20).hexdigest()

    def test_the_flag_is_the_callers(self, complaint):
        assert complaint(find_source, "./x", None, "--statistics").startswith("--statistics ./x: there is no such file")

    @pytest.mark.parametrize("location", ["no/file.jsonl", "rows.jsonl", "./user/name", "/no/such/folder", "a/b/c"])
    def test_missing_path_is_named(self, location, complaint, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        message = complaint(find_source, location)
        assert message.startswith(f"--dataset {location}: there is no such file or folder")

    @pytest.mark.parametrize("content", [None, "", "not JSON", "[]", "{}", '{"files": []}'])
    def test_folder_that_no_stage_saved(self, content, tmp_path, complaint):
        if content is not None:
            (tmp_path / "provenance.json").write_text(content)
        assert complaint(find_source, str(tmp_path)) == (
            f"--dataset {tmp_path}: the folder was not saved by a stage (it has no provenance.json), and it holds "
            "no .json, .jsonl, .parquet files"
        )

    def test_impossible_hub_id_is_refused_without_asking_the_hub(self, complaint):
        assert complaint(find_source, "my user/name").startswith(
            "--dataset my user/name (no such local path): is no name of a repository"
        )


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("user/name", True),
        ("user/name.v2", True),
        ("name", False),
        ("./name", False),
        ("../name", False),
        ("/data/name", False),
        ("~/name", False),
        ("data/rows.jsonl", False),
        ("a/b/c", False),
    ],
)
def test_only_user_slash_name_looks_like_a_hub_id(location, expected):
    assert looks_like_hub_id(location) is expected


class TestFindModel:
    @pytest.fixture
    def model(self, tmp_path) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
        return folder

    def test_folder_is_identified_by_its_files(self, model):
        source = find_model(str(model))
        assert (source.kind, source.location, source.revision) == ("folder", str(model), None)
        assert source.fingerprint == hash_folder(model)

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"),
            lambda folder: (folder / "model.safetensors").rename(folder / "other.safetensors"),
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            lambda folder: (folder / "model.safetensors").unlink(),
        ],
        ids=["content", "name", "new file", "file gone"],
    )
    def test_fingerprint_changes_with_any_file(self, change, model):
        before = hash_folder(model)
        change(model)
        assert hash_folder(model) != before

    def test_fingerprint_does_not_change_with_place_or_hidden_files(self, model):
        before = hash_folder(model)
        (model / ".cache").write_text("x")
        moved = model.rename(model.parent / "moved")
        assert hash_folder(moved) == before

    @pytest.mark.parametrize("location", ["./no-model", "/no/such/model", "~/model", "a/b/c"])
    def test_missing_folder_is_named(self, location, complaint):
        assert complaint(find_model, location) == f"--model_name_or_path {location}: there is no such folder"

    def test_folder_without_a_model(self, tmp_path, complaint):
        assert "holds no config.json" in complaint(find_model, str(tmp_path))
        (tmp_path / "adapter_config.json").write_text("{}")
        assert "holds an adapter and no whole model; take the folder above it" in complaint(find_model, str(tmp_path))

    def test_file_is_no_model(self, tmp_path, complaint):
        (tmp_path / "m.bin").write_text("x")
        assert "there is no such folder" in complaint(find_model, str(tmp_path / "m.bin"))


def test_hash_file_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert hash_file(tmp_path / "abc") == ABC_SHA256


def test_offline_gives_the_cached_commit_or_one_clear_line(root, tmp_path):
    for repo, file in (("datasets--user--cached", "README.md"), ("models--user--cached", "config.json")):
        snapshot = tmp_path / repo / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (snapshot / file).write_text("{}")
        (tmp_path / repo / "refs").mkdir()
        (tmp_path / repo / "refs" / "main").write_text(COMMIT)
    dataset, model, missing, missing_rows, missing_model, missing_revision = probe(
        root,
        [
            ("dataset", "user/cached", None),
            ("model", "user/cached", "main"),
            ("dataset", "user/missing", None),
            ("rows", "user/missing", None),
            ("model", "gpt2", None),
            ("dataset", "user/cached", "v2"),
        ],
        HF_HUB_OFFLINE="1",
        HF_HUB_CACHE=str(tmp_path),
    )
    assert dataset == ["hub", f"user/cached@{COMMIT}", COMMIT]
    assert model == ["hub", f"user/cached@{COMMIT}", COMMIT]
    for message, start in (
        (missing, "--dataset user/missing: HF_HUB_OFFLINE is set and the cache does not hold revision main of it; "),
        (missing_rows, "--dataset user/missing: HF_HUB_OFFLINE is set and the cache does not hold revision main of it"),
        (missing_model, "--model_name_or_path gpt2: HF_HUB_OFFLINE is set and the cache does not hold revision main"),
        (missing_revision, "--dataset user/cached: HF_HUB_OFFLINE is set and the cache does not hold revision v2 of"),
    ):
        assert message.startswith(start)
        assert "\n" not in message
