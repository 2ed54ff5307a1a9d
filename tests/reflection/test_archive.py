"""What a store holds, as a table and as JSONL, and back."""

import json
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.archive import EXPORTED, describe, export_completions, forget_empty, import_completions
from reflection.oracles.base import Completion
from reflection.store import Answer, CompletionStore

MILLION = 1_000_000


def request(model: str, text: str) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0}


ANSWERS = [
    Answer(request("gpt-4.1", "a"), Completion("é\u2028\n", "stop", model="gpt-4.1-x", prompt_tokens=MILLION), 0.5),
    Answer(request("gpt-4.1", "b"), Completion("b", "length", completion_tokens=MILLION, batched=True), 1.5),
    Answer(request("mine", "c"), Completion(None, failure="no_choices", detail="nothing"), None),
]
RENDERED = Answer({"model": "mine", "prompt": "USER: a ASSISTANT:", "temperature": 0}, Completion("b", "stop"), None)


@pytest.fixture
def store(tmp_path: Path) -> CompletionStore:
    store = CompletionStore(str(tmp_path / "one.sqlite"))
    store.put(ANSWERS)
    return store


@pytest.fixture
def other(tmp_path: Path) -> CompletionStore:
    return CompletionStore(str(tmp_path / "other.sqlite"))


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class TestDescribe:
    def test_one_line_a_model_with_tokens_and_dollars(self, store):
        header, gpt, mine = describe(store).splitlines()
        # A million tokens in at $2, a million out at $8 and half of it for the batch service.
        assert gpt.split()[:7] == ["gpt-4.1", "2", "0", "1", "1,000,000", "1,000,000", "6.00"]
        assert mine.split()[:7] == ["mine", "1", "1", "0", "0", "0", "–"]
        assert header.split()[0] == "model"

    def test_of_an_empty_store(self, other):
        assert describe(other) == "no completions"


def test_answers_without_a_text_are_forgotten_on_request(store):
    kept = Answer(request("mine", "d"), Completion(None, failure="content_filter"), None)
    store.put([kept])
    assert forget_empty(store) == 1
    assert store.get(store.key(ANSWERS[2].request)) is None
    assert all(store.get(store.key(answer.request)) for answer in (*ANSWERS[:2], kept))


class TestExportAndImport:
    def test_round_trip_keeps_every_answer_under_its_key(self, store, other, tmp_path):
        path = tmp_path / "all.jsonl"
        store.put([RENDERED])
        assert export_completions(store, str(path)) == 4
        assert [set(line) for line in lines_of(path)] == [set(EXPORTED)] * 4
        assert import_completions(other, str(path)) == (4, 4)
        assert list(other.rows()) == list(store.rows())
        for answer in (*ANSWERS, RENDERED):
            key = store.key(answer.request)
            assert other.get(key) == store.get(key) is not None

    def test_again_changes_nothing(self, store, other, tmp_path):
        path = tmp_path / "all.jsonl"
        export_completions(store, str(path))
        import_completions(other, str(path))
        assert import_completions(other, str(path)) == (3, 0)

    def test_an_answer_that_is_there_stays(self, store, other, tmp_path):
        path = tmp_path / "all.jsonl"
        export_completions(store, str(path))
        other.put([Answer(ANSWERS[0].request, Completion("mine"), None)])
        assert import_completions(other, str(path)) == (3, 2)
        assert other.get(other.key(ANSWERS[0].request)).text == "mine"

    def test_of_an_existing_file_is_refused(self, store, tmp_path):
        path = tmp_path / "all.jsonl"
        path.write_text("precious")
        with pytest.raises(BadInputError, match=r"--export_to .*all.jsonl: exists"):
            export_completions(store, str(path))
        assert path.read_text() == "precious"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"request": "no"}, r'line 2: request is "no"'),
            ({"request": {"model": "m"}}, "line 2: request holds no model and messages, or prompt"),
            ({"text": None}, "line 2: exactly one of text and failure"),
            ({"failure": "no_choices"}, "line 2: exactly one of text and failure"),
            ({"text": None, "failure": "oracle_error"}, "line 2: failure is 'oracle_error', none of no_choices"),
            ({"prompt_tokens": "many"}, 'line 2: prompt_tokens is "many"'),
            ({"text": "\ud800"}, "line 2: holds half a surrogate pair"),
        ],
    )
    def test_one_bad_line_leaves_the_store_as_it_was(self, store, other, tmp_path, change, message):
        path = tmp_path / "all.jsonl"
        export_completions(store, str(path))
        lines = lines_of(path)
        lines[1] |= change
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(BadInputError, match=message):
            import_completions(other, str(path))
        assert list(other.rows()) == []

    @pytest.mark.parametrize("content", [b"{", b"[1]\n", b"\xff\n"])
    def test_of_what_is_no_export_is_refused(self, other, tmp_path, content):
        (tmp_path / "bad.jsonl").write_bytes(content)
        with pytest.raises(BadInputError, match=r"--import_from .*bad.jsonl"):
            import_completions(other, str(tmp_path / "bad.jsonl"))

    def test_of_a_missing_file_is_refused(self, other):
        with pytest.raises(BadInputError, match=r"--import_from nowhere.jsonl: cannot be read"):
            import_completions(other, "nowhere.jsonl")
