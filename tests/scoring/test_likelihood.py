import shutil

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from hub_cards.errors import BadInputError, StoppedError
from scoring import likelihood, tree_attention
from scoring.batches import Batch, pad_spans
from scoring.ifd import score_batch
from scoring.likelihood import LikelihoodEngine, batch_tokens_for, is_out_of_memory
from scoring.spans import TargetSpan
from scoring.tree_attention import RunKernel

# What packing needs: an attention that is an attention function of transformers, causal, and nothing beside it.
PACKED = {
    *("llama", "llama-tied", "gpt2", "mistral-wide", "qwen3", "opt", "neox", "phi3", "mixtral", "cohere", "granite"),
    "no-body",
}
NOT_PACKED = {"mistral-narrow", "gemma2", "bloom", "gptj", "falcon-alibi", "mamba", "gptoss"}


def span(ids, start: int = 1) -> TargetSpan:
    return TargetSpan(tuple(ids), start, truncated=False)


def engine_of(model, max_batch_tokens: int = 256, pack: bool = True) -> LikelihoodEngine:
    return LikelihoodEngine(model, 1024, max_batch_tokens, pack)


def assert_close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


class TestEveryKindOfModel:
    def test_is_packed_where_that_is_right(self, any_kind, model_of):
        engine = engine_of(model_of(any_kind))
        assert (any_kind in PACKED, any_kind in NOT_PACKED) == (engine.is_packed, not engine.is_packed)
        assert engine.is_packed == (engine.why_padded is None)
        assert not engine_of(model_of(any_kind), pack=False).is_packed

    @pytest.mark.parametrize(
        ("kind", "pack"), [(kind, pack) for kind in sorted(PACKED | NOT_PACKED) for pack in {kind in PACKED, False}]
    )
    def test_every_token_loss_is_the_one_of_a_text_alone(self, kind, model_of, spans, alone, pack):
        model = model_of(kind)
        wanted = [alone(model, text) for text in spans]
        engine = engine_of(model, pack=pack)
        for max_batch_tokens in (1, 64, 100_000):
            engine.max_batch_tokens = max_batch_tokens
            found = engine.token_losses(spans)
            assert all(losses.dtype == np.float32 for losses in found)
            assert_close(found, wanted)

    def test_the_self_check_passes(self, any_kind, model_of, spans):
        assert 0 < engine_of(model_of(any_kind)).check(spans) < 1e-5


@pytest.fixture(params=["packed", "padded"])
def engine(request, model_of) -> LikelihoodEngine:
    return engine_of(model_of("llama"), pack=request.param == "packed")


class TestLosses:
    def test_order_and_neighbours_do_not_matter(self, engine, spans):
        forward, backward = engine.token_losses(spans), engine.token_losses(spans[::-1])[::-1]
        assert_close(forward, backward)
        assert_close([engine.token_losses([text])[0] for text in spans], forward)

    def test_equal_spans_get_equal_bits(self, engine, spans):
        losses = engine.token_losses([*spans, *spans])
        pairs = zip(losses[: len(spans)], losses[len(spans) :], strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)

    def test_spans_of_one_text_share_their_bits(self, engine):
        """Another start only leaves out what precedes it."""
        whole, part = engine.token_losses([span(range(40)), span(range(40), 30)])
        assert np.array_equal(whole[29:], part)

    def test_nothing_to_score_gives_an_empty_array(self, engine):
        losses = engine.token_losses([span([], 0), span([5], 0), span([5, 6], 2), span([5, 6], 1), span([5, 6], 9)])
        assert [len(values) for values in losses] == [0, 0, 0, 1, 0]

    def test_without_a_single_target_the_model_is_not_asked(self, engine):
        assert engine.token_losses([]) == []
        (nothing,) = engine.token_losses([span([5], 0)])
        assert len(nothing) == 0 and nothing.dtype == np.float32
        assert engine.tokens_run == engine.tokens_scored == 0

    def test_a_plan_made_before_gives_the_same(self, engine, spans):
        wanted = engine.token_losses(spans)
        found = engine.token_losses(spans, engine.plan(spans))
        assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))

    def test_tokens_are_counted(self, engine):
        engine.token_losses([span(range(30)), span([*range(20), *range(50, 60)], 21)])
        common = 20 if engine.is_packed else 0
        assert engine.tokens_run == 2 * 29 - common
        assert engine.tokens_scored == 29 + 9

    def test_a_token_beyond_the_embeddings_is_refused(self, engine):
        for ids in ([1, 600], [600, 1]):
            with pytest.raises(BadInputError, match="token id 600, the model has only 600 embeddings"):
                engine.token_losses([span(ids)])
        assert len(engine.token_losses([span([1, 599])])[0]) == 1

    def test_the_model_is_left_as_it_was(self, model_of, spans):
        model = model_of("llama")
        before = model.config._attn_implementation
        engine_of(model).token_losses(spans)
        assert model.config._attn_implementation == before != "token_tree"
        with pytest.raises(BadInputError):
            engine_of(model).token_losses([span([1, 600])])
        assert model.config._attn_implementation == before

    @pytest.mark.parametrize("pack", [True, False])
    def test_nan_stays_with_the_texts_it_belongs_to(self, make_model, alone, pack):
        """A broken embedding reaches the tokens that see it and no neighbour."""
        model = make_model("llama")
        engine = engine_of(model, pack=pack)
        with torch.no_grad():
            model.model.embed_tokens.weight[7] = torch.nan
        beginning = list(range(100, 120))
        texts = [span([*beginning, *range(200, 230)]), span([*beginning, 1, 2, 7, 3, 4]), span(range(300, 340))]
        found, wanted = engine.token_losses(texts), [alone(model, text) for text in texts]
        assert_close([found[0], found[2]], [wanted[0], wanted[2]])
        assert np.isnan(found[1][-2:]).all()
        assert np.isfinite(found[0]).all() and np.isfinite(found[2]).all()

    def test_all_weights_nan_is_all_losses_nan(self, make_model, spans):
        model = make_model("llama")
        engine = engine_of(model)
        with torch.no_grad():
            model.lm_head.weight[7] = torch.nan
        assert all(np.isnan(losses).all() for losses in engine.token_losses(spans))
        with pytest.raises(StoppedError, match="the model gives NaN or infinity for each of"):
            engine.check(spans)

    def test_a_model_of_few_positions_is_scored(self):
        """As long as its texts are short enough; what is tried must be too."""
        config = GPT2Config(vocab_size=600, n_embd=32, n_layer=2, n_head=4, n_positions=64)
        model = GPT2LMHeadModel(config).eval()
        engine = LikelihoodEngine(model, 64, 256)
        assert engine.check([span(range(64)), span(range(30))]) < 1e-5


TOKENS = [3, 0, 599, 7, 41]


@torch.no_grad()
def probabilities_alone(model, text: TargetSpan) -> np.ndarray:
    """One text, full logits, the softmax in float64."""
    logits = model(input_ids=torch.tensor([text.ids[:-1]]), use_cache=False).logits[0, -1].double()
    return logits.softmax(-1)[TOKENS].numpy()


class TestNextTokenProbabilities:
    @pytest.fixture(scope="class")
    def texts(self, spans) -> list[TargetSpan]:
        """The same texts with their last token for a target, whichever it is."""
        return [span((*text.ids, 0), len(text.ids)) for text in spans]

    @pytest.mark.parametrize(
        ("kind", "pack"),
        [
            *((kind, pack) for kind in ("llama", "gpt2", "no-body", "cohere") for pack in (True, False)),
            *((kind, False) for kind in ("gemma2", "gptj", "mistral-narrow", "mamba")),
        ],
    )
    def test_are_those_of_a_text_alone(self, kind, pack, model_of, texts):
        model = model_of(kind)
        wanted = np.array([probabilities_alone(model, text) for text in texts])
        engine = engine_of(model, pack=pack)
        assert engine.is_packed == pack
        for max_batch_tokens in (1, 64, 100_000):
            engine.max_batch_tokens = max_batch_tokens
            found = engine.next_token_probabilities(texts, TOKENS)
            assert found.dtype == np.float64 and found.shape == (len(texts), 5)
            np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=1e-9)

    def test_all_of_the_vocabulary_are_one(self, engine, texts):
        found = engine.next_token_probabilities(texts[:3], range(600))
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)

    def test_order_neighbours_and_last_tokens_do_not_matter(self, engine, texts):
        wanted = engine.next_token_probabilities(texts, TOKENS)
        others = [span((*text.ids[:-1], 5), text.start) for text in texts[::-1]]
        np.testing.assert_allclose(engine.next_token_probabilities(others, TOKENS)[::-1], wanted, rtol=3e-5)
        alone = [engine.next_token_probabilities([text], TOKENS[::-1])[0, ::-1] for text in texts]
        np.testing.assert_allclose(alone, wanted, rtol=3e-5)

    def test_a_plan_made_before_gives_the_same(self, engine, texts):
        found = engine.next_token_probabilities(texts, TOKENS, engine.plan(texts))
        assert np.array_equal(found, engine.next_token_probabilities(texts, TOKENS))

    def test_common_beginnings_go_through_the_model_once(self, engine):
        texts = [span([*range(100, 140), number, 0], 41) for number in range(3)]
        engine.next_token_probabilities(texts, TOKENS)
        assert engine.tokens_run == (43 if engine.is_packed else 123)
        assert engine.tokens_scored == 3 * 5  # the logits of no other place

    def test_no_text_no_number(self, engine, texts):
        found = engine.next_token_probabilities([span([0], 0), texts[0], span([], 0)], TOKENS)
        assert np.isnan(found[[0, 2]]).all() and np.isfinite(found[1]).all()
        assert engine.next_token_probabilities([], TOKENS).shape == (0, 5)

    def test_nan_stays_with_the_texts_it_belongs_to(self, make_model):
        model = make_model("llama")
        engine = engine_of(model)
        with torch.no_grad():
            model.model.embed_tokens.weight[7] = torch.nan
        beginning = list(range(100, 120))
        texts = [span([*beginning, 1, 2, 0], 22), span([*beginning, 7, 0], 21), span([*beginning, 3, 0], 21)]
        found = engine.next_token_probabilities(texts, TOKENS)
        wanted = [probabilities_alone(model, text) for text in texts]
        assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()
        np.testing.assert_allclose(found[[0, 2]], [wanted[0], wanted[2]], rtol=3e-5)

    def test_where_a_batch_has_nan_each_text_is_asked_alone(self, engine, texts, monkeypatch):
        """As with a kernel that multiplies what it masks by 0."""
        wanted, own = engine.next_token_probabilities(texts, TOKENS), engine._losses_of_each

        def leaking(batch, token_ids):
            return own(batch, token_ids) * (torch.nan if len(batch.spans) > 1 else 1)

        monkeypatch.setattr(engine, "_losses_of_each", leaking)
        np.testing.assert_allclose(engine.next_token_probabilities(texts, TOKENS), wanted, rtol=3e-5)

    def test_a_token_that_is_ruled_out_has_none(self, make_model, texts):
        model = make_model("gptj")  # its head has a bias
        with torch.no_grad():
            model.lm_head.bias[7] = float("-inf")
        found = engine_of(model).next_token_probabilities(texts[:4], TOKENS)
        assert (found[:, 3] == 0).all() and (np.delete(found, 3, axis=1) > 0).all()

    def test_a_token_beyond_the_embeddings_is_refused(self, engine, texts):
        with pytest.raises(BadInputError, match="token id 600, the model has only 600 embeddings"):
            engine.next_token_probabilities(texts, [1, 600])

    @pytest.mark.parametrize("pack", [True, False])
    def test_batches_shrink_when_memory_runs_out(self, make_model, model_of, texts, pack):
        model = make_model("llama")
        engine = engine_of(model, 100_000, pack)

        def refuse(_module, _inputs, named):
            if named["input_ids"].numel() > 130:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        model.base_model.register_forward_pre_hook(refuse, with_kwargs=True)
        found = engine.next_token_probabilities(texts, TOKENS)
        wanted = [probabilities_alone(model_of("llama"), text) for text in texts]
        np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=1e-9)
        assert engine.max_batch_tokens <= 130


class Leaking(RunKernel):
    """Tokens see all that precede them in the pack, their neighbours' too."""

    def __init__(self, *_):
        self.calls = 0

    def __call__(self, query, key, value, scale):
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        ).transpose(1, 2)


class Blind(RunKernel):
    """Tokens see the new tokens of their own run only, not what it shares."""

    def __init__(self, tree, dtype, device):
        super().__init__(tree, dtype, device)
        runs = [type(run)(run.start, run.stop, ()) for run, _ in self.runs]
        super().__init__(type(tree)(tree.positions_T, tree.ends_T, tuple(runs)), dtype, device)


class TestDistrust:
    """Packing is tried before it is used, and the losses are held against single texts."""

    @pytest.fixture
    def texts(self) -> list[TargetSpan]:
        return [span([*range(20), *range(first, first + 20)], 20) for first in (50, 100, 150)]

    @pytest.mark.parametrize("kernel", [Leaking, Blind])
    def test_a_model_whose_packed_states_differ_is_padded(self, model_of, monkeypatch, texts, alone, kernel):
        monkeypatch.setattr(tree_attention, "RunKernel", kernel)
        engine = engine_of(model_of("llama"))
        assert not engine.is_packed and "differ" in engine.why_padded
        assert_close(engine.token_losses(texts), [alone(model_of("llama"), text) for text in texts])

    @pytest.mark.parametrize("kernel", [Leaking, Blind])
    def test_the_self_check_stops_a_run_that_is_wrong(self, model_of, monkeypatch, texts, kernel):
        engine = engine_of(model_of("llama"))
        assert engine.is_packed and engine.check(texts) < 1e-5
        monkeypatch.setattr(tree_attention, "RunKernel", kernel)
        with pytest.raises(StoppedError, match=r"self-check: a text of 40 tokens .*--attn_implementation sdpa"):
            engine.check(texts)

    def test_a_padded_run_that_is_wrong_is_stopped_too(self, model_of, monkeypatch, texts):
        engine = engine_of(model_of("llama"), pack=False)

        def shifted(spans, max_batch_tokens):
            for batch in pad_spans(spans, max_batch_tokens):
                ids_BT = np.roll(batch.ids_BT, 1, axis=1)
                yield Batch(ids_BT, None, batch.predictors_N, batch.targets_N, batch.spans, batch.picks)

        monkeypatch.setattr(likelihood, "pad_spans", shifted)
        with pytest.raises(StoppedError, match="in batches"):
            engine.check(texts)

    def test_numbers_where_a_text_alone_has_none_are_wrong(self, make_model, monkeypatch, texts):
        engine = engine_of(make_model("llama"))
        alone = iter([5.0, float("nan"), 5.0])
        monkeypatch.setattr(engine, "_plain_loss", lambda _span: next(alone))
        monkeypatch.setattr(likelihood, "TOLERANCE", {torch.float32: 10.0})
        with pytest.raises(StoppedError, match="nan alone"):
            engine.check(texts)

    def test_nothing_to_compare_is_no_difference(self, engine):
        assert engine.check([]) == engine.check([span([5], 0)]) == 0

    def test_what_is_not_packed_has_a_reason(self, model_of):
        reasons = {name: engine_of(model_of(name)).why_padded for name in ("mistral-narrow", "gemma2", "mamba")}
        assert "a sliding window" in reasons["mistral-narrow"]
        assert "softcap" in reasons["gemma2"]
        assert reasons["mamba"]
        assert engine_of(model_of("llama"), pack=False).why_padded == "asked for"

    def test_a_window_is_held_against_the_longest_text_that_will_come(self, model_of):
        model = model_of("mistral-wide")
        assert LikelihoodEngine(model, 4096).is_packed
        assert not LikelihoodEngine(model, 4097).is_packed

    @pytest.mark.parametrize("name", ["llama", "gemma2"])
    def test_an_attention_asked_for_is_kept(self, make_model, spans, alone, name):
        model = make_model(name)
        model.set_attn_implementation("eager")
        found = engine_of(model, pack=False).token_losses(spans)
        assert model.config._attn_implementation == "eager"
        assert_close(found, [alone(model, text) for text in spans])


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def test_half_precision_keeps_the_order_of_the_rows(student, real_rows, make_scorer):
    model, tokenizer = student
    rows = {name: values[:32] for name, values in real_rows.items()}
    half = type(model)(model.config).to(torch.bfloat16).eval()
    half.load_state_dict(model.state_dict())
    exact, rough = (score_batch(rows, make_scorer((one, tokenizer), "none", 512))["ifd_ppl"] for one in (model, half))
    assert half.dtype == torch.bfloat16 and exact != rough
    assert np.corrcoef(ranks(exact), ranks(rough))[0, 1] >= 0.99


@pytest.mark.parametrize(
    ("free", "a_token", "tokens"),
    [
        (1e9, 1e5, 4096),  # 7,000 fit
        (10e9, 1e6, 4096),
        (117.1e6, 1e4, 8192),  # 8,197 fit
        (116.9e6, 1e4, 4096),  # 8,183
        (1e6, 1e6, 256),
        (0, 1e6, 256),
        (1e15, 1e4, 32_768),
        (1e9, 0, 32_768),
    ],
)
def test_batches_are_powers_of_two_within_bounds(free, a_token, tokens):
    assert batch_tokens_for(free, a_token) == tokens


def test_on_a_cpu_batches_are_small(model_of):
    assert LikelihoodEngine(model_of("llama"), 512).max_batch_tokens == 2048


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("shapes cannot be multiplied"), False),
    ],
)
def test_running_out_of_memory_is_told_apart(error, is_one):
    assert is_out_of_memory(error) == is_one


@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler of FlexAttention needs g++ on a CPU")
def test_the_gpu_kernel_compiled_for_the_cpu_gives_the_same(spans, alone, monkeypatch):
    """The path that a GPU takes, from the padded pack to the compiled kernel, on the device that tests have."""
    monkeypatch.setattr(tree_attention, "has_flex", lambda _device: True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.3}
    config = LlamaConfig(**sizes, vocab_size=600, num_attention_heads=4, num_key_value_heads=2)
    model = LlamaForCausalLM(config).eval()
    engine = engine_of(model)
    assert engine.is_packed, engine.why_padded
    assert_close(engine.token_losses(spans), [alone(model, text) for text in spans])
