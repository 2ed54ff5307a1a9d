"""The real huggingface_hub and transformers against the local Hub: repositories, commits, revisions, files, access."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

BOTH = [pytest.param("model", id="model"), pytest.param("dataset", id="dataset")]


def add(**files: str | bytes) -> list[CommitOperationAdd]:
    """Files by name, where an underscore stands for a dot."""
    return [
        CommitOperationAdd(name.replace("_", "."), content if isinstance(content, bytes) else content.encode())
        for name, content in files.items()
    ]


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi()


class TestModel:
    def test_comes_back_bit_for_bit(self, hub, api, quickstart, tmp_path):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        student = quickstart / "student"
        model, tokenizer = AutoModelForCausalLM.from_pretrained(student), AutoTokenizer.from_pretrained(student)
        model.save_pretrained(tmp_path / "saved")
        tokenizer.save_pretrained(tmp_path / "saved")
        api.create_repo("tester/student", private=True)
        commit = api.upload_folder(repo_id="tester/student", folder_path=tmp_path / "saved")
        api.upload_file(repo_id="tester/student", path_or_fileobj=b"{}", path_in_repo="config.json")
        hub.fresh_cache()
        loaded = AutoModelForCausalLM.from_pretrained("tester/student", revision=commit.oid)
        theirs = loaded.state_dict()
        assert theirs.keys() == model.state_dict().keys()
        assert all(torch.equal(weights, theirs[name]) for name, weights in model.state_dict().items())
        text = "### Instruction: what is a river?"
        assert AutoTokenizer.from_pretrained("tester/student", revision=commit.oid)(text) == tokenizer(text)
        weights = api.get_safetensors_metadata("tester/student")
        assert sum(weights.parameter_count.values()) == sum(part.numel() for part in model.parameters())

    def test_snapshot_is_the_folder(self, hub, api, tmp_path):
        for name, content in {"a.txt": b"a", "deep/er/b.bin": bytes(100), "empty": b""}.items():
            (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "given" / name).write_bytes(content)
        api.create_repo("tester/m")
        api.upload_folder(repo_id="tester/m", folder_path=tmp_path / "given")
        got = Path(snapshot_download("tester/m"))
        files = {str(path.relative_to(got)): path.read_bytes() for path in got.rglob("*") if path.is_file()}
        assert files.pop(".gitattributes").startswith(b"*.7z filter=lfs")
        assert files == {"a.txt": b"a", "deep/er/b.bin": bytes(100), "empty": b""}
        assert {path for path, file in hub.repo("model", "tester/m")["files"].items() if file["lfs"]} == {
            "deep/er/b.bin"
        }


class TestGit:
    def test_ids_are_those_of_git(self, hub, api, tmp_path):
        """The tree that git itself writes for the same files."""
        content = {"a.txt": b"text\n", "x/b/c.txt": b"a dot sorts before a slash\n", "x/b.txt": b"", "x/b/d/e": b"e"}
        oid = hub.put("model", "tester/m", content)
        for path in [".gitattributes", *content]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(hub.read("model", "tester/m", path))
        run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
        subprocess.run("git init -q . && git add --all", shell=True, **run)
        root = subprocess.run("git write-tree", shell=True, **run).stdout.strip()
        ls = subprocess.run(f"git ls-tree -r -t {root}", shell=True, **run).stdout
        git = {line.split("\t")[1]: line.split("\t")[0].split()[2] for line in ls.splitlines()}
        told = {
            entry.path: getattr(entry, "blob_id", None) or entry.tree_id
            for entry in api.list_repo_tree("tester/m", recursive=True, revision=oid)
        }
        assert told == git

    def test_every_commit_stays_readable(self, hub, api):
        first = hub.put("dataset", "tester/d", {"a.txt": "1", "gone.txt": "x"})
        second = api.create_commit(
            "tester/d",
            [*add(a_txt="2"), CommitOperationDelete("gone.txt")],
            commit_message="Second",
            commit_description="Why",
            repo_type="dataset",
            parent_commit=first,
        )
        assert hub.read("dataset", "tester/d", "a.txt", first) == b"1"
        assert api.list_repo_files("tester/d", repo_type="dataset") == [".gitattributes", "a.txt"]
        commits = api.list_repo_commits("tester/d", repo_type="dataset")
        assert [(one.title, one.message) for one in commits][:2] == [("Second", "Why"), ("Add files", "")]
        assert [one.commit_id for one in commits][:2] == [second.oid, first]
        last = {
            entry.path: entry.last_commit.oid
            for entry in api.list_repo_tree("tester/d", repo_type="dataset", expand=True)
        }
        assert last == {".gitattributes": commits[-1].commit_id, "a.txt": second.oid}

    def test_operations(self, hub, api):
        hub.put("model", "tester/m", {"old/a.txt": "a", "old/b.bin": bytes(9), "keep.txt": "k"})
        api.create_commit(
            "tester/m",
            [CommitOperationCopy("old/b.bin", "new.bin"), CommitOperationDelete("old/a.txt"), *add(x_txt="x")],
            commit_message="m",
        )
        assert set(hub.repo("model", "tester/m")["files"]) == {
            ".gitattributes",
            "keep.txt",
            "new.bin",
            "old/b.bin",
            "x.txt",
        }
        assert hub.read("model", "tester/m", "new.bin") == bytes(9)
        api.delete_folder("old", "tester/m")
        assert set(hub.repo("model", "tester/m")["files"]) == {".gitattributes", "keep.txt", "new.bin", "x.txt"}
        with pytest.raises(EntryNotFoundError):
            api.delete_file("none.txt", "tester/m")

    def test_moved_branch_is_412(self, hub, api):
        first = hub.put("model", "tester/m", {"a.txt": "1"})
        hub.put("model", "tester/m", {"a.txt": "2"})
        with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
            api.create_commit("tester/m", add(a_txt="3"), commit_message="m", parent_commit=first)
        assert caught.value.response.status_code == 412
        assert hub.read("model", "tester/m", "a.txt") == b"2"

    def test_no_change_is_no_commit(self, hub, api):
        head = hub.put("model", "tester/m", {"a.txt": "1", "b.bin": bytes(9)})
        again = api.create_commit("tester/m", add(a_txt="1", b_bin=bytes(9)), commit_message="again")
        assert (again.oid, hub.repo("model", "tester/m")["head"]) == (head, head)
        assert hub.requests("POST", "/commit/") + hub.requests("PUT") == []

    def test_lfs_file_that_was_not_uploaded_is_refused(self, hub):
        hub.put("model", "tester/m", {})
        lines = b'{"key":"header","value":{"summary":"m"}}\n{"key":"lfsFile","value":{"path":"a","oid":"%b"}}' % (
            b"0" * 64
        )
        url = f"{hub.url}/api/models/tester/m/commit/main"
        reply = get_session().post(url, content=lines, headers={"authorization": f"Bearer {hub.token}"})
        assert (reply.status_code, "LFS pointer" in reply.json()["error"]) == (400, True)


class TestRevisions:
    @pytest.mark.parametrize("kind", BOTH)
    def test_branches_and_tags(self, hub, api, kind):
        first = hub.put(kind, "tester/r", {"a.txt": "1"})
        second = hub.put(kind, "tester/r", {"a.txt": "2"})
        api.create_tag("tester/r", repo_type=kind, tag="run/1", revision=first, tag_message="The first")
        api.create_branch("tester/r", repo_type=kind, branch="side/way", revision="run/1")
        third = api.create_commit("tester/r", add(a_txt="3"), commit_message="m", repo_type=kind, revision="side/way")
        refs = api.list_repo_refs("tester/r", repo_type=kind)
        assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": second, "side/way": third.oid}
        assert {ref.name: ref.target_commit for ref in refs.tags} == {"run/1": first}
        read = [
            Path(hf_hub_download("tester/r", "a.txt", repo_type=kind, revision=revision)).read_text()
            for revision in ("run/1", "main", "side/way", first[:12])
        ]
        assert read == ["1", "2", "3", "1"]
        api.delete_tag("tester/r", repo_type=kind, tag="run/1")
        api.delete_branch("tester/r", repo_type=kind, branch="side/way")
        assert (hub.repo(kind, "tester/r")["tags"], list(hub.repo(kind, "tester/r")["branches"])) == ({}, ["main"])

    def test_taken_names_are_409_and_unknown_ones_404(self, hub, api):
        hub.put("model", "tester/m", {})
        for make in (
            lambda **more: api.create_tag("tester/m", tag="t", **more),
            lambda **more: api.create_branch("tester/m", branch="b", **more),
        ):
            make()
            with pytest.raises(HfHubHTTPError) as caught:
                make()
            assert caught.value.response.status_code == 409
            make(exist_ok=True)
        with pytest.raises(RevisionNotFoundError):
            api.repo_info("tester/m", revision="none")
        with pytest.raises(RevisionNotFoundError):
            api.create_commit("tester/m", add(a="1"), commit_message="m", revision="t")
        with pytest.raises(BadRequestError):
            api.create_branch("tester/m", branch="refs/pr/1")
        with pytest.raises(HfHubHTTPError, match="403"):
            api.delete_branch("tester/m", branch="main")


class TestFiles:
    def test_tree_in_pages(self, hub, api):
        names = [f"d/{letter}.txt" for letter in "abcdefg"]
        hub.put("dataset", "tester/d", dict.fromkeys(names, "x"))
        hub.configure(page_size=3)
        assert api.list_repo_files("tester/d", repo_type="dataset") == [".gitattributes", *names]
        assert len(hub.requests("GET", "/tree/main")) == 3  # eight files and a folder
        with pytest.raises(EntryNotFoundError):
            list(api.list_repo_tree("tester/d", "none", repo_type="dataset"))

    def test_sizes_and_hashes(self, hub, api):
        content = bytes(range(256))
        hub.put("model", "tester/m", {"w.bin": content, "t.txt": "text"})
        siblings = {one.rfilename: one for one in api.model_info("tester/m", files_metadata=True).siblings}
        assert (siblings["t.txt"].size, siblings["t.txt"].lfs) == (4, None)
        assert siblings["t.txt"].blob_id == hashlib.sha1(b"blob 4\0text").hexdigest()
        assert siblings["w.bin"].lfs.sha256 == hashlib.sha256(content).hexdigest()
        found = api.get_paths_info("tester/m", ["w.bin", "none", "t.txt"])
        assert [(one.path, one.size, one.lfs is not None) for one in found] == [
            ("w.bin", 256, True),
            ("t.txt", 4, False),
        ]

    @pytest.mark.parametrize("name", ["w.bin", "w.txt"])
    def test_ranges(self, hub, name):
        content = b"0123456789" * 100
        hub.put("dataset", "tester/d", {name: content})
        with HfFileSystem(block_size=64).open(f"datasets/tester/d/{name}") as file:
            file.seek(500)
            assert file.read(10) == b"0123456789"
        served = [line for line in hub.requests("GET", r"/w\.") if line["status"] == 206]
        assert [(line["range"], line["sent"]) for line in served] == [("bytes=500-573", 74)]
        for asked, status, body in (
            ("bytes=-3", 206, b"789"),
            ("bytes=998-", 206, b"89"),
            ("bytes=0-1", 206, b"01"),
            ("bytes=1000-", 416, None),
        ):
            reply = get_session().get(f"{hub.url}/datasets/tester/d/resolve/main/{name}", headers={"range": asked})
            assert reply.status_code == status
            assert body in (None, reply.content)
        assert reply.headers["content-range"] == "bytes */1000"

    def test_storage_is_another_origin_that_sees_no_token(self, hub, api):
        api.create_repo("tester/m", private=True)
        api.upload_file(repo_id="tester/m", path_or_fileobj=bytes(100), path_in_repo="w.bin")
        hf_hub_download("tester/m", "w.bin")
        storage = hub.requests(server="storage")
        assert [(line["method"], line["authorization"]) for line in storage] == [("PUT", False), ("GET", False)]
        # Nor does it hand out anything without its own signature, or where a token comes along.
        url = f"{hub.storage_url}{storage[1]['path']}"
        assert get_session().get(url).status_code == 403
        signed = f"{url}?{storage[1]['query']}"
        assert get_session().get(signed).content == bytes(100)
        assert get_session().get(signed, headers={"authorization": f"Bearer {hub.token}"}).status_code == 400

    def test_bytes_must_be_those_announced(self, hub):
        hub.put("model", "tester/m", {})
        headers = {"authorization": f"Bearer {hub.token}"}
        thing = {"oid": hashlib.sha256(b"right").hexdigest(), "size": 5}
        url = f"{hub.url}/tester/m.git/info/lfs"
        reply = get_session().post(f"{url}/objects/batch", json={"objects": [thing]}, headers=headers)
        place = reply.json()["objects"][0]["actions"]["upload"]["href"]
        assert get_session().put(place, content=b"wrong").status_code == 400
        assert get_session().post(f"{url}/verify", json=thing, headers=headers).status_code == 404
        assert get_session().put(place, content=b"right").status_code == 200
        assert get_session().post(f"{url}/verify", json=thing, headers=headers).status_code == 200

    def test_upload_in_parts(self, hub, api):
        api.create_repo("tester/m")
        hub.configure(part_size=30)
        api.upload_file(repo_id="tester/m", path_or_fileobj=bytes(range(100)), path_in_repo="w.bin")
        assert hub.read("model", "tester/m", "w.bin") == bytes(range(100))
        assert [line["received"] for line in hub.requests("PUT")] == [30, 30, 30, 10]

    def test_size_makes_a_file_lfs(self, hub, api):
        api.create_repo("tester/m")
        hub.configure(lfs_threshold=50)
        api.create_commit("tester/m", add(small_txt="x" * 50, large_txt="x" * 51), commit_message="m")
        files = hub.repo("model", "tester/m")["files"]
        assert (files["small.txt"]["lfs"], files["large.txt"]["lfs"]) == (False, True)


class TestAccess:
    def test_whoami(self, hub, api):
        me = api.whoami()
        assert (me["name"], me["auth"]["accessToken"]["role"]) == ("tester", "write")
        assert {org["name"]: org["roleInOrg"] for org in me["orgs"]} == {"lab": "write", "library": "read"}
        assert api.whoami(hub.read_token)["auth"]["accessToken"]["role"] == "read"
        assert api.whoami(hub.other_token)["name"] == "stranger"
        with pytest.raises(HfHubHTTPError, match="Invalid user token"):
            api.whoami(hub.bad_token)
        hub.login(None)
        with pytest.raises(LocalTokenNotFoundError):
            api.whoami()

    @pytest.mark.parametrize(
        ("token", "status"), [("other_token", 404), (None, 401), ("read_token", 200), ("token", 200)]
    )
    def test_private_repository(self, hub, api, token, status):
        hub.put("dataset", "tester/d", {"a.txt": "1"}, private=True)
        hub.login(getattr(hub, token) if token else None)
        for call in (
            lambda: api.repo_info("tester/d", repo_type="dataset"),
            lambda: hf_hub_download("tester/d", "a.txt", repo_type="dataset"),
        ):
            if status == 200:
                call()
            else:
                with pytest.raises(RepositoryNotFoundError) as caught:
                    call()
                assert caught.value.response.status_code == status
        assert {line["status"] for line in hub.requests()} == {status}

    @pytest.mark.parametrize("name", ["tester/none", "gpt2"])
    def test_what_is_not_there_is_not_found(self, hub, api, name):
        assert not api.repo_exists(name)
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(name, "config.json")
        hub.put("model", name, {"config.json": "{}"})
        assert api.repo_exists(name)
        assert [ref.name for ref in api.list_repo_refs(name).branches] == ["main"]
        assert Path(hf_hub_download(name, "config.json")).read_text() == "{}"

    def test_bad_token_is_told_from_a_missing_repository(self, hub, api):
        hub.login(hub.bad_token)
        with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as caught:
            api.repo_exists("tester/none")
        assert (type(caught.value), caught.value.response.status_code) == (HfHubHTTPError, 401)

    @pytest.mark.parametrize(
        ("token", "where", "words"),
        [
            ("read_token", "tester", "must use a write token"),
            ("other_token", "tester", "create_pr=1"),
            ("token", "library", "create_pr=1"),
        ],
    )
    def test_writing_where_one_may_not_is_403(self, hub, api, token, where, words):
        hub.put("model", f"{where}/m", {})
        hub.login(getattr(hub, token))
        with pytest.raises(HfHubHTTPError, match=words) as caught:
            api.upload_file(repo_id=f"{where}/m", path_or_fileobj=b"1", path_in_repo="a.txt")
        assert caught.value.response.status_code == 403
        with pytest.raises(HfHubHTTPError, match=f'rights to create a dataset under the namespace "{where}"'):
            api.create_repo(f"{where}/new", repo_type="dataset")
        with pytest.raises(HfHubHTTPError, match="403"):
            api.auth_check(f"{where}/m", write=True)

    @pytest.mark.parametrize("kind", BOTH)
    def test_create_change_delete(self, hub, api, kind):
        url = api.create_repo("lab/new", repo_type=kind, private=True)
        assert (url.repo_id, url.repo_type) == ("lab/new", kind)
        with pytest.raises(HfHubHTTPError, match="already created this") as caught:
            api.create_repo("lab/new", repo_type=kind)
        assert caught.value.response.status_code == 409
        assert api.create_repo("lab/new", repo_type=kind, exist_ok=True) == url
        api.update_repo_settings("lab/new", repo_type=kind, private=False)
        assert api.repo_info("lab/new", repo_type=kind).private is False
        api.delete_repo("lab/new", repo_type=kind)
        assert hub.repo(kind, "lab/new") is None

    @pytest.mark.parametrize("name", ["a--b", "a.git", "-a", "a b", "x" * 97])
    def test_bad_names_are_400(self, hub, name):
        # The client would not even ask.
        headers = {"authorization": f"Bearer {hub.token}"}
        reply = get_session().post(f"{hub.url}/api/repos/create", json={"name": name}, headers=headers)
        assert (reply.status_code, "Invalid repo name" in reply.json()["error"]) == (400, True)
