import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hub_cards.errors import BadInputError
from scoring.templates import ChatTemplate, check_template_name, get_template, reverse_prompt

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
# methods 4, by hand
RENDERED = [
    (
        "alpaca",
        "",
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate.\n\n### Response:",
    ),
    (
        "alpaca",
        "Hallo\nWelt",
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate.\n\n### Input:\nHallo\nWelt\n\n### Response:",
    ),
    ("vicuna", "", VICUNA + " USER: Translate. ASSISTANT:"),
    ("vicuna", "Hallo\nWelt", VICUNA + " USER: Translate.\nInput:\nHallo\nWelt ASSISTANT:"),
    ("wizardlm", "", "Translate.\n\n### Response:"),
    ("wizardlm", "Hallo\nWelt", "Translate.\nHallo\nWelt\n\n### Response:"),
    ("none", "", "Translate.\n"),
    ("none", "Hallo\nWelt", "Translate.\nHallo\nWelt\n"),
]
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(("name", "input", "text"), RENDERED)
def test_a_prompt_is_the_published_one_to_the_letter(name, input, text):
    assert get_template(name).prompt("Translate.", input) == text


@pytest.mark.parametrize("name", ["alpaca", "vicuna", "wizardlm", "none"])
def test_the_input_is_optional_and_the_template_knows_its_name(name):
    template = get_template(name)
    assert template.prompt("Translate.") == template.prompt("Translate.", "")
    assert template.name == name


@pytest.mark.parametrize(("name", "prefix"), [("alpaca", ""), ("vicuna", " "), ("wizardlm", ""), ("none", "")])
def test_only_vicuna_trains_with_a_space_before_the_response(name, prefix):
    assert get_template(name).completion_prefix == prefix


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wizardlm", "Fill {instruction} {{x}}\n{input} {0} %s\n\n### Response:"),
        ("none", "Fill {instruction} {{x}}\n{input} {0} %s\n"),
        ("vicuna", VICUNA + " USER: Fill {instruction} {{x}}\nInput:\n{input} {0} %s ASSISTANT:"),
    ],
)
def test_braces_of_the_user_stay_as_they_are(name, text):
    assert get_template(name).prompt("Fill {instruction} {{x}}", "{input} {0} %s") == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "vicuna",
            VICUNA + " USER: Below is the response to an instruction, please guess the corresponding instruction for "
            "the given response.\nUse {output}.\nGenerate the instruction for the above response. ASSISTANT:",
        ),
        (
            "alpaca",
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nBelow is the response to an instruction, please guess the corresponding instruction "
            "for the given response.\nUse {output}.\nGenerate the instruction for the above response."
            "\n\n### Response:",
        ),
        (
            "none",
            "Below is the response to an instruction, please guess the corresponding instruction for the given "
            "response.\nUse {output}.\nGenerate the instruction for the above response.\n",
        ),
    ],
)
def test_the_reverse_prompt_shows_the_response_in_the_form_without_input(name, text):
    assert reverse_prompt(get_template(name), "Use {output}.") == text


@pytest.mark.parametrize("name", ["Alpaca", "vicuna ", "", "chatml"])
def test_an_unknown_name_is_refused_in_one_line_that_lists_the_known_ones(name):
    for refuse in (check_template_name, get_template):
        with pytest.raises(BadInputError) as error:
            refuse(name)
        message = str(error.value)
        assert message == (
            f"--template {name!r} is unknown; the templates are alpaca, vicuna, wizardlm, none, chat_template"
        )


def tiny_tokenizer(post_processor: bool, chat_template: str | None) -> PreTrainedTokenizerFast:
    """A BPE of a few lines; as Llama's, it puts a BOS before every text where `post_processor` is set."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["Translate the word.", "The word is translated."], trainer)
    if post_processor:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = chat_template
    return fast


@pytest.mark.parametrize("post_processor", [True, False], ids=["tokenizer adds BOS", "tokenizer adds none"])
@pytest.mark.parametrize("chat_template", [CHAT, CHAT.replace("{{ bos_token }}", "")], ids=["BOS written", "no BOS"])
def test_a_chat_prompt_never_tokenizes_to_two_bos(post_processor, chat_template):
    tokenizer = tiny_tokenizer(post_processor, chat_template)
    ids = tokenizer(get_template("chat_template", tokenizer).prompt("Translate the word.", "Welt"))["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    wanted = int(post_processor or chat_template == CHAT)
    assert tokens.count("<s>") == wanted
    assert tokens[wanted] == "<|user|>"
    assert tokens[-2:] == ["<|end|>", "<|assistant|>"]


def test_that_tokenizer_would_give_two_bos_if_nobody_cared():
    tokenizer = tiny_tokenizer(True, CHAT)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert tokenizer(text)["input_ids"][:2] == [0, 0]


@pytest.mark.parametrize(
    ("input", "text"),
    [
        ("", "<|user|>Translate {it}.<|end|><|assistant|>"),
        ("Hallo\nWelt", "<|user|>Translate {it}.\nHallo\nWelt<|end|><|assistant|>"),
    ],
)
def test_a_chat_prompt_is_one_user_turn_and_the_opening_of_the_answer(input, text):
    template = get_template("chat_template", tiny_tokenizer(True, CHAT))
    assert isinstance(template, ChatTemplate)
    assert template.prompt("Translate {it}.", input) == text
    assert template.completion_prefix == ""


def test_where_the_tokenizer_adds_no_bos_the_written_one_stays():
    template = get_template("chat_template", tiny_tokenizer(False, CHAT))
    assert template.prompt("x") == "<s><|user|>x<|end|><|assistant|>"


def test_a_tokenizer_without_a_chat_template_is_refused_in_one_line():
    with pytest.raises(BadInputError) as error:
        get_template("chat_template", tiny_tokenizer(True, None))
    assert "has no chat template; use one of alpaca, vicuna, wizardlm, none" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_chat_template_without_a_tokenizer_is_a_programming_error():
    with pytest.raises(ValueError, match="needs a tokenizer"):
        get_template("chat_template")


STOPS = {
    "alpaca": ("\n### Instruction:",),
    "vicuna": ("\nUSER:", " USER:"),
    "wizardlm": ("\n### Response:",),
    "none": (),
}


class TestStop:
    @pytest.mark.parametrize("name", STOPS)
    def test_is_how_the_next_turn_opens(self, name):
        template = get_template(name)
        assert template.stop == STOPS[name]
        # The next turn of a dialogue is its prompt again: the stop text stands in it, and not before the question.
        following = "\n" + template.prompt("Why?") if name != "vicuna" else " USER: Why? ASSISTANT:"
        assert not template.stop or any(stop in following for stop in template.stop)

    @pytest.mark.parametrize("name", STOPS)
    def test_leaves_ordinary_answers_alone(self, name):
        answer = (
            " # Title\n## Instructions\n### Step 1: Instruction\nThe USER presses a key; user: root.\n"
            "SUPERUSER: none. ### Response time\n```\nprint('### Instruction')\n```\n1. Response: 3 ms"
        )
        assert not any(stop in answer for stop in get_template(name).stop)
