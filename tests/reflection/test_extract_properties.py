"""Properties of extraction and guards, over texts that a person would not think of."""

import json

import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from reflection.extract import Extraction, extract_instruction, extract_response
from reflection.guards import guard
from reflection.statuses import EXTRACTION_FAILURES, GUARD_FAILURES
from reflection.structured import extract_structured

# The same examples on every run; no deadline, for the first one pays for imports.
settings.register_profile("properties", deadline=None, max_examples=300, derandomize=True, database=None)
PROPERTIES = settings.get_profile("properties")

MARKERS = [
    *("[New Instruction]", "[New Answer]", "[Better Answer]", "[End]", "**[End]**", "New Instruction:", "New Answer:"),
    *("Better Answer:", "**2. [New Instruction]:**", "### 3. [New Answer]", "**Better Answer:**", "**[New Answer]**"),
    *("[The Start of Answer]", "[The End of Answer]", "[System]"),
]
PIECES = [
    *(
        "[",
        "]",
        "**",
        "*",
        ":",
        "#",
        "## ",
        "1.",
        "3)",
        "2. ",
        "10.",
        ".",
        "\n",
        "\n\n",
        "\r",
        "\t",
        " ",
        "\x0b",
        "\x1c",
    ),
    *("\u2028", "\xa0", "\u200b", "\x00", "\ud800", "é", "😀", "月", "ß", "İ", "مد", "```", "`", '"', "\\", "{", "}"),
    *("your instruction", "your answer", "N/A", "I cannot help", "As an AI, I", "End", "Explain tides.", "The moon."),
    '{"critique": "a", "new_instruction": "b", "new_answer": "c"}',
    "The answer is far too short, and it never says that the sun takes part in the tides as well.",
    "Die Gezeiten entstehen durch die Anziehungskraft des Mondes, der das Wasser der Meere zweimal am Tag hebt.",
]
COMPOSED = st.lists(st.sampled_from([*MARKERS, *PIECES]) | st.text(max_size=5), max_size=16).map("".join)
# Whole completions, so that there are enough that come to something.
FORMS = ["{0}{m}[New Instruction]{1}[End]{0}[New Answer]{2}[End]", "{0}[New Instruction]{1}\n3.[New Answer]{2}",
         "{0}\n[Better Answer]{1}[End]{2}", "{0}Better Answer:{1}"]  # fmt: skip
FORMED = st.builds(
    lambda form, m, *texts: form.format(*texts, m=m),
    st.sampled_from(FORMS),
    st.sampled_from(["", "2.", "\n**", "\n# "]),
    *[COMPOSED] * 3,
)
CUT = st.tuples(FORMED, st.integers(0, 60)).map(lambda parts: parts[0][: max(0, len(parts[0]) - parts[1])])
JSON_VALUES = st.recursive(
    COMPOSED | st.none() | st.booleans() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(COMPOSED, inner, max_size=2),
    max_leaves=3,
)
FIELDS = ["critique", "new_instruction", "new_answer", "better_answer"]
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), COMPOSED | JSON_VALUES, max_size=4)
STRUCTURED = st.builds(
    lambda fields, form, cut: form.format(json.dumps(fields))[:cut],
    OBJECTS,
    st.sampled_from(["{}", "```json\n{}\n```", "```\n{}", "Here: {}"]),
    st.none() | st.integers(-9, -1),
)
COMPLETIONS = FORMED | CUT | COMPOSED | STRUCTURED | st.text()
FINISH_REASONS = st.sampled_from(["stop", "length", "content_filter", None])
EXTRACTORS = {
    "marked instruction": extract_instruction,
    "marked response": extract_response,
    "structured instruction": lambda *said: extract_structured("instruction", *said),
    "structured response": lambda *said: extract_structured("response", *said),
}
PARENTS = st.fixed_dictionaries({"instruction": COMPOSED, "input": st.just("") | COMPOSED, "output": COMPOSED})


@PROPERTIES
@given(COMPLETIONS, FINISH_REASONS)
def test_every_completion_gives_a_whole_pair_or_a_known_reason(completion, finish_reason):
    for name, extract in EXTRACTORS.items():
        found = extract(completion, finish_reason)
        if found.status == "ok":
            assert found.output and found.output == found.output.strip()
            if "instruction" in name:
                assert found.instruction and found.instruction == found.instruction.strip()
        else:
            assert found.status in EXTRACTION_FAILURES
        if "response" in name:
            assert found.instruction is None
        assert found.critique is None or found.critique.strip()


@PROPERTIES
@given(COMPLETIONS, FINISH_REASONS)
@example("[New Instruction] Go on.\n3.\n3. [New Answer] The moon.", "stop")
@example("[New Instruction]\r3. a [New Answer] The moon.", "stop")
@example("[New Instruction] \x0b3. [New Answer] The moon.", "stop")
def test_an_extracted_pair_in_the_published_form_gives_itself_again(completion, finish_reason):
    found = extract_instruction(completion, finish_reason)
    if found.status == "ok":
        marked = f"[New Instruction] {found.instruction} [End]\n[New Answer] {found.output} [End]"
        assert extract_instruction(marked) == Extraction("ok", found.instruction, found.output)
    found = extract_response(completion, finish_reason)
    if found.status == "ok":
        assert extract_response(f"[Better Answer] {found.output} [End]") == Extraction("ok", None, found.output)


@PROPERTIES
@given(COMPLETIONS, FINISH_REASONS)
def test_an_extracted_pair_as_an_object_gives_itself_again(completion, finish_reason):
    for kind, fields in (("instruction", FIELDS[1:3]), ("response", FIELDS[3:])):
        for extract in (EXTRACTORS[f"marked {kind}"], EXTRACTORS[f"structured {kind}"]):
            found = extract(completion, finish_reason)
            if found.status == "ok":
                texts = [text for text in (found.instruction, found.output) if text is not None]
                again = extract_structured(kind, json.dumps(dict(zip(fields, texts, strict=True))))
                assert again.status == "ok"
                if "\ud800" not in "".join(texts):
                    assert (again.instruction, again.output) == (found.instruction, found.output)


@PROPERTIES
@given(OBJECTS)
def test_a_pair_from_an_object_can_be_written_to_a_file(fields):
    found = extract_structured("instruction", json.dumps(fields))
    for text in (found.instruction, found.output, found.critique):
        assert text is None or text.encode("utf-8").decode("utf-8") == text


@PROPERTIES
@given(PARENTS, COMPLETIONS, FINISH_REASONS)
def test_a_guard_has_a_verdict_on_every_pair_and_stays_with_it(parent, completion, finish_reason):
    for extract in EXTRACTORS.values():
        found = extract(completion, finish_reason)
        if found.status == "ok":
            verdict = guard(parent, found)
            assert verdict == "ok" or verdict in GUARD_FAILURES
            assert guard(dict(parent), found) == verdict
            adopted = {"instruction": found.instruction or parent["instruction"], "input": "", "output": found.output}
            assert guard(adopted, found) in ("answer_unchanged", "instruction_unchanged")


MANY = settings(PROPERTIES, max_examples=5000, phases=[Phase.generate])
EXAMPLES = st.tuples(PARENTS, COMPLETIONS, FINISH_REASONS)


@pytest.mark.parametrize("wanted", [(name, "ok") for name in EXTRACTORS] + [("marked instruction", "truncated")])
def test_the_examples_come_to_something(wanted):
    """The properties above say little if all completions fail. `find` raises where there is no such example."""
    name, status = wanted
    find(EXAMPLES, lambda example: EXTRACTORS[name](*example[1:]).status == status, settings=MANY)


def test_the_examples_come_to_a_pair_that_a_guard_refuses():
    def is_refused(example):
        found = EXTRACTORS["marked instruction"](*example[1:])
        return found.status == "ok" and guard(example[0], found) == "marker_left"

    find(EXAMPLES, is_refused, settings=MANY)
