import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from transformers import AutoModelForCausalLM, AutoTokenizer

from hub_cards.errors import BadInputError
from reflection.oracles import local_model
from reflection.oracles.base import Completion, OracleRequest, replay
from reflection.oracles.chat import Sampling
from reflection.oracles.local_model import Draw, Prompt, SampleByRow
from reflection.oracles.transformers import WINDOW_BATCHES, TransformersOracle
from reflection.prompts import load_prompts
from reflection.statuses import CONTEXT_OVERFLOW, NOT_ASKED, ORACLE_ERROR
from reflection.store import IN_MEMORY, CompletionStore
from reflection.structured import RESPONSE_FORMATS

MAX_TOKENS = 24
SYSTEM = "You are a careful critic."
QUESTIONS = [
    "Name three fruits.",
    "Write a poem about the sea, in four lines that rhyme, and explain every image that you have used in it.",
    "x",
    "What is the capital of France? Answer in one word.",
    "Sort the list 3, 1, 2 and say how you did it.",
    "Explain gravity to a child.",
    "Why?",
    "Translate 'good morning' into German, Dutch and Danish, and say which of them are close to each other.",
    "Count from one to ten.",
]


def ask(question: str, attempt: int = 0, **changes) -> OracleRequest:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return OracleRequest(question, None, "reflect_response", messages, attempt, **changes)


def one_question(question: str, attempt: int = 0):
    return (yield ask(question, attempt)).text


def dialogue(question: str):
    """Asks, asks again at random, and then about the answer."""
    first = yield ask(question)
    second = yield ask(question, attempt=1)
    third = yield ask(f"{(second.text or '')[:20]}?")
    return first.text, second.text, third.text


def jobs_of(kind=one_question, questions=QUESTIONS, **arguments):
    return lambda: (kind(question, **arguments) for question in questions)


@pytest.fixture
def make(chat_model_folder):
    """`make(kind=..., batch_size=..., store=...)` gives an oracle over a small model."""

    def make(
        folder=None, store=None, batch_size=4, temperature=0, max_tokens=MAX_TOKENS, **model
    ) -> TransformersOracle:
        folder = folder or chat_model_folder(**model)
        sampling = Sampling(f"{folder}@fingerprint", max_tokens, temperature)
        store = store or CompletionStore(IN_MEMORY)
        return TransformersOracle(str(folder), None, sampling, store, batch_size, PartialState(cpu=True))

    return make


def texts(oracle: TransformersOracle, questions=QUESTIONS, attempt: int = 0) -> list[str]:
    oracle.run(jobs_of(questions=questions, attempt=attempt), len(questions))
    return [oracle.answer(ask(question, attempt)).text for question in questions]


@torch.no_grad()
def naive(
    folder: Path, request: OracleRequest, temperature: float = 0, seed: int = 0
) -> tuple[list[int], int, str, str]:
    """One prompt by itself, all of it computed anew for every token: tokens, prompt length, text, why it ended."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(request.messages, add_generation_prompt=True)["input_ids"]
    torch.manual_seed(seed)
    tokens: list[int] = []
    ends = model.generation_config.eos_token_id
    while len(tokens) < MAX_TOKENS and not {*tokens[-1:]} & {*ends}:
        logits = model(torch.tensor([prompt + tokens]), use_cache=False).logits[0, -1]
        if temperature:
            tokens.append(int(torch.multinomial((logits / temperature).softmax(-1), 1)))
        else:
            tokens.append(int(logits.argmax()))
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    return tokens, len(prompt), text, "stop" if tokens[-1] in ends else "length"


class TestAnswers:
    @pytest.mark.parametrize("kind", ["llama", "gpt2"])
    def test_batches_give_what_each_prompt_gives_alone(self, make, chat_model_folder, kind):
        oracle = make(kind=kind)
        oracle.run(jobs_of(), len(QUESTIONS))
        reasons = Counter()
        for question in QUESTIONS:
            tokens, prompt_tokens, text, finish_reason = naive(chat_model_folder(kind), ask(question))
            completion = oracle.answer(ask(question))
            assert (completion.text, completion.finish_reason) == (text, finish_reason)
            assert (completion.prompt_tokens, completion.completion_tokens) == (prompt_tokens, len(tokens))
            reasons[finish_reason] += 1
        assert reasons.keys() == {"length", "stop"}, "the small model shows both ends"

    def test_are_kept_under_the_models_content_and_name_the_model(self, make, chat_model_folder):
        oracle = make()
        texts(oracle)
        completion = oracle.answer(ask(QUESTIONS[0]))
        assert completion.model == str(chat_model_folder())
        assert (completion.failure, completion.from_store) == (None, True)
        rows = list(oracle.store.rows())
        assert {json.loads(row["request"])["model"] for row in rows} == {f"{chat_model_folder()}@fingerprint"}
        assert len(rows) == len(QUESTIONS) and all(row["seconds"] > 0 for row in rows)
        assert oracle.usage.completions == len(QUESTIONS)
        assert oracle.usage.completion_tokens == sum(row["completion_tokens"] for row in rows)

    def test_do_not_depend_on_batch_size_or_order(self, make):
        results = {}
        for size, questions in ((1, QUESTIONS), (3, QUESTIONS[::-1]), (50, sorted(QUESTIONS))):
            oracle = make(batch_size=size)
            oracle.run(jobs_of(dialogue, questions), len(questions))
            results[size] = [replay(dialogue(question), oracle.answer) for question in QUESTIONS]
        assert results[1] == results[3] == results[50]
        assert len({first for first, _, _ in results[1]}) > 5

    def test_more_jobs_than_a_window_holds(self, make):
        questions = [f"Question {number}?" for number in range(3 * WINDOW_BATCHES + 1)]
        oracle, alive, most = make(batch_size=1), set(), 0

        def watched(question):
            nonlocal most
            alive.add(question)
            most = max(most, len(alive))
            yield from dialogue(question)
            alive.remove(question)

        oracle.run(jobs_of(watched, questions), len(questions))
        assert not alive and most == WINDOW_BATCHES
        assert None not in {oracle.answer(ask(question, 1)).text for question in questions}

    def test_equal_requests_are_asked_once(self, make, monkeypatch):
        oracle = make()
        asked = watch_generate(monkeypatch, oracle)
        oracle.run(jobs_of(questions=["Why?"] * 10), 10)
        assert [len(prompts) for prompts in asked] == [1]

    def test_are_in_the_store_before_a_job_goes_on(self, make):
        oracle = make(batch_size=2)
        seen = []

        def job(question):
            request = ask(question)
            completion = yield request
            kept = oracle.store.get(oracle.identify(request)[1])
            seen.append(kept.text == completion.text)

        oracle.run(jobs_of(job), len(QUESTIONS))
        assert seen == [True] * len(QUESTIONS)


class TestSamples:
    def test_are_what_each_prompt_gives_alone(self, make, chat_model_folder):
        oracle = make()
        sampled = texts(oracle, attempt=1)
        for question, text in zip(QUESTIONS, sampled, strict=True):
            key = oracle.identify(ask(question, 1))[1]
            assert text == naive(chat_model_folder(), ask(question), temperature=1, seed=int(key[:15], 16))[2]

    def test_are_the_same_in_any_batch_and_differ_from_the_greedy_answers(self, make):
        alone = texts(make(batch_size=1), attempt=1)
        assert alone == texts(make(batch_size=9), QUESTIONS, attempt=1)
        greedy = texts(make())
        assert sum(a != b for a, b in zip(alone, greedy, strict=True)) > 5

    def test_the_temperature_of_the_first_question_is_honoured(self, make, chat_model_folder):
        oracle = make(temperature=0.5)
        texts(oracle)
        key = oracle.identify(ask(QUESTIONS[1]))[1]
        expected = naive(chat_model_folder(), ask(QUESTIONS[1]), temperature=0.5, seed=int(key[:15], 16))[2]
        assert oracle.answer(ask(QUESTIONS[1])).text == expected

    def test_leave_the_random_state_of_the_process_alone(self, make):
        torch.manual_seed(7)
        state = torch.get_rng_state()
        texts(make(), attempt=1)
        assert torch.equal(torch.get_rng_state(), state)

    def test_follow_the_probabilities(self):
        logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf])
        draws = [Draw(0.5, seed) for seed in range(4000)]
        chosen = SampleByRow(draws, torch.device("cpu"))(None, logits.repeat(4000, 1)).argmax(-1)
        shares = torch.bincount(chosen, minlength=4) / 4000
        assert torch.allclose(shares, (logits / 0.5).softmax(-1), atol=0.02)
        assert shares[3] == 0


class TestTooLong:
    LONG = "word " * 300

    def test_is_marked_and_kept_without_the_weights(self, make, monkeypatch):
        oracle = make()
        forbid_weights(monkeypatch)
        assert texts(oracle, [self.LONG]) == [None]
        completion = oracle.answer(ask(self.LONG))
        assert (completion.failure, completion.from_store) == (CONTEXT_OVERFLOW, True)
        assert re.fullmatch(
            r"the prompt's \d+ tokens and the answer's 24 are more than the model's 256 positions", completion.detail
        )

    def test_does_not_keep_its_job_or_others_from_going_on(self, make):
        def job(question):
            yield ask(self.LONG)
            yield ask(question)

        oracle = make()
        oracle.run(jobs_of(job), len(QUESTIONS))
        assert texts(make(store=oracle.store)) == texts(make())

    def test_begins_where_prompt_and_answer_fill_the_positions(self, make, chat_model_folder):
        length = naive(chat_model_folder(), ask("Why?"))[1]
        for positions, failure in ((length + MAX_TOKENS, None), (length + MAX_TOKENS - 1, CONTEXT_OVERFLOW)):
            oracle = make(positions=positions)
            texts(oracle, ["Why?"])
            assert oracle.answer(ask("Why?")).failure == failure

    def test_an_answer_alone_can_be_too_long(self, make):
        with pytest.raises(BadInputError, match=r"--max_tokens 256: leaves no room for a prompt in the 256 positions"):
            make(max_tokens=256)


class TestPromptLimit:
    def test_leaves_room_for_the_answer_and_counts_with_the_models_tokenizer(self, make):
        prompt = load_prompts()["response"]
        pair = {"instruction": "Count.", "input": "", "output": "one two three " * 300}
        oracle = make(positions=2048)
        for context in (1400, 1700, 2048):
            messages, cut = oracle.model.prompt_limit(context, MAX_TOKENS).fit(prompt, dict(pair), structured=False)
            used = len(oracle.model.encode(messages)) + MAX_TOKENS
            assert cut and context - 60 < used <= context

    def test_of_a_template_that_writes_much(self, make, chat_model_folder, tmp_path):
        folder = change_template(chat_model_folder(), tmp_path, "{{ 'Today is a very fine day. ' * 20 }}")
        plain, wordy = make(), make(folder)
        assert plain.model.prompt_limit(200, MAX_TOKENS).tokens - wordy.model.prompt_limit(200, MAX_TOKENS).tokens > 100

    def test_is_no_longer_than_the_model(self, make):
        with pytest.raises(BadInputError, match=r"--oracle_context 300: .* 256 positions; pass --oracle_context 256"):
            make().model.prompt_limit(300, MAX_TOKENS)


def change_template(folder: Path, tmp_path: Path, before: str) -> Path:
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = before + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


class TestTemplates:
    @pytest.mark.parametrize("template", ["refuses system", "drops system"])
    def test_without_a_place_for_the_system_text_it_stands_before_the_question(self, make, template):
        chat = make(template=template).model
        prompt = chat.tokenizer.decode(chat.encode(ask("Why?").messages))
        assert prompt == f"<user>\n{SYSTEM}\n\nWhy?</s>\n<assistant>\n"
        assert len(texts(make(template=template))) == len(QUESTIONS)

    def test_with_one_it_is_left_there(self, make):
        chat = make().model
        assert chat.tokenizer.decode(chat.encode(ask("Why?").messages)) == (
            f"<system>\n{SYSTEM}</s>\n<user>\nWhy?</s>\n<assistant>\n"
        )

    def test_none_is_bad_input(self, make):
        with pytest.raises(BadInputError, match=r"--oracle_model .*: its tokenizer has no chat template"):
            make(template="none")

    def test_one_that_takes_no_question_is_bad_input(self, make):
        with pytest.raises(BadInputError, match=r"--oracle_model .*: its chat template cannot be used \(I am\s+no"):
            make(template="refuses all")


class TestStore:
    def test_a_rerun_loads_no_weights(self, make, monkeypatch):
        oracle = make()
        oracle.run(jobs_of(dialogue), len(QUESTIONS))
        again = make(store=oracle.store)
        forbid_weights(monkeypatch)
        again.run(jobs_of(dialogue), len(QUESTIONS))
        for question in QUESTIONS:
            assert replay(dialogue(question), again.answer) == replay(dialogue(question), oracle.answer)

    def test_finished_batches_outlive_a_crash(self, make, monkeypatch):
        oracle = make(batch_size=2)
        numbers, generate = count(), oracle.model.generate

        def dies(*arguments):
            if next(numbers) == 2:
                raise RuntimeError("the machine went away")
            return generate(*arguments)

        monkeypatch.setattr(oracle.model, "generate", dies)
        with pytest.raises(RuntimeError):
            oracle.run(jobs_of(), len(QUESTIONS))
        assert len(list(oracle.store.rows())) == 4
        again = make(store=oracle.store)
        asked = watch_generate(monkeypatch, again)
        assert texts(again) == texts(make())
        assert sum(len(prompts) for prompts in asked) == len(QUESTIONS) - 4

    def test_what_was_not_asked_has_a_failure_and_no_exception(self, make):
        assert make().answer(ask("Why?")) == Completion(None, failure=NOT_ASKED)


class TestOutOfMemory:
    def test_goes_on_with_smaller_batches(self, make, monkeypatch, capsys):
        oracle = make(batch_size=8)
        asked = watch_generate(monkeypatch, oracle, at_most=3)
        assert texts(oracle) == texts(make())
        assert [len(prompts) for prompts in asked][:3] == [8, 4, 2]
        assert oracle.failures == {}
        assert "[reflect] out of memory with 8 prompts of up to" in capsys.readouterr().out

    def test_shorter_prompts_may_stand_together_again(self, make, monkeypatch):
        oracle = make(batch_size=8, max_tokens=1)
        asked = watch_generate(monkeypatch, oracle, most_tokens=700)
        texts(oracle, [*("QZX" * 40 + str(number) for number in range(8)), *(str(number) for number in range(56))])
        sizes = [len(prompts) for prompts in asked]
        assert 0 < min(sizes) < 8 and sizes[-1] == 8
        assert oracle.failures == {}

    def test_a_prompt_for_which_one_is_too_many_fails_and_is_asked_again_by_the_next_run(self, make, monkeypatch):
        oracle = make()
        watch_generate(monkeypatch, oracle, at_most=0)
        assert texts(oracle) == [None] * len(QUESTIONS)
        completion = oracle.answer(ask("Why?"))
        assert completion.failure == ORACLE_ERROR
        assert completion.detail.startswith("out of memory on cpu with a single prompt of ")
        assert list(oracle.store.rows()) == []
        assert texts(make(store=oracle.store)) == texts(make())

    def test_weights_that_do_not_fit_are_bad_input(self, make, monkeypatch):
        def too_large(*arguments, **options):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(local_model.AutoModelForCausalLM, "from_pretrained", too_large)
        with pytest.raises(BadInputError, match=r"--oracle_model .*: its weights do not fit into the memory of cpu"):
            texts(make())


def watch_generate(monkeypatch, oracle, at_most=1000, most_tokens=1_000_000) -> list[list[Prompt]]:
    """The prompts of every call; more rows or more tokens than allowed are out of memory."""
    calls, generate = [], oracle.model.generate

    def watched(prompts):
        calls.append(prompts)
        if len(prompts) > at_most or len(prompts) * max(len(prompt.tokens) for prompt in prompts) > most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(prompts)

    monkeypatch.setattr(oracle.model, "generate", watched)
    return calls


def forbid_weights(monkeypatch) -> None:
    def forbidden(*arguments, **options):
        raise AssertionError("no weights are needed here")

    monkeypatch.setattr(local_model.AutoModelForCausalLM, "from_pretrained", forbidden)


class TestBadInput:
    def test_no_model(self, make, tmp_path):
        with pytest.raises(BadInputError, match=rf"--oracle_model {tmp_path}: cannot be loaded \("):
            make(folder=tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no weights at all", None])
    def test_broken_weights(self, make, chat_model_folder, tmp_path, content):
        folder = change_template(chat_model_folder(), tmp_path, "")
        weights = folder / "model.safetensors"
        weights.unlink() if content is None else weights.write_bytes(content)
        with pytest.raises(BadInputError, match=r"--oracle_model .*: cannot be loaded \(.+\)"):
            texts(make(folder=folder))

    def test_structured_output(self, make):
        def job(question):
            yield ask(question, response_format=RESPONSE_FORMATS["response"])

        with pytest.raises(BadInputError, match="--oracle transformers: has no structured output"):
            make().run(jobs_of(job), len(QUESTIONS))

    def test_no_temperature(self, make):
        with pytest.raises(BadInputError, match="--temperature null"):
            make(temperature=None)


DRIVER = """
import sys
from pathlib import Path
from datetime import timedelta
from accelerate import PartialState
sys.path.insert(0, {tests!r})
from test_transformers import QUESTIONS, dialogue, jobs_of, ask
from reflection.oracles.base import replay
from reflection.oracles.chat import Sampling
from reflection.oracles.transformers import TransformersOracle
from reflection.store import CompletionStore

folder, store = sys.argv[1:]
state = PartialState(cpu=True, timeout=timedelta(days=1))
oracle = TransformersOracle(
    folder, None, Sampling(folder + "@fingerprint", 24, 0), CompletionStore(store), 4, state
)
if state.process_index == 1:  # a failure that the main process must know of
    import torch
    generate = oracle.model.generate
    def no_memory(prompts):
        if any("no memory" in oracle.model.tokenizer.decode(prompt.tokens) for prompt in prompts):
            raise torch.OutOfMemoryError
        return generate(prompts)
    oracle.model.generate = no_memory
oracle.run(jobs_of(dialogue, [*QUESTIONS, "no memory " * 15]), len(QUESTIONS) + 1)
for question in QUESTIONS:
    assert None not in replay(dialogue(question), oracle.answer)
failed = [completion.failure for completion in oracle.failures.values()]
# To a file of its own: two processes that print at once mix their letters.
Path(store + "." + str(state.process_index)).write_text(str(state.num_processes) + " " + str(failed))
state.destroy_process_group()
"""


def test_two_processes_give_the_store_of_one(root, make, chat_model_folder, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    arguments = [script, chat_model_folder(), tmp_path / "store.sqlite"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert (tmp_path / f"store.sqlite.{rank}").read_text() == "2 ['oracle_error', 'oracle_error']"
    alone = make()
    alone.run(jobs_of(dialogue), len(QUESTIONS))
    columns = ("request", "text", "finish_reason", "model", "prompt_tokens", "completion_tokens")
    content = [
        {row["key"]: [row[name] for name in columns] for row in store.rows()}
        for store in (alone.store, CompletionStore(str(tmp_path / "store.sqlite")))
    ]
    assert {key: content[1].get(key) for key in content[0]} == content[0]
