import json
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.oracles import Completion, OracleRequest
from reflection.oracles.recorded import RecordedOracle

LINE = {"id": "alpaca-1", "variant": "reflect_response", "completion": "Better Answer: yes"}


@pytest.fixture
def recorded(tmp_path: Path):
    """An oracle of these records."""

    def make(*records: dict, name: str = "completions.jsonl") -> RecordedOracle:
        file = tmp_path / name
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return RecordedOracle(str(file))

    return make


def request(row_id="hash-1", source_id="alpaca-1", variant="reflect_response", attempt=0) -> OracleRequest:
    return OracleRequest(row_id, source_id, variant, [{"role": "user", "content": "whatever"}], attempt)


def test_a_completion_is_found_by_the_sources_id(recorded):
    found = recorded(LINE).answer(request())
    assert found == Completion("Better Answer: yes", finish_reason="stop", model="recorded")


def test_a_completion_is_found_by_our_row_id(recorded):
    oracle = recorded({"row_id": "hash-1", "variant": "reflect_response", "completion": "by row_id"})
    assert oracle.answer(request(source_id=None)).text == "by row_id"
    assert oracle.answer(request(source_id="alpaca-1")).text == "by row_id"


def test_our_row_id_wins_over_the_sources_id(recorded):
    oracle = recorded(LINE, {"row_id": "hash-1", "variant": "reflect_response", "completion": "by row_id"})
    assert oracle.answer(request()).text == "by row_id"
    assert oracle.answer(request(row_id="hash-2")).text == "Better Answer: yes"


def test_in_a_record_with_both_the_row_id_counts(recorded):
    oracle = recorded({"row_id": "hash-1", **LINE})
    assert oracle.answer(request(source_id=None)).text == "Better Answer: yes"
    assert oracle.answer(request(row_id="hash-2")).text is None


def test_each_variant_has_an_answer_of_its_own(recorded):
    oracle = recorded(*({**LINE, "variant": f"reflect_{name}", "completion": name} for name in ("both", "response")))
    asked = [request(variant=f"reflect_{name}") for name in ("response", "both", "response")]
    assert [oracle.answer(one).text for one in asked] == ["response", "both", "response"]


@pytest.mark.parametrize(
    "asked",
    [
        request(source_id="alpaca-2"),
        request(source_id=None),
        request(variant="reflect_both"),
        request(source_id=""),
    ],
    ids=["another row", "a row without an id", "another variant", "an empty id"],
)
def test_what_was_not_recorded_is_said_to_be_so_and_no_exception(recorded, asked):
    oracle = recorded(LINE)
    assert oracle.answer(asked) == Completion(None, failure="not_recorded", model="recorded")
    assert oracle.answer(request()).text == "Better Answer: yes"


def test_a_run_has_nothing_to_fetch_and_makes_no_job(recorded):
    def jobs():
        raise AssertionError("a job was made")
        yield

    assert recorded(LINE).run(jobs, 3, 1) is None


def test_an_empty_id_in_the_file_is_not_the_id_of_rows_that_have_none(recorded):
    assert recorded({**LINE, "id": ""}).answer(request(source_id=None)).text is None


def test_finish_reason_and_model_are_taken_from_the_record_where_it_has_them(recorded):
    oracle = recorded(
        {**LINE, "finish_reason": "length", "model": "oracle-1"},
        {**LINE, "id": "2", "finish_reason": None, "model": None},
    )
    known, unknown = oracle.answer(request()), oracle.answer(request(source_id="2"))
    assert (known.finish_reason, known.model) == ("length", "oracle-1")
    assert (unknown.finish_reason, unknown.model) == (None, None)


def test_an_empty_completion_is_a_completion(recorded):
    found = recorded({**LINE, "completion": ""}).answer(request())
    assert (found.text, found.failure) == ("", None)


def test_asking_again_gives_the_same_so_it_is_not_offered(recorded):
    oracle = recorded(LINE)
    assert oracle.can_resample is False
    assert oracle.answer(request(attempt=1)) == oracle.answer(request(attempt=0))


def test_blank_lines_are_skipped_and_an_empty_file_answers_nothing(tmp_path):
    file = tmp_path / "completions.jsonl"
    file.write_text(f"\n{json.dumps(LINE)}\n\n", encoding="utf-8")
    assert RecordedOracle(str(file)).answer(request()).text == "Better Answer: yes"
    file.write_text("", encoding="utf-8")
    assert RecordedOracle(str(file)).answer(request()).text is None


def test_the_quickstarts_file_answers_every_variant_of_its_rows(quickstart):
    oracle = RecordedOracle(str(quickstart / "data/completions.jsonl"))
    rows = [json.loads(line) for line in (quickstart / "data/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [
        request(f"hash of {row['id']}", row["id"], variant)
        for row in rows
        for variant in ("reflect_instruction", "reflect_response", "reflect_both")
    ]
    assert len(asked) == 288
    assert all(found.text and found.failure is None for found in map(oracle.answer, asked))


GOOD = json.dumps(LINE)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"variant": "reflect_both", "completion": "x"}', "record 2: row_id or id is None, not a string"),
        ('{"id": true, "variant": "reflect_both", "completion": "x"}', "record 2: row_id or id is True, not a string"),
        ('{"id": "2", "completion": "x"}', "record 2: variant is None, not a string"),
        ('{"id": "2", "variant": ["reflect_both"], "completion": "x"}', "record 2: variant is ['reflect_both'], not"),
        ('{"id": "2", "variant": "reflect_both"}', "record 2: completion is None, not a string"),
        ('{"id": "2", "variant": "reflect_both", "completion": null}', "record 2: completion is None, not a string"),
        (
            '{"id": "2", "variant": "reflect_both", "completion": {"text": "x"}}',
            "record 2: completion is {'text': 'x'}",
        ),
        (
            '{"id": "2", "variant": "both", "completion": "x"}',
            "record 2: variant 'both' is none of reflect_instruction, reflect_response, reflect_both",
        ),
        ('{"id": "2", "variant": "original", "completion": "x"}', "record 2: variant 'original' is none of"),
        ('{"id": "2", "variant": "reflect_both", "completion": "x", "model": 3}', "record 2: model is 3, not a string"),
        (
            '{"id": "2", "variant": "reflect_both", "completion": "x", "finish_reason": ["stop"]}',
            "record 2: finish_reason is ['stop'], not a string",
        ),
        ('{"id": "2", "variant": "reflect_both", "completion": "\\ud83d"}', "record 2: holds half a surrogate pair"),
        (GOOD, "record 2: a second completion for alpaca-1 reflect_response"),
        ('{"id": "2", "variant": "reflect_both", ', "is not JSON"),
        ("[1, 2]", "line 2 is [1, 2], not an object"),
        ("null", "line 2 is null, not an object"),
    ],
)
def test_a_malformed_record_is_refused_in_one_line_that_says_where(tmp_path, line, named):
    file = tmp_path / "completions.jsonl"
    file.write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        RecordedOracle(str(file))
    assert named in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path):
    file = tmp_path / "completions.jsonl"
    file.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(BadInputError, match="is not UTF-8 text") as error:
        RecordedOracle(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_a_missing_file_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(BadInputError) as error:
        RecordedOracle(str(tmp_path / name))
    assert str(error.value) == f"--recorded_path {tmp_path / name}: there is no such file"
