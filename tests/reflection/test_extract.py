import json
import random
import re
import time
from pathlib import Path

import pytest

from reflection.extract import REASONS, extract_instruction, extract_response

# (completion, status, instruction, output, critique) of instruction reflection; finish_reason is `stop`
INSTRUCTION = {
    "the published form": (
        "1. It is vague.\n\n2. [New Instruction] Explain tides. [End]\n\n3. [New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. It is vague."),
    ),
    "markers and texts on lines of their own": (
        "1. Vague.\n2.\n[New Instruction]\nExplain tides.\n[End]\n3.\n[New Answer]\nThe moon\n\npulls.\n[End]\n",
        ("ok", "Explain tides.", "The moon\n\npulls.", "1. Vague."),
    ),
    "no [End] after the instruction, which ends at [New Answer]": (
        "1. Vague.\n2. [New Instruction] Explain tides.\n\n[New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "the list number of the answer does not end up in the instruction": (
        "1. Vague.\n2. [New Instruction] Explain tides.\n\n3. [New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "the list number, on the instruction's last line": (
        "1. Vague. 2. [New Instruction] Explain tides. 3. [New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "the list number with a bracket": (
        "[New Instruction] Explain tides.\n3) [New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", None),
    ),
    "a number that belongs to the instruction stays": (
        "Vague.\n[New Instruction] Describe World War 2. [End]\n[New Answer] 1939 to 1945. [End]",
        ("ok", "Describe World War 2.", "1939 to 1945.", "Vague."),
    ),
    "no [End] at all": (
        "1. Vague.\n2. [New Instruction] Explain tides.\n3. [New Answer] The moon pulls.\nTwice a day.\n",
        ("ok", "Explain tides.", "The moon pulls.\nTwice a day.", "1. Vague."),
    ),
    "markers without brackets": (
        "1. Vague.\n2. New Instruction: Explain tides. [End]\n3. New Answer: The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "markers without brackets and without [End]": (
        "1. Vague.\n2. New Instruction: Explain tides.\n3. New Answer: The moon pulls.",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "one marker with and one without brackets": (
        "1. Vague.\n2. New Instruction: Explain tides. [End]\n3. [New Answer] The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "1. Vague."),
    ),
    "the words of a marker in the critique, without colon or brackets": (
        "A New Instruction is due, and a New Answer.\n[New Instruction] Explain tides. [End]\n[New Answer] The moon.",
        ("ok", "Explain tides.", "The moon.", "A New Instruction is due, and a New Answer."),
    ),
    "markers with brackets and a colon": (
        "Vague.\n[New Instruction]: Explain tides. [End]\n[New Answer]: The moon pulls. [End]",
        ("ok", "Explain tides.", "The moon pulls.", "Vague."),
    ),
    "markers in bold": (
        "Vague.\n\n**[New Instruction]** Explain tides. **[End]**\n\n**[New Answer]** The moon pulls. **[End]**",
        ("ok", "Explain tides.", "The moon pulls.", "Vague."),
    ),
    "markers in bold with the list number and the colon": (
        "Vague.\n\n**2. [New Instruction]:** Explain tides.\n\n**3. [New Answer]:** The moon pulls.\n**[End]**",
        ("ok", "Explain tides.", "The moon pulls.", "Vague."),
    ),
    "markers in bold without brackets": (
        "Vague.\n\n**New Instruction:** Explain tides.\n\n**3. New Answer**: The moon pulls.",
        ("ok", "Explain tides.", "The moon pulls.", "Vague."),
    ),
    "markers as headings": (
        "Vague.\n\n### 2. [New Instruction]\nExplain tides.\n\n### **3. [New Answer]**\nThe moon pulls.\n[End]",
        ("ok", "Explain tides.", "The moon pulls.", "Vague."),
    ),
    "bold letters at the edge of a text stay": (
        "[New Instruction] **Explain tides.** [End]\n[New Answer] **Moon**: it **pulls**[End]",
        ("ok", "**Explain tides.**", "**Moon**: it **pulls**", None),
    ),
    "text after the last [End] belongs to nothing": (
        "[New Instruction] Explain tides. [End] Now for it: [New Answer] The moon. [End] I hope this helps!",
        ("ok", "Explain tides.", "The moon.", None),
    ),
    "the instruction ends at the first of [End] and both forms of the answer's marker": (
        "Vague.\n[New Instruction] Explain tides.\n\n3. New Answer: see below.\n[New Answer] The moon. [End]",
        ("ok", "Explain tides.", "The moon.", "Vague."),
    ),
    "the bare word End is text": (
        "Vague.\n[New Instruction] Describe how Howards End ends. End with a question. [End]\n[New Answer] End. [End]",
        ("ok", "Describe how Howards End ends. End with a question.", "End.", "Vague."),
    ),
    "nothing but the markers and the texts": (
        "[New Instruction] Explain tides. [End][New Answer] The moon. [End]",
        ("ok", "Explain tides.", "The moon.", None),
    ),
    "no marker": ("1. It is vague.\n2. Explain tides.", ("missing_instruction", None, None, None)),
    "an answer without an instruction": (
        "1. Vague.\n3. [New Answer] The moon pulls. [End]",
        ("missing_instruction", None, None, None),
    ),
    "an empty instruction": (
        "Vague.\n[New Instruction] [End]\n[New Answer] The moon pulls. [End]",
        ("missing_instruction", "", "The moon pulls.", "Vague."),
    ),
    "an instruction that is nothing but the list number": (
        "Vague.\n[New Instruction]\n3. [New Answer] The moon pulls. [End]",
        ("missing_instruction", "", "The moon pulls.", "Vague."),
    ),
    "no answer": ("Vague.\n[New Instruction] Explain tides. [End]", ("missing_answer", "Explain tides.", "", "Vague.")),
    "an empty answer": (
        "Vague.\n[New Instruction] Explain tides. [End]\n[New Answer]\n[End]",
        ("missing_answer", "Explain tides.", "", "Vague."),
    ),
    "the instruction's placeholder": (
        "[New Instruction] your instruction [End] [New Answer] The moon. [End]",
        ("placeholder", "your instruction", "The moon.", None),
    ),
    "the answer's placeholder, dressed up": (
        '[New Instruction] Explain tides. [End] [New Answer] "Your answer." [End]',
        ("placeholder", "Explain tides.", '"Your answer."', None),
    ),
    "N/A as the instruction": (
        "Good as it is.\n[New Instruction] N/A [End]\n[New Answer] N/A [End]",
        ("not_applicable", "N/A", "N/A", "Good as it is."),
    ),
    "N/A as the answer": (
        "[New Instruction] Explain tides. [End] [New Answer] n/a. [End]",
        ("not_applicable", "Explain tides.", "n/a.", None),
    ),
    "a refusal as the answer": (
        "[New Instruction] Explain tides. [End] [New Answer] I'm sorry, but I can't help with that. [End]",
        ("refusal", "Explain tides.", "I'm sorry, but I can't help with that.", None),
    ),
    "a refusal as the instruction": (
        "[New Instruction] I cannot create a new instruction. [End] [New Answer] None. [End]",
        ("refusal", "I cannot create a new instruction.", "None.", None),
    ),
    "a refusal without any marker": ("I'm sorry, I can't assist with that.", ("refusal", None, None, None)),
}

# (completion, status, output, critique) of response reflection
RESPONSE = {
    "the published form": (
        "1. Too short.\n\n2. [Better Answer] The moon pulls the sea. [End]",
        ("ok", "The moon pulls the sea.", "1. Too short."),
    ),
    "no [End]": (
        "1. Too short.\n2. [Better Answer]\nThe moon pulls.\n\nTwice a day.\n",
        ("ok", "The moon pulls.\n\nTwice a day.", "1. Too short."),
    ),
    "no brackets": ("1. Too short.\n2. Better Answer: The moon. [End]", ("ok", "The moon.", "1. Too short.")),
    "neither brackets nor [End]": ("Too short.\n\nBetter Answer:\nThe moon.", ("ok", "The moon.", "Too short.")),
    "in bold": ("Too short.\n**[Better Answer]** The moon. **[End]**", ("ok", "The moon.", "Too short.")),
    "in bold, number and colon": ("Too short.\n\n**2. Better Answer:**\nThe moon.", ("ok", "The moon.", "Too short.")),
    "a heading": ("Too short.\n\n## 2. [Better Answer]\n\nThe moon.\n\n[End]", ("ok", "The moon.", "Too short.")),
    "the last-opened marker counts": (
        "1. Short.\n2. [Better Answer] A draft. [End]\nLet me improve it.\n[Better Answer] The final one. [End]",
        ("ok", "The final one.", "1. Short."),
    ),
    "the last-opened marker counts, the first one not closed": (
        "Short. I put it as [Better Answer] asks.\n2. [Better Answer] The final one. [End]",
        ("ok", "The final one.", "Short. I put it as"),
    ),
    "the last-opened marker without brackets": (
        "Short.\nBetter Answer: A draft.\nBetter Answer: The final one.",
        ("ok", "The final one.", "Short."),
    ),
    "brackets win over the same words with a colon": (
        "Better Answer: no.\n[Better Answer] Rate the rivals. Better Answer: the second. [End]",
        ("ok", "Rate the rivals. Better Answer: the second.", "Better Answer: no."),
    ),
    "an [End] before the marker does not count": (
        "1. It lacks [End].\n[Better Answer] The moon. [End]",
        ("ok", "The moon.", "1. It lacks [End]."),
    ),
    "the bare word End is text": (
        "Short.\n[Better Answer]\nThe End of the Affair is a novel.\nEnd\n\nEnd: 1951. THE END [End]",
        ("ok", "The End of the Affair is a novel.\nEnd\n\nEnd: 1951. THE END", "Short."),
    ),
    "a sentence that ends with the bare word End": (
        "Short.\n[Better Answer] She lives in the West End",
        ("ok", "She lives in the West End", "Short."),
    ),
    "a table": (
        "No table.\n[Better Answer]\n| Pole | Tide |\n|---|---|\n| **N** | [2] |\n\n1. one\n2. two\n[End]",
        ("ok", "| Pole | Tide |\n|---|---|\n| **N** | [2] |\n\n1. one\n2. two", "No table."),
    ),
    "code": (
        "No code.\n2. [Better Answer]\n```python\nx = [1, 'End']\n\nif x:\n    print(x[0])  # [end]\n```\n[End]",
        ("ok", "```python\nx = [1, 'End']\n\nif x:\n    print(x[0])  # [end]\n```", "No code."),
    ),
    "SVG": (
        'Ugly.\n[Better Answer] <svg viewBox="0 0 9 9">\n  <text x="1">End</text>\n</svg> [End]',
        ("ok", '<svg viewBox="0 0 9 9">\n  <text x="1">End</text>\n</svg>', "Ugly."),
    ),
    "code that is indented on its first line after the fence": (
        "Short.\n[Better Answer]\n```\n    a\n  b\n```",
        ("ok", "```\n    a\n  b\n```", "Short."),
    ),
    "one word": ("Short.\n[Better Answer] 7 [End]", ("ok", "7", "Short.")),
    "no marker": ("1. Too short.\n2. The moon pulls the sea.", ("missing_answer", None, None)),
    "the markers of the other prompt": (
        "[New Instruction] Explain. [End] [New Answer] The moon. [End]",
        ("missing_answer", None, None),
    ),
    "an empty answer": ("Short.\n[Better Answer]  [End]", ("missing_answer", "", "Short.")),
    "an empty last answer": ("Short.\n[Better Answer] The moon. [Better Answer]", ("missing_answer", "", "Short.")),
    "the placeholder": ("Short.\n[Better Answer] your answer [End]", ("placeholder", "your answer", "Short.")),
    "the placeholder in brackets": ("[Better Answer] <Your Answer> [End]", ("placeholder", "<Your Answer>", None)),
    "a text that begins as the placeholder does": (
        "Short.\n[Better Answer] Your answer is right. [End]",
        ("ok", "Your answer is right.", "Short."),
    ),
    "N/A alone": ("Fine.\n[Better Answer] N/A [End]", ("not_applicable", "N/A", "Fine.")),
    "N/A alone in bold": ("Fine.\n[Better Answer] **n/a** [End]", ("not_applicable", "**n/a**", "Fine.")),
    "sodium is an answer": ("Fine.\n[Better Answer] Na [End]", ("ok", "Na", "Fine.")),
    "NA is an answer": ("Fine.\n[Better Answer] NA [End]", ("ok", "NA", "Fine.")),
    "N/A among other things is an answer": (
        "Fine.\n[Better Answer] Price: N/A [End]",
        ("ok", "Price: N/A", "Fine."),
    ),
    "nothing": ("", ("empty_completion", None, None)),
    "white space": (" \n\t\n", ("empty_completion", None, None)),
}

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I'm sorry, I can't assist with that request.",
    "I am sorry, but I cannot provide medical advice.",
    "I'm very sorry, but I am unable to help you here.",
    "Sorry, I can't help with that.",
    "Sorry, but I cannot continue.",
    "I'm so sorry. I can't help with this.",
    "I cannot fulfill this request.",
    "I can not comply with this request.",
    "I cannot provide a better answer.",
    "I can't do that.",
    "I can't help.",
    "I won't provide instructions for this.",
    "I won't be able to help with that.",
    "I'm unable to generate images.",
    "I am not able to answer this question.",
    "Unfortunately, I cannot create a new answer.",
    "I apologize, but I cannot complete this task.",
    "I apologise, but I'm not able to provide it.",
    "As an AI language model, I don't have personal opinions.",
    "As an AI, I cannot feel.",
    "As an AI assistant I have no body.",
    "I'm sorry, but as an AI language model, I cannot feel.",
    '"I cannot fulfill this request."',
    "**I'm sorry, but I can't assist with that.**",
    "AS AN AI LANGUAGE MODEL, I HAVE NO OPINIONS.",
]
LEGITIMATE = [
    "I'm sorry to hear that your cat has died. Here is how you could tell the children.",
    "I am sorry to hear about the delay. Please send us the order number.",
    "I'm sorry for your loss.",
    "I'm so sorry I missed your birthday!",
    "Sorry for the late reply: the figures are attached.",
    "Dear Ms Lee,\n\nI am sorry, and I cannot help but admit it: the parcel was lost through our fault.",
    "Subject: Apology\n\nI apologize for the mistake in your invoice.",
    "I apologize for the mistake in your invoice; a corrected one is attached.",
    "I am writing to apologise for my late report.",
    "Unfortunately, the meeting has to be moved.",
    "I can help you with that: start by sorting the list.",
    "I can provide three examples.",
    "I can assist customers in two languages.",
    "I cannot stress enough how useful sleep is.",
    "I can't help but notice how quiet the house has become.",
    "I can't help thinking of the sea.",
    "I won't go, said the mouse.",
    "I am unable to attend on Friday; could we meet on Monday?",
    "As an AI researcher, you will know the benchmark.",
    "As an AI ethics consultant, write a memo on facial recognition in shops.",
    "As an aid to memory, draw a table.",
    "A model answers: I'm sorry, but I can't assist with that. Explain why.",
]


@pytest.mark.parametrize(("completion", "expected"), INSTRUCTION.values(), ids=INSTRUCTION)
def test_instruction_reflection_gives(completion, expected):
    found = extract_instruction(completion)
    assert (found.status, found.instruction, found.output, found.critique) == expected


@pytest.mark.parametrize(("completion", "expected"), RESPONSE.values(), ids=RESPONSE)
def test_response_reflection_gives(completion, expected):
    found = extract_response(completion)
    assert (found.status, found.output, found.critique) == expected
    assert found.instruction is None


@pytest.mark.parametrize("completion", ["", " \n\t\n"])
@pytest.mark.parametrize("finish_reason", ["stop", "length", None])
def test_an_empty_completion_is_called_so_however_it_ended(completion, finish_reason):
    for extract in (extract_instruction, extract_response):
        found = extract(completion, finish_reason)
        assert (found.status, found.instruction, found.output) == ("empty_completion", None, None)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_not_adopted(text):
    assert extract_response(f"1. Short.\n2. [Better Answer] {text} [End]").status == "refusal"
    assert extract_response(f"Short.\n[Better Answer]\n{text}").status == "refusal"
    assert extract_instruction(f"[New Instruction] Do it. [End] [New Answer] {text} [End]").status == "refusal"
    assert extract_instruction(text).status == "refusal"
    assert extract_response(text).status == "refusal"


@pytest.mark.parametrize("text", LEGITIMATE)
def test_a_legitimate_text_that_looks_like_a_refusal_is_adopted(text):
    found = extract_response(f"1. Short.\n2. [Better Answer] {text} [End]")
    assert (found.status, found.output) == ("ok", text)
    found = extract_instruction(f"[New Instruction] {text} [End] [New Answer] {text} [End]")
    assert (found.status, found.instruction, found.output) == ("ok", text, text)


@pytest.mark.parametrize(
    ("completion", "status", "instruction", "output", "critique"),
    [
        ("1. The instruction is vag", "truncated", None, None, None),
        ("1. Vague.\n2. [New Instruction]", "truncated", "", "", "1. Vague."),
        ("1. Vague.\n2. [New Instruction] Expl", "truncated", "Expl", "", "1. Vague."),
        ("1. Vague.\n2. New Instruction: Expl", "truncated", "Expl", "", "1. Vague."),
        ("Vague.\n[New Instruction] Explain tides. [End]", "truncated", "Explain tides.", "", "Vague."),
        ("Vague.\n[New Instruction] Explain tides. [End]\n3. [New Ans", "truncated", "Explain tides.", "", "Vague."),
        (
            "Vague.\n[New Instruction] Explain tides. [End]\n[New Answer] The mo",
            "truncated",
            "Explain tides.",
            "The mo",
            "Vague.",
        ),
        ("Vague.\n[New Instruction] Explain tides.\n[New Answer]", "truncated", "Explain tides.", "", "Vague."),
        (
            "Vague.\n[New Instruction] Explain tides. [End]\n[New Answer] The moon. [End]\nI hope thi",
            "ok",
            "Explain tides.",
            "The moon.",
            "Vague.",
        ),
    ],
    ids=[
        "in the critique",
        "at the instruction's marker",
        "in the instruction",
        "in the instruction, no brackets",
        "before the answer's marker",
        "in the answer's marker",
        "in the answer",
        "at the answer's marker",
        "after the last [End]: nothing is lost",
    ],
)
def test_instruction_reflection_cut_off(completion, status, instruction, output, critique):
    found = extract_instruction(completion, "length")
    assert (found.status, found.instruction, found.output, found.critique) == (status, instruction, output, critique)


@pytest.mark.parametrize(
    ("completion", "status", "output"),
    [
        ("1. The answer is sho", "truncated", None),
        ("1. Short.\n2. [Better Answer]", "truncated", ""),
        ("1. Short.\n2. [Better Answer] The mo", "truncated", "The mo"),
        ("1. Short.\n2. Better Answer: The End", "truncated", "The End"),
        ("1. Short.\n2. [Better Answer] A draft. [End]\n[Better Answer] The mo", "truncated", "The mo"),
        ("1. It lacks [End].\n2. [Better Answer] The mo", "truncated", "The mo"),
        ("1. Short.\n2. [Better Answer] The moon. [End]", "ok", "The moon."),
        ("1. Short.\n2. [Better Answer] The moon. [End] As an additional rema", "ok", "The moon."),
    ],
    ids=[
        "in the critique",
        "at the marker",
        "in the answer",
        "in the answer, no brackets",
        "in the second answer",
        "in the answer, an [End] before it",
        "at [End]: nothing is lost",
        "after [End]: nothing is lost",
    ],
)
def test_response_reflection_cut_off(completion, status, output):
    found = extract_response(completion, "length")
    assert (found.status, found.output) == (status, output)


@pytest.mark.parametrize("finish_reason", ["stop", "content_filter", None])
def test_a_missing_end_is_no_truncation_unless_the_oracle_stopped_for_length(finish_reason):
    found = extract_response("Short.\n[Better Answer] The moon.", finish_reason)
    assert (found.status, found.output) == ("ok", "The moon.")
    found = extract_instruction("[New Instruction] Explain tides.\n3. [New Answer] The moon.", finish_reason)
    assert (found.status, found.instruction, found.output) == ("ok", "Explain tides.", "The moon.")


def test_the_finish_reason_is_stop_unless_given():
    assert extract_response("Short.\n[Better Answer] The moon.").status == "ok"


def test_every_reason_of_methods_is_known():
    assert set(REASONS) >= {
        "missing_instruction",
        "missing_answer",
        "placeholder",
        "not_applicable",
        "refusal",
        "truncated",
        "empty_completion",
        "oracle_error",
    }
    assert "ok" not in REASONS


@pytest.mark.parametrize("unit", ["word \n", "\n", " \n", ". ", " ", "**", "3. ", "# ", "[New Answer", "[End"])
def test_a_degenerate_completion_is_read_in_no_time(unit):
    """An oracle that runs wild repeats one token up to its length limit."""
    long = f". {unit * 20_000}x"
    started = time.perf_counter()
    found = extract_instruction(f"{long}\n[New Instruction] Why{long}\n3. [New Answer] Because{long}")
    extract_response(f"{long}\n[Better Answer]{long}")
    assert time.perf_counter() - started < 2
    assert (found.instruction, found.output) == (f"Why{long}", f"Because{long}")


# Random texts: no brackets, so no marker; they start and end with a letter, so nothing is stripped from them.
PIECES = [
    "End", "end", "N/A", "New Answer", "Better Answer", "the", "tide", "é", "😀", "{x}", "%s", "\n", "\n\n", "\t",
    "  ", "|---|", "```", "**bold**", "- item", "1.", "3)", "# head", "<b>", '"', "\\n", ";", "…", "\u2028", "&amp;",
]  # fmt: skip


def random_text(rng: random.Random) -> str:
    return "a" + " ".join(rng.choices(PIECES, k=rng.randint(0, 40))) + " z"


@pytest.mark.parametrize("end", ["[End]", "**[End]**"])
@pytest.mark.parametrize(
    "markers",
    [
        ("[New Instruction]", "[New Answer]"),
        ("2. [New Instruction]", "3. [New Answer]"),
        ("**2. [New Instruction]**", "**3. [New Answer]**"),
        ("New Instruction:", "New Answer:"),
        ("## [New Instruction]", "## [New Answer]"),
    ],
)
def test_a_composed_instruction_reflection_comes_apart_into_its_parts(markers, end):
    rng = random.Random(0)
    for _ in range(100):
        critique, instruction, output = random_text(rng), random_text(rng), random_text(rng)
        gap, inner_end = rng.choice(["\n", "\n\n"]), rng.choice([end, ""])
        completion = (
            f"{critique}\n{markers[0]}{gap}{instruction}{gap}{inner_end}\n{markers[1]} {output}{gap}"
            f"{rng.choice([end, ''])}"
        )
        found = extract_instruction(completion)
        assert (found.status, found.instruction, found.output) == ("ok", instruction, output), completion
        assert found.critique == critique, completion


@pytest.mark.parametrize("end", ["[End]", "**[End]**", ""])
@pytest.mark.parametrize(
    "marker", ["[Better Answer]", "2. [Better Answer]", "**Better Answer:**", "### [Better Answer]"]
)
def test_a_composed_response_reflection_comes_apart_into_its_parts(marker, end):
    rng = random.Random(0)
    for _ in range(100):
        critique, output = random_text(rng), random_text(rng)
        completion = f"{critique}\n{marker}{rng.choice([' ', chr(10)])}{output}{rng.choice([' ', chr(10)])}{end}"
        found = extract_response(completion)
        assert (found.status, found.output, found.critique) == ("ok", output, critique), completion


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_whatever_the_completion_ok_comes_with_whole_texts_that_were_in_it(finish_reason):
    rng = random.Random(0)
    markers = [
        "[New Instruction]",
        "[New Answer]",
        "[Better Answer]",
        "[End]",
        "**[End]**",
        "New Answer:",
        "\n3.",
        "2. ",
    ]
    statuses = set()
    for _ in range(2000):
        completion = " ".join(rng.choices([*markers, *PIECES, "your answer", "I cannot help"], k=rng.randint(0, 12)))
        for extract in (extract_instruction, extract_response):
            found = extract(completion, finish_reason)
            statuses.add(found.status)
            texts = [found.output] if extract is extract_response else [found.instruction, found.output]
            if found.status == "ok":
                assert all(text and text in completion and "[End]" not in text for text in texts), completion
            else:
                assert found.status in REASONS, completion
    assert statuses >= {"ok", "missing_answer", "missing_instruction", "empty_completion"}


# The quickstart's completions: an oracle's own words, four of them with slips in their format.


@pytest.fixture(scope="module")
def recorded(quickstart: Path) -> dict[tuple[str, str], str]:
    """(id, variant) → completion."""
    lines = (quickstart / "data/completions.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {(record["id"], record["variant"]): record["completion"] for record in records}


def extract_recorded(variant: str, completion: str):
    return extract_instruction(completion) if variant == "reflect_instruction" else extract_response(completion)


def test_every_recorded_completion_gives_a_whole_pair_without_a_trace_of_a_marker(recorded):
    assert len(recorded) == 288
    trace = re.compile(r"\[?(New|Better) (Instruction|Answer)\]?:?|\[End\]|\n\s*\d+[.)]\s*$|^\s*\*\*\s|\s\*\*$")
    for (row, variant), completion in recorded.items():
        found = extract_recorded(variant, completion)
        assert found.status == "ok", (row, variant)
        assert (found.instruction is not None) == (variant == "reflect_instruction")
        for text in (found.instruction, found.output, found.critique):
            assert text is None or (text and text == text.strip() and not trace.search(text)), (row, variant, text)


def test_between_the_parts_of_a_recorded_completion_there_are_only_markers(recorded):
    """Critique, instruction and output, taken out of the completion one after the other, leave nothing else behind."""
    for (row, variant), completion in recorded.items():
        found = extract_recorded(variant, completion)
        rest = completion
        for part in (found.critique, found.instruction, found.output):
            if part is not None:
                before, _, rest = rest.partition(part)
                assert re.fullmatch(r"\s*(\[End\])?\s*(\d[.)])?\s*(\[?(New|Better) \w+(\]|:))?\s*", before), (
                    row,
                    variant,
                )
        assert re.fullmatch(r"\s*(\[End\])?\s*", rest), (row, variant)


RECORDED = [
    (
        ("alpaca-00281", "reflect_instruction"),
        '1. "Compose a song in the rock genre" is not a good instruction for the following reasons. Complexity: the ',
        "Write the lyrics of a mid-tempo rock ballad about a night-shift nurse driving home at dawn. Use the structure "
        "verse, pre-chorus, chorus, verse, bridge, final chorus, with ABAB rhymes in the verses. Avoid rock clichés, "
        "alter one line of the final chorus so that its meaning changes, and suggest a key, a tempo and dynamics for "
        "every section.",
        "**Headlights Home** (G major, 84 bpm)\n\nVerse 1 (clean guitar, brushed snare, quiet)\n",
        'The change from "I held" to "You held" hands the courage over to the patient.',
    ),
    (  # no [End] after the answer, which begins in bold letters
        ("alpaca-00281", "reflect_response"),
        "1. In relevance the lyrics fit the request, but only in the broadest sense, since they describe rock music ",
        None,
        "**Last Bus to Anywhere**\n(E minor, 126 bpm; verses Em–C–G–D, chorus G–D–Em–C)\n\nVerse 1 (palm-muted guitar)",
        "Then I was gone, and singing, on the last bus to anywhere.",
    ),
    (  # both markers without brackets, the answer on its marker's line
        ("alpaca-00321", "reflect_instruction"),
        '1. Why the instruction is not good:\n\n- Complexity: "a new trend" may be answered with any buzzword.\n',
        "Explain how the restriction of third-party cookies and stricter privacy rules are pushing brands toward "
        "first-party and zero-party data. Define first-, second-, third- and zero-party data, describe the "
        "technologies involved, present a worked example with plausible numbers for an online shoe retailer, and "
        "assess two risks as well as how to measure whether the approach works.",
        "**Definitions.** First-party data is what a company observes on its own channels, such as purchases. ",
        "and revenue per subscriber, and compare them with the period before launch.",
    ),
    (  # a table and bold headings inside
        ("alpaca-00321", "reflect_both"),
        "1. The definitions are clear, but the worked example commits a basic error: it credits the quiz with the ",
        None,
        '**Four kinds of data**\n- *Zero-party:* stated on purpose ("I run on trails").\n',
        "Stop if three months show no gain in profit or if opt-outs rise.",
    ),
    (  # one marker without, one with brackets
        ("alpaca-00808", "reflect_instruction"),
        "1. The instruction sounds demanding but is flawed. Complexity of the Topic: design thinking is open to ",
        "A public hospital wants to use the five-mode Stanford d.school process (empathise, define, ideate, "
        "prototype, test) to reduce missed outpatient appointments. Critically evaluate the suitability of each mode "
        "for this problem, discuss at least two published criticisms of design thinking, compare it with one "
        "alternative improvement method, and recommend an approach with measurable criteria for success.",
        "Empathise. Interviews can reveal why patients miss visits (shift work, transport, fear, confusing letters), ",
        "no widening of the gap between deprived and other areas, and stable staff workload.",
    ),
    (  # the marker without brackets
        ("alpaca-02114", "reflect_response"),
        "1. Helpfulness: the poem declares sadness without giving an experience a reader could share. Relevance: only ",
        None,
        "Waiting Room, Ward Four\n\nWe had been told to wait, and so we waited.\n",
        "and looked at ordinary streets again\nas if we'd just been told that they were good.",
    ),
    (  # [End] on a line of its own
        ("alpaca-02114", "reflect_instruction"),
        '1. First, the instruction. "A poem about an emotional experience" is low in complexity because every feeling ',
        "Write a poem of four quatrains rhymed ABAB about clearing the house of a parent who has died. Address the "
        'reader as "you", let each stanza depend on a different sense, use no word that names an emotion or death, '
        "and close on an ambiguous image. Then justify two of your choices in a short paragraph.",
        "Pencil\n\nYou find the coats still hanging in a line,\none sleeve turned out, a glove inside the hood;\n",
        "The poem does not decide, because the visitor cannot ask.",
    ),
]


@pytest.mark.parametrize(
    ("key", "critique_starts", "instruction", "output_starts", "output_ends"),
    RECORDED,
    ids=[" ".join(r[0]) for r in RECORDED],
)
def test_a_recorded_completion_gives(recorded, key, critique_starts, instruction, output_starts, output_ends):
    found = extract_recorded(key[1], recorded[key])
    assert found.status == "ok"
    assert found.critique.startswith(critique_starts)
    assert found.instruction == instruction
    assert found.output.startswith(output_starts)
    assert found.output.endswith(output_ends)


def test_a_recorded_poem_is_taken_to_the_letter(recorded):
    assert extract_response(recorded["alpaca-00173", "reflect_response"]).output == (
        "The Blackbird at Five\n\n"
        "Before the kettle starts to sing,\nBefore the early church bells ring,\n"
        "A blackbird on the garden wall\nSends out his clear and liquid call.\n\n"
        "The night still lies along the street,\nThe frost is thin beneath his feet,\n"
        "But note by note he lifts the gray\nAnd hands the rooftops back their day.\n\n"
        "I came downstairs with worries spread\nLike unpaid bills around my head;\n"
        "He asked no question, gave no cure,\nJust sang as if the world were sure.\n\n"
        "The sun climbed up the chimney brick,\nThe minutes lost their heavy tick,\n"
        "And something tight I'd held all week\nLet go before I thought to speak.\n\n"
        "Now when the dark feels hard and long,\nI set my clock by that small song,\n"
        "And find that courage, like the light,\nComes quietly to end the night."
    )


def test_a_recorded_instruction_below_a_lead_in_leaves_the_lead_in_to_the_critique(recorded):
    found = extract_instruction(recorded["alpaca-00210", "reflect_instruction"])
    assert found.critique.endswith("repeat steps that apply to every piece of writing.\n\n2. Based on these reasons:")
    assert found.instruction.startswith("You run the website of a small bakery and must publish a 1,200-word post")
