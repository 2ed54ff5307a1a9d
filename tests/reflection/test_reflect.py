from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset, Value

from hub_cards.schema import ROW_COLUMNS, features
from reflection.oracles import Completion, OracleRequest
from reflection.oracles.base import replay
from reflection.prompts import load_prompts
from reflection.reflect import Asking, ask, assemble
from reflection.statuses import ADOPTED, EXTRACTION_FAILURES, GUARD_FAILURES, NO_TEXT, OPEN, REASONS

ALL = ("reflect_instruction", "reflect_response", "reflect_both")
COLUMNS = [
    "row_id", "source_id", "instruction", "input", "output", "variant",
    "reflection", "reflect_status", "critique", "oracle_model",
]  # fmt: skip


def instruction_answer(instruction: str, output: str) -> Completion:
    text = f"1. Vague.\n2. [New Instruction] {instruction} [End]\n3. [New Answer] {output} [End]"
    return Completion(text, "stop", model="oracle-1")


def better_answer(output: str) -> Completion:
    return Completion(f"1. Short.\n2. [Better Answer] {output} [End]", "stop", model="oracle-1")


class Oracle:
    """Answers by (row_id, variant), a list of answers by attempt; without an answer of its own, a good one."""

    def __init__(self, answers=None, can_resample: bool = True) -> None:
        self.answers = answers or {}
        self.can_resample = can_resample
        self.requests: list[OracleRequest] = []
        self.kept: dict[tuple[str, str, int], Completion] = {}
        self.looked_up: list[tuple[str, str, int]] = []

    def run(self, jobs, total: int, jobs_per_row: int = 1) -> None:
        carried = [replay(job, self._ask) for job in jobs()]
        assert len(carried) == total
        assert total % jobs_per_row == 0

    def _ask(self, request: OracleRequest) -> Completion:
        self.requests.append(request)
        return self.kept.setdefault(key_of(request), self._answer(request))

    def answer(self, request: OracleRequest) -> Completion:
        self.looked_up.append(key_of(request))
        return self.kept.get(key_of(request)) or Completion(None, failure="not_asked")

    def _answer(self, request: OracleRequest) -> Completion:
        scripted = self.answers.get((request.row_id, request.variant))
        if scripted is not None:
            return scripted[request.attempt] if isinstance(scripted, list) else scripted
        if request.variant == "reflect_instruction":
            return instruction_answer(f"x' of {request.row_id}", f"y' of {request.row_id}")
        return better_answer(f"better {request.variant} of {request.row_id}")

    def asked(self) -> list[tuple[str, str, int]]:
        return [key_of(request) for request in self.requests]


def key_of(request: OracleRequest) -> tuple[str, str, int]:
    return request.row_id, request.variant, request.attempt


def make_rows(*rows: tuple[str, str, str, str]) -> Dataset:
    columns = {
        "row_id": [row[0] for row in rows],
        "source_id": [f"source-{row[0]}" for row in rows],
        "instruction": [row[1] for row in rows],
        "input": [row[2] for row in rows],
        "output": [row[3] for row in rows],
        "variant": ["original"] * len(rows),
    }
    return Dataset.from_dict(columns, features=features(ROW_COLUMNS))


ONE = ("a", "Sort.", "3 1 2", "1 2 3")
LONG = (
    "a",
    "Write down which of the three numbers below is the smallest one, and put all of them into their order.",
    "3 1 2",
    "The smallest of the three numbers is one, so that it comes first, and after it there are two and three.",
)
TWO = ("b", "Name a fruit.", "", "Apple.")


@pytest.fixture
def run(tmp_path: Path):
    """Ask and assemble with the published prompts in a folder of its own."""

    def call(rows: Dataset, oracle: Oracle, variants=ALL, key: str = "key"):
        asking = Asking(load_prompts(), can_resample=oracle.can_resample)
        ask(rows, variants, oracle, asking)
        return assemble(rows, variants, oracle, asking, key=key, work_dir=tmp_path / "work")

    return call


def pair(row: dict) -> tuple[str, str, str]:
    return row["instruction"], row["input"], row["output"]


def test_all_variants_of_a_row_with_an_input(run):
    variants, _ = run(make_rows(ONE), Oracle())
    assert variants["original"].to_list() == [
        {
            "row_id": "a",
            "source_id": "source-a",
            "instruction": "Sort.",
            "input": "3 1 2",
            "output": "1 2 3",
            "variant": "original",
            "reflection": None,
            "reflect_status": None,
            "critique": None,
            "oracle_model": None,
        }
    ]
    assert variants["reflect_instruction"].to_list() == [
        {
            "row_id": "a",
            "source_id": "source-a",
            "instruction": "x' of a",
            "input": "",
            "output": "y' of a",
            "variant": "reflect_instruction",
            "reflection": "1. Vague.\n2. [New Instruction] x' of a [End]\n3. [New Answer] y' of a [End]",
            "reflect_status": "ok",
            "critique": "1. Vague.",
            "oracle_model": "oracle-1",
        }
    ]
    assert variants["reflect_response"].to_list() == [
        {
            "row_id": "a",
            "source_id": "source-a",
            "instruction": "Sort.",
            "input": "3 1 2",
            "output": "better reflect_response of a",
            "variant": "reflect_response",
            "reflection": "1. Short.\n2. [Better Answer] better reflect_response of a [End]",
            "reflect_status": "ok",
            "critique": "1. Short.",
            "oracle_model": "oracle-1",
        }
    ]
    assert variants["reflect_both"].to_list() == [
        {
            "row_id": "a",
            "source_id": "source-a",
            "instruction": "x' of a",
            "input": "",
            "output": "better reflect_both of a",
            "variant": "reflect_both",
            "reflection": "1. Short.\n2. [Better Answer] better reflect_both of a [End]",
            "reflect_status": "ok",
            "critique": "1. Short.",
            "oracle_model": "oracle-1",
        }
    ]


def test_the_oracle_is_shown_the_parents_pair_and_the_prompt_of_the_variant(run):
    oracle = Oracle()
    run(make_rows(ONE), oracle)
    shown = {request.variant: request.messages for request in oracle.requests}
    old = "[Instruction]\nSort.\n3 1 2\n\n[The Start of Answer]\n1 2 3\n\n[The End of Answer]\n\n[System]\n"
    new = "[Instruction]\nx' of a\n\n[The Start of Answer]\ny' of a\n\n[The End of Answer]\n\n[System]\n"
    picky = "You are a helpful, precise but picky assistant for checking the quality of "
    for variant, question, system in [
        ("reflect_instruction", old, "a given instruction."),
        ("reflect_response", old, "the answer to a given instruction."),
        ("reflect_both", new, "the answer to a given instruction."),
    ]:
        assert [message["role"] for message in shown[variant]] == ["system", "user"]
        assert shown[variant][0]["content"] == picky + system
        assert shown[variant][1]["content"].startswith(question)
    assert "[New Instruction] your instruction [End]" in shown["reflect_instruction"][1]["content"]
    assert "[Better Answer] your answer [End]" in shown["reflect_response"][1]["content"]
    assert "[Better Answer] your answer [End]" in shown["reflect_both"][1]["content"]


def test_a_request_carries_both_ids_of_its_row(run):
    oracle = Oracle()
    run(make_rows(ONE, TWO), oracle, ["reflect_response"])
    assert [(request.row_id, request.source_id) for request in oracle.requests] == [
        ("a", "source-a"),
        ("b", "source-b"),
    ]


NEW = "1. Vague.\n2. [New Instruction]"
NOTHING = Completion(None, failure="oracle_error", model="oracle-1", detail="500: out of order")
NO_TEXTS = [(Completion(None, failure=status, model="oracle-1"), status) for status in (*NO_TEXT, *OPEN)]
# What another sample cannot mend.
FINAL = {"content_filter", "context_overflow", "oracle_error", "not_asked"}
# completion of instruction reflection → reason; most of them hold one half of a pair
FAILED_INSTRUCTION = [
    (Completion("1. Vague.\n3. [New Answer] A new answer. [End]", "stop"), "missing_instruction"),
    (Completion(f"{NEW} [End]\n[New Answer] A new answer. [End]", "stop"), "missing_instruction"),
    (Completion(f"{NEW} A new instruction. [End]", "stop"), "missing_answer"),
    (Completion(f"{NEW} your instruction [End]\n[New Answer] A new answer. [End]", "stop"), "placeholder"),
    (Completion(f"{NEW} A new instruction. [End]\n[New Answer] your answer [End]", "stop"), "placeholder"),
    (Completion(f"{NEW} N/A [End]\n[New Answer] A new answer. [End]", "stop"), "not_applicable"),
    (Completion(f"{NEW} A new instruction. [End]\n[New Answer] I cannot help with that. [End]", "stop"), "refusal"),
    (Completion(f"{NEW} A new instruction. [End]\n[New Answer] A new ans", "length"), "truncated"),
    (Completion("", "stop"), "empty_completion"),
    (instruction_answer("Sort.\n 3 1 2", "3 2 1"), "instruction_unchanged"),
    (instruction_answer("Sort these numbers.", "1 2 3"), "answer_unchanged"),
    *NO_TEXTS,
]
BETTER = "1. Short.\n2. [Better Answer]"
FAILED_RESPONSE = [
    (Completion("1. Short.\n2. A better answer.", "stop"), "missing_answer"),
    (Completion(f"{BETTER} your answer [End]", "stop"), "placeholder"),
    (Completion(f"{BETTER} N/A [End]", "stop"), "not_applicable"),
    (Completion(f"{BETTER} I'm sorry, I can't assist with that. [End]", "stop"), "refusal"),
    (Completion(f"{BETTER} A bett", "length"), "truncated"),
    (Completion(" \n", "length"), "empty_completion"),
    *NO_TEXTS,
]
LEAKED = "The answer gives no reason for the order that it puts the three numbers into."
# Guards on the answer: the parent of reflect_both has another one.
GUARDED = [
    (better_answer("1 2 3"), "answer_unchanged"),
    (Completion(f"1. {LEAKED}\n2. [Better Answer] {LEAKED} So: 1, 2, 3. [End]", "stop"), "critique_leaked"),
    (Completion("1. Short.\n2. [Better Answer] [New Instruction] Sort. [End]", "stop"), "marker_left"),
    (
        better_answer(
            "Die drei Zahlen werden der Reihe nach verglichen und danach aufsteigend sortiert ausgegeben, weil die "
            "kleinste von ihnen nach dieser Regel immer ganz vorne stehen muss."
        ),
        "language_switched",
    ),
]


@pytest.mark.parametrize(("completion", "reason"), FAILED_INSTRUCTION)
def test_a_failed_instruction_reflection_leaves_the_original_whole(run, completion, reason):
    variants, counts = run(make_rows(ONE), Oracle({("a", "reflect_instruction"): completion}), ["reflect_instruction"])
    (row,) = variants["reflect_instruction"].to_list()
    assert pair(row) == ("Sort.", "3 1 2", "1 2 3")
    assert (row["variant"], row["reflect_status"]) == ("reflect_instruction", reason)
    assert row["reflection"] == completion.text
    assert counts["reflect_status"] == {"reflect_instruction": {reason: 1}}


@pytest.mark.parametrize(("completion", "reason"), FAILED_RESPONSE + GUARDED)
def test_a_failed_response_reflection_leaves_the_original_whole(run, completion, reason):
    rows = make_rows(LONG if reason == "language_switched" else ONE)
    variants, _ = run(rows, Oracle({("a", "reflect_response"): completion}), ["reflect_response"])
    (row,) = variants["reflect_response"].to_list()
    assert pair(row) == pair(rows[0])
    assert (row["variant"], row["reflect_status"]) == ("reflect_response", reason)
    assert row["reflection"] == completion.text


@pytest.mark.parametrize(("completion", "reason"), FAILED_RESPONSE)
def test_a_failed_reflect_both_leaves_the_reflected_instructions_pair_whole(run, completion, reason):
    variants, _ = run(make_rows(ONE), Oracle({("a", "reflect_both"): completion}))
    (row,) = variants["reflect_both"].to_list()
    assert pair(row) == ("x' of a", "", "y' of a")
    assert (row["variant"], row["reflect_status"]) == ("reflect_both", reason)
    assert row["reflection"] == completion.text


@pytest.mark.parametrize(("completion", "reason"), FAILED_INSTRUCTION)
def test_without_a_reflected_instruction_reflect_both_is_the_original_and_is_never_asked(run, completion, reason):
    oracle = Oracle({("a", "reflect_instruction"): completion})
    variants, counts = run(make_rows(ONE, TWO), oracle)
    failed, other = variants["reflect_both"].to_list()
    assert pair(failed) == ("Sort.", "3 1 2", "1 2 3")
    assert failed["reflect_status"] == "parent_not_reflected"
    assert (failed["reflection"], failed["critique"], failed["oracle_model"]) == (None, None, None)
    assert pair(other) == ("x' of b", "", "better reflect_both of b")
    assert [asked for asked in oracle.asked() if asked[1] == "reflect_both"] == [("b", "reflect_both", 0)]
    assert counts["reflect_status"]["reflect_both"] == {"parent_not_reflected": 1, "ok": 1}


def test_a_failed_response_reflection_does_not_keep_reflect_both_from_being_made(run):
    variants, _ = run(make_rows(ONE), Oracle({("a", "reflect_response"): NOTHING}))
    assert variants["reflect_response"]["reflect_status"][:] == ["oracle_error"]
    assert variants["reflect_both"]["output"][:] == ["better reflect_both of a"]


@pytest.mark.parametrize(
    ("variant", "completion", "attempts"),
    [
        *(("reflect_instruction", c, [0] if reason in FINAL else [0, 1]) for c, reason in FAILED_INSTRUCTION),
        *(("reflect_response", c, [0] if reason in FINAL else [0, 1]) for c, reason in FAILED_RESPONSE),
        *(("reflect_both", c, [0] if reason in FINAL else [0, 1]) for c, reason in FAILED_RESPONSE),
    ],
)
def test_what_cannot_be_adopted_is_asked_once_more_with_the_same_messages_unless_no_sample_can_mend_it(
    run, variant, completion, attempts
):
    oracle = Oracle({("a", variant): completion})
    run(make_rows(ONE, TWO), oracle)
    requests = [request for request in oracle.requests if (request.row_id, request.variant) == ("a", variant)]
    assert [request.attempt for request in requests] == attempts
    assert all(request.messages == requests[0].messages for request in requests)
    others = Counter((row, name) for row, name, _ in oracle.asked() if (row, name) != ("a", variant))
    assert set(others.values()) == {1}


@pytest.mark.parametrize("variant", ALL)
def test_a_second_answer_that_is_whole_is_adopted(run, variant):
    second = instruction_answer("x2", "y2") if variant == "reflect_instruction" else better_answer("y2")
    variants, counts = run(make_rows(TWO), Oracle({("b", variant): [Completion("", "stop"), second]}))
    (row,) = variants[variant].to_list()
    expected = {
        "reflect_instruction": ("x2", "", "y2"),
        "reflect_response": ("Name a fruit.", "", "y2"),
        "reflect_both": ("x' of b", "", "y2"),
    }
    assert pair(row) == expected[variant]
    assert (row["reflect_status"], row["reflection"], row["oracle_model"]) == ("ok", second.text, "oracle-1")
    assert counts["reflect_status"][variant] == {"ok": 1}


def test_reflect_both_starts_from_a_pair_that_only_the_second_answer_gave(run):
    oracle = Oracle({("b", "reflect_instruction"): [Completion("", "stop"), instruction_answer("x2", "y2")]})
    variants, _ = run(make_rows(TWO), oracle)
    assert pair(variants["reflect_both"][0]) == ("x2", "", "better reflect_both of b")
    (both,) = [request for request in oracle.requests if request.variant == "reflect_both"]
    assert both.messages[1]["content"].startswith("[Instruction]\nx2\n\n[The Start of Answer]\ny2\n\n")


@pytest.mark.parametrize(
    "second", [Completion("2. [Better Answer] N/A [End]", "stop"), Completion(None, failure="content_filter")]
)
def test_where_the_second_answer_is_no_better_the_first_one_and_its_reason_stay(run, second):
    first = Completion("1. Short.\n2. [Better Answer] I cannot help with that. [End]", "stop", model="oracle-1")
    oracle = Oracle({("a", "reflect_response"): [first, second]})
    variants, _ = run(make_rows(ONE), oracle, ["reflect_response"])
    (row,) = variants["reflect_response"].to_list()
    assert pair(row) == ("Sort.", "3 1 2", "1 2 3")
    assert (row["reflect_status"], row["reflection"], row["critique"]) == ("refusal", first.text, "1. Short.")
    assert len(oracle.requests) == 2


@pytest.mark.parametrize("status", OPEN)
def test_where_the_second_question_is_open_the_row_is_open_and_keeps_what_the_first_answer_said(run, status):
    first = Completion("1. Short.\n2. [Better Answer] I cannot help with that. [End]", "stop", model="oracle-1")
    oracle = Oracle({("a", "reflect_response"): [first, Completion(None, failure=status)]})
    variants, _ = run(make_rows(ONE), oracle, ["reflect_response"])
    (row,) = variants["reflect_response"].to_list()
    assert pair(row) == ("Sort.", "3 1 2", "1 2 3")
    assert (row["reflect_status"], row["reflection"], row["critique"]) == (status, first.text, "1. Short.")


def test_an_oracle_that_would_only_repeat_itself_is_not_asked_again(run):
    oracle = Oracle({("a", variant): Completion("", "stop") for variant in ALL}, can_resample=False)
    run(make_rows(ONE, TWO), oracle)
    assert {attempt for *_, attempt in oracle.asked()} == {0}


@pytest.mark.parametrize(
    ("asked_for", "made"),
    [
        (["reflect_instruction"], ["original", "reflect_instruction"]),
        (["reflect_response"], ["original", "reflect_response"]),
        (["reflect_both"], ["original", "reflect_instruction", "reflect_both"]),
        (["reflect_both", "reflect_response"], ["original", "reflect_instruction", "reflect_response", "reflect_both"]),
    ],
)
def test_only_the_variants_asked_for_are_made_and_what_they_start_from(run, asked_for, made):
    oracle = Oracle()
    variants, counts = run(make_rows(ONE), oracle, asked_for)
    assert list(variants) == made
    assert sorted(variant for _, variant, _ in oracle.asked()) == sorted(made[1:])
    assert list(counts["reflect_status"]) == made[1:]


def many_rows(count: int) -> Dataset:
    return make_rows(
        *((f"row-{n}", f"Question {n}?", f"input {n}" if n % 3 else "", f"Answer {n}.") for n in range(count))
    )


def test_rows_keep_their_order_and_identity_over_many_shards(run, monkeypatch):
    monkeypatch.setattr("reflection.reflect.SHARD_ROWS", 3)
    answers = {(f"row-{n}", "reflect_instruction"): Completion("", "stop") for n in range(0, 11, 2)}
    variants, counts = run(many_rows(11), Oracle(answers))
    for name, rows in variants.items():
        assert rows["row_id"][:] == [f"row-{n}" for n in range(11)]
        assert rows["source_id"][:] == [f"source-row-{n}" for n in range(11)]
        assert set(rows["variant"][:]) == {name}
    for n, row in enumerate(variants["reflect_both"]):
        whole = (f"x' of row-{n}", "", f"better reflect_both of row-{n}")
        kept = (f"Question {n}?", f"input {n}" if n % 3 else "", f"Answer {n}.")
        assert pair(row) == (whole if n % 2 else kept)
    assert counts == {
        "rows": 11,
        "reflect_status": {
            "reflect_instruction": {"empty_completion": 6, "ok": 5},
            "reflect_response": {"ok": 11},
            "reflect_both": {"parent_not_reflected": 6, "ok": 5},
        },
        "meanings": {name: {**ADOPTED, **REASONS}[name] for name in ("ok", "empty_completion", "parent_not_reflected")},
    }


@pytest.mark.parametrize(
    "answers", [{}, {(row, v): NOTHING for row in "ab" for v in ALL}], ids=["all whole", "all failed"]
)
def test_columns_and_types_are_the_contracts_whatever_came_out(run, answers):
    variants, _ = run(make_rows(ONE, TWO), Oracle(answers))
    for rows in variants.values():
        assert rows.column_names == COLUMNS
        assert rows.features == dict.fromkeys(COLUMNS, Value("string"))


def test_exact_duplicates_are_rows_of_their_own(run):
    duplicates = make_rows(("c", "Q", "", "A"), ("c-2", "Q", "", "A"))
    answers = {("c", "reflect_response"): better_answer("first"), ("c-2", "reflect_response"): better_answer("second")}
    variants, _ = run(duplicates, Oracle(answers), ["reflect_response"])
    assert variants["reflect_response"]["output"][:] == ["first", "second"]


def test_no_rows_give_empty_variants_and_ask_nothing(run):
    oracle = Oracle()
    variants, counts = run(make_rows(ONE).select([]), oracle)
    assert {name: len(rows) for name, rows in variants.items()} == dict.fromkeys(("original", *ALL), 0)
    assert all(rows.column_names == COLUMNS for rows in variants.values())
    assert oracle.requests == []
    assert counts["rows"] == 0


class CrashingOracle(Oracle):
    """Dies as the answer for `row_id` is looked up."""

    def __init__(self, row_id: str, variant: str) -> None:
        super().__init__()
        self.deadly = (row_id, variant, 0)

    def answer(self, request: OracleRequest) -> Completion:
        if key_of(request) == self.deadly:
            raise KeyboardInterrupt
        return super().answer(request)


@pytest.mark.parametrize(
    ("crash", "before", "after"),
    [
        (("row-0", "reflect_instruction"), 0, 30),
        (("row-7", "reflect_instruction"), 7, 24),  # shards of 3: rows 0 to 5 are finished
        (("row-9", "reflect_both"), 19, 11),
        (("row-0", "reflect_response"), 20, 10),
    ],
)
def test_after_a_crash_finished_shards_are_not_made_again(run, monkeypatch, crash, before, after):
    monkeypatch.setattr("reflection.reflect.SHARD_ROWS", 3)
    rows = many_rows(10)
    crashing = CrashingOracle(*crash)
    with pytest.raises(KeyboardInterrupt):
        run(rows, crashing)
    assert len(crashing.looked_up) == before
    second = Oracle()
    variants, counts = run(rows, second)
    assert len(second.looked_up) == after
    assert counts["reflect_status"] == {name: {"ok": 10} for name in ALL}
    assert variants["reflect_both"]["output"][:] == [f"better reflect_both of row-{n}" for n in range(10)]


def test_a_result_that_was_made_is_not_made_again_and_another_key_is(run):
    first, again, other = Oracle(), Oracle(), Oracle({("a", "reflect_response"): better_answer("other")})
    variants, counts = run(make_rows(ONE, TWO), first)
    same, same_counts = run(make_rows(ONE, TWO), again)
    assert (len(first.looked_up), len(again.looked_up)) == (6, 0)
    assert same_counts == counts
    assert all(same[name].to_list() == rows.to_list() for name, rows in variants.items())
    changed, _ = run(make_rows(ONE, TWO), other, key="another key")
    assert len(other.looked_up) == 6
    assert changed["reflect_response"]["output"][:] == ["other", "better reflect_response of b"]


def test_every_reason_that_an_answer_can_have_is_shown_above():
    shown = {reason for _, reason in FAILED_INSTRUCTION + FAILED_RESPONSE + GUARDED}
    assert shown == {*EXTRACTION_FAILURES, *GUARD_FAILURES, *NO_TEXT, *OPEN}
