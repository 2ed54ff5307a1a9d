import json
import time
from pathlib import Path

import pytest

from reflection.extract import Extraction, extract_instruction, extract_response
from reflection.guards import guard
from reflection.prompts import load_prompts
from reflection.statuses import GUARD_FAILURES

LEAKED = "The answer is far too short, and it never says that the sun takes part in the tides as well."
PARENT = {"instruction": "Explain tides.", "input": "", "output": "The moon does it."}


def parent(instruction: str = "Explain tides.", input: str = "", output: str = "The moon does it.") -> dict[str, str]:
    return {"instruction": instruction, "input": input, "output": output}


def found(instruction: str | None, output: str, critique: str | None = None) -> Extraction:
    return Extraction("ok", instruction, output, critique)


# (parent, extraction, status); both have little text, so no language is told
CASES = {
    "a new pair": (PARENT, found("Explain spring tides.", "Sun and moon."), "ok"),
    "a new answer": (PARENT, found(None, "Sun and moon."), "ok"),
    "a new answer without a critique": (PARENT, found(None, "Sun and moon.", None), "ok"),
    "the old instruction": (PARENT, found("Explain tides.", "Sun and moon."), "instruction_unchanged"),
    "the old instruction, in other letters and spaces": (
        parent("Explain  tides,\nplease."),
        found("EXPLAIN tides, please.", "Sun and moon."),
        "instruction_unchanged",
    ),
    "the old instruction with its input": (
        parent("Sort these.", "3 1 2", "1 2 3"),
        found("Sort these.\n\n3 1 2", "The order is 1, 2, 3."),
        "instruction_unchanged",
    ),
    "the old instruction without its input": (
        parent("Sort these.", "3 1 2", "1 2 3"),
        found("Sort these.", "The order is 1, 2, 3."),
        "instruction_unchanged",
    ),
    "the old instruction with another input": (
        parent("Sort these.", "3 1 2", "1 2 3"),
        found("Sort these.\n9 8 7", "7 8 9"),
        "ok",
    ),
    "the old instruction and more": (PARENT, found("Explain tides. Name both causes.", "Sun and moon."), "ok"),
    "the old answer": (PARENT, found(None, "the moon\ndoes it. "), "answer_unchanged"),
    "the old answer to a new instruction": (PARENT, found("Why?", "The moon does it."), "answer_unchanged"),
    "old instruction and old answer": (PARENT, found("Explain tides.", "The moon does it."), "instruction_unchanged"),
    "the old answer and more": (PARENT, found(None, "The moon does it. The sun helps."), "ok"),
    "a sentence of the critique": (PARENT, found(None, f"Sun. {LEAKED}", f"1. Bad. {LEAKED}"), "critique_leaked"),
    "a sentence of the critique, broken in two lines": (
        PARENT,
        found(None, LEAKED.replace(" and ", "\nand "), f"1. Bad.\n- {LEAKED}\n- Vague."),
        "critique_leaked",
    ),
    "a line of the critique of short sentences": (
        PARENT,
        found(None, "Too short. No sun. No source. No figures. No picture. No rigour. No.\n\nThe sun helps.",
              "1. Too short. No sun. No source. No figures. No picture. No rigour. No."),
        "critique_leaked",
    ),
    "a short sentence of the critique": (PARENT, found(None, "It is short. Sun.", "It is short."), "ok"),
    "a sentence that the critique quotes from the parent": (
        parent(output=LEAKED), found(None, f"{LEAKED} So it was.", f'The answer reads:\n"{LEAKED}"'), "ok",
    ),
    "a sentence that stands in the new instruction": (
        PARENT, found(f"Discuss: {LEAKED}", f"{LEAKED} This is true.", LEAKED), "ok",
    ),
    "the prompt's criteria in the answer": (
        PARENT, found(None, "1. Why this answer is not good for the given instruction? Sun."), "critique_leaked",
    ),
    "the prompt's criteria in parent and answer": (
        parent(output="Why this instruction is not good: it is vague."),
        found(None, "Why this instruction is not good: it is vague and short."),
        "ok",
    ),
    "a marker in the answer": (PARENT, found("Why?", "[New Answer] Sun and moon."), "marker_left"),
    "a marker in the instruction": (PARENT, found("Say [New Instruction] why?", "Sun."), "marker_left"),
    "[End] in the answer": (PARENT, found(None, "Sun and moon. [End]"), "marker_left"),
    "a marker in bold and small letters": (PARENT, found(None, "**[better answer]** Sun."), "marker_left"),
    "the frame of the prompt": (PARENT, found(None, "[The Start of Answer]\nSun."), "marker_left"),
    "the end of that frame": (PARENT, found(None, "Sun.\n[The End of Answer]"), "marker_left"),
    "a marker that the parent's instruction holds": (
        parent("What does [End] mean?"), found(None, "[End] closes the answer."), "ok",
    ),
    "a marker that the parent's input holds": (
        parent("Parse.", "[New Answer] x"), found("Parse [New Answer] y.", "It is y."), "ok",
    ),
    "another marker than the parent's": (
        parent("What does [End] mean?"), found(None, "[End] closes [New Answer]."), "marker_left",
    ),
    "the words of a marker": (PARENT, found(None, "The End. A new answer: the sun. (End) [end] [END]"), "ok"),
    "brackets of other kinds": (PARENT, found(None, "[Instruction] Heat.\n[System] On.\n[1] [Your Name]"), "ok"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "status"), CASES.values(), ids=CASES)
def test_guard_says(old, new, status):
    assert guard(old, new) == status
    assert status == "ok" or status in GUARD_FAILURES


DE = (
    "Erkläre, wie Ebbe und Flut entstehen und warum sie sich verschieben.",
    "Die Gezeiten entstehen durch die Anziehungskraft des Mondes, der das Wasser der Meere zweimal am Tag hebt.",
)
EN = (
    "Explain how the tides come about and why they are a little later every day.",
    "Tides are caused by the pull of the moon, which lifts the water of the oceans twice a day.",
)
FR = (
    "Explique comment se forment les marées et pourquoi elles se décalent chaque jour.",
    "Les marées sont causées par l'attraction de la lune, qui soulève l'eau des océans deux fois par jour.",
)
ES = (
    "Explica cómo se forman las mareas y por qué se retrasan un poco cada día.",
    "Las mareas se deben a la atracción de la luna, que levanta el agua de los océanos dos veces al día.",
)
ZH = (
    "请解释潮汐是如何形成的，以及为什么潮汐的时间每天都会推迟一些。",
    "潮汐是由月球的引力引起的，月球每天两次使海水上升和下降。太阳也对潮汐有一定的影响。",
)
JA = (
    "潮の満ち引きがどのように起こるのか、またなぜ毎日少しずつ遅れるのかを説明してください。",
    "潮の満ち引きは月の引力によって起こり、海の水は一日に二回上がったり下がったりします。",
)
RU = (
    "Объясни, как возникают приливы и почему они каждый день немного запаздывают.",
    "Приливы возникают из-за притяжения Луны, которая дважды в день поднимает и опускает воду в океанах.",
)
AR = (
    "اشرح كيف يحدث المد والجزر ولماذا يتأخر موعده قليلا في كل يوم.",
    "يحدث المد والجزر بسبب جاذبية القمر الذي يرفع مياه البحار ويخفضها مرتين في اليوم، كما تساهم الشمس في ذلك.",
)
LANGUAGES = {"de": DE, "en": EN, "fr": FR, "es": ES, "zh": ZH, "ja": JA, "ru": RU, "ar": AR}
LONGER = {code: (f"{instruction} 1.", f"{output} 1, 2.") for code, (instruction, output) in LANGUAGES.items()}


@pytest.mark.parametrize("old", LANGUAGES)
@pytest.mark.parametrize("new", LANGUAGES)
def test_another_language_is_told(old, new):
    row = parent(LANGUAGES[old][0], "", LANGUAGES[old][1])
    expected = "ok" if old == new else "language_switched"
    assert guard(row, found(None, LONGER[new][1])) == expected
    assert guard(row, found(*LONGER[new])) == expected
    assert guard(row, found(LONGER[old][0], LONGER[new][1])) == expected
    assert guard(row, found(LONGER[new][0], LONGER[old][1])) == expected


# (parent, extraction, status) about the language
SWITCHES = {
    "a long German parent, an English answer with code": (
        parent(*DE[:1], "", DE[1]),
        found(None, f"{EN[1]}\n```python\nprint('Ebbe und Flut')\n```\n{EN[1]}"),
        "language_switched",
    ),
    "an English answer to a short English instruction": (
        parent(DE[0], "", DE[1]), found("Explain tides.", EN[1]), "language_switched",
    ),
    "only the parent's instruction is long enough": (parent(DE[0], "", "Mond."), found(None, EN[1]),
                                                     "language_switched"),
    "a translation into French, answered in French": (
        parent("Translate into French: The moon pulls the water.", "", FR[1]), found(None, f"{FR[1]} Oui."), "ok",
    ),
    "a French answer that the parent had too": (parent(EN[0], "", FR[1]), found(None, f"{FR[1]} Oui."), "ok"),
    "a French input": (parent("Correct the spelling of this.", FR[1], "Done."), found(None, f"{FR[1]} Oui."), "ok"),
    "a new instruction in English that asks for French": (
        parent(*EN[:1], "", EN[1]), found("Explain to a pupil in Lyon how tides arise, in French.", FR[1]), "ok",
    ),
    "a new instruction in German that asks for English": (
        parent(DE[0], "", DE[1]), found("Erkläre einem Gast auf Englisch, wie Ebbe und Flut entstehen.", EN[1]), "ok",
    ),
    "a new instruction in English that asks for a translation": (
        parent(*EN[:1], "", EN[1]), found("Translate for a guest from Lyon: tides come twice a day.", FR[1]), "ok",
    ),
    "an old instruction that asks for English": (
        parent("Wie sagt man das auf Englisch? Der Mond bewegt das Wasser der Meere.", "", "The moon."),
        found(None, EN[1]),
        "ok",
    ),
    "a new instruction that brings an English text": (
        parent(DE[0], "", DE[1]),
        found(f"Setze den folgenden Text fort, in dem es um das Meer geht: {EN[1]}", f"{EN[1]} The sun helps."),
        "ok",
    ),
    "code as the answer": (
        parent(DE[0], "", DE[1]), found(None, "```python\n# the water of the oceans is lifted by the moon\n```"), "ok",
    ),
    "code outside of a block": (
        parent(DE[0], "", DE[1]),
        found(None, "def tide(moon, water):\n    for drop in water(moon):\n        drop.lift(moon)\n" * 3),
        "ok",
    ),
    "a short answer in English": (parent(DE[0], "", DE[1]), found(None, "The moon lifts the water."), "ok"),
    "a parent too short to tell": (parent("Gezeiten?", "", "Mond."), found(None, EN[1]), "ok"),
    "a parent without any language": (parent("1 + 1", "2 + 2", "2, 4"), found(None, EN[1]), "ok"),
    "English names and a URL in a German answer": (
        parent(DE[0], "", DE[1]),
        found(None, f"{DE[1]} Mehr dazu: The Tide Book, https://example.org/the-tides-and-the-moon-of-the-earth."),
        "ok",
    ),
    "a Norwegian answer in a Danish set": (
        parent("Forklar, hvordan tidevandet opstår, og hvorfor det kommer senere hver dag.", "", "Det er månen."),
        found(None, "Tidevannet skyldes månens tiltrekningskraft, som hever og senker vannet to ganger om dagen."),
        "ok",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "status"), SWITCHES.values(), ids=SWITCHES)
def test_a_language_is_switched_only_where_there_is_no_doubt(old, new, status):
    assert guard(old, new) == status


@pytest.fixture(scope="module")
def recorded(quickstart: Path) -> list[tuple[tuple[str, str], dict[str, str], Extraction]]:
    """Each bundled completion: row and variant, its parent, what was extracted."""

    def read(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (quickstart / "data" / name).read_text(encoding="utf-8").splitlines()]

    rows = {row["id"]: row for row in read("rows.jsonl")}
    completions = {(record["id"], record["variant"]): record["completion"] for record in read("completions.jsonl")}
    made = []
    for (row, variant), completion in completions.items():
        shown = rows[row]
        if variant == "reflect_both":
            pair = extract_instruction(completions[row, "reflect_instruction"])
            shown = parent(pair.instruction, "", pair.output)
        extract = extract_instruction if variant == "reflect_instruction" else extract_response
        made.append(((row, variant), shown, extract(completion)))
    return made


def test_every_bundled_completion_passes(recorded):
    assert len(recorded) == 288
    assert {key: status for key, old, new in recorded if (status := guard(old, new)) != "ok"} == {}


def test_every_bundled_completion_is_stopped_where_it_is_its_own_parent(recorded):
    for key, _, new in recorded:
        status = "answer_unchanged" if new.instruction is None else "instruction_unchanged"
        assert guard(parent(new.instruction or "Why?", "", new.output), new) == status, key


@pytest.mark.parametrize("kind", ["instruction", "response"])
def test_a_line_of_the_published_criteria_in_the_answer_is_stopped(kind):
    first, second = load_prompts()[kind].criteria.splitlines()[1:3]
    for line in (first, second):
        assert guard(PARENT, found(None, f"Sun.\n{line.partition('[')[0]}")) == "critique_leaked", line


def test_the_parent_is_not_changed_and_its_other_columns_do_not_matter():
    row = {**PARENT, "row_id": "1", "critique": None}
    assert guard(row, found(None, "Sun.")) == "ok"
    assert row == {**PARENT, "row_id": "1", "critique": None}


@pytest.mark.parametrize("unit", ["word \n", "\n", ". ", " ", "[", "[New Answer", "```", "`", "{", "a. " * 30, "月"])
def test_a_degenerate_pair_is_judged_in_no_time(unit):
    """An oracle that runs wild repeats one token up to its length limit."""
    long = f"x{unit * 20_000}"
    started = time.process_time()
    guard(parent(f"{long} a", f"{long} b", f"{long} c"), found(f"{long} d", f"{long} e", f"{long} f"))
    assert time.process_time() - started < 2
