"""Saving all or nothing, refusing other people's folders, and the lock."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, read_records
from hub_cards.storage import (
    check_output_dir,
    is_disk_full,
    is_up_to_date,
    load_folder,
    locked,
    new_file,
    new_folder,
    save_result,
    work_dir,
)

SCORE = StepRecord("score", 1, {"max_length": 512}, {})
HOLD = """
import sys
from pathlib import Path
from hub_cards.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def result(text: str) -> DatasetDict:
    return DatasetDict(original=Dataset.from_dict({"row_id": [text], "score": [None]}))


class TestSaveResult:
    def test_comes_back_with_its_lineage(self, tmp_path):
        earlier = StepRecord("reflect", 1, {}, {})
        save_result(tmp_path / "out", result("a"), [earlier, SCORE])
        assert load_folder(tmp_path / "out")["original"].to_list() == [{"row_id": "a", "score": None}]
        assert read_records(tmp_path / "out") == [earlier, SCORE]

    def test_replaces_the_old_result_and_leaves_nothing_beside_it(self, tmp_path):
        save_result(tmp_path / "out", result("old"), [SCORE])
        (tmp_path / "out" / "note.txt").write_text("of the old result")
        work_dir(tmp_path / "out").mkdir()
        save_result(tmp_path / "out", result("new"), [SCORE])
        assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["new"]
        assert not (tmp_path / "out" / "note.txt").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_makes_missing_parents(self, tmp_path):
        save_result(tmp_path / "a" / "b" / "out", result("x"), [SCORE])
        assert load_folder(tmp_path / "a" / "b" / "out")["original"]["row_id"][:] == ["x"]


class TestNewFolder:
    def test_exception_leaves_nothing_at_the_place_and_keeps_the_finished_parts(self, tmp_path):
        work = work_dir(tmp_path / "out")
        work.mkdir()
        (work / "shard.arrow").write_text("paid for")
        with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError
        assert not (tmp_path / "out").exists()
        assert (work / "shard.arrow").read_text() == "paid for"

    def test_exception_leaves_the_old_result_untouched(self, tmp_path):
        save_result(tmp_path / "out", result("old"), [SCORE])
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as folder:
            (folder / "half.txt").write_text("half")
            raise KeyboardInterrupt
        after = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert after == before

    def test_leftovers_of_a_crash_do_not_get_into_the_next_result(self, tmp_path):
        with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError
        with new_folder(tmp_path / "out") as folder:
            assert list(folder.iterdir()) == []
            (folder / "whole.txt").write_text("whole")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole.txt"]

    def test_place_is_empty_until_all_is_written(self, tmp_path):
        with new_folder(tmp_path / "out") as folder:
            assert folder.parent == tmp_path  # the same file system, so that renaming it is one step
            assert not (tmp_path / "out").exists()
        assert (tmp_path / "out").is_dir()


class TestNewFile:
    def test_appears_when_it_is_whole(self, tmp_path):
        path = tmp_path / "deep/file.jsonl"
        with new_file(path, "--to") as file:
            file.write("é\n")
            assert not path.exists()
        assert path.read_text(encoding="utf-8") == "é\n"
        assert list(path.parent.iterdir()) == [path]

    def test_leaves_nothing_when_writing_fails(self, tmp_path):
        with pytest.raises(ZeroDivisionError), new_file(tmp_path / "file", "--to") as file:
            file.write("half")
            1 / 0  # noqa: B018
        assert list(tmp_path.iterdir()) == []

    def test_never_replaces_a_file(self, tmp_path):
        (tmp_path / "file").write_text("precious")
        with pytest.raises(BadInputError, match=r"--to .*file: exists"), new_file(tmp_path / "file", "--to"):
            pass
        assert (tmp_path / "file").read_text() == "precious"

    def test_of_a_folder_that_is_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").write_text("precious")
        with pytest.raises(BadInputError, match=r"--to .*: cannot be written"), new_file(tmp_path / "file/a", "--to"):
            pass


class TestUpToDate:
    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            (SCORE, True),
            (SCORE.finished({"rows": 1}, 9), True),
            (StepRecord("score", 2, {"max_length": 512}, {}), False),
            (StepRecord("score", 1, {"max_length": 513}, {}), False),
            (StepRecord("select", 1, {"max_length": 512}, {}), False),
            (StepRecord("reflect", 1, {}, {}), False),
        ],
        ids=["same", "same with counts", "version", "config", "step", "an earlier step of the lineage"],
    )
    def test_only_by_the_same_fingerprint_in_the_last_place(self, record, expected, tmp_path):
        save_result(tmp_path / "out", result("a"), [StepRecord("reflect", 1, {}, {}), SCORE])
        assert is_up_to_date(tmp_path / "out", record) is expected

    @pytest.mark.parametrize(("unfinished", "expected"), [(0, True), (1, False)])
    def test_while_unfinished_it_is_not(self, unfinished, expected, tmp_path):
        save_result(tmp_path / "out", result("a"), [SCORE.finished({}, 9, unfinished=unfinished)])
        assert is_up_to_date(tmp_path / "out", SCORE) is expected

    def test_nothing_there_is_not(self, tmp_path):
        assert not is_up_to_date(tmp_path / "out", SCORE)
        assert not is_up_to_date(tmp_path, SCORE)


class TestCheckOutputDir:
    def test_new_empty_or_own_earlier_result_is_fine(self, tmp_path):
        (tmp_path / "empty").mkdir()
        save_result(tmp_path / "own", result("a"), [StepRecord("score", 7, {"other": 1}, {})])
        for name in ("new", "empty", "own"):
            check_output_dir(tmp_path / name, "score")

    def test_file(self, tmp_path, complaint):
        (tmp_path / "out").write_text("x")
        assert complaint(check_output_dir, tmp_path / "out", "score") == f"--output_dir {tmp_path / 'out'}: is a file"

    @pytest.mark.parametrize("name", ["thesis.tex", "provenance.json", "dataset_dict.json"])
    def test_foreign_files(self, name, tmp_path, complaint):
        (tmp_path / name).write_text("{}")
        message = complaint(check_output_dir, tmp_path, "score")
        assert message.startswith(f"--output_dir {tmp_path}: holds files that no stage of ours wrote")

    def test_result_of_another_step(self, tmp_path, complaint):
        save_result(tmp_path / "out", result("a"), [SCORE, StepRecord("select", 1, {}, {})])
        message = complaint(check_output_dir, tmp_path / "out", "score")
        assert message.startswith(f"--output_dir {tmp_path / 'out'}: holds a result of the select step")


@pytest.fixture
def holder(root: Path, tmp_path: Path):
    """A second process that holds the lock of `tmp_path/out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


class TestLock:
    def test_of_another_process_is_respected_and_dies_with_it(self, holder, tmp_path, complaint):
        def write_it():
            with locked(tmp_path / "out"):
                pass

        expected = f"--output_dir {tmp_path / 'out'}: another process is writing it right now"
        assert complaint(write_it) == expected
        with locked(tmp_path / "elsewhere"):  # another result is not concerned
            pass
        holder.kill()
        holder.wait()
        write_it()

    def test_is_released_after_an_exception(self, tmp_path):
        with pytest.raises(RuntimeError), locked(tmp_path / "out"):
            raise RuntimeError
        with locked(tmp_path / "out"):
            pass

    @pytest.mark.parametrize("place", ["file/out", "file/deep/out"])
    def test_parent_that_cannot_be_made(self, place, tmp_path, complaint):
        (tmp_path / "file").write_text("x")

        def write_it():
            with locked(tmp_path / place):
                pass

        assert complaint(write_it).startswith(f"--output_dir {tmp_path / place}: cannot be written (")


class TestLoadFolder:
    def test_folder_without_a_data_set(self, tmp_path, complaint):
        assert complaint(load_folder, tmp_path) == f"{tmp_path}: holds no data set saved by a stage"

    def test_data_set_that_no_stage_saved(self, tmp_path, complaint):
        result("a").save_to_disk(tmp_path / "foreign")
        assert "holds no data set saved by a stage" in complaint(load_folder, tmp_path / "foreign")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False), (errno.ENOENT, False), (None, False)],
)
def test_disk_is_full_only_by_its_own_error_numbers(number, expected):
    error = OSError(number, "message") if number else OSError("no number")
    assert is_disk_full(error) is expected
