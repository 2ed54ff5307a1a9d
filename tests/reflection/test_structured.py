import json
import time

import pytest

from reflection.structured import RESPONSE_FORMATS, extract_structured

PAIR = {"critique": "Vague.", "new_instruction": "Explain tides.", "new_answer": "The moon pulls."}
ANSWER = {"critique": "Too short.", "better_answer": "The moon pulls."}
REFUSAL = "I'm sorry, but I can't assist with that."
GOOD = ("ok", "Explain tides.", "The moon pulls.", "Vague.")

# (completion, finish_reason, status, instruction, output, critique) of instruction reflection
INSTRUCTION = {
    "an object": (json.dumps(PAIR), "stop", *GOOD),
    "an object over several lines, with other fields": (json.dumps(PAIR | {"score": 3}, indent=2), "stop", *GOOD),
    "fields in another order": (json.dumps(dict(reversed(PAIR.items()))), "stop", *GOOD),
    "white space around object and texts": (
        f"\n {json.dumps({name: f' {text} ' for name, text in PAIR.items()})}\n", "stop", *GOOD,
    ),
    "a fence": (f"```json\n{json.dumps(PAIR)}\n```", "stop", *GOOD),
    "a fence without its language": (f"```\n{json.dumps(PAIR, indent=2)}\n```\n", "stop", *GOOD),
    "a fence on one line": (f"```JSON {json.dumps(PAIR)}```", "stop", *GOOD),
    "a fence that is not closed": (f"```json\n{json.dumps(PAIR)}", "stop", *GOOD),
    "a fence around a text with a fence": (
        f"```json\n{json.dumps(PAIR | {'new_answer': '```x```'})}\n```", "stop", "ok", "Explain tides.", "```x```",
        "Vague.",
    ),
    "a bare line break in a string": (
        '{"critique": "Vague.", "new_instruction": "Explain\ntides.", "new_answer": "Moon."}', "stop", "ok",
        "Explain\ntides.", "Moon.", "Vague.",
    ),
    "a list number at the end is the text's own": (
        json.dumps(PAIR | {"new_instruction": "Go on:\n1. a\n2."}), "stop", "ok", "Go on:\n1. a\n2.",
        "The moon pulls.", "Vague.",
    ),
    "no critique": (json.dumps(PAIR | {"critique": " "}), "stop", *GOOD[:3], None),
    "a critique that is no text": (json.dumps(PAIR | {"critique": ["Vague."]}), "stop", *GOOD[:3], None),
    "finished at the length limit": (json.dumps(PAIR), "length", *GOOD),
    "cut off": (json.dumps(PAIR)[:-9], "length", "truncated", None, None, None),
    "cut off in a fence": (f"```json\n{json.dumps(PAIR)[:-9]}", "length", "truncated", None, None, None),
    "not closed, though the oracle stopped": (
        json.dumps(PAIR)[:-1], "stop", "missing_instruction", None, None, None,
    ),
    "no JSON": ("Explain tides.", "stop", "missing_instruction", None, None, None),
    "markers": ("[New Instruction] Why? [End] [New Answer] So. [End]", "stop", "missing_instruction", None, None, None),
    "two objects": (f"{json.dumps(PAIR)}\n{json.dumps(PAIR)}", "stop", "missing_instruction", None, None, None),
    "a list": (json.dumps([PAIR]), "stop", "missing_instruction", None, None, None),
    "null": ("null", "stop", "missing_instruction", None, None, None),
    "a number": ("7", None, "missing_instruction", None, None, None),
    "a number of very many digits": ("7" * 10_000, "stop", "missing_instruction", None, None, None),
    "an empty object": ("{}", "stop", "missing_instruction", "", "", None),
    "the fields of the other kind": (json.dumps(ANSWER), "stop", "missing_instruction", "", "", "Too short."),
    "an instruction that is a number": (
        json.dumps(PAIR | {"new_instruction": 3}), "stop", "missing_instruction", "", "The moon pulls.", "Vague.",
    ),
    "an answer that is a list": (
        json.dumps(PAIR | {"new_answer": ["The moon."]}), "stop", "missing_answer", "Explain tides.", "", "Vague.",
    ),
    "an answer that is null": (
        json.dumps(PAIR | {"new_answer": None}), "stop", "missing_answer", "Explain tides.", "", "Vague.",
    ),
    "a blank answer": (
        json.dumps(PAIR | {"new_answer": " \n"}), "stop", "missing_answer", "Explain tides.", "", "Vague.",
    ),
    "the placeholder": (
        json.dumps(PAIR | {"new_answer": "your answer"}), "stop", "placeholder", "Explain tides.", "your answer",
        "Vague.",
    ),
    "N/A": (
        json.dumps(PAIR | {"new_instruction": "N/A"}), "stop", "not_applicable", "N/A", "The moon pulls.", "Vague.",
    ),
    "a refusal in the answer": (
        json.dumps(PAIR | {"new_answer": REFUSAL}), "stop", "refusal", "Explain tides.", REFUSAL, "Vague.",
    ),
    "a refusal in place of the object": (REFUSAL, "stop", "refusal", None, None, None),
    "nothing": ("", "stop", "empty_completion", None, None, None),
    "white space, up to the length limit": (" \n" * 9, "length", "empty_completion", None, None, None),
}  # fmt: skip

# (completion, finish_reason, status, output, critique) of response reflection
RESPONSE = {
    "an object": (json.dumps(ANSWER), "stop", "ok", "The moon pulls.", "Too short."),
    "a fence": (f"```json\n{json.dumps(ANSWER)}\n```", "stop", "ok", "The moon pulls.", "Too short."),
    "the fields of the other kind": (json.dumps(PAIR), "stop", "missing_answer", "", "Vague."),
    "an answer that is an object": ('{"better_answer": {"text": "Moon."}}', "stop", "missing_answer", "", None),
    "no JSON": ("The moon pulls.", "stop", "missing_answer", None, None),
    "cut off": ('{"critique": "Too short.", "better_answer": "The mo', "length", "truncated", None, None),
    "a refusal": (REFUSAL, "stop", "refusal", None, None),
    "a refusal in the object": (json.dumps({"better_answer": REFUSAL}), "stop", "refusal", REFUSAL, None),
    "N/A": (json.dumps({"better_answer": "N/A."}), "stop", "not_applicable", "N/A.", None),
    "nothing": ("\n", None, "empty_completion", None, None),
}


@pytest.mark.parametrize("case", INSTRUCTION.values(), ids=INSTRUCTION)
def test_instruction_reflection_gives(case):
    completion, finish_reason, *expected = case
    found = extract_structured("instruction", completion, finish_reason)
    assert [found.status, found.instruction, found.output, found.critique] == expected


@pytest.mark.parametrize("case", RESPONSE.values(), ids=RESPONSE)
def test_response_reflection_gives(case):
    completion, finish_reason, *expected = case
    found = extract_structured("response", completion, finish_reason)
    assert [found.status, found.output, found.critique] == expected
    assert found.instruction is None


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_its_letter():
    completion = r'{"critique": "\ud83d", "new_instruction": "a \ud800 b", "new_answer": "\ud83d\ude00 \ude00"}'
    found = extract_structured("instruction", completion)
    assert (found.status, found.critique, found.instruction, found.output) == ("ok", "�", "a � b", "😀 �")


@pytest.mark.parametrize("unit", ["[", '{"a":', "```", "``` ", "\\", '"', " ", "7"])
def test_a_degenerate_completion_is_read_in_no_time(unit):
    """An oracle that runs wild repeats one token up to its length limit."""
    started = time.perf_counter()
    for prefix in ("", "```json\n", '{"critique": "'):
        assert extract_structured("instruction", f"{prefix}{unit * 50_000}").status != "ok"
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("instruction", ["critique", "new_instruction", "new_answer"]), ("response", ["critique", "better_answer"])],
)
def test_the_response_format_is_strict_and_names_the_fields_in_the_order_of_thought(kind, fields):
    assert list(RESPONSE_FORMATS) == ["instruction", "response"]
    schema = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": fields,
        "additionalProperties": False,
    }
    asked = RESPONSE_FORMATS[kind]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"] == {"name": f"{kind}_reflection", "strict": True, "schema": schema}
    assert list(asked["json_schema"]["schema"]["properties"]) == fields
    json.dumps(asked)
