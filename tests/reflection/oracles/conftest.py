"""A chat endpoint on the loopback, and small chat models: random weights, a trained tokenizer, a chat template."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TEXT = "Name three fruits. Write a poem about the sea, in four lines that rhyme, and explain every image in it."
PLAIN = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
TEMPLATES = {
    "plain": PLAIN,
    "refuses system": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No!') }}{% endif %}" + PLAIN,
    "drops system": PLAIN.replace("messages %}", "messages if m['role'] != 'system' %}"),
    "refuses all": "{{ raise_exception('I am\nno chat model') }}",
    "none": None,
}
# What a checkpoint may bring along; none of it may change an answer.
LEAKS = {"repetition_penalty": 1.9, "no_repeat_ngram_size": 2, "top_k": 1, "temperature": 0.3, "do_sample": True}


def save_chat_model(folder: Path, kind: str = "llama", template: str = "plain", positions: int = 256) -> Path:
    """A float32 model (`llama` or `gpt2`) whose answers depend strongly on the prompt and end at various tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        GenerationConfig,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", *(["<pad>"] if kind == "llama" else [])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    names = {"bos_token": "<s>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if kind == "llama" else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **names)
    tokenizer.chat_template = TEMPLATES[template]
    torch.manual_seed(0)
    if kind == "llama":
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, max_position_embeddings=positions))
    else:
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, n_positions=positions))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight *= 8  # else every prompt is continued alike
    model.generation_config = GenerationConfig(eos_token_id=[1, *range(10, 300, 16)], **LEAKS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chat_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`chat_model_folder(kind, template, positions)` gives the folder of such a model; each is made once a session."""
    made: dict[tuple[str, str, int], Path] = {}

    def make(kind: str = "llama", template: str = "plain", positions: int = 256) -> Path:
        key = kind, template, positions
        if key not in made:
            made[key] = save_chat_model(tmp_path_factory.mktemp("chat-model"), *key)
        return made[key]

    return make


class Endpoint:
    """A chat endpoint on the loopback that answers by `answer(question, times_asked)` → (status, body, headers)."""

    def __init__(self) -> None:
        self.answer = lambda question, _: (200, self.chat(f"answer to {question}"), {})
        self.requests: list[dict] = []
        self.paths: set[str] = set()
        self.keys: set[str] = set()
        self.in_flight = self.peak = 0
        self.lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def log_message(self, *arguments) -> None:
                pass

            def do_POST(self) -> None:
                endpoint.handle(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that goes away is no error of the endpoint
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        question = self.question(body)
        with self.lock:
            self.requests.append(body)
            self.paths.add(handler.path)
            self.keys.add(handler.headers["authorization"])
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            times = self.questions().count(question)
        try:
            status, answer, headers = self.answer(question, times)
        finally:
            with self.lock:
                self.in_flight -= 1
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    @staticmethod
    def chat(text, finish_reason="stop", **changes) -> dict:
        """The body of a normal answer."""
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "oracle-1-2026-05-01",
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
            **changes,
        }

    @staticmethod
    def question(body) -> str:
        """The last turn of a chat, or the text to go on with."""
        return body["messages"][-1]["content"] if "messages" in body else body["prompt"]

    def questions(self) -> list[str]:
        return [self.question(body) for body in self.requests]


@pytest.fixture
def endpoint():
    served = Endpoint()
    yield served
    served.server.shutdown()
    served.server.server_close()
