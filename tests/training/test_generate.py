import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from transformers import AutoModelForCausalLM, AutoTokenizer

from hub_cards.errors import BadInputError
from hub_cards.rows import row_id
from hub_cards.schema import ANSWER_COLUMNS, QUESTION_COLUMNS, features
from hub_cards.sources import Source
from reflection.oracles import Completion, OracleArguments, open_store
from reflection.oracles.local_model import LocalModel
from scoring.templates import get_template
from training.formatting import prompt_completion
from training.generate import answer_question, answer_sets, ask, make_generator, read_answer
from training.generation_config import GenerationArguments, find_generator

KEY = "sk-any"
SEED = 7  # by which some requests hang, neither the first nor the last
WORDS = ("rivers", "bridges", "gardens", "markets", "harbours", "libraries")


def make_questions(**sizes: int) -> DatasetDict:
    """Sets of questions, every second one with an input."""
    sets = DatasetDict()
    for name, size in sizes.items():
        rows = []
        for number in range(size):
            instruction = f"Write about {WORDS[number % len(WORDS)]} #{number} of {name}."
            input = f"They are {number} miles long." if number % 2 else ""
            identity = row_id(instruction, input, "")
            rows.append([identity, str(number), instruction, input, None])
        columns = dict(zip(features(QUESTION_COLUMNS), map(list, zip(*rows, strict=True)), strict=True))
        sets[name] = Dataset.from_dict(columns, features=features(QUESTION_COLUMNS))
    return sets


QUESTIONS = make_questions(vicuna=5, koala=4)


@pytest.fixture(scope="module")
def student(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The quickstart's student in float32: in bfloat16 two tokens can be equally likely, up to rounding."""
    folder = tmp_path_factory.mktemp("student")
    AutoModelForCausalLM.from_pretrained(quickstart / "student", dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(quickstart / "student").save_pretrained(folder)
    return str(folder)


def generate(model: str, store: Path, questions=QUESTIONS, work: str = "work", **changes):
    """Ask, and what came out: answers, counts, and the oracle."""
    settings = GenerationArguments(**{"model_name_or_path": model, "max_new_tokens": 16, **changes})
    service = OracleArguments(oracle_model="judge", store=str(store), concurrency=2)
    state = PartialState(cpu=True)
    oracle = make_generator(settings.find_generator(), settings, service, state, served_model=settings.served_model)
    ask(questions, oracle, settings.template)
    return *answer_sets(questions, oracle, settings.template, "key", store.parent / work), oracle


class TestPrompts:
    @pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none"])
    def test_are_those_of_training_and_stop_as_the_template_says(self, template):
        for row in QUESTIONS["koala"]:
            request = next(answer_question(row, "koala", template))
            batch = {name: [row[name]] for name in ("instruction", "input")} | {"output": ["x"]}
            assert request.prompt == prompt_completion(batch, template)["prompt"][0]
            assert request.prompt == get_template(template).prompt(row["instruction"], row["input"])
            assert request.stop == get_template(template).stop
            assert (request.messages, request.row_id, request.variant) == (None, row["row_id"], "koala")

    def test_of_a_chat_template_are_one_turn(self):
        request = next(answer_question(QUESTIONS["koala"][1], "koala", "chat_template"))
        content = "Write about bridges #1 of koala.\nThey are 1 miles long."
        assert request.messages == [{"role": "user", "content": content}]
        assert (request.prompt, request.stop) == (None, ())


class TestReading:
    STOP = get_template("vicuna").stop

    @pytest.mark.parametrize(
        ("text", "finish_reason", "answer", "status"),
        [
            (" Three.\n", "stop", "Three.", "ok"),
            (" Three, four", "length", "Three, four", "truncated"),
            (" Three. USER: And?", "stop", "Three.", "ok"),
            (" Three. USER: And th", "length", "Three.", "ok"),  # the model had ended its answer
            ("\n  \n", "stop", "", "empty"),
            ("", "length", "", "empty"),
            (" USER: And?", "stop", "", "empty"),
            (" Three.", None, "Three.", "ok"),
        ],
    )
    def test_of_a_text(self, text, finish_reason, answer, status):
        found = read_answer(Completion(text, finish_reason, model="m", completion_tokens=7), self.STOP)
        assert found == {"answer": answer, "answer_status": status, "answer_tokens": 7, "generator": "m"}

    @pytest.mark.parametrize("failure", ["content_filter", "context_overflow", "oracle_error", "not_asked"])
    def test_of_none(self, failure):
        found = read_answer(Completion(None, failure=failure))
        assert (found["answer"], found["answer_status"], found["answer_tokens"]) == (None, failure, None)


class TestInProcess:
    @pytest.fixture(scope="class")
    def made(self, student, tmp_path_factory):
        return generate(student, tmp_path_factory.mktemp("made") / "store.sqlite")

    def test_answers_are_joined_to_their_questions(self, made, student):
        answers, counts, _ = made
        for name, rows in answers.items():
            assert rows.features == features((*QUESTION_COLUMNS, *ANSWER_COLUMNS))
            assert rows.select_columns(QUESTIONS[name].column_names).to_list() == QUESTIONS[name].to_list()
            assert set(rows["generator"][:]) == {student}
            assert counts["answers"][name] == dict(Counter(rows["answer_status"][:]))
        assert list(answers) == ["vicuna", "koala"]
        assert counts["unfinished"] == 0

    def test_answers_are_what_the_model_writes_greedily(self, made, student):
        model, tokenizer = AutoModelForCausalLM.from_pretrained(student), AutoTokenizer.from_pretrained(student)
        for row in made[0]["koala"]:
            prompt = tokenizer(get_template("vicuna").prompt(row["instruction"], row["input"]), return_tensors="pt")
            written = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :]
            text = tokenizer.decode(written, skip_special_tokens=True)
            assert row["answer"] == text.split("USER:")[0].strip()
            assert row["answer_tokens"] <= len(written)

    def test_no_batch_size_changes_them_and_a_rerun_needs_no_weights(self, made, student, tmp_path, monkeypatch):
        again, _, oracle = generate(student, tmp_path / "store.sqlite", generation_batch_size=1)
        assert {name: rows.to_list() for name, rows in again.items()} == {n: r.to_list() for n, r in made[0].items()}
        monkeypatch.setattr(type(oracle.model), "generate", None)
        third, _, _ = generate(student, tmp_path / "store.sqlite", work="work again")
        assert third["koala"].to_list() == again["koala"].to_list()

    def test_another_model_in_the_same_folder_is_asked_anew(self, student, tmp_path):
        sources = [Source("folder", student, fingerprint) for fingerprint in ("before", "after")]
        settings = GenerationArguments(student)
        service = OracleArguments(oracle_model="judge", store=str(tmp_path / "store.sqlite"))
        oracles = [make_generator(source, settings, service, PartialState(cpu=True)) for source in sources]
        request = next(answer_question(QUESTIONS["koala"][0], "koala", "vicuna"))
        assert oracles[0].identify(request)[1] != oracles[1].identify(request)[1]

    def test_a_question_longer_than_the_model_is_null_with_the_reason(self, student, tmp_path):
        folder = shutil.copytree(student, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
        rows = [{**QUESTIONS["koala"][0], "instruction": "word " * 300}, QUESTIONS["koala"][1]]
        questions = DatasetDict(long=Dataset.from_list(rows, features=features(QUESTION_COLUMNS)))
        settings = {"max_new_tokens": 64, "template": "none"}
        answers, counts, _ = generate(str(folder), tmp_path / "store.sqlite", questions, **settings)
        assert answers["long"]["answer_status"][0] == "context_overflow"
        assert answers["long"]["answer"][0] is None
        assert answers["long"]["answer"][1], "that the model has 64 positions is no reason to refuse a short question"
        assert counts["unfinished"] == 0

    def test_a_chat_template_is_needed_only_for_chats(self, student, tmp_path):
        with pytest.raises(BadInputError, match=r"^--model_name_or_path .*: its tokenizer has no chat template"):
            generate(student, tmp_path / "store.sqlite", template="chat_template")


class TestServer:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def test_texts_and_chats_are_asked(self, fault_server, tmp_path):
        settings = {"server_url": fault_server.url, "store": tmp_path / "store.sqlite"}
        for template, is_chat in (("vicuna", False), ("chat_template", True)):
            fault_server.configure()
            answers, counts, _ = generate("m", work=template, template=template, **settings)
            assert counts["answers"] == {"vicuna": {"ok": 5}, "koala": {"ok": 4}}
            for answer in answers["koala"]["answer"][:]:
                assert "This is version" in answer and ("[Better Answer]" in answer) == is_chat
            assert set(answers["koala"]["generator"][:]) == {"oracle-1-2026"}
            assert fault_server.counts()["paid_in_all"] == 9

    def test_failures_are_null_with_their_reason(self, fault_server, tmp_path):
        fault_server.configure(lasting={"context_overflow": 0.2, "content_filter": 0.2, "truncated": 0.2}, seed=3)
        answers, counts, _ = generate(
            "m", tmp_path / "store.sqlite", make_questions(koala=40), server_url=fault_server.url
        )
        found = counts["answers"]["koala"]
        assert set(found) == {"ok", "truncated", "context_overflow", "content_filter"}
        for row in answers["koala"]:
            assert (row["answer"] is None) == (row["answer_status"] in ("context_overflow", "content_filter"))

    def test_what_another_run_may_mend_is_counted(self, fault_server, tmp_path, monkeypatch):
        monkeypatch.setattr("reflection.oracles.openai.MAX_TRIES", 1)
        fault_server.configure(faults={"500": 0.5}, seed=1)
        settings = {"server_url": fault_server.url, "questions": make_questions(koala=12)}
        _, counts, _ = generate("m", tmp_path / "store.sqlite", **settings)
        assert 0 < counts["unfinished"] == counts["answers"]["koala"]["oracle_error"] < 12
        fault_server.configure()
        _, counts, _ = generate("m", tmp_path / "store.sqlite", work="again", **settings)
        assert counts == {"answers": {"koala": {"ok": 12}}, "unfinished": 0}

    def test_a_folders_content_is_part_of_the_key_and_not_of_what_is_sent(self, fault_server, student, tmp_path):
        settings = {"server_url": fault_server.url, "served_model": "mine"}
        oracle = generate(student, tmp_path / "store.sqlite", **settings)[2]
        models = {json.loads(row["request"])["model"] for row in oracle.store.rows()}
        assert models == {f"mine@{find_generator(student).fingerprint}"}
        assert oracle.served_model == "mine"

    def test_without_a_key(self, monkeypatch, tmp_path):
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(BadInputError, match=r"^--server_url http://x/v1: set the environment variable"):
            generate("m", tmp_path / "store.sqlite", server_url="http://x/v1")


# A run that is killed: in process by itself in the middle, at a server from outside.
DRIVER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_generate import IN_PROCESS, KILLED, SERVED, generate, watch

batches = watch(lambda: len(batches) == 3 and os.kill(os.getpid(), signal.SIGKILL))
settings = {{"server_url": sys.argv[3], **SERVED}} if sys.argv[3:] else IN_PROCESS
generate(sys.argv[1], Path(sys.argv[2]), KILLED, **settings)
"""
KILLED = make_questions(vicuna=8, koala=8)
IN_PROCESS, SERVED = {"generation_batch_size": 3}, {"served_model": "mine"}


def watch(before_each: Callable, patch: Callable = setattr) -> list[int]:
    """The sizes of all batches from now on."""
    batches, plain = [], LocalModel.generate

    def watched(self, prompts):
        before_each()
        batches.append(len(prompts))
        return plain(self, prompts)

    patch(LocalModel, "generate", watched)
    return batches


class TestKill:
    """kill -9 in the middle: the same command asks nothing again that was finished, and ends as if undisturbed."""

    @pytest.fixture
    def start(self, root, tmp_path, student):
        script = tmp_path / "driver.py"
        script.write_text(DRIVER.format(tests=str(Path(__file__).parent)))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": KEY, "PYTHONPATH": str(root)}

        def start(*server: str) -> subprocess.Popen:
            command = [sys.executable, str(script), student, str(tmp_path / "store.sqlite"), *server]
            return subprocess.Popen(command, cwd=root, env=environment, text=True, stderr=subprocess.PIPE)

        return start

    @staticmethod
    def outcome(*arguments, **settings) -> list:
        answers, counts, _ = generate(*arguments, KILLED, **settings)
        return [counts, {name: rows.to_list() for name, rows in answers.items()}]

    def test_in_process(self, start, student, tmp_path, monkeypatch):
        killed = start()
        said = killed.communicate(timeout=200)[1]
        assert killed.returncode == -signal.SIGKILL, said
        batches = watch(lambda: None, monkeypatch.setattr)
        resumed = self.outcome(student, tmp_path / "store.sqlite", work="again", **IN_PROCESS)
        assert sum(batches) == 16 - 3 * 3, "three batches of three were finished"
        assert resumed == self.outcome(student, tmp_path / "other.sqlite", work="undisturbed", **IN_PROCESS)
        assert sum(batches) == 7 + 16

    def test_at_a_server(self, start, fault_server, student, tmp_path, monkeypatch):
        fault_server.configure(faults={"hang": 0.2}, hang_seconds=200, seed=SEED)
        killed = start(fault_server.url)
        store = open_store(str(tmp_path / "store.sqlite"))
        self.wait_until(lambda: fault_server.counts()["faults"].get("hang") == 2)  # as many as are asked at a time
        finished = fault_server.counts()["paid_in_all"]
        self.wait_until(lambda: len(list(store.rows())) == finished)
        killed.kill()
        killed.communicate(timeout=100)
        assert 3 < finished < 13
        fault_server.configure()
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        settings = {"server_url": fault_server.url, **SERVED}
        resumed = self.outcome(student, tmp_path / "store.sqlite", work="again", **settings)
        assert fault_server.counts()["requests"] == 16 - finished
        assert resumed == self.outcome(student, tmp_path / "other.sqlite", work="undisturbed", **settings)

    @staticmethod
    def wait_until(happened) -> None:
        end = time.monotonic() + 100
        while not happened():
            assert time.monotonic() < end
            time.sleep(0.05)
