import re
from pathlib import Path

import pytest

from hub_cards.errors import BadInputError
from reflection.prompts import load_prompts
from reflection.structured import RESPONSE_FORMATS

# Figures 3 and 4 of arXiv 2310.11716, copied from methods by hand.
INSTRUCTION_SYSTEM = "You are a helpful, precise but picky assistant for checking the quality of a given instruction."
RESPONSE_SYSTEM = (
    "You are a helpful, precise but picky assistant for checking the quality of the answer to a given instruction."
)
INSTRUCTION_CRITERIA = """\
We would like you to answer several questions related to the quality of a given instruction.
1. Why this instruction is not good? First analyse the instruction based on Complexity of the Topic, Level of Detail \
Required, Knowledge Required, Ambiguity of the Instruction and Logical Reasoning or Problem-Solving Involved. Then \
analyse why this answer is not good for the given instruction based on the Helpfulness, Relevance, Accuracy and Level \
of Details. Finally analyse why this bad instruction lead to a bad answer.
2. Based on the reason you provided, generate a new and complete instruction which is complex and difficult to answer \
directly. Make sure the new instruction is relevant but independent to the original instruction, which can be answered \
without knowing the original instruction, put the new instruction in the format of [New Instruction] your instruction \
[End]
3. Answer the newly generated instruction as detailed as possible, in the format of [New Answer] your answer [End]"""
RESPONSE_CRITERIA = """\
We would like you to answer several questions related to the quality of the answer to the given instruction.
1. Why this answer is not good for the given instruction? Analyse based on the Helpfulness, Relevance, Accuracy and \
Level of Details.
2. Based on the reason you provided, generate a better answer, new and complete, as detailed as possible, in the \
format of [Better Answer] your answer [End]"""
KINDS = {"instruction": (INSTRUCTION_SYSTEM, INSTRUCTION_CRITERIA), "response": (RESPONSE_SYSTEM, RESPONSE_CRITERIA)}


@pytest.mark.parametrize("kind", ["instruction", "response"])
def test_without_an_input_the_request_is_the_published_one_to_the_letter(kind):
    system, criteria = KINDS[kind]
    assert load_prompts()[kind].messages("Name a fruit.", "", "Apple.") == [
        {"role": "system", "content": system},
        {
            "role": "user",
            "content": "[Instruction]\nName a fruit.\n\n[The Start of Answer]\nApple.\n\n[The End of Answer]\n\n"
            "[System]\n" + criteria + "\n\n",
        },
    ]


@pytest.mark.parametrize("kind", ["instruction", "response"])
def test_an_input_stands_on_the_line_below_the_instruction(kind):
    system, criteria = KINDS[kind]
    assert load_prompts()[kind].messages("Sort these.", "3\n1\n2", "1, 2, 3") == [
        {"role": "system", "content": system},
        {
            "role": "user",
            "content": "[Instruction]\nSort these.\n3\n1\n2\n\n[The Start of Answer]\n1, 2, 3\n\n"
            "[The End of Answer]\n\n[System]\n" + criteria + "\n\n",
        },
    ]


@pytest.mark.parametrize("kind", ["instruction", "response"])
def test_the_structured_request_is_the_published_one_but_for_the_format_of_the_texts(kind):
    system, criteria = KINDS[kind]
    prompt = load_prompts()[kind]
    fields = RESPONSE_FORMATS[kind]["json_schema"]["schema"]["required"]
    marked = iter(fields[1:])
    asked = re.sub(r"in the format of \[.*\[End\]", lambda _: f"in the JSON field `{next(marked)}`", criteria)
    asked += "\nReply with one JSON object and nothing else, its field `critique` holding what you answer to 1."
    assert prompt.messages("Sort these.", "3\n1\n2", "1, 2, 3", structured=True) == [
        {"role": "system", "content": system},
        {
            "role": "user",
            "content": "[Instruction]\nSort these.\n3\n1\n2\n\n[The Start of Answer]\n1, 2, 3\n\n"
            "[The End of Answer]\n\n[System]\n" + asked + "\n\n",
        },
    ]
    assert "[End]" not in asked
    assert all(f"`{field}`" in asked for field in fields)


def test_braces_and_format_characters_of_the_user_stay_as_they_are():
    texts = ("Use {answer} and {{0}} and %s", 'json: {"a": 1} {criteria!r:>10}', "f'{x}' }{ %(name)s $HOME \\n")
    user = load_prompts()["response"].messages(*texts)[1]["content"]
    assert user == (
        '[Instruction]\nUse {answer} and {{0}} and %s\njson: {"a": 1} {criteria!r:>10}\n\n'
        "[The Start of Answer]\nf'{x}' }{ %(name)s $HOME \\n\n\n[The End of Answer]\n\n"
        "[System]\n" + RESPONSE_CRITERIA + "\n\n"
    )


def test_a_file_of_the_users_own_replaces_both_prompts(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "instruction: {system: Be strict., criteria: 'Rewrite {it}.'}\n"
        "response:\n  system: Be kind.\n  criteria: |-\n    Line one.\n    Line two.\n",
        encoding="utf-8",
    )
    prompts = load_prompts(str(file))
    assert sorted(prompts) == ["instruction", "response"]
    assert prompts["instruction"].messages("Q", "", "A") == [
        {"role": "system", "content": "Be strict."},
        {
            "role": "user",
            "content": "[Instruction]\nQ\n\n[The Start of Answer]\nA\n\n[The End of Answer]\n\n"
            "[System]\nRewrite {it}.\n\n",
        },
    ]
    assert prompts["response"].system == "Be kind."
    assert prompts["response"].criteria == "Line one.\nLine two."


def test_a_file_without_structured_criteria_is_good_for_markers_only(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(BOTH.replace("criteria: d", "criteria: d, structured_criteria: e"), encoding="utf-8")
    prompts = load_prompts(str(file))
    assert prompts["instruction"].messages("Q", "", "A")[1]["content"].endswith("[System]\nb\n\n")
    assert prompts["response"].messages("Q", "", "A", structured=True)[1]["content"].endswith("[System]\ne\n\n")
    with pytest.raises(BadInputError, match="--prompt_file has no `structured_criteria` for 'instruction'"):
        prompts["instruction"].messages("Q", "", "A", structured=True)


BOTH = "instruction: {system: a, criteria: b}\nresponse: {system: c, criteria: d}\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (BOTH.replace("response:", "answer:"), "'response' must hold"),
        (BOTH.replace("instruction:", "question:"), "'instruction' must hold"),
        (BOTH.replace(", criteria: d", ""), "'response' must hold"),
        (BOTH.replace("system: a, ", ""), "'instruction' must hold"),
        (BOTH.replace("criteria: b", "criteria: 3"), "'instruction' must hold"),
        (BOTH.replace("criteria: d", "criteria: [d]"), "'response' must hold"),
        (BOTH.replace("criteria: d", "criteria: d, structured_criteria: 3"), "of 'response' must be a text"),
        ("instruction: Rewrite it.\nresponse: Improve it.\n", "'instruction' must hold"),
        ("", "must hold"),
        ("- instruction\n- response\n", "must hold"),
        ("instruction: {system: [\n", "is not YAML"),
    ],
    ids=[
        "response missing",
        "instruction missing",
        "criteria missing",
        "system missing",
        "a number",
        "a list",
        "structured criteria a number",
        "no mapping below",
        "empty file",
        "a list of names",
        "broken YAML",
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line_that_names_flag_and_file(tmp_path, content, named):
    file = tmp_path / "mine.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_prompts(str(file))
    message = str(error.value)
    assert message.startswith(f"--prompt_file {file}: ")
    assert named in message
    assert "\n" not in message


def test_a_missing_file_is_refused_in_one_line_that_names_flag_and_file(tmp_path):
    with pytest.raises(BadInputError) as error:
        load_prompts(str(tmp_path / "none.yaml"))
    assert str(error.value).startswith(f"--prompt_file {tmp_path / 'none.yaml'}: cannot be read")
    assert "\n" not in str(error.value)


def test_the_good_file_of_the_refusals_above_is_accepted(tmp_path):
    (tmp_path / "mine.yaml").write_text(BOTH, encoding="utf-8")
    assert load_prompts(str(tmp_path / "mine.yaml"))["response"].criteria == "d"
