import pytest
from datasets import Dataset, List, Value

from hub_cards.errors import BadInputError
from training.formatting import prompt_completion, prompt_completion_features

ROWS = {
    "instruction": ["Name a fruit.", "Sort {these}.", "Say nothing."],
    "input": ["", "3, {1}\n2", ""],
    "output": ["An apple.", "1, 2, 3", ""],
}
# template -> (prompts, completions), written out by hand
EXPECTED = {
    "alpaca": (
        [
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nName a fruit.\n\n### Response:",
            "Below is an instruction that describes a task, paired with an input that provides further context. "
            "Write a response that appropriately completes the request."
            "\n\n### Instruction:\nSort {these}.\n\n### Input:\n3, {1}\n2\n\n### Response:",
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nSay nothing.\n\n### Response:",
        ],
        ["An apple.", "1, 2, 3", ""],
    ),
    "vicuna": (
        [
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: Name a fruit. ASSISTANT:",
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: Sort {these}.\nInput:\n3, {1}\n2 ASSISTANT:",
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: Say nothing. ASSISTANT:",
        ],
        [" An apple.", " 1, 2, 3", " "],  # FastChat's training format has a space after `ASSISTANT:`
    ),
    "wizardlm": (
        [
            "Name a fruit.\n\n### Response:",
            "Sort {these}.\n3, {1}\n2\n\n### Response:",
            "Say nothing.\n\n### Response:",
        ],
        ["An apple.", "1, 2, 3", ""],
    ),
    "none": (
        ["Name a fruit.\n", "Sort {these}.\n3, {1}\n2\n", "Say nothing.\n"],
        ["An apple.", "1, 2, 3", ""],
    ),
}


@pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none"])
def test_a_text_template_gives_strings_to_the_letter(template):
    prompts, completions = EXPECTED[template]
    assert prompt_completion(ROWS, template) == {"prompt": prompts, "completion": completions}


def test_the_chat_template_gives_message_lists_the_input_below_the_instruction():
    assert prompt_completion(ROWS, "chat_template") == {
        "prompt": [
            [{"role": "user", "content": "Name a fruit."}],
            [{"role": "user", "content": "Sort {these}.\n3, {1}\n2"}],
            [{"role": "user", "content": "Say nothing."}],
        ],
        "completion": [
            [{"role": "assistant", "content": "An apple."}],
            [{"role": "assistant", "content": "1, 2, 3"}],
            [{"role": "assistant", "content": ""}],
        ],
    }


@pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none", "chat_template"])
def test_the_columns_survive_a_data_set_of_their_features(template):
    columns = prompt_completion(ROWS, template)
    saved = Dataset.from_dict(columns, features=prompt_completion_features(template))
    assert saved.column_names == ["prompt", "completion"]
    assert saved.to_dict() == columns


@pytest.mark.parametrize("template", ["alpaca", "vicuna", "wizardlm", "none"])
def test_the_features_of_a_text_template_are_strings(template):
    features = prompt_completion_features(template)
    assert features == {"prompt": Value("string"), "completion": Value("string")}


def test_the_features_of_the_chat_template_are_message_lists():
    messages = List({"role": Value("string"), "content": Value("string")})
    assert prompt_completion_features("chat_template") == {"prompt": messages, "completion": messages}


def test_other_columns_are_not_carried_over():
    assert set(prompt_completion({**ROWS, "row_id": ["a", "b", "c"]}, "none")) == {"prompt", "completion"}


def test_an_unknown_template_is_refused():
    with pytest.raises(BadInputError, match="'Alpaca' is unknown"):
        prompt_completion(ROWS, "Alpaca")
