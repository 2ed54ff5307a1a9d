"""One stage of a run: skipped, computed, saved, or refused."""

import pytest
from datasets import Dataset, DatasetDict

from hub_cards.provenance import StepRecord, read_records, write_records
from hub_cards.sources import Source
from hub_cards.stages import find_record, lineage, lineage_of, run_stage, stage
from hub_cards.storage import load_folder, locked, save_result

RECORD = StepRecord("score", 1, {"max_length": 512}, {"dataset": Source("file", "rows.jsonl", "aaa")})
EARLIER = [StepRecord("reflect", 1, {}, {})]


@pytest.fixture(autouse=True)
def main_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)


class Compute:
    """A stage's work that counts its calls."""

    def __init__(self, text: str = "a", error: BaseException | None = None):
        self.calls = 0
        self.text, self.error = text, error

    def __call__(self):
        self.calls += 1
        if self.error:
            raise self.error
        return DatasetDict(original=Dataset.from_dict({"row_id": [self.text]})), {"rows": 1}


def test_result_is_saved_with_the_whole_lineage(tmp_path, capsys):
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute())
    assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["a"]
    reflect, score = read_records(tmp_path / "out")
    assert reflect == EARLIER[0]
    assert (score.fingerprint, score.counts) == (RECORD.fingerprint, {"rows": 1})
    assert score.seconds is not None
    assert "datasets" in score.libraries
    assert capsys.readouterr().out.splitlines() == [
        "[score] reads rows.jsonl",
        f"[score] saved original 1 rows in {tmp_path / 'out'}",
    ]


class TestLineage:
    STEPS = ("reflect", "score", "select", "publish")

    @pytest.fixture
    def published(self, hub, tmp_path) -> Source:
        """A data set as publishing leaves it: the records of its run are beside it."""
        write_records(tmp_path, [StepRecord(step, 1, {}, {}) for step in self.STEPS])
        commit = hub.put_folder("dataset", "tester/rows", tmp_path)
        return Source("hub", "tester/rows", f"tester/rows@{commit}", commit)

    @pytest.mark.parametrize(
        ("step", "config", "steps"),
        [
            ("select", {"config": None}, ["reflect", "score"]),
            ("score", {"config": "original"}, ["reflect", "score"]),
            ("score", {"config": "selected"}, ["reflect", "score", "select"]),
            ("sft", {}, ["reflect", "score", "select"]),
        ],
    )
    def test_of_a_published_data_set_is_what_made_the_rows_that_are_read(self, published, step, config, steps):
        record = StepRecord(step, 1, config, {"dataset": published})
        assert [made.step for made in lineage_of(record, "model", "dataset")] == steps

    def test_of_folders_here_is_all_of_it_each_once(self, tmp_path):
        write_records(tmp_path, [StepRecord(step, 1, {}, {}) for step in self.STEPS])
        here = Source("folder", str(tmp_path), "f")
        record = StepRecord("score", 1, {"config": None}, {"dataset": here, "model": here})
        assert [made.step for made in lineage_of(record, "model", "dataset")] == list(self.STEPS)

    def test_of_what_is_not_ours_is_nothing(self, hub):
        commit = hub.put("dataset", "tester/bare", {"rows.jsonl": "{}"})
        source = Source("hub", "tester/bare", "f", commit)
        assert lineage_of(StepRecord("score", 1, {}, {"dataset": source}), "dataset") == []


def test_second_run_computes_nothing_and_says_so(tmp_path, capsys):
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute())
    capsys.readouterr()
    again = Compute("b")
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, again)
    assert again.calls == 0
    assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["a"]
    assert capsys.readouterr().out == f"[score] up to date: {tmp_path / 'out'}\n"


def test_other_settings_replace_the_result(tmp_path):
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute())
    other = StepRecord("score", 1, {"max_length": 64}, RECORD.inputs)
    run_stage(str(tmp_path / "out"), other, EARLIER, Compute("b"))
    assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["b"]
    assert read_records(tmp_path / "out")[-1].config == {"max_length": 64}


def test_failure_leaves_no_result_and_frees_the_lock(tmp_path):
    with pytest.raises(KeyError):
        run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute(error=KeyError("x")))
    assert not (tmp_path / "out").exists()
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute())
    assert (tmp_path / "out").is_dir()


def test_folder_with_something_else_is_refused_before_any_work(tmp_path, complaint):
    (tmp_path / "thesis.tex").write_text("x")
    compute = Compute()
    assert "files that no stage of ours wrote" in complaint(run_stage, str(tmp_path), RECORD, EARLIER, compute)
    assert compute.calls == 0
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_stage_that_somebody_else_runs_is_refused(tmp_path, complaint):
    compute = Compute()
    with locked(tmp_path / "out"):
        assert "another process is writing it" in complaint(run_stage, str(tmp_path / "out"), RECORD, [], compute)
    assert compute.calls == 0


def test_result_is_locked_while_it_is_made(tmp_path, complaint):
    def lock_again():
        with locked(tmp_path / "out"):
            pass

    with stage(tmp_path / "out", RECORD) as needed:
        assert needed
        assert "another process is writing it" in complaint(lock_again)
    lock_again()


def test_other_ranks_compute_but_neither_lock_nor_save_nor_speak(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    compute = Compute()
    with locked(tmp_path / "out"):  # the main process has it
        run_stage(str(tmp_path / "out"), RECORD, EARLIER, compute)
    assert compute.calls == 1
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().out == ""


class Mending(Compute):
    """Work of which `left` rows may still be mended by another run."""

    def __init__(self, text: str, left: int):
        super().__init__(text)
        self.left = left

    def __call__(self):
        result, counts = super().__call__()
        return result, {**counts, "unfinished": self.left}


def test_unfinished_result_is_saved_and_computed_again_until_it_is_whole(tmp_path):
    first, second, third = Mending("a", 2), Mending("b", 0), Mending("c", 0)
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, first)
    assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["a"]
    record = read_records(tmp_path / "out")[-1]
    assert (record.unfinished, record.counts) == (2, {"rows": 1})
    for work in (second, third):
        run_stage(str(tmp_path / "out"), RECORD, EARLIER, work)
    assert (second.calls, third.calls) == (1, 0)
    assert load_folder(tmp_path / "out")["original"]["row_id"][:] == ["b"]
    assert read_records(tmp_path / "out")[-1].unfinished == 0


def test_what_settings_do_not_settle_is_known_by_its_content(tmp_path):
    for name, text in (("one", "a"), ("same", "a"), ("other", "b")):
        run_stage(str(tmp_path / name), RECORD, EARLIER, Compute(text), settled=False)
    one, same, other = (read_records(tmp_path / name)[-1] for name in ("one", "same", "other"))
    assert one.result == same.result != other.result
    assert one.result_fingerprint == same.result_fingerprint != other.result_fingerprint
    assert one.fingerprint == other.fingerprint == RECORD.fingerprint
    again = Compute("c")
    run_stage(str(tmp_path / "one"), RECORD, EARLIER, again, settled=False)
    assert again.calls == 0


def test_what_settings_settle_is_known_by_them(tmp_path):
    run_stage(str(tmp_path / "out"), RECORD, EARLIER, Compute())
    record = read_records(tmp_path / "out")[-1]
    assert (record.result, record.result_fingerprint) == (None, RECORD.fingerprint)


def test_lineage_is_that_of_the_input_folder(tmp_path):
    save_result(tmp_path / "in", DatasetDict(original=Dataset.from_dict({"a": [1]})), [*EARLIER, RECORD])
    assert lineage(str(tmp_path / "in")) == [*EARLIER, RECORD]
    assert lineage(str(tmp_path / "rows.jsonl")) == lineage("user/name") == []


def test_found_record_is_the_latest_of_its_step():
    later = StepRecord("score", 2, {}, {})
    assert find_record([RECORD, EARLIER[0], later], "score") is later
    assert find_record([RECORD], "select") is None
    assert find_record([], "score") is None
