"""The judge's requests and verdicts, with an oracle whose every answer is scripted, and with a real server."""

from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, VERDICT_COLUMNS, features
from reflection.oracles import Completion, OracleArguments, OracleRequest, make_oracle
from reflection.oracles.base import replay
from reflection.statuses import FORGETTABLE, NO_TEXT, OPEN
from training import judge
from training.judge import FEATURES, JudgePrompt, ask, assemble, count_reasons, judge_pairs, load_judge_prompt, pair_up

PROMPT = JudgePrompt("Be fair.", "Q {question} A {first_answer} B {second_answer}")
COLUMNS = [column.name for column in (*QUESTION_COLUMNS, *ANSWER_COLUMNS, *VERDICT_COLUMNS)]


def answers(generator: str, **sets: dict[str, str | None]) -> DatasetDict:
    """Answers by set and row_id; the question of row `a` is `What is a?`."""
    made = {}
    for name, texts in sets.items():
        columns = {column.name: [None] * len(texts) for column in (*QUESTION_COLUMNS, *ANSWER_COLUMNS)}
        columns |= {
            "row_id": list(texts),
            "source_id": [f"source-{row_id}" for row_id in texts],
            "instruction": [f"What is {row_id}?" for row_id in texts],
            "input": [""] * len(texts),
            "answer": list(texts.values()),
            "answer_status": ["oracle_error" if text is None else "ok" for text in texts.values()],
            "generator": [generator] * len(texts),
        }
        made[name] = Dataset.from_dict(columns, features=features((*QUESTION_COLUMNS, *ANSWER_COLUMNS)))
    return DatasetDict(made)


def say(text: str | None, finish_reason: str = "stop") -> Completion:
    return Completion(text, finish_reason, model="judge-1")


class Oracle:
    """Answers by (row_id, variant), a list of answers by attempt; without one of its own `8 7`, so the first shown."""

    def __init__(self, replies=None, can_resample: bool = True) -> None:
        self.replies = replies or {}
        self.can_resample = can_resample
        self.requests: list[OracleRequest] = []
        self.kept: dict[tuple[str, str, int], Completion] = {}

    def run(self, jobs, total: int, jobs_per_row: int = 1) -> None:
        self.jobs = len([replay(job, self._ask) for job in jobs()])
        assert (self.jobs, jobs_per_row) == (total, 2)

    def _ask(self, request: OracleRequest) -> Completion:
        self.requests.append(request)
        reply = self.replies.get((request.row_id, request.variant), say("8 7\nThe first."))
        reply = reply[request.attempt] if isinstance(reply, list) else reply
        return self.kept.setdefault((request.row_id, request.variant, request.attempt), reply)

    def answer(self, request: OracleRequest) -> Completion:
        key = request.row_id, request.variant, request.attempt
        return self.kept.get(key) or Completion(None, failure="not_asked")


OURS = answers("ours", vicuna={"a": "A's answer.", "b": "B's answer."})
THEIRS = answers("theirs", vicuna={"b": "B's other.", "a": "A's other."})


@pytest.fixture
def run(tmp_path: Path):
    """Judges in a folder of its own."""

    def call(oracle: Oracle, ours: DatasetDict = OURS, theirs: DatasetDict = THEIRS, key: str = "key"):
        return judge_pairs(ours, theirs, oracle, PROMPT, key, tmp_path / "work")

    return call


def test_a_pair_is_shown_in_both_orders_and_its_verdict_holds_everything(run):
    oracle = Oracle({("a", "review"): say("9 3\nGood."), ("a", "review_reverse"): say("2 8.5\nBad.")})
    verdicts, counts = run(oracle)
    assert verdicts["vicuna"].column_names == COLUMNS
    assert verdicts["vicuna"].features == FEATURES
    row = verdicts["vicuna"][0]
    assert {name: row[name] for name in COLUMNS if row[name] is not None} == {
        "row_id": "a",
        "source_id": "source-a",
        "instruction": "What is a?",
        "input": "",
        "answer": "A's answer.",
        "answer_status": "ok",
        "generator": "ours",
        "baseline_answer": "A's other.",
        "baseline_generator": "theirs",
        "review": "9 3\nGood.",
        "review_reverse": "2 8.5\nBad.",
        "mark": 9.0,
        "baseline_mark": 3.0,
        "mark_reverse": 8.5,
        "baseline_mark_reverse": 2.0,
        "outcome": "win",
        "judge_model": "judge-1",
    }
    assert verdicts["vicuna"]["outcome"][1] == "tie"  # the first shown is preferred, whoever it is
    assert counts == {
        "outcomes": {"vicuna": {"win": 1, "tie": 1, "lose": 0, "invalid": 0}},
        "invalid_reasons": {"vicuna": {}},
        "unfinished": 0,
    }
    asked = [(request.row_id, request.variant, request.attempt) for request in oracle.requests]
    assert asked == [(row, variant, 0) for row in "ab" for variant in ("review", "review_reverse")]
    shown = [request.messages[1]["content"] for request in oracle.requests[:2]]
    assert shown == ["Q What is a? A A's answer. B A's other.", "Q What is a? A A's other. B A's answer."]
    assert oracle.requests[0].messages[0] == {"role": "system", "content": "Be fair."}


class TestPairs:
    def test_join_by_row_id_within_their_set_in_the_order_of_the_answers(self):
        ours = answers("ours", one={"a": "1", "b": "2"}, two={"a": "3"})
        theirs = answers("theirs", two={"c": "-3", "a": "-2"}, one={"b": "-1", "a": "0"}, three={})
        pairs = pair_up(ours, theirs)
        found = {name: list(zip(rows["answer"], rows["baseline_answer"], strict=True)) for name, rows in pairs.items()}
        assert found == {"one": [("1", "0"), ("2", "-1")], "two": [("3", "-2")]}

    @pytest.mark.parametrize(
        ("theirs", "said"),
        [
            (answers("theirs", koala={"a": "1"}), "has no answers to vicuna, only to koala"),
            (answers("theirs", vicuna={"a": "1"}), r"has no row for 1 of 2 questions of vicuna \(row_id b\)"),
        ],
    )
    def test_that_the_baseline_lacks_are_refused(self, theirs, said):
        with pytest.raises(BadInputError, match=f"--baseline: {said}"):
            pair_up(OURS, theirs)

    def test_that_the_baseline_holds_twice_are_refused(self):
        theirs = DatasetDict(vicuna=Dataset.from_list(THEIRS["vicuna"].to_list() * 2))
        with pytest.raises(BadInputError, match="stands twice in vicuna"):
            pair_up(OURS, theirs)

    def test_without_questions_ask_nothing(self, run):
        oracle = Oracle()
        verdicts, counts = run(oracle, answers("ours", vicuna={}), answers("theirs", vicuna={}))
        assert (len(verdicts["vicuna"]), oracle.requests) == (0, [])
        assert verdicts["vicuna"].column_names == COLUMNS
        assert counts["outcomes"] == {"vicuna": {"win": 0, "tie": 0, "lose": 0, "invalid": 0}}


class TestAnswers:
    def test_that_are_missing_are_not_shown_and_invalid(self, run):
        ours = answers("ours", vicuna={"a": None, "b": "B", "c": None, "d": "D"})
        theirs = answers("theirs", vicuna={"a": "A", "b": None, "c": None, "d": "d"})
        oracle = Oracle()
        verdicts, counts = run(oracle, ours, theirs)
        rows = verdicts["vicuna"]
        assert list(rows["invalid_reason"]) == ["no_answer", "no_baseline_answer", "no_answer", None]
        assert list(rows["outcome"]) == ["invalid"] * 3 + ["tie"]
        assert list(rows["review"])[:3] == list(rows["judge_model"])[:3] == [None] * 3
        assert {request.row_id for request in oracle.requests} == {"d"}
        assert counts["unfinished"] == 0

    def test_that_are_empty_or_alike_are_judged_as_all_others(self, run):
        ours = answers("ours", vicuna={"a": "", "b": "same"})
        theirs = answers("theirs", vicuna={"a": "", "b": "same"})
        oracle = Oracle({("b", "review"): say("8 7"), ("b", "review_reverse"): say("8 8")})
        verdicts, _ = run(oracle, ours, theirs)
        assert len(oracle.requests) == 4
        assert list(verdicts["vicuna"]["outcome"]) == ["tie", "win"]  # what the judge says counts


class TestUnreadable:
    @pytest.mark.parametrize("side", ["review", "review_reverse"])
    def test_review_is_asked_for_once_more_with_the_same_messages(self, run, side):
        oracle = Oracle({("a", side): [say("I prefer the first."), say("9 1\nYes.")]})
        verdicts, _ = run(oracle)
        again = [request for request in oracle.requests if (request.row_id, request.variant) == ("a", side)]
        assert [request.attempt for request in again] == [0, 1]
        assert again[0].messages == again[1].messages
        assert verdicts["vicuna"][side][0] == "9 1\nYes."
        assert verdicts["vicuna"]["outcome"][0] == "tie"
        assert len(oracle.requests) == 5

    def test_review_that_stays_so_keeps_the_first_text_and_its_reason(self, run):
        oracle = Oracle({("a", "review"): [say("I prefer the first."), say("8")]})
        verdicts, counts = run(oracle)
        row = verdicts["vicuna"][0]
        assert (row["review"], row["outcome"], row["invalid_reason"]) == ("I prefer the first.", "invalid", "no_marks")
        assert (row["mark"], row["mark_reverse"], row["baseline_mark_reverse"]) == (None, 7, 8)
        assert counts["invalid_reasons"] == {"vicuna": {"no_marks": 1}}
        assert counts["unfinished"] == 0

    def test_review_is_not_asked_for_again_where_that_would_only_repeat_it(self, run):
        oracle = Oracle({("a", "review"): say("None.")}, can_resample=False)
        verdicts, _ = run(oracle)
        assert {request.attempt for request in oracle.requests} == {0}
        assert verdicts["vicuna"]["invalid_reason"][0] == "no_marks"

    def test_marks_that_the_length_limit_may_have_cut_are_none(self, run):
        oracle = Oracle({("a", "review"): say("8 1", "length"), ("b", "review"): say("8 1\nThe", "length")})
        verdicts, _ = run(oracle)
        assert list(verdicts["vicuna"]["invalid_reason"]) == ["cut_off", None]


class TestFailures:
    @pytest.mark.parametrize("failure", [*NO_TEXT, *OPEN])
    def test_of_the_judge_are_invalid_with_its_own_reason(self, run, failure):
        oracle = Oracle({("a", "review_reverse"): Completion(None, failure=failure, model="judge-1")})
        verdicts, counts = run(oracle)
        row = verdicts["vicuna"][0]
        assert (row["outcome"], row["invalid_reason"], row["review_reverse"]) == ("invalid", failure, None)
        assert (row["review"], row["mark"]) == ("8 7\nThe first.", 8)
        assert counts["outcomes"]["vicuna"] == {"win": 0, "tie": 1, "lose": 0, "invalid": 1}
        assert counts["unfinished"] == (failure in OPEN)
        assert len(oracle.requests) == 4 + (failure in FORGETTABLE)

    @pytest.mark.parametrize("failure", OPEN)
    def test_that_another_run_may_mend_are_said_first(self, run, failure):
        never = Completion(None, failure=failure)
        oracle = Oracle({("a", "review"): say("None."), ("a", "review_reverse"): never})
        verdicts, counts = run(oracle)
        assert (verdicts["vicuna"]["invalid_reason"][0], counts["unfinished"]) == (failure, 1)

    @pytest.mark.parametrize("failure", OPEN)
    def test_of_the_second_question_leave_the_pair_open_with_what_was_said(self, run, failure):
        oracle = Oracle({("a", "review"): [say("None."), Completion(None, failure=failure)]})
        verdicts, counts = run(oracle)
        row = verdicts["vicuna"][0]
        assert (row["review"], row["invalid_reason"], counts["unfinished"]) == ("None.", failure, 1)

    def test_have_the_names_that_the_oracles_give_them(self):
        assert set(judge.WITHOUT_TEXT) == set(FORGETTABLE)


class TestPrompt:
    def test_of_ours_asks_for_what_is_parsed_and_shows_all_texts_once(self):
        system, user = load_judge_prompt().messages("Sort.", "3 1 2", "1 2 3", "3 2 1")
        assert "judge" in system["content"] and "two marks alone on the first line" in user["content"]
        assert user["content"].startswith("[Question]\nSort.\n3 1 2\n\n[The Start of Assistant 1's Answer]\n1 2 3\n\n")
        assert "[The Start of Assistant 2's Answer]\n3 2 1\n\n[The End of Assistant 2's Answer]" in user["content"]
        assert "{" not in user["content"]

    def test_leaves_braces_and_placeholders_of_the_texts_alone(self):
        messages = JudgePrompt("s", "{x} {question}|{first_answer}|{second_answer}").messages(
            "{second_answer}", "", "{question} {0}", "\\1 {"
        )
        assert messages[1]["content"] == "{x} {second_answer}|{question} {0}|\\1 {"

    def test_of_a_users_file(self, tmp_path):
        path = tmp_path / "judge.yaml"
        path.write_text("system: s\nuser: '{question} {first_answer} {second_answer}'\n")
        loaded = load_judge_prompt(str(path))
        assert loaded == JudgePrompt("s", "{question} {first_answer} {second_answer}")
        assert loaded.fingerprint != load_judge_prompt().fingerprint == load_judge_prompt().fingerprint

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("system: s\n", "must hold the texts `system` and `user`"),
            ("sytem: s\nuser: u\n", "unknown sytem; it holds `system` and `user`"),
            ("system: 3\nuser: u\n", "must hold the texts `system` and `user`"),
            ("system: s\nuser: '{question} {first_answer}'\n", "`user` lacks {second_answer}"),
            ("[]", "must hold `key: value` lines"),
            ("a: [", "is not YAML"),
        ],
    )
    def test_that_cannot_be_used(self, tmp_path, content, said):
        path = tmp_path / "judge.yaml"
        path.write_text(content)
        with pytest.raises(BadInputError, match=rf"^--judge_prompt_file .*judge.yaml: {said}"):
            load_judge_prompt(str(path))


def test_another_prompt_or_run_is_not_answered_with_the_verdicts_of_the_first(run):
    first, _ = run(Oracle())
    same, _ = run(Oracle({("a", "review"): say("1 9")}))
    other, _ = run(Oracle({("a", "review"): say("1 9")}), key="another key")
    assert list(same["vicuna"]["outcome"]) == list(first["vicuna"]["outcome"]) == ["tie", "tie"]
    assert list(other["vicuna"]["outcome"]) == ["lose", "tie"]


def test_sets_of_the_same_name_and_rows_are_kept_apart(run):
    ours, theirs = (answers(who, one={"a": f"1{who}"}, two={"a": f"2{who}"}) for who in ("ours", "theirs"))
    verdicts, counts = run(Oracle(), ours, theirs)
    assert [verdicts[name]["answer"][0] for name in ("one", "two")] == ["1ours", "2ours"]
    assert count_reasons(verdicts["one"]) == {} and len(counts["outcomes"]) == 2


class TestServer:
    """Through the `openai` oracle and its store. The server knows nothing of marks: all its reviews are unreadable."""

    @pytest.fixture
    def judged(self, fault_server, tmp_path, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-any")

        def call(run_name: str, **settings):
            arguments = OracleArguments(
                oracle_model="judge-1", base_url=fault_server.url, store=str(tmp_path / "store.sqlite"), **settings
            )
            oracle, pairs = make_oracle(arguments, step="evaluate"), pair_up(OURS, THEIRS)
            ask(pairs, oracle, PROMPT)
            return assemble(pairs, oracle, PROMPT, "key", tmp_path / run_name)

        return call

    def test_every_review_is_asked_for_twice_and_paid_for_once(self, fault_server, judged):
        verdicts, counts = judged("one")
        seen = fault_server.everything()
        assert (seen["paid_in_all"], seen["paid_more_than_once"]) == (8, 0)  # two pairs, two orders, two attempts
        assert Counter(about[2] for about in seen["about"].values()) == {0: 4, 1: 4}
        assert counts["invalid_reasons"] == {"vicuna": {"no_marks": 2}}
        assert counts["usage"]["completions"] == 8
        assert counts["usage"]["completion_tokens"] == seen["completion_tokens"]
        again, same = judged("two")
        assert (again["vicuna"].to_list(), same) == (verdicts["vicuna"].to_list(), counts)
        assert fault_server.counts()["requests"] == seen["requests"]

    def test_a_budget_leaves_pairs_open_and_a_larger_one_goes_on(self, fault_server, judged):
        price = {"price_in": 0.0, "price_out": 1000.0, "max_tokens": 100}  # a tenth of a dollar at most
        _, counts = judged("one", **price, budget_usd=0.25, concurrency=1)
        paid = fault_server.counts()["paid_in_all"]
        assert counts["unfinished"] == counts["invalid_reasons"]["vicuna"]["not_asked"] >= 1
        assert 2 <= paid < 8 and counts["usage"]["cost_usd"] <= 0.25
        _, counts = judged("two", **price, budget_usd=25.0)
        assert counts["unfinished"] == 0 and fault_server.counts()["paid_in_all"] == 8
