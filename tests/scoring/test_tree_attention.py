import math

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from scoring.batches import Batch, pack_spans
from scoring.flex import BLOCK, FlexKernel, block_mask, flex_width
from scoring.spans import TargetSpan
from scoring.tree_attention import (
    IMPLEMENTATION,
    QUERIES,
    RunKernel,
    UnsupportedAttentionError,
    attention_over,
    has_flex,
    n_calls,
    tree_attention,
)

CPU = torch.device("cpu")
# The lengths of stems and of what follows them: short, longer than `QUERIES`, longer than several blocks.
TRIES = {
    "one short text": ([0], 1, 9),
    "one text of three calls": ([0], 1, 2 * QUERIES + 5),
    "short stems": ([20, 40], 12, 30),
    "long stems": ([QUERIES + 7, 2 * QUERIES], 6, QUERIES + 3),
    "no common beginning": ([0], 9, 60),
    "texts of many blocks": ([2 * BLOCK + 3], 3, 3 * BLOCK + 50),
}


def random_pack(name: str, seed: int) -> Batch:
    """Texts that branch off random stems at random depths; of every token it is known which text needs it."""
    stem_lengths, n_texts, longest = TRIES[name]
    numbers = np.random.default_rng(seed)
    stems = [numbers.integers(0, 50, length).tolist() for length in stem_lengths]
    spans = []
    for _ in range(n_texts):
        stem = stems[numbers.integers(len(stems))]
        depth = len(stem) if numbers.random() < 0.6 else int(numbers.integers(0, len(stem) + 1))
        own = numbers.integers(0, 50, int(numbers.integers(longest // 2, longest))).tolist()
        spans.append(TargetSpan((*stem[:depth], *own, 0), 1, truncated=False))
    (batch,) = pack_spans(spans, 100_000)
    return batch


def visible(batch: Batch, width: int | None = None) -> torch.Tensor:
    """Which query (row) sees which key, from where the texts' tokens stand; none of the tree's own arrays."""
    size = batch.ids_BT.size
    seen = torch.eye(width or size, dtype=torch.bool)
    for picks in batch.picks:
        places = batch.predictors_N[picks]  # every token of the text, as it is scored from the second on
        for number, place in enumerate(places):
            seen[place, places[: number + 1]] = True
    return seen


def states(size: int, n_heads: int, n_groups: int, seed: int = 0):
    torch.manual_seed(seed)
    query = torch.randn(1, n_heads, size, 16) * 3  # sharp, so that one wrong key is seen
    return query, *(torch.randn(1, n_groups, size, 16) for _ in range(2))


def dense_attention(query, key, value, seen, scale=None) -> torch.Tensor:
    """A softmax over all keys, in float64; the result has shape 1, T, H, D."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (part.double().repeat_interleave(repeats, 1) for part in (key, value))
    scores = query.double() @ key.transpose(-1, -2) * (scale or 1 / math.sqrt(query.shape[-1]))
    return (scores.masked_fill(~seen, -math.inf).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize(("n_heads", "n_groups", "scale"), [(4, 4, None), (4, 2, 0.3), (4, 1, None)])
@pytest.mark.parametrize("name", list(TRIES))
class TestKernels:
    def test_a_loop_over_texts_is_a_masked_softmax(self, name, n_heads, n_groups, scale):
        for seed in (1, 2, 3):
            batch = random_pack(name, seed)
            inputs = states(batch.ids_BT.size, n_heads, n_groups, seed)
            found = RunKernel(batch.tree, torch.float32, CPU)(*inputs, scale)
            assert found.shape == (1, batch.ids_BT.size, n_heads, 16)
            wanted = dense_attention(*inputs, visible(batch), scale)
            torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.filterwarnings("ignore:flex_attention called without")
    def test_the_flex_kernel_gives_the_same(self, name, n_heads, n_groups, scale, monkeypatch):
        """Not compiled here: what it is asked to compute, not how."""
        monkeypatch.setattr(FlexKernel, "compiled", staticmethod(flex_attention))
        batch = random_pack(name, 1)
        size = batch.ids_BT.size
        inputs = states(flex_width(size), n_heads, n_groups)
        found = FlexKernel(batch.tree.padded(flex_width(size)), CPU)(*inputs, scale)
        wanted = RunKernel(batch.tree, torch.float32, CPU)(*(part[:, :, :size] for part in inputs), scale)
        assert found.shape == (1, flex_width(size), n_heads, 16)
        torch.testing.assert_close(found[:, :size], wanted, rtol=1e-4, atol=1e-5)
        assert found.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_loop_takes_other_precisions(dtype):
    batch = random_pack("long stems", 1)
    inputs = [part.to(dtype) for part in states(batch.ids_BT.size, 4, 2)]
    found = RunKernel(batch.tree, dtype, CPU)(*inputs, None)
    tolerance = 1e-9 if dtype == torch.float64 else 3e-2
    assert found.dtype == dtype
    wanted = dense_attention(*inputs, visible(batch))
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


def listed(counts: torch.Tensor, indices: torch.Tensor) -> list[list[int]]:
    """The blocks of keys of every block of queries."""
    rows = zip(counts[0, 0].tolist(), indices[0, 0].tolist(), strict=True)
    return [sorted(row[:count]) for count, row in rows]


class TestBlockMask:
    @pytest.mark.parametrize("name", list(TRIES))
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_is_the_one_that_torch_makes_of_the_whole_mask(self, name, seed):
        batch = random_pack(name, seed)
        width = flex_width(batch.ids_BT.size)
        seen = visible(batch, width)
        found = block_mask(batch.tree.padded(width).ends_T, CPU)
        wanted = create_block_mask(lambda _b, _h, q, k: seen[q, k], 1, 1, width, width, "cpu", BLOCK)
        assert torch.equal(found.to_dense(), wanted.to_dense())
        for kind in ("kv", "full_kv"):
            pair = [listed(getattr(m, f"{kind}_num_blocks"), getattr(m, f"{kind}_indices")) for m in (found, wanted)]
            assert pair[0] == pair[1], kind
        assert found.shape == wanted.shape
        numbers = torch.arange(width)
        assert torch.equal(found.mask_mod(0, 0, numbers[:, None], numbers[None, :]), seen)

    def test_a_long_text_has_blocks_that_need_no_look_at_single_tokens(self):
        """Block 3 of one text: its own is cut by causality, the three before it are seen whole."""
        (batch,) = pack_spans([TargetSpan(tuple(range(4 * BLOCK + 1)), 1, truncated=False)], 10_000)
        found = block_mask(batch.tree.ends_T, CPU)
        assert listed(found.kv_num_blocks, found.kv_indices) == [[0], [1], [2], [3]]
        assert listed(found.full_kv_num_blocks, found.full_kv_indices) == [[], [0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize(
    ("n_tokens", "width"),
    [
        *((1, 128), (128, 128), (129, 256), (256, 256), (257, 384), (384, 384), (385, 512), (513, 768)),
        *((768, 768), (769, 1024), (1025, 1536), (1536, 1536), (1537, 2048), (32_768, 32_768), (32_769, 49_152)),
    ],
)
def test_widths_are_few(n_tokens, width):
    assert flex_width(n_tokens) == width


def test_widths_are_blocks_and_at_most_twice_the_tokens():
    widths = [flex_width(n_tokens) for n_tokens in range(1, 5000)]
    assert all(width % BLOCK == 0 for width in widths)
    assert all(n_tokens <= width < max(2 * n_tokens, BLOCK + 1) for n_tokens, width in enumerate(widths, 1))
    assert len(set(widths)) == 11


def test_flex_is_for_accelerators():
    assert not has_flex(CPU)


class Recording:
    """A kernel that counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, query_1HTD, *_):
        self.calls += 1
        return query_1HTD.transpose(1, 2)


class TestModels:
    """What a model asks of its attention, with transformers between."""

    IDS = torch.arange(40)[None]

    def run(self, model, longest: int) -> int:
        kernel = Recording()
        with torch.inference_mode(), tree_attention(model), attention_over(kernel, longest):
            model.base_model(input_ids=self.IDS, use_cache=False)
        assert n_calls() == kernel.calls
        return kernel.calls

    @pytest.mark.parametrize(
        ("name", "calls"), [("llama", 2), ("gpt2", 2), ("mistral-wide", 2), ("mixtral", 2), ("mamba", 0)]
    )
    def test_every_layer_is_counted(self, model_of, name, calls):
        assert self.run(model_of(name), 40) == calls

    def test_capped_scores_are_refused(self, model_of):
        model = model_of("gemma2")
        assert model.config.attn_logit_softcapping
        with pytest.raises(UnsupportedAttentionError, match="softcap"):
            self.run(model, 40)

    def test_attention_sinks_are_refused(self, model_of):
        with pytest.raises(UnsupportedAttentionError, match="s_aux"):
            self.run(model_of("gptoss"), 10)

    @pytest.mark.parametrize("longest", [17, 40])
    def test_a_window_that_a_text_outgrows_is_refused(self, model_of, longest):
        with pytest.raises(UnsupportedAttentionError, match="a sliding window"):
            self.run(model_of("mistral-narrow"), longest)

    def test_a_window_that_no_text_outgrows_is_none(self, model_of):
        assert self.run(model_of("mistral-narrow"), 16) == 2

    def test_dropout_is_refused(self, make_model):
        model = make_model("llama").train()
        for layer in model.model.layers:
            layer.self_attn.attention_dropout = 0.1
        with pytest.raises(UnsupportedAttentionError):
            self.run(model, 40)

    def test_attention_that_is_not_causal_is_refused(self, make_model):
        model = make_model("llama")
        model.model.layers[1].self_attn.is_causal = False
        with pytest.raises(UnsupportedAttentionError, match="asks for more than causal attention"):
            self.run(model, 40)

    def test_without_a_pack_it_raises(self, model_of):
        with tree_attention(model_of("llama")), pytest.raises(RuntimeError, match="attention_over"):
            model_of("llama")(input_ids=self.IDS)

    def test_after_a_pack_it_raises_again(self, model_of):
        model = model_of("llama")
        self.run(model, 40)
        with tree_attention(model), pytest.raises(RuntimeError, match="attention_over"):
            model(input_ids=self.IDS)

    @pytest.mark.parametrize("own", ["eager", "sdpa"])
    def test_the_models_own_attention_comes_back(self, make_model, own):
        model = make_model("llama")
        model.set_attn_implementation(own)
        wanted = model(input_ids=self.IDS).logits
        with tree_attention(model):
            assert model.config._attn_implementation == IMPLEMENTATION
        assert model.config._attn_implementation == own
        with pytest.raises(ZeroDivisionError), tree_attention(model), attention_over(Recording(), 1):
            raise ZeroDivisionError
        assert model.config._attn_implementation == own
        assert torch.equal(model(input_ids=self.IDS).logits, wanted)
        with tree_attention(model), pytest.raises(RuntimeError, match="attention_over"):
            model(input_ids=self.IDS)
