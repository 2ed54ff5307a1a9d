import time

import pytest

from reflection.extract import extract_instruction, extract_response
from reflection.statuses import REASONS

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
