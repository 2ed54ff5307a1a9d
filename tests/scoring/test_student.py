import json
import shutil

import pytest
import torch
from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig, Phi3Config

from hub_cards.errors import BadInputError
from scoring.ifd import score_batch
from scoring.spans import ALIGNED
from scoring.student import check_positions, load_scorer

ROWS = {"instruction": ["Say hello.", "Count to 3."], "input": ["", "Loud"], "output": ["Hello!", "1 2 3"]}


@pytest.fixture(scope="module")
def folder(quickstart):
    return quickstart / "student"


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "student")


class TestPositions:
    @pytest.mark.parametrize("config", [GPT2Config(n_positions=64), LlamaConfig(max_position_embeddings=64)])
    def test_a_text_must_fit(self, config):
        check_positions(config, 64)
        with pytest.raises(BadInputError, match=r"--max_length 65: the model has only 64 positions; pass .* 64"):
            check_positions(config, 65)

    @pytest.mark.parametrize(
        "config",
        [
            LlamaConfig(
                max_position_embeddings=4096, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
            ),
            LlamaConfig(max_position_embeddings=4096, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        ],
    )
    def test_within_the_trained_positions_no_rope_changes(self, config):
        check_positions(config, 4096)

    @pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
    def test_longrope_changes_beyond_its_first_length(self, name):
        """As Phi-3's config.json has it: the first length stands beside the rope's settings."""
        rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
        sizes = {"hidden_size": 32, "num_attention_heads": 4, "pad_token_id": 0, name: rope}
        config = Phi3Config(max_position_embeddings=4096, original_max_position_embeddings=1024, **sizes)
        check_positions(config, 1024)
        with pytest.raises(BadInputError, match=r"beyond 1024 tokens .*longrope.*pass --max_length 1024"):
            check_positions(config, 1025)

    def test_dynamic_rope_changes_beyond_its_first_length(self):
        rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4, "original_max_position_embeddings": 512}
        config = LlamaConfig(max_position_embeddings=1024, rope_parameters=rope)
        check_positions(config, 512)
        with pytest.raises(BadInputError, match=r"dynamic.*--max_length 512"):
            check_positions(config, 513)

    def test_a_rope_of_some_layers_counts(self):
        rope = {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {
                "rope_type": "dynamic",
                "factor": 2.0,
                "rope_theta": 1e4,
                "original_max_position_embeddings": 512,
            },
        }
        config = Gemma3TextConfig(max_position_embeddings=2048, rope_parameters=rope)
        check_positions(config, 512)
        with pytest.raises(BadInputError, match="dynamic"):
            check_positions(config, 600)


class TestLoading:
    def test_the_student_is_ready(self, folder):
        scorer = load_scorer(str(folder), template="alpaca", max_length=256, span=ALIGNED, keep_token_losses=True)
        model = scorer.engine.model
        assert not model.training and model.dtype == torch.float32 and scorer.engine.is_packed
        assert (scorer.template.name, scorer.max_length, scorer.engine.max_length) == ("alpaca", 256, 256)
        assert (scorer.span, scorer.keep_token_losses) == (ALIGNED, True)
        assert score_batch(ROWS, scorer)["score_status"] == ["ok", "ok"]

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_precision_is_the_one_asked_for(self, folder, dtype):
        assert load_scorer(str(folder), dtype=dtype, max_length=64).engine.model.dtype == getattr(torch, dtype)

    @pytest.mark.parametrize("kernel", ["sdpa", "eager"])
    def test_an_attention_asked_for_is_used_and_changes_no_score(self, folder, kernel):
        scorer = load_scorer(str(folder), attn_implementation=kernel, max_batch_tokens=300)
        assert not scorer.engine.is_packed and scorer.engine.max_batch_tokens == 300
        assert scorer.engine.model.config._attn_implementation == kernel
        packed = load_scorer(str(folder))
        found, wanted = score_batch(ROWS, scorer), score_batch(ROWS, packed)
        assert found["ifd_ppl"] == pytest.approx(wanted["ifd_ppl"], rel=1e-4)
        assert scorer.identity == packed.identity

    def test_the_identity_holds_all_that_decides_a_score(self, folder, copy):
        settings = [
            {},
            {"template": "none"},
            {"dtype": "float16"},
            {"max_length": 64},
            {"span": ALIGNED},
            {"keep_token_losses": True},
        ]
        identities = [load_scorer(str(folder), **setting).identity for setting in settings]
        assert len(set(identities)) == len(settings)
        assert load_scorer(str(folder), max_batch_tokens=7).identity == identities[0]
        generation = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**generation, "changed": 1}))
        assert load_scorer(str(copy)).identity != identities[0]

    def test_long_texts_raise_no_warning_about_the_tokenizers_limit(self, folder):
        assert load_scorer(str(folder), max_length=64).tokenizer.model_max_length > 10**9


class TestRefusals:
    def refused(self, folder, **settings) -> str:
        with pytest.raises(BadInputError) as error:
            load_scorer(str(folder), **settings)
        message = str(error.value)
        assert "\n" not in message
        return message

    @pytest.mark.parametrize("kernel", ["no_such_kernel", "flash_attention_2"])
    def test_a_kernel_that_is_not_there(self, folder, kernel):
        message = self.refused(folder, attn_implementation=kernel)
        assert "cannot be loaded" in message and str(folder) in message

    def test_no_folder(self, tmp_path):
        assert "nothing" in self.refused(tmp_path / "nothing")

    def test_a_folder_without_weights(self, copy):
        (copy / "model.safetensors").unlink()
        assert "cannot be loaded" in self.refused(copy)

    def test_a_folder_without_a_tokenizer(self, copy):
        for path in copy.glob("token*"):
            path.unlink()
        assert "--model_name_or_path" in self.refused(copy)

    def test_weights_that_the_files_lack(self, copy):
        """transformers would make random ones up and go on."""
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
        message = self.refused(copy)
        assert "9 of the model's weights are not in its files" in message and "model.layers.4." in message

    def test_weights_of_another_shape(self, copy):
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 300}))
        assert str(copy) in self.refused(copy)

    def test_weights_of_a_download_that_was_cut(self, copy):
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        assert f"--model_name_or_path {copy}: cannot be loaded" in self.refused(copy)

    def test_a_config_that_contradicts_itself(self, copy):
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 200}))
        assert f"--model_name_or_path {copy}: cannot be loaded" in self.refused(copy)

    @pytest.mark.parametrize("setting", [{"max_length": 1}, {"max_length": -5}, {"max_batch_tokens": 0}])
    def test_a_size_that_is_too_small(self, folder, setting):
        ((name, value),) = setting.items()
        assert f"{name} {value}: must be at least" in self.refused(folder, **setting)

    def test_a_chat_template_that_raises(self, copy):
        settings = json.loads((copy / "tokenizer_config.json").read_text())
        template = "{{ raise_exception('only system messages') }}"
        (copy / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
        scorer = load_scorer(str(copy), template="chat_template", max_length=64)
        with pytest.raises(BadInputError, match=r"--template chat_template: .*cannot render .*only system messages"):
            score_batch(ROWS, scorer)

    def test_more_tokens_than_positions(self, folder):
        assert "positions" in self.refused(folder, max_length=10**6)

    def test_a_template_that_is_unknown(self, folder):
        assert "--template 'x' is unknown" in self.refused(folder, template="x")

    @pytest.mark.parametrize(("name", "value"), [("dtype", "int8"), ("span", "exact")])
    def test_a_setting_that_is_unknown(self, folder, name, value):
        assert f"{name} '{value}' is unknown" in self.refused(folder, **{name: value})
