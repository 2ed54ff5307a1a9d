import json
import random
import re
from pathlib import Path

import pytest

from reflection.extract import extract_instruction, extract_response
from reflection.statuses import REASONS

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
