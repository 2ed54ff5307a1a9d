"""A data set's files at one commit: what a revision names, what is fetched and read, offline and when the Hub fails."""

import io
import json
import subprocess
import sys
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.hub.remote import FIRST_BLOCK, HubFolder, resolve_commit
from hub_cards.sources import download, find_model, find_source

FILES = {
    "README.md": "---\n---\n",
    "data/train.jsonl": '{"instruction": "a", "output": "b"}\n',
    "notes.txt": "x" * 300_000,
}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """What `ask` waits between its tries takes no time."""
    monkeypatch.setattr("hub_cards.hub.client.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def commit(hub) -> str:
    return hub.put("dataset", "tester/set", FILES)


def resolve(revision=None, repo_id="tester/set", repo_type="dataset", flag="--dataset") -> str:
    return resolve_commit(repo_id, revision, repo_type, flag)


class TestResolveCommit:
    def test_branch_and_commit(self, hub, commit):
        newer = hub.put("dataset", "tester/set", {"more.txt": "x"})
        assert resolve() == resolve("main") == resolve(newer) == newer
        assert resolve(commit) == commit

    def test_tag(self, hub, commit):
        from huggingface_hub import HfApi

        HfApi().create_tag("tester/set", tag="run-1", repo_type="dataset")
        hub.put("dataset", "tester/set", {"more.txt": "x"})
        assert resolve("run-1") == commit != resolve()
        HubFolder("tester/set", commit).sizes()
        hub.go_offline()
        assert resolve("run-1") == commit

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            (
                {"revision": "v9"},
                "--dataset tester/set (no such local path): the repository has no revision 'v9'; name a",
            ),
            ({"repo_id": "tester/none"}, "--dataset tester/none (no such local path): there is no such repository on"),
            ({"repo_id": "a//b"}, "--dataset a//b (no such local path): is no name of a repository"),
            ({"repo_type": "model", "flag": "--model_name_or_path"}, "--model_name_or_path tester/set (no such local"),
        ],
    )
    @pytest.mark.usefixtures("commit")
    def test_what_is_not_there(self, asked, said, complaint):
        assert complaint(resolve, **asked).startswith(said)

    @pytest.mark.usefixtures("commit")
    def test_a_repository_of_the_other_type(self, hub, complaint):
        hub.put("model", "tester/student", {"config.json": "{}"})
        hub.put("model", "tester/secret", {"config.json": "{}"}, private=True)
        where = "--dataset tester/student (no such local path): "
        assert complaint(find_source, "tester/student") == (
            f"{where}is a model, not a data set; name a data set on the Hub, or a local path"
        )
        assert "is a data set, not a model; name a model" in complaint(find_model, "tester/set")
        hub.clear()
        assert "there is no such repository" in complaint(find_source, "tester/none")
        assert [one["path"].removesuffix("/revision/main") for one in hub.requests()] == [
            "/api/datasets/tester/none",
            "/api/models/tester/none",
        ]
        hub.login(hub.other_token)
        assert "there is no such repository" in complaint(find_source, "tester/secret")

    def test_the_refusal_stands_where_the_other_type_cannot_be_asked(self, hub, complaint):
        hub.fault("GET", "/api/models/tester/none", times=None, status=503)
        assert "there is no such repository" in complaint(find_source, "tester/none")
        assert len(hub.requests("GET", "/api/models/tester/none")) == 1

    @pytest.mark.parametrize("token", ["other_token", "bad_token", None])
    def test_no_access_is_never_answered_from_the_cache(self, token, hub, complaint):
        hub.put("dataset", "tester/secret", FILES, private=True)
        source = find_source("tester/secret")
        download(source)
        hub.login(token and getattr(hub, token))
        message = complaint(find_source, "tester/secret")
        assert message.startswith("--dataset tester/secret (no such local path): ")
        assert "token" in message and "hf_" not in message

    def test_a_gate_that_closed_is_never_passed_by_way_of_the_cache(self, hub, commit, complaint, monkeypatch):
        from huggingface_hub import HfApi

        def repo_info(*args, **options):
            found = ungated(*args, **options)
            found.gated = "manual"
            return found

        ungated = HfApi.repo_info
        monkeypatch.setattr(HfApi, "repo_info", repo_info)
        source = find_source("tester/set")
        download(source)
        assert source.revision == commit
        hub.fault("GET", "/auth-check", times=None, status=403, message="Ask the author")
        assert "Ask the author" in complaint(find_source, "tester/set")

    def test_an_adapter_alone(self, hub, complaint):
        hub.put("model", "tester/adapter", {"adapter_config.json": "{}"})
        assert "holds an adapter and no whole model; merge it" in complaint(find_model, "tester/adapter")

    @pytest.mark.parametrize(
        "fault", [{"status": 429, "retry_after": 1}, {"status": 503}, {"drop": "before"}, {"drop": "after"}]
    )
    def test_a_passing_fault(self, fault, hub, commit):
        hub.fault("GET", "/api/datasets/tester/set", times=2, **fault)
        assert resolve() == commit

    def test_out_of_reach_uses_the_cache_and_says_so(self, hub, commit, capsys):
        hub.fault("GET", "/api/datasets/tester/set", times=None, status=503)
        with pytest.raises(StoppedError, match=r"--dataset tester/set .*the Hub says 503, 5 times"):
            resolve()
        hub.clear()
        source = find_source("tester/set")
        download(source)
        capsys.readouterr()
        hub.put("dataset", "tester/set", {"more.txt": "x"})
        hub.fault("GET", "", times=None, status=503)
        assert find_source("tester/set") == source
        assert (download(source) / "data/train.jsonl").is_file()
        said = capsys.readouterr().out
        assert said.startswith("[hub] the Hub is out of reach (") and "503" in said
        assert said.endswith(f"): using commit {commit[:7]} of tester/set from the cache\n") and said.count("\n") == 1


class TestOffline:
    def test_what_was_resolved_and_fetched_before(self, hub, commit):
        online = find_source("tester/set")
        folder = download(online)
        hub.go_offline()
        assert find_source("tester/set") == find_source("tester/set", commit) == online
        assert download(online) == folder
        assert (folder / "data/train.jsonl").read_text() == FILES["data/train.jsonl"]

    def test_what_the_cache_lacks(self, hub, commit, complaint):
        hub.go_offline()
        message = complaint(find_source, "tester/set", "v1")
        assert message.startswith("--dataset tester/set: HF_HUB_OFFLINE is set and the cache does not hold revision v1")
        assert "`hf download tester/set --repo-type dataset --revision v1`" in message
        assert "commit" not in message
        with pytest.raises(BadInputError, match="does not hold revision"):
            find_source("tester/set", commit)
        hub.go_online()
        source = find_source("tester/set")
        HubFolder("tester/set", commit).sizes()
        hub.go_offline()
        assert find_source("tester/set") == source
        message = complaint(download, source, "--statistics")
        assert message.startswith(
            "--statistics tester/set: HF_HUB_OFFLINE is set and the cache does not hold data/train"
        )

    def test_model(self, hub, complaint):
        hub.put("model", "tester/student", {"config.json": "{}"})
        online = find_model("tester/student")
        hub.go_offline()
        assert "hf download tester/student`" in complaint(find_model, "tester/student")  # resolved, but never loaded
        hub.go_online()
        from huggingface_hub import hf_hub_download

        hf_hub_download("tester/student", "config.json", revision=online.revision)
        hub.go_offline()
        assert find_model("tester/student") == find_model("tester/student", online.revision) == online

    def test_fetched_by_another_program(self, hub, commit):
        from huggingface_hub import snapshot_download

        snapshot_download("tester/set", repo_type="dataset")
        hub.go_offline()
        assert find_source("tester/set").revision == commit
        assert set(HubFolder("tester/set", commit).sizes()) == {".gitattributes", *FILES}

    def test_process_of_its_own(self, hub, commit, root, monkeypatch):
        download(find_source("tester/set"))
        hub.clear()
        monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")  # of its two ways; the other one is in test_prescored_hub.py
        code = (
            "from hub_cards.rows import DataArguments, load_rows; import json\n"
            "arguments = DataArguments('tester/set')\n"
            "print(json.dumps([load_rows(arguments).dataset['output'][:], arguments.source().fingerprint]))\n"
            "DataArguments('tester/other').source()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=100, check=False
        )
        assert json.loads(done.stdout) == [["b"], f"tester/set@{commit}"], done.stderr
        assert (
            "NotCachedError: --dataset tester/other: HF_DATASETS_OFFLINE is set and the cache does not" in done.stderr
        )
        assert hub.requests() == []


class TestFetch:
    def test_only_what_is_asked_for_and_only_once(self, hub, commit):
        folder = HubFolder("tester/set", commit)
        (path,) = folder.fetch([PurePosixPath("data/train.jsonl")])
        assert path.read_text() == FILES["data/train.jsonl"] and folder.moved == len(FILES["data/train.jsonl"])
        assert hub.requests("GET", "notes.txt") == []
        hub.clear()
        again = HubFolder("tester/set", commit)
        assert again.fetch([PurePosixPath("data/train.jsonl")]) == [path]
        assert (hub.requests(), again.moved) == ([], 0)

    def test_the_branch_moves_between_resolving_and_downloading(self, hub, commit):
        source = find_source("tester/set")
        newer = hub.put("dataset", "tester/set", {"data/train.jsonl": "{}", "data/test.jsonl": "{}"})
        folder = download(source)
        assert source.revision == commit != newer
        assert (folder / "data/train.jsonl").read_text() == FILES["data/train.jsonl"]
        assert not (folder / "data/test.jsonl").exists()

    @pytest.mark.parametrize("path", ["/tree/", "/resolve/.*train.jsonl"])
    @pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 1}, {"status": 503}, {"drop": "before"}])
    @pytest.mark.usefixtures("commit")
    def test_a_passing_fault(self, path, fault, hub):
        hub.fault(".*", path, times=3, **fault)
        assert (download(find_source("tester/set")) / "data/train.jsonl").is_file()

    @pytest.mark.parametrize("path", ["/tree/", "/resolve/.*train.jsonl"])
    @pytest.mark.usefixtures("commit")
    def test_a_fault_that_stays(self, path, hub):
        source = find_source("tester/set")
        hub.fault(".*", path, times=None, status=503)
        with pytest.raises(StoppedError, match=r"--dataset tester/set: cannot .*the Hub says 503, 5 times"):
            download(source)

    @pytest.mark.usefixtures("commit")
    def test_a_server_that_hangs(self, hub, monkeypatch):
        from huggingface_hub import constants

        for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
            monkeypatch.setattr(constants, name, 0.2)
        source = find_source("tester/set")
        hub.fault("HEAD|GET", "/resolve/.*train.jsonl", times=1, delay=1.0)
        assert (download(source) / "data/train.jsonl").is_file()

    def test_no_data_files(self, hub, complaint):
        hub.put("dataset", "tester/empty", {"README.md": "x", "provenance.json": "[]", "published_files.json": "{}"})
        source = find_source("tester/empty")
        assert (
            complaint(download, source)
            == "--dataset tester/empty: the repository holds no .json, .jsonl, .parquet files"
        )


class TestInPlace:
    def opened(self, commit: str, path: str = "notes.txt"):
        folder = HubFolder("tester/set", commit)
        return folder, folder.in_place([PurePosixPath(path)])[0]

    def test_lines_in_growing_blocks(self, hub, commit):
        text = "".join(f"line {number}\n" for number in range(200_000))
        commit = hub.put("dataset", "tester/set", {"lines.txt": text})
        folder, file = self.opened(commit, "lines.txt")
        with file.open("rb") as lines:
            assert next(lines) == b"line 0\n" and folder.moved == FIRST_BLOCK
            assert lines.read() == text.encode()[7:]
        assert folder.moved == len(text) and len(hub.requests("GET", "lines.txt", status=206)) == 5

    def test_reads_as_a_local_file(self, hub, commit):
        content = bytes(range(256)) * 2000
        commit = hub.put("dataset", "tester/set", {"bytes.bin": content})
        folder, file = self.opened(commit, "bytes.bin")
        local, remote = io.BytesIO(content), file.open_at_random()
        for offset, whence, size in [
            (0, 0, 10),
            (100, 1, 5),
            (-70_000, 2, 70_000),
            (-8, 2, 100),
            (-20, 2, 4),
            (400_000, 0, 9),
        ]:
            assert (local.seek(offset, whence), local.read(size)) == (remote.seek(offset, whence), remote.read(size))
            assert local.tell() == remote.tell()
        assert file.read_bytes() == content
        ranges = [one["range"] for one in hub.requests("GET", "bytes.bin", status=206)]
        assert len(ranges) == 5  # the end was held
        assert folder.moved == 10 + 5 + 70_000 + 9 + len(content)
        assert not folder.snapshot.exists()

    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"truncate": True}, {"status": 206}])
    def test_a_passing_fault(self, fault, hub, commit):
        _, file = self.opened(commit)
        hub.fault("GET", "notes.txt", times=2, **fault)
        assert file.read_bytes() == FILES["notes.txt"].encode()
