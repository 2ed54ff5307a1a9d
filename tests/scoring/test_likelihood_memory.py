"""What happens when the memory runs out in the middle of a run."""

import numpy as np
import pytest
import torch

from hub_cards.errors import StoppedError
from scoring.likelihood import LikelihoodEngine
from scoring.spans import TargetSpan

CPU_TEXT = (
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)
ERRORS = {"cuda": torch.OutOfMemoryError("CUDA out of memory."), "cpu": RuntimeError(CPU_TEXT)}


class AskedTooOftenError(AssertionError):
    """The model was asked so often that it would never end."""


@pytest.fixture
def limited(make_model):
    """A model that runs out of memory beyond so many tokens, and the sizes that it was asked for."""

    def make(most: int, error: str = "cuda", name: str = "llama"):
        model, asked = make_model(name), []

        def refuse(_module, inputs, named):
            size = (named["input_ids"] if "input_ids" in named else inputs[0]).numel()
            asked.append(size)
            if len(asked) > 300:
                raise AskedTooOftenError
            if size > most:
                raise ERRORS[error]

        return model, asked, lambda: model.base_model.register_forward_pre_hook(refuse, with_kwargs=True)

    return make


def span(ids, start: int = 1) -> TargetSpan:
    return TargetSpan(tuple(ids), start, truncated=False)


@pytest.mark.parametrize("error", ["cuda", "cpu"])
@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("most", [90, 200])
def test_batches_shrink_and_the_losses_stay(limited, model_of, spans, alone, error, pack, most):
    model, asked, begin = limited(most, error)
    engine = LikelihoodEngine(model, 512, 100_000, pack)
    begin()
    found = engine.token_losses(spans)
    for losses, text in zip(found, spans, strict=True):
        np.testing.assert_allclose(losses, alone(model_of("llama"), text), rtol=1e-5, atol=1e-6)
    assert max(asked) > most >= min(asked)
    assert engine.max_batch_tokens < max(asked)
    assert engine.tokens_run == sum(size for size in asked if size <= most)


def test_later_batches_are_planned_smaller(limited, spans):
    model, asked, begin = limited(100)
    engine = LikelihoodEngine(model, 512, 100_000)
    begin()
    engine.token_losses(spans)
    asked.clear()
    engine.token_losses(spans)
    assert max(asked) <= 100


def test_plans_made_before_the_memory_ran_out_are_cut_too(limited, model_of, spans, alone):
    model, _, begin = limited(100)
    engine = LikelihoodEngine(model, 512, 100_000)
    plan = engine.plan(spans)
    begin()
    for _ in range(2):
        for losses, text in zip(engine.token_losses(spans, plan), spans, strict=True):
            np.testing.assert_allclose(losses, alone(model_of("llama"), text), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pack", [True, False])
def test_a_single_text_that_does_not_fit_stops_the_run(limited, pack):
    model, asked, begin = limited(50)
    engine = LikelihoodEngine(model, 512, 4096, pack)
    begin()
    with pytest.raises(StoppedError, match=r"a single text of 99 tokens does not fit .*--max_length"):
        engine.token_losses([span(range(100)), span(range(200, 230)), span(range(300, 330))])
    assert model.config._attn_implementation != "token_tree"
    assert len(asked) < 20


@pytest.mark.parametrize("pack", [True, False])
def test_one_text_with_two_starts_stops_it_too(limited, pack):
    model, _, begin = limited(50)
    engine = LikelihoodEngine(model, 512, 4096, pack)
    begin()
    with pytest.raises(StoppedError, match="a single text of 99 tokens"):
        engine.token_losses([span(range(100)), span(range(100), 40)])


@pytest.mark.parametrize("pack", [True, False])
def test_one_text_with_two_last_tokens_stops_it_too(limited, pack):
    """They differ in what is predicted only, so that no smaller batch parts them."""
    model, _, begin = limited(50)
    engine = LikelihoodEngine(model, 512, 4096, pack)
    begin()
    with pytest.raises(StoppedError, match="a single text of 99 tokens"):
        engine.token_losses([span([*range(99), 1]), span([*range(99), 2])])


def test_other_errors_are_raised(limited, monkeypatch):
    monkeypatch.setitem(ERRORS, "other", RuntimeError("a bug"))
    model, asked, begin = limited(50, "other")
    engine = LikelihoodEngine(model, 512, 4096)
    begin()
    with pytest.raises(RuntimeError, match="a bug"):
        engine.token_losses([span(range(100))])
    assert len(asked) == 1
    assert model.config._attn_implementation != "token_tree"


def test_a_batch_of_one_token_is_the_smallest(limited, spans):
    """A budget that shrank to nothing still scores."""
    model, _, begin = limited(60)
    engine = LikelihoodEngine(model, 512, 1)
    begin()
    short = [text for text in spans if len(text.ids) < 60]
    assert all(len(losses) for losses in engine.token_losses(short))
    assert engine.max_batch_tokens == 1


def test_the_batch_of_an_accelerator_is_found_by_scoring(model_of, spans, alone, monkeypatch):
    """On a GPU the first thing that an engine scores are random texts, while it is still being made."""
    asked = []

    def find(engine: LikelihoodEngine) -> int:
        engine._score_probe()
        asked.append((engine.tokens_run, engine.tokens_scored, engine.max_batch_tokens))
        return 300

    monkeypatch.setattr(LikelihoodEngine, "_find_max_batch_tokens", find)
    engine = LikelihoodEngine(model_of("llama"), 512)
    assert engine.max_batch_tokens == 300
    ((run, scored, most),) = asked
    assert run == scored == 16 * 127 and most == 2048
    for losses, text in zip(engine.token_losses(spans), spans, strict=True):
        np.testing.assert_allclose(losses, alone(model_of("llama"), text), rtol=1e-5, atol=1e-6)
