import numpy as np
import pytest
import torch

from hub_cards.errors import BadInputError
from scoring.likelihood import TargetSpan, encode_spans, has_plain_head, token_losses


def span(ids, start) -> TargetSpan:
    return TargetSpan(tuple(ids), start, truncated=False)


@torch.no_grad()
def one_by_one(model, target: TargetSpan) -> np.ndarray:
    logits = model(input_ids=torch.tensor([target.ids]), use_cache=False).logits[0].double()
    positions = range(max(target.start, 1), len(target.ids))
    return np.array([-logits[p - 1].log_softmax(-1)[target.ids[p]].item() for p in positions])


def random_spans(vocab: int, count: int = 40) -> list[TargetSpan]:
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(2, 60, count)
    return [span(numbers.integers(0, vocab, n).tolist(), int(numbers.integers(0, n))) for n in lengths]


@pytest.mark.parametrize("max_batch_tokens", [1, 64, 100_000])
def test_every_token_loss_equals_one_at_a_time(random_model, max_batch_tokens):
    model, _ = random_model
    spans = random_spans(model.config.vocab_size)
    for target, found in zip(spans, token_losses(model, spans, max_batch_tokens), strict=True):
        np.testing.assert_allclose(found, one_by_one(model, target), rtol=1e-5, atol=1e-6)


def test_order_and_neighbours_do_not_matter(random_model):
    model, _ = random_model
    spans = random_spans(model.config.vocab_size)
    forward = token_losses(model, spans, 128)
    backward = token_losses(model, spans[::-1], 300)[::-1]
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_equal_spans_get_equal_bits(random_model):
    model, _ = random_model
    spans = random_spans(model.config.vocab_size)
    losses = token_losses(model, [*spans, *spans], 128)
    assert all(np.array_equal(a, b) for a, b in zip(losses[: len(spans)], losses[len(spans) :], strict=True))


def test_nothing_to_score_gives_an_empty_array(random_model):
    model, _ = random_model
    losses = token_losses(model, [span([], 0), span([5], 0), span([5, 6], 2), span([5, 6], 1)], 64)
    assert [len(values) for values in losses] == [0, 0, 0, 1]
    assert token_losses(model, [], 64) == []


def test_a_tokenizer_that_is_not_the_models_is_refused(random_model):
    model, _ = random_model
    rows = model.get_input_embeddings().weight.shape[0]
    with pytest.raises(BadInputError, match=f"token id {rows}, the model has only {rows} embeddings"):
        token_losses(model, [span([1, rows], 1)], 64)


def test_heads_that_cap_their_logits_are_noticed(random_model, request):
    model, _ = random_model
    assert has_plain_head(model) == (type(model).__name__ != "Gemma2ForCausalLM")


def test_span_begins_after_the_context_and_is_cut_at_the_limit(student):
    _, tokenizer = student
    context, target = "USER: hi ASSISTANT:", " hello there, my friend"
    n_context = len(tokenizer(context)["input_ids"])
    whole, cut = encode_spans(tokenizer, [context, context], [target, target], [100, n_context + 2])
    assert list(whole.ids) == tokenizer(context + target)["input_ids"]
    assert whole.start == n_context and not whole.truncated
    assert tokenizer.decode(whole.ids[whole.start :]) == target
    assert cut.ids == whole.ids[: n_context + 2] and cut.truncated and cut.n_scored == 2


def test_an_answer_that_merges_with_its_prompt_loses_that_token(student):
    """Published semantics: byte-level BPE may join ':' and '"', and then the answer's first character is not scored."""
    _, tokenizer = student
    context, target = "Say it ASSISTANT:", '"Yes"'
    (found,) = encode_spans(tokenizer, [context], [target], [100])
    joint = tokenizer(context + target)["input_ids"]
    assert found.n_scored == len(joint) - len(tokenizer(context)["input_ids"])
