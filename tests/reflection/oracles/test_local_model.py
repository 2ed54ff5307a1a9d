"""Texts that a local model goes on with, against `generate` of transformers."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from hub_cards.errors import BadInputError
from reflection.oracles.base import OracleRequest
from reflection.oracles.chat import Sampling
from reflection.oracles.config import Flags
from reflection.oracles.local_model import Draw, LocalModel, Prompt
from reflection.oracles.transformers import TransformersOracle
from reflection.statuses import CONTEXT_OVERFLOW
from reflection.store import IN_MEMORY, CompletionStore

MAX_TOKENS = 24
CPU = torch.device("cpu")
TEXTS = [
    "Name three fruits.",
    "Write a poem about the sea, in four lines that rhyme, and explain every image that you have used in it.",
    "x",
    "What is the capital of France? Answer in one word.",
    "Translate 'good morning' into German, Dutch and Danish.",
]


def ask(text: str, stop: tuple[str, ...] = ()) -> OracleRequest:
    return OracleRequest(text, None, "koala", None, prompt=text, stop=stop)


def job(text: str, stop: tuple[str, ...]):
    return (yield ask(text, stop))


def answers(folder: Path, texts=TEXTS, stop=(), batch_size: int = 4, max_tokens=MAX_TOKENS, store=None, **options):
    """What the oracle says to every text."""
    sampling = Sampling(f"{folder}@fingerprint", max_tokens, **options)
    store = store or CompletionStore(IN_MEMORY)
    oracle = TransformersOracle(str(folder), None, sampling, store, batch_size, PartialState(cpu=True), chat=False)
    oracle.run(lambda: (job(text, stop) for text in texts), len(texts))
    return [oracle.answer(ask(text, stop)) for text in texts]


@cache
def load(folder: Path):
    """Model and tokenizer, without the settings for generation that a checkpoint brings along."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generation_config = GenerationConfig()
    return model, AutoTokenizer.from_pretrained(folder)


def plain(folder: Path, text: str, max_tokens: int = MAX_TOKENS, **options) -> tuple[str, int, str]:
    """The same of transformers alone, one prompt at a time: text, tokens, why it ended."""
    model, tokenizer = load(folder)
    prompt = tokenizer(text, return_tensors="pt")["input_ids"]
    ends = GenerationConfig.from_pretrained(folder).eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    config = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=ends, pad_token_id=ends[0])
    made = model.generate(prompt, generation_config=config, **options)[0, prompt.shape[1] :].tolist()
    ended = made[-1] in ends or bool(options)
    return tokenizer.decode(made, skip_special_tokens=True), len(made), "stop" if ended else "length"


@pytest.fixture(scope="module")
def student(quickstart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's student in float32: in bfloat16 two tokens can be equally likely, up to rounding."""
    folder = tmp_path_factory.mktemp("student")
    AutoModelForCausalLM.from_pretrained(quickstart / "student", dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(quickstart / "student").save_pretrained(folder)
    return folder


@pytest.fixture(params=["llama", "gpt2 without BOS and padding", "student"])
def folder(request: pytest.FixtureRequest, chat_model_folder) -> Path:
    """Models without a chat template."""
    if request.param == "student":
        return request.getfixturevalue("student")
    return chat_model_folder(request.param.split()[0], "none")


class TestTexts:
    def test_batches_give_what_transformers_gives_each_text_alone(self, folder):
        found = answers(folder)
        for text, completion in zip(TEXTS, found, strict=True):
            assert (completion.text, completion.completion_tokens, completion.finish_reason) == plain(folder, text)
        assert answers(folder, batch_size=1) == found
        assert answers(folder, TEXTS[::-1], batch_size=5) == found[::-1]

    def test_begin_as_in_training(self, student, chat_model_folder):
        for folder, first in ((student, [0]), (chat_model_folder("gpt2", "none"), [])):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            own = tokenizer("Why?", add_special_tokens=False)["input_ids"]
            assert tokenizer("Why?")["input_ids"] == first + own
            assert LocalModel(str(folder), None, CPU).encode_text("Why?") == first + own

    def test_an_end_that_the_tokenizer_adds_is_left_out(self, student):
        model = LocalModel(str(student), None, CPU)
        expected = model.encode_text("Why?")
        added = {"Sequence": {"id": "A", "type_id": 0}}
        content = json.loads(model.tokenizer.backend_tokenizer.to_str())
        content["post_processor"]["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
        content["post_processor"]["special_tokens"]["</s>"] = {"id": "</s>", "ids": [1], "tokens": ["</s>"]}
        assert added in content["post_processor"]["single"]
        model.tokenizer._tokenizer = Tokenizer.from_str(json.dumps(content))
        assert model.tokenizer("Why?")["input_ids"] == [*expected, 1]
        assert model.encode_text("Why?") == expected


class TestStop:
    def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(self, folder):
        found = answers(folder)
        asked, whole = max(zip(TEXTS, found, strict=True), key=lambda pair: len(pair[1].text))
        stop = re.search(r"[!-~]{1,3}", whole.text[1:])[0]
        cut = answers(folder, [asked, *TEXTS[:3]], (stop,))[0]
        assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")
        assert cut.completion_tokens < whole.completion_tokens
        assert cut == answers(folder, [asked], (stop,))[0]

    def test_is_where_transformers_stops_too(self, student):
        tokenizer = AutoTokenizer.from_pretrained(student)
        whole = answers(student, max_tokens=48)
        stops = [one.text.strip()[8:12] for one in whole]
        for text, stop in zip(TEXTS, stops, strict=True):
            made, tokens, _ = plain(student, text, 48, stop_strings=[stop], tokenizer=tokenizer)
            found = answers(student, [text], (stop,), max_tokens=48)[0]
            assert stop in made, "it was written"
            assert (found.text, found.completion_tokens) == (made[: made.index(stop)], tokens)

    def test_rows_of_a_batch_have_stop_texts_of_their_own(self, student):
        model = LocalModel(str(student), None, CPU)
        whole = model.generate([Prompt(model.encode_text(text), Draw(0, 0), 32) for text in TEXTS])
        stops = [(reply.text.strip()[5:8],) if number % 2 else () for number, reply in enumerate(whole)]
        mixed = model.generate(
            [Prompt(model.encode_text(t), Draw(0, 0), 32, stop) for t, stop in zip(TEXTS, stops, strict=True)]
        )
        for before, after, stop in zip(whole, mixed, stops, strict=True):
            assert after == before if not stop else after.text == before.text[: before.text.index(stop[0])]


class TestRoom:
    """Prompt and answer together need more positions than there are."""

    @pytest.mark.parametrize("kind", ["llama", "gpt2"])  # learned positions end, rotary ones only lose their meaning
    def test_the_answer_has_what_is_left(self, chat_model_folder, tmp_path, kind):
        folder = shutil.copytree(chat_model_folder(kind, "none", positions=60), tmp_path / "model")
        (folder / "generation_config.json").write_text('{"eos_token_id": [1, 10, 26]}')  # it seldom ends by itself
        texts = [*TEXTS[:4], "sea " * 12]
        found = answers(folder, texts, max_tokens=200, shorten=True, batch_size=8)
        for text, completion in zip(texts, found, strict=True):
            expected = plain(folder, text, 60 - completion.prompt_tokens)
            assert (completion.text, completion.completion_tokens, completion.finish_reason) == expected
        assert [completion.finish_reason for completion in found].count("length") > 1
        assert answers(folder, texts, max_tokens=200, shorten=True, batch_size=3) == found

    def test_samples_go_on_where_they_paused(self, chat_model_folder):
        model = LocalModel(str(chat_model_folder("llama", "none")), None, CPU)
        prompts = [Prompt(model.encode_text(text), Draw(1.0, n), 8 + 3 * n) for n, text in enumerate(TEXTS)]
        assert model.generate(prompts) == [model.generate([prompt])[0] for prompt in prompts]

    def test_without_any_left_there_is_no_answer(self, chat_model_folder):
        folder = chat_model_folder("gpt2", "none", positions=120)
        model = LocalModel(str(folder), None, CPU)
        text = "x"
        while len(model.encode_text(text)) < 119:
            text += "QZ"[len(text) % 2]
        last, full = answers(folder, [text, f"{text}QZ"], max_tokens=200, shorten=True)
        assert (last.failure, last.completion_tokens) == (None, 1)
        assert (full.text, full.failure) == (None, CONTEXT_OVERFLOW)
        assert full.detail == "the prompt's 121 tokens leave no room in the model's 120 positions"

    def test_unless_it_may_be_shortened_it_is_refused(self, chat_model_folder):
        folder = chat_model_folder("gpt2", "none", positions=120)
        (found,) = answers(folder, [TEXTS[1]], max_tokens=110)
        assert (found.text, found.failure) == (None, CONTEXT_OVERFLOW)


class TestFlags:
    FLAGS = Flags("--model_name_or_path", "--model_name_or_path", max_tokens="--max_new_tokens")

    def test_messages_name_what_the_user_has_set(self, tmp_path):
        with pytest.raises(BadInputError, match=rf"^--model_name_or_path {tmp_path}: cannot be loaded \("):
            LocalModel(str(tmp_path), None, CPU, self.FLAGS)

    def test_an_answer_as_long_as_the_model(self, chat_model_folder):
        folder, store = chat_model_folder("gpt2", "none"), CompletionStore(IN_MEMORY)
        with pytest.raises(BadInputError, match=r"^--max_new_tokens 256: .* positions of --model_name_or_path "):
            TransformersOracle(
                str(folder), None, Sampling("m", 256), store, 1, PartialState(cpu=True), flags=self.FLAGS, chat=False
            )
