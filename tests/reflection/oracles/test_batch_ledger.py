from pathlib import Path

import pytest

from reflection.oracles import batch_ledger
from reflection.oracles.base import Completion
from reflection.oracles.batch_ledger import COLLECTED, PREPARED, SUBMITTED, UPLOADED, BatchLedger, Draft, KnownBatch
from reflection.store import IN_MEMORY, Answer, CompletionStore


@pytest.fixture
def store(tmp_path: Path) -> CompletionStore:
    return CompletionStore(str(tmp_path / "completions.sqlite"))


@pytest.fixture
def ledger(store) -> BatchLedger:
    return BatchLedger(store, "here")


def requests(*names: str) -> dict[str, dict]:
    return {name: {"ask": name} for name in names}


class TestBooks:
    def test_follow_a_batch_through_its_life(self, ledger):
        assert ledger.record("b", requests("x", "y")) == 2
        assert ledger.unfinished() == [KnownBatch("b", PREPARED, None, None)]
        ledger.set_uploaded("b", "f")
        assert ledger.unfinished() == [KnownBatch("b", UPLOADED, "f", None)]
        ledger.set_submitted("b", "s")
        assert ledger.unfinished() == []
        assert ledger.under_way("x") == KnownBatch("b", SUBMITTED, "f", "s")
        assert (ledger.size("b"), ledger.request("b", "x"), ledger.request("b", "z")) == (2, {"ask": "x"}, None)
        assert dict(ledger.requests("b")) == requests("x", "y")
        ledger.set_collected("b")
        assert (ledger.state("b"), ledger.under_way("x"), ledger.size("b")) == (COLLECTED, None, 0)

    def test_no_request_is_in_two_batches_that_are_under_way(self, ledger):
        ledger.record("b", requests("x", "y"))
        for change in (lambda: None, lambda: ledger.set_uploaded("b", "f"), lambda: ledger.set_submitted("b", "s")):
            change()
            assert ledger.record("c", requests("x", "y")) == 0
        assert ledger.record("c", requests("y", "z")) == 1
        ledger.set_collected("b")
        assert ledger.record("d", requests("x", "y", "z")) == 2

    def test_what_is_answered_meanwhile_is_not_taken(self, ledger, store):
        request = {"ask": "x"}
        key = store.key(request)
        store.put([Answer(request, Completion("text"), None)])
        assert ledger.record("b", {key: request, "other": {}}) == 1
        assert ledger.unanswered("b") == ["other"]

    def test_tell_which_batches_have_nothing_left_to_bring(self, ledger, store):
        asked = [{"ask": name} for name in "xyz"]
        keys = [store.key(request) for request in asked]
        ledger.record("b", dict(zip(keys[:2], asked[:2], strict=True)))
        ledger.record("c", dict(zip(keys[2:], asked[2:], strict=True)))
        for batch in "bc":
            ledger.set_submitted(batch, "s")
        store.put([Answer(asked[0], Completion("text"), None)])
        assert ledger.answered() == []
        store.put([Answer(asked[1], Completion("text"), None)])
        assert ledger.answered() == ["b"]

    def test_a_released_batch_leaves_nothing(self, ledger):
        ledger.record("b", requests("x"))
        ledger.release("b")
        assert (ledger.state("b"), ledger.under_way("x"), ledger.unfinished()) == (None, None, [])

    def test_another_endpoints_batches_are_its_own(self, ledger, store):
        ledger.record("b", requests("x"))
        there = BatchLedger(store, "there")
        assert (there.unfinished(), there.under_way("x")) == ([], None)
        assert there.record("c", requests("x")) == 1
        assert there.under_way("x").id == "c"
        assert ledger.under_way("x").id == "b"


class TestDraft:
    def test_keeps_no_more_than_a_chunk_in_memory(self, ledger, monkeypatch):
        monkeypatch.setattr(batch_ledger, "CHUNK", 3)
        draft = Draft(ledger)
        seen = []
        for name in "abcdefg":
            draft.add(name, {}, 10)
            seen.append((name in draft, ledger.size(draft.id)))
        assert seen == [(True, 0), (True, 0), (False, 3), (True, 3), (True, 3), (False, 6), (True, 6)]
        draft.flush()
        draft.flush()
        assert (draft.requests, draft.bytes, ledger.size(draft.id), draft.complete) == (7, 70, 7, True)

    def test_tells_that_another_process_was_faster(self, ledger):
        ledger.record("other", requests("a"))
        draft = Draft(ledger)
        for name in "ab":
            draft.add(name, {}, 10)
        draft.flush()
        assert (draft.requests, draft.complete) == (1, False)


class TestLock:
    def test_keeps_others_out_until_it_is_left(self, ledger, tmp_path):
        same = BatchLedger(CompletionStore(str(tmp_path / "completions.sqlite")), "elsewhere")
        waited = []

        def is_held() -> None:
            waited.append("held")
            raise InterruptedError

        with ledger.locked(is_held):
            with pytest.raises(InterruptedError), same.locked(is_held):
                pass
            assert waited == ["held"]
        with same.locked(is_held):
            pass
        assert waited == ["held"]

    def test_a_store_in_memory_needs_none(self):
        with BatchLedger(CompletionStore(IN_MEMORY), "").locked(lambda: None):
            assert not Path(f"{IN_MEMORY}.batches.lock").exists()
