"""The `openai` oracle against a second real server: `transformers serve` with a small model."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from accelerate import PartialState

from reflection.oracles.base import OracleRequest, replay
from reflection.oracles.chat import Sampling
from reflection.oracles.openai import OpenAIOracle, Pace
from reflection.oracles.transformers import TransformersOracle
from reflection.store import IN_MEMORY, CompletionStore

QUESTIONS = ["Name three fruits.", "Why?", "Count from one to ten.", "Write a poem about the sea.", "Explain gravity."]
PACE = Pace(3, None, None, timeout_seconds=60, max_error_fraction=1)
START_SECONDS = 90


@pytest.fixture(scope="module")
def folder(chat_model_folder, tmp_path_factory) -> Path:
    """A small chat model without settings of its own for generation: the server would apply them."""
    folder = shutil.copytree(chat_model_folder(), tmp_path_factory.mktemp("serve") / "model")
    settings = folder / "generation_config.json"
    ends = json.loads(settings.read_text())["eos_token_id"]
    settings.write_text(json.dumps({"eos_token_id": ends}))
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """The base URL of a running server; it ends with the tests, whatever happened in them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path_factory.mktemp("server")
    (place / "home/hub").mkdir(parents=True)
    script = Path(sys.executable).parent / "transformers"
    command = [str(script), "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, place / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start (exit code {process.poll()}): {log.read_text()[-2000:]}")


def dialogue(question: str):
    """Asks, and then about the answer."""
    first = yield ask(question)
    second = yield ask(f"{(first.text or '')[:20]}?")
    return first, second


def ask(question: str) -> OracleRequest:
    messages = [{"role": "system", "content": "You are a critic."}, {"role": "user", "content": question}]
    return OracleRequest(question, None, "reflect_response", messages)


def jobs():
    return (dialogue(question) for question in QUESTIONS)


def test_answers_arrive_and_are_stored(server, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    path = str(tmp_path / "store.sqlite")
    oracle = OpenAIOracle(Sampling(str(folder), 24), CompletionStore(path), server, PACE)
    oracle.run(jobs, len(QUESTIONS))
    results = [replay(dialogue(question), oracle.answer) for question in QUESTIONS]
    reasons = set()
    for completion in (completion for pair in results for completion in pair):
        assert completion.text is not None and completion.failure is None and completion.from_store
        assert completion.prompt_tokens > 20 and 1 <= completion.completion_tokens <= 24
        assert completion.model.startswith(str(folder))
        reasons.add(completion.finish_reason)
    assert reasons == {"length", "stop"}
    assert oracle.usage.completions == len({row["key"] for row in CompletionStore(path).rows()}) == 2 * len(QUESTIONS)
    assert oracle.usage.without_usage == 0

    # What is stored needs no server any more.
    again = OpenAIOracle(Sampling(str(folder), 24), CompletionStore(path), "http://127.0.0.1:1/v1", PACE)
    again.run(jobs, len(QUESTIONS))
    assert [replay(dialogue(question), again.answer) for question in QUESTIONS] == results

    # The same model in process gives the same answers.
    sampling, state = Sampling(f"{folder}@fingerprint", 24), PartialState(cpu=True)
    local = TransformersOracle(str(folder), None, sampling, CompletionStore(IN_MEMORY), 4, state)
    local.run(jobs, len(QUESTIONS))
    for question, pair in zip(QUESTIONS, results, strict=True):
        for served, own in zip(pair, replay(dialogue(question), local.answer), strict=True):
            for name in ("text", "finish_reason", "prompt_tokens", "completion_tokens"):
                assert getattr(served, name) == getattr(own, name)


def one_text(question: str):
    return (yield OracleRequest(question, None, "koala", None, prompt=question))


def test_texts_are_gone_on_with_as_in_process(server, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    sampling, state = Sampling(f"{folder}@fingerprint", 24), PartialState(cpu=True)
    local = TransformersOracle(str(folder), None, sampling, CompletionStore(IN_MEMORY), 4, state, chat=False)
    store = CompletionStore(str(tmp_path / "store.sqlite"))
    served = OpenAIOracle(sampling, store, server, PACE, served_model=str(folder))
    found = []
    for oracle in (served, local):
        oracle.run(lambda: (one_text(question) for question in QUESTIONS), len(QUESTIONS))
        found.append([replay(one_text(question), oracle.answer) for question in QUESTIONS])
    for served_answer, own in zip(*found, strict=True):
        for name in ("text", "finish_reason", "prompt_tokens", "completion_tokens"):
            assert getattr(served_answer, name) == getattr(own, name)
