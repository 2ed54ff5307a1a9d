import pytest
import torch

from scoring import heads
from scoring.heads import LinearHead, ModelHead, WholeModel, chunk_rows, find_head

# Kinds with the head each must get; bloom's, gptj's and others' bodies are called with what they are used to.
HEADS = {
    **dict.fromkeys(("llama", "llama-tied", "gpt2", "mistral-narrow", "bloom", "opt", "gptj", "mamba"), LinearHead),
    **dict.fromkeys(("gemma2", "cohere", "granite"), ModelHead),
    "no-body": WholeModel,
}
CPU = torch.device("cpu")


def ids(count: int = 12) -> torch.Tensor:
    return torch.randint(600, (2, count), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def own_losses(model, ids_BT: torch.Tensor) -> torch.Tensor:
    """The model's own cross-entropy of every next token, in float64."""
    logits = model(input_ids=ids_BT, use_cache=False).logits.double()
    return -logits[:, :-1].log_softmax(-1).gather(2, ids_BT[:, 1:, None])[..., 0].flatten()


@torch.inference_mode()
def found_losses(head, ids_BT: torch.Tensor) -> torch.Tensor:
    states = head.states(ids_BT[:, :-1], None)
    return head.losses(states.flatten(0, 1), ids_BT[:, 1:].flatten())


@pytest.mark.parametrize("name", list(HEADS))
def test_a_head_gives_the_models_own_losses(model_of, name):
    model = model_of(name)
    head = find_head(model)
    assert type(head) is HEADS[name]
    found = found_losses(head, ids())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), own_losses(model, ids()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gptj", "gemma2", "no-body"])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 130])
def test_chunk_borders_do_not_matter(model_of, monkeypatch, name, count):
    model = model_of(name)
    head = find_head(model)
    whole = found_losses(head, ids(count + 1))
    monkeypatch.setattr(heads, "CPU_CHUNK_ELEMENTS", 1)
    monkeypatch.setattr(heads, "CPU_BLOCK", (64, 256))
    assert chunk_rows(600, CPU) == 64
    chunked = found_losses(head, ids(count + 1))
    assert chunked.shape == (2 * count,)
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["llama", "gemma2", "no-body"])
def test_one_prediction_gives_one_loss(model_of, name):
    model = model_of(name)
    head = find_head(model)
    states = head.states(ids(), None).flatten(0, 1)
    found = head.losses(states[:1], ids()[0, 1:2])
    assert found.tolist() == pytest.approx(own_losses(model, ids())[:1].tolist(), rel=1e-5)


def test_positions_reach_the_model_where_they_are_given(model_of):
    for name in ("llama", "gpt2", "gemma2", "no-body"):
        head = find_head(model_of(name))
        with torch.inference_mode():
            counted, given, other = (
                head.states(ids(), positions)
                for positions in (None, torch.arange(12)[None].expand(2, -1), torch.arange(12)[None] * 2)
            )
        torch.testing.assert_close(given, counted)
        assert not torch.allclose(other, counted, atol=1e-2)


class TestLogits:
    """Those of all tokens are never made."""

    @pytest.fixture
    def rows(self, make_model, request, monkeypatch) -> tuple:
        """A model, its head, and how many rows every call of its output embeddings makes."""
        monkeypatch.setattr(heads, "CPU_CHUNK_ELEMENTS", 1)
        monkeypatch.setattr(heads, "CPU_BLOCK", (64, 256))
        model = make_model(request.param)
        head = find_head(model)
        made: list[int] = []

        def note(_module, _inputs, output):
            made.append(output.numel() // output.shape[-1])

        model.get_output_embeddings().register_forward_hook(note)
        if isinstance(head, LinearHead):
            own = head.logits

            def logits(states, tokens, out):
                if tokens.start == 0:  # the first of three parts of the vocabulary
                    made.append(len(states))
                assert out.shape == (len(states), tokens.stop - tokens.start) and out.shape[1] <= 256
                return own(states, tokens, out)

            monkeypatch.setattr(head, "logits", logits)
        return head, made

    @pytest.mark.parametrize(
        ("rows", "kind"),
        [("llama", LinearHead), ("gemma2", ModelHead), ("cohere", ModelHead)],
        indirect=["rows"],
    )
    def test_are_made_for_targets_only_some_at_a_time(self, rows, kind):
        head, made = rows
        assert type(head) is kind
        with torch.inference_mode():
            states = head.states(ids(300), None).flatten(0, 1)
            assert made == []
            head.losses(states[:150], ids(75).flatten())
        assert made == [64, 64, 22]


class TestBody:
    """A head that goes through the model's own forward puts the model back together."""

    @pytest.mark.parametrize("name", ["gemma2", "cohere"])
    def test_is_the_same_afterwards(self, make_model, name):
        model = make_model(name)
        body, wanted = model.base_model, own_losses(model, ids())
        head = find_head(model)
        found_losses(head, ids())
        assert model.base_model is body
        assert torch.equal(own_losses(model, ids()), wanted)

    def test_is_put_back_after_an_error(self, make_model):
        model = make_model("gemma2")
        body, wanted = model.base_model, own_losses(model, ids())
        head = find_head(model)
        with pytest.raises(RuntimeError):
            head.losses(torch.zeros(5, 7), torch.zeros(5, dtype=torch.long))  # states of a wrong width
        assert model.base_model is body
        assert torch.equal(own_losses(model, ids()), wanted)


def test_a_head_is_tried_and_not_believed(make_model):
    """A model that changes its logits after the output embeddings, in a way that no configuration tells."""
    model = make_model("llama")
    forward = model.forward

    def scaled(*args, **settings):
        output = forward(*args, **settings)
        output.logits = output.logits * 0.9
        return output

    model.forward = scaled
    head = find_head(model)
    assert type(head) is ModelHead
    torch.testing.assert_close(found_losses(head, ids()).double(), own_losses(model, ids()), rtol=1e-5, atol=1e-6)


def test_a_body_that_its_model_uses_otherwise_is_not_used(make_model):
    """A model that adds something to the states which its body alone does not show: only the whole model is right."""
    model = make_model("llama")
    forward = model.forward

    def with_a_bias_of_the_input(*args, **settings):
        output = forward(*args, **settings)
        output.logits = output.logits + settings["input_ids"][..., None] % 7
        return output

    model.forward = with_a_bias_of_the_input
    head = find_head(model)
    assert type(head) is WholeModel


def test_bfloat16_losses_are_summed_in_float32(make_model):
    model = make_model("llama").to(torch.bfloat16)
    head = find_head(model)
    assert type(head) is LinearHead
    found = found_losses(head, ids())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), own_losses(model, ids()), rtol=1e-2, atol=1e-2)


def test_large_logits_do_not_overflow(make_model):
    model = make_model("llama")
    with torch.no_grad():
        model.lm_head.weight.mul_(1000)
    found = found_losses(find_head(model), ids())
    assert found.isfinite().all()
    torch.testing.assert_close(found.double(), own_losses(model, ids()), rtol=1e-5, atol=1e-3)


def test_a_chunk_has_64_rows_at_least():
    assert chunk_rows(10**9, CPU) == 64
    assert chunk_rows(2**16, CPU) == 64
    assert chunk_rows(2**12, CPU) == 1024
    assert chunk_rows(2**12, torch.device("cuda")) == 2**15


def test_a_part_of_the_vocabulary_that_is_ruled_out_changes_nothing(make_model, monkeypatch):
    """Logits of -inf, as a bias gives them: in a block of its own they are all that there is."""
    monkeypatch.setattr(heads, "CPU_BLOCK", (64, 256))
    model = make_model("gptj")  # its head has a bias
    with torch.no_grad():
        model.lm_head.bias[:300] = float("-inf")
    allowed = 300 + ids() % 300
    found = found_losses(find_head(model), allowed)
    assert found.isfinite().all()
    torch.testing.assert_close(found.double(), own_losses(model, allowed), rtol=1e-5, atol=1e-6)
