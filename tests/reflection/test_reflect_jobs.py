"""Jobs: what is asked does not depend on the order of answers; cut prompts, structured output, what is left open."""

import random
from pathlib import Path

import pytest
from datasets import Dataset

from hub_cards.schema import ROW_COLUMNS, features
from reflection.oracles import Completion, OracleRequest
from reflection.oracles.base import first_unanswered, replay
from reflection.prompts import load_prompts
from reflection.reflect import Asking, ask, assemble, chains, row_jobs
from reflection.structured import RESPONSE_FORMATS
from reflection.tokens import PromptLimit, load_tokenizer

ALL = ["reflect_instruction", "reflect_response", "reflect_both"]
ROWS = 7


class Oracle:
    """Answers by `write(request)`; carries as many jobs at once as `width` says, in an order of its own."""

    can_resample = True

    def __init__(self, write, width: int = 1, seed: int = 0) -> None:
        self.write, self.width, self.random = write, width, random.Random(seed)
        self.asked: list[OracleRequest] = []
        self.kept: dict[tuple, Completion] = {}
        self.total = self.jobs_per_row = None

    def run(self, jobs, total: int, jobs_per_row: int = 1) -> None:
        self.total, self.jobs_per_row = total, jobs_per_row
        waiting, under_way = iter(jobs()), []
        while True:
            while len(under_way) < self.width and (job := next(waiting, None)) is not None:
                self._go_on(under_way, job, None)
            if not under_way:
                return
            self._go_on(under_way, *under_way.pop(self.random.randrange(len(under_way))))

    def _go_on(self, under_way, job, request) -> None:
        try:
            under_way.append((job, job.send(None if request is None else self._ask(request))))
        except StopIteration:
            return

    def _ask(self, request: OracleRequest) -> Completion:
        self.asked.append(request)
        return self.kept.setdefault(key_of(request), self.write(request))

    def answer(self, request: OracleRequest) -> Completion:
        return self.kept.get(key_of(request), Completion(None, failure="not_asked"))


def key_of(request: OracleRequest) -> tuple:
    return request.messages[1]["content"], request.attempt


def write(request: OracleRequest) -> Completion:
    """A good answer; nothing usable at the first attempt for every third row, at both for the fifth."""
    number = int(request.row_id.split("-")[1])
    if number == 5 or (number % 3 == 0 and request.attempt == 0):
        return Completion("No.", "stop")
    if request.variant == "reflect_instruction":
        text = f"Bad. [New Instruction] What about {number}? [End] [New Answer] It is {request.attempt}. [End]"
    else:
        text = f"Bad. [Better Answer] {request.variant} {number} {request.attempt} [End]"
    return Completion(text, "stop")


@pytest.fixture
def rows() -> Dataset:
    columns = {
        "row_id": [f"row-{n}" for n in range(ROWS)],
        "source_id": [None] * ROWS,
        "instruction": [f"Question {n}?" for n in range(ROWS)],
        "input": [""] * ROWS,
        "output": [f"Answer {n}." for n in range(ROWS)],
        "variant": ["original"] * ROWS,
    }
    return Dataset.from_dict(columns, features=features(ROW_COLUMNS))


@pytest.fixture
def made(rows, tmp_path: Path):
    """What comes out with an oracle, and its counts."""

    def run(oracle: Oracle, variants=ALL, asking: Asking | None = None, source: Dataset = rows, key: str = "key"):
        asking = asking or Asking(load_prompts())
        ask(source, variants, oracle, asking)
        return assemble(source, variants, oracle, asking, key, tmp_path / f"work {key}")

    return run


class TestOrder:
    @pytest.mark.parametrize(("width", "seed"), [(1, 0), (3, 1), (100, 2), (100, 3)])
    def test_of_answers_changes_neither_what_is_asked_nor_what_comes_out(self, made, width, seed):
        oracle = Oracle(write, width, seed)
        variants, counts = made(oracle)
        # By hand: rows 0, 3 and 6 come by a re-ask, row 5 not at all and so is never asked for reflect_both.
        asked = {(request.row_id, request.variant, request.attempt) for request in oracle.asked}
        expected = {(f"row-{n}", variant, 0) for n in range(ROWS) for variant in ALL}
        expected |= {(f"row-{n}", variant, 1) for n in (0, 3, 5, 6) for variant in ALL}
        expected -= {("row-5", "reflect_both", 0), ("row-5", "reflect_both", 1)}
        assert asked == expected
        assert len(oracle.asked) == len(expected)
        again = [1 if n % 3 == 0 else 0 for n in range(ROWS)]
        outputs = [f"reflect_response {n} {again[n]}" if n != 5 else "Answer 5." for n in range(ROWS)]
        assert variants["reflect_response"]["output"][:] == outputs
        both = [f"reflect_both {n} {again[n]}" if n != 5 else "Answer 5." for n in range(ROWS)]
        assert variants["reflect_both"]["output"][:] == both
        asked_for = [f"What about {n}?" if n != 5 else "Question 5?" for n in range(ROWS)]
        assert variants["reflect_both"]["instruction"][:] == asked_for
        assert counts["reflect_status"]["reflect_both"] == {"ok": 6, "parent_not_reflected": 1}

    def test_jobs_are_made_as_they_are_taken(self, rows):
        taken = []

        class Rows:
            def __iter__(self):
                for row in rows:
                    taken.append(row["row_id"])
                    yield row

        jobs = row_jobs(Rows(), ALL, Asking(load_prompts()))
        for _ in range(3):
            next(jobs)
        assert taken == ["row-0", "row-1"]

    @pytest.mark.parametrize(
        ("variants", "expected"),
        [
            (["reflect_instruction"], [("reflect_instruction",)]),
            (["reflect_response"], [("reflect_response",)]),
            (["reflect_both"], [("reflect_instruction", "reflect_both")]),
            (["reflect_response", "reflect_instruction"], [("reflect_instruction",), ("reflect_response",)]),
            (list(reversed(ALL)), [("reflect_instruction", "reflect_both"), ("reflect_response",)]),
        ],
    )
    def test_chains(self, made, variants, expected):
        assert chains(variants) == expected
        oracle = Oracle(write)
        made(oracle, variants)
        assert (oracle.total, oracle.jobs_per_row) == (ROWS * len(expected), len(expected))


class TestJobs:
    def test_first_unanswered_is_where_a_job_stops(self, rows):
        first, response = (list(row_jobs(rows.select([4]), ALL, Asking(load_prompts())))[index] for index in (0, 1))
        assert first_unanswered(response, write) is None
        known = {("reflect_instruction", 0)}
        stopped = first_unanswered(first, lambda r: write(r) if (r.variant, r.attempt) in known else None)
        assert (stopped.variant, stopped.attempt) == ("reflect_both", 0)
        assert stopped.messages[1]["content"].startswith("[Instruction]\nWhat about 4?\n")
        with pytest.raises(StopIteration):  # it is closed
            next(first)

    def test_first_unanswered_may_be_a_second_question(self, rows):
        (job,) = row_jobs(rows.select([3]), ["reflect_response"], Asking(load_prompts()))
        stopped = first_unanswered(job, lambda request: None if request.attempt else write(request))
        assert (stopped.row_id, stopped.attempt) == ("row-3", 1)

    def test_replay_gives_the_jobs_result(self):
        def job():
            one = yield "one"
            two = yield f"two after {one}"
            return [one, two]

        assert replay(job(), str.upper) == ["ONE", "TWO AFTER ONE"]

        def empty():
            return "nothing asked"
            yield

        assert replay(empty(), str.upper) == "nothing asked"

    def test_exact_duplicates_have_one_answer(self, made, rows):
        duplicates = rows.select([1, 1, 1])
        oracle = Oracle(write)
        variants, _ = made(oracle, source=duplicates)
        assert len(oracle.kept) == 3
        assert variants["reflect_both"]["output"][:] == ["reflect_both 1 0"] * 3


class TestOpen:
    def test_what_the_oracle_never_saw_is_not_asked_and_another_run_mends_it(self, made):
        oracle = Oracle(write)
        made(oracle)
        whole, _ = made(oracle, key="whole")
        dropped = [key for key in oracle.kept if "Question 4" in key[0] or "What about 2" in key[0]]
        assert len(dropped) == 3
        gone = {key: oracle.kept.pop(key) for key in dropped}
        oracle.run = lambda *_: None
        part, counts = made(oracle, key="part")
        # Row 4 lacks the answers that its chains begin with, row 2 the one for reflect_both.
        assert counts["reflect_status"]["reflect_response"] == {"ok": 5, "missing_answer": 1, "not_asked": 1}
        assert counts["reflect_status"]["reflect_both"] == {"ok": 4, "parent_not_reflected": 2, "not_asked": 1}
        assert part["reflect_both"]["instruction"][2] == "What about 2?"
        assert part["reflect_both"]["output"][2] == "It is 0."
        oracle.kept |= gone
        mended, _ = made(oracle, key="mended")
        assert {name: part.to_list() for name, part in mended.items()} == {
            name: part.to_list() for name, part in whole.items()
        }


class TestCut:
    @pytest.fixture(scope="class")
    def tokenizer(self, quickstart):
        return load_tokenizer(str(quickstart / "student"))

    def test_a_pair_too_long_for_the_oracle_is_cut_and_its_status_says_so(self, made, rows, tokenizer):
        prompts = load_prompts()
        short = max(
            PromptLimit(tokenizer, 0).count(prompts[kind].messages("Question 0?", "", "Answer 0.")) for kind in prompts
        )
        limit = PromptLimit(tokenizer, short + 40)
        long = rows.to_list()
        long[1]["output"] = "one two three " * 500
        long[2]["instruction"] = "Why is it so? " * 500
        oracle = Oracle(lambda request: write(OracleRequest("row-1", None, request.variant, request.messages)))
        source = Dataset.from_list(long, features=rows.features)
        variants, counts = made(oracle, asking=Asking(prompts, limit=limit), source=source)
        assert variants["reflect_instruction"]["reflect_status"][:3] == ["ok", "ok_prompt_cut", "ok_prompt_cut"]
        assert variants["reflect_response"]["reflect_status"][:3] == ["ok", "ok_prompt_cut", "ok_prompt_cut"]
        # The parent of reflect_both is the new, short pair.
        assert counts["reflect_status"]["reflect_both"] == {"ok": ROWS}
        assert max(limit.count(request.messages) for request in oracle.asked) <= limit.tokens
        assert variants["original"]["output"][1] == "one two three " * 500

    def test_a_cut_pair_without_a_usable_answer_has_the_reason_and_stays_whole(self, made, rows, tokenizer):
        limit = PromptLimit(tokenizer, 400)
        long = rows.select([5]).to_list()
        long[0]["output"] = "one two three " * 500
        source = Dataset.from_list(long, features=rows.features)
        variants, _ = made(Oracle(write), ["reflect_response"], Asking(load_prompts(), limit=limit), source)
        assert variants["reflect_response"]["reflect_status"][:] == ["missing_answer"]
        assert variants["reflect_response"]["output"][:] == ["one two three " * 500]


class TestStructured:
    def test_the_answer_is_asked_for_and_read_as_json(self, made):
        def write_json(request: OracleRequest) -> Completion:
            if request.variant == "reflect_instruction":
                return Completion('{"critique": "Bad.", "new_instruction": "Why so?", "new_answer": "So."}', "stop")
            return Completion('{"critique": "Bad.", "better_answer": "Better."}', "stop")

        oracle = Oracle(write_json)
        variants, counts = made(oracle, asking=Asking(load_prompts(), structured=True))
        assert counts["reflect_status"] == {variant: {"ok": ROWS} for variant in ALL}
        (row, *_) = variants["reflect_both"].to_list()
        assert (row["instruction"], row["output"], row["critique"]) == ("Why so?", "Better.", "Bad.")
        for request in oracle.asked:
            kind = "instruction" if request.variant == "reflect_instruction" else "response"
            assert request.response_format == RESPONSE_FORMATS[kind]

    def test_by_default_nothing_is_asked_of_the_format(self, made):
        oracle = Oracle(write)
        made(oracle)
        assert {request.response_format for request in oracle.asked} == {None}
