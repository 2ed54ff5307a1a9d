"""`selective` in words: by hand, and read back on thousands of random rows that the strategy itself has decided."""

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.report.words.decision import decision_words
from hub_cards.schema import VARIANTS
from scoring.selection.apply import select_rows
from scoring.selection.selective import Selective
from scoring.selection.steps import Step
from scoring.selection.table import ScoreTable

ORIGINAL, INSTRUCTION, RESPONSE, BOTH = VARIANTS
STEP = {"name": "selective", "require_reflected_response": True}
# Some that two decimals do not tell apart, from each other or from 1.
LEVELS = (None, 0.4, 0.8412, 0.8414, 0.9996, 1.0, 1.0004, 1.2)


def full(original, instruction, response, both):
    pairs = dict(zip(VARIANTS, (original, instruction, response, both), strict=True))
    return {name: {"ifd_ppl": ifd, "rifd_ppl": rifd} for name, (ifd, rifd) in pairs.items()}


def ledger(rows, reflected_only):
    """What the strategy decides of rows that have the same variants."""
    parts = {}
    for name in rows[0]:
        columns = {key: pa.array([row[name][key] for row in rows], pa.float64()) for key in ("ifd_ppl", "rifd_ppl")}
        table = pa.table({"row_id": [f"{number:06}" for number in range(len(rows))], **columns})
        parts[name] = Dataset(table, fingerprint=name)
    step = Step("selective", Selective(reflected_only))
    result, _ = select_rows(ScoreTable(DatasetDict(parts)), [step])
    return step.view(), result["decisions"].to_list()


def words_of(row, reflected_only=True):
    step, (decision,) = ledger([row], reflected_only)
    return decision_words([step], row, decision)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            full((0.84, 1.03), (0.81, 0.7), (0.79, 0.92), (0.7, 0.8)),
            [
                "Instruction kept: IFD 0.81 (reflected) is not above 0.84 (original).",
                "Response reflected: r-IFD 0.92 is below 1.03.",
                "Passes the gate: IFD 0.79 and r-IFD 0.92 are both below 1.",
            ],
        ),
        (
            full((0.8412, 1.03), (0.8414, 1.02), (0.79, 0.92), (0.7, 1.03)),
            [
                "Instruction reflected: IFD 0.8414 is above 0.8412.",
                "Response kept: r-IFD 1.03 (reflected) is not below 1.02 (old).",
                "Dropped by the gate: r-IFD 1.02 is not below 1.",
            ],
        ),
        (
            full((0.8, 0.9), (0.8, 0.9), (0.7, 0.9), (0.7, 0.8)),
            [
                "Instruction kept: IFD is 0.80 for both, and a tie keeps the original one.",
                "Response kept: r-IFD is 0.90 for both, and a tie keeps the old one.",
                "Passes the gate: IFD 0.80 and r-IFD 0.90 are both below 1.",
                "Dropped: its response was not reflected, and only reflected responses are kept.",
            ],
        ),
        (
            full((None, 0.9), (0.6, None), (0.5, 0.5), (0.9996, 0.8)),
            [
                "Instruction reflected: only the reflected one has an IFD (0.60).",
                "Response reflected: only the reflected one has an r-IFD (0.80).",
                "Passes the gate: IFD 0.9996 and r-IFD 0.80 are both below 1.",
            ],
        ),
        (
            full((0.5, 0.9), (None, 0.7), (None, 0.5), (0.7, 0.1)),
            [
                "Instruction kept: only the original one has an IFD (0.50).",
                "Response reflected: r-IFD 0.50 is below 0.90.",
                "Dropped by the gate: the winner has no IFD.",
            ],
        ),
        (
            full((None, 0.9), (None, 0.7), (0.5, 0.5), (0.7, 0.1)),
            ["Dropped: neither the original nor the reflected instruction has an IFD."],
        ),
        (
            full((0.5, None), (0.4, 0.7), (0.5, None), (0.7, 0.1)),
            [
                "Instruction kept: IFD 0.40 (reflected) is not above 0.50 (original).",
                "Dropped: neither the old nor the reflected response has an r-IFD.",
            ],
        ),
    ],
)
def test_by_hand(row, words):
    assert words_of(row) == words


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {ORIGINAL: (1.02, 0.9), RESPONSE: (1.03, 0.5)},
            [
                "Instruction kept: there is no reflected one.",
                "Response reflected: r-IFD 0.50 is below 0.90.",
                "Dropped by the gate: IFD 1.03 is not below 1.",
            ],
        ),
        (
            {INSTRUCTION: (0.5, 0.9)},
            [
                "Instruction reflected: there is no original one.",
                "Response kept: there is no reflected one.",
                "Passes the gate: IFD 0.50 and r-IFD 0.90 are both below 1.",
                "Dropped: its response was not reflected, and only reflected responses are kept.",
            ],
        ),
        ({ORIGINAL: (None, 0.9)}, ["Dropped: the original instruction has no IFD, and there is no reflected one."]),
        ({INSTRUCTION: (None, 0.9)}, ["Dropped: the reflected instruction has no IFD, and there is no original one."]),
        ({BOTH: (0.5, 0.9)}, ["Dropped: there is neither the original instruction nor a reflected one."]),
        (
            {ORIGINAL: (0.5, None)},
            [
                "Instruction kept: there is no reflected one.",
                "Dropped: the old response has no r-IFD, and there is no reflected one.",
            ],
        ),
    ],
)
def test_variants_that_were_never_made(made, words):
    row = {name: {"ifd_ppl": ifd, "rifd_ppl": rifd} for name, (ifd, rifd) in made.items()}
    assert words_of(row) == words


FORMS = {
    "wins": r"(\w+) reflected: (r-IFD|IFD) (\S+) is (above|below) (\S+)\.",
    "loses": r"(\w+) kept: (r-IFD|IFD) (\S+) \(reflected\) is not (above|below) (\S+) \((?:original|old)\)\.",
    "ties": r"(\w+) kept: (r-IFD|IFD) is (\S+) for both, and a tie keeps the (?:original|old) one\.",
    "alone": r"(\w+) (?:kept|reflected): only the (original|old|reflected) one has an (r-IFD|IFD) \((\S+)\)\.",
    "no other": r"(\w+) (?:kept|reflected): there is no (original|old|reflected) one\.",
    "neither": r"Dropped: neither the (?:original|old) nor the reflected (\w+) has an (r-IFD|IFD)\.",
    "one without": r"Dropped: the (original|old|reflected) (\w+) has no (r-IFD|IFD), and there is no (\w+) one\.",
    "none made": r"Dropped: there is neither the (?:original|old) (\w+) nor a reflected one\.",
}
COLUMNS = {"IFD": "ifd_ppl", "r-IFD": "rifd_ppl"}


def rounded(text, value):
    """Whether a text shows a number, to its last digit."""
    digits = len(text.partition(".")[2])
    return abs(float(text) - value) <= 0.5 * 10.0**-digits + 1e-12


class Reader:
    """Reads the sentences of a row back into a decision, and holds each against the row's numbers."""

    def __init__(self, row):
        self.row, self.alone, self.forms = row, False, set()

    def value(self, variant, score):
        return self.row.get(variant, {}).get(COLUMNS[score])

    def comparison(self, sentence, noun, score, old, new):
        """The side that wins, by what the sentence says; None for neither."""
        (form, parts), *others = [
            (form, found.groups()) for form, words in FORMS.items() if (found := re.fullmatch(words, sentence))
        ]
        assert not others
        self.forms.add(form)
        before, after = self.value(old, score), self.value(new, score)
        assert noun in [part.lower() for part in parts]
        assert score in (*parts, score if form in ("no other", "none made") else "")
        if form in ("wins", "loses"):
            _, _, one, direction, other = parts
            assert rounded(one, after) and rounded(other, before) and one != other
            assert direction == {"IFD": "above", "r-IFD": "below"}[score]
            assert (float(one) > float(other)) == ((direction == "above") == (form == "wins"))
            return new if form == "wins" else old
        if form == "ties":
            assert before == after and rounded(parts[2], before)
            return old
        if form == "alone":
            winner, other = (new, old) if parts[1] == "reflected" else (old, new)
            assert rounded(parts[3], self.value(winner, score))
            assert other in self.row and self.value(other, score) is None
            self.alone = True
            return winner
        if form == "no other":
            winner, other = (old, new) if parts[1] == "reflected" else (new, old)
            assert other not in self.row and self.value(winner, score) is not None
            return winner
        assert before is None and after is None
        made = {"neither": 2, "one without": 1, "none made": 0}[form]
        assert (old in self.row) + (new in self.row) == made
        if form == "one without":
            assert (parts[0] == "reflected") == (new in self.row) and (parts[3] == "reflected") == (old in self.row)
        return None

    def gate(self, sentences, winner):
        """Kept or not and why, by what the sentences say."""
        ifd, rifd = self.value(winner, "IFD"), self.value(winner, "r-IFD")
        first, *more = sentences
        self.forms.add(first.split(":")[0])
        if found := re.fullmatch(r"Dropped by the gate: the winner has no (r-IFD|IFD)\.", first):
            assert self.value(winner, found[1]) is None and not more
            return False, "winner_unscored"
        if found := re.fullmatch(r"Dropped by the gate: (r-IFD|IFD) (\S+) is not below 1\.", first):
            value = self.value(winner, found[1])
            assert rounded(found[2], value) and float(found[2]) >= 1 and not more
            return False, f"{found[1].lower().replace('-', '')}_not_below_1"
        found = re.fullmatch(r"Passes the gate: IFD (\S+) and r-IFD (\S+) are both below 1\.", first)
        assert rounded(found[1], ifd) and rounded(found[2], rifd) and float(found[1]) < 1 and float(found[2]) < 1
        if more:
            assert more == ["Dropped: its response was not reflected, and only reflected responses are kept."]
            return False, "response_not_reflected"
        return True, "only_scored" if self.alone else "kept"

    def decision(self, sentences):
        """Variant, kept or not, and why."""
        question = self.comparison(sentences[0], "instruction", "IFD", ORIGINAL, INSTRUCTION)
        if question is None:
            assert len(sentences) == 1
            return None, False, "unscored"
        new = BOTH if question == INSTRUCTION else RESPONSE
        winner = self.comparison(sentences[1], "response", "r-IFD", question, new)
        if winner is None:
            assert len(sentences) == 2
            return None, False, "unscored"
        return winner, *self.gate(sentences[2:], winner)


def test_random_rows_say_branch_comparison_and_reason_of_the_ledger():
    numbers = np.random.default_rng(0)
    forms, reasons = set(), set()
    made_of = [names for size in range(1, 5) for names in itertools.combinations(VARIANTS, size)]
    for number, made in enumerate([*made_of, VARIANTS, VARIANTS]):
        rows = [
            {name: dict(zip(("ifd_ppl", "rifd_ppl"), numbers.choice(LEVELS, 2), strict=True)) for name in made}
            for _ in range(100 if len(made) < 4 else 400)
        ]
        step, decisions = ledger(rows, reflected_only=bool(number % 2))
        for row, decision in zip(rows, decisions, strict=True):
            reader = Reader(row)
            said = reader.decision(decision_words([step], row, decision))
            assert said == tuple(decision[name] for name in ("selected_variant", "selected", "select_reason")), row
            forms |= reader.forms
            reasons.add(said[2])
    assert forms == {*FORMS, "Dropped by the gate", "Passes the gate"}
    assert reasons == set(Selective.reasons)


class TestOtherNumbers:
    """Scores that do not lead to the ledger's decision are not spoken of."""

    ROW = full((0.84, 1.03), (0.81, 0.7), (0.79, 0.92), (0.7, 0.8))

    def say(self, variant, reason, row=None, step=STEP):
        kept = reason in ("kept", "only_scored")
        decision = {"selected": kept, "selected_variant": variant, "select_reason": reason, "select_step": "selective"}
        return decision_words([step], self.ROW if row is None else row, decision)

    def test_of_another_branch_or_outcome(self):
        assert self.say("reflect_both", "kept") == ["Instruction reflected, response reflected.", "Passes the gate."]
        assert self.say("reflect_response", "ifd_not_below_1") == [
            "Instruction kept, response reflected.",
            "Dropped by the gate: the winner's IFD is not below 1.",
        ]
        assert self.say(None, "unscored") == ["Dropped: neither side of a comparison has a number."]

    def test_every_reason_of_the_strategy_has_words(self):
        for reason in Selective.reasons:
            (words,) = self.say(None, reason)
            assert "selective" not in words, reason

    def test_not_even_where_they_were_never_taken(self):
        without = {name: {"ifd_loss": 0.5} for name in VARIANTS}
        for row in ({}, without):
            assert self.say(None, "unscored", row) == ["Dropped: neither side of a comparison has a number."]

    @pytest.mark.parametrize("step", [{"name": "selective"}, {**STEP, "margin": 0.1}])
    def test_options_of_another_version(self, step):
        assert self.say("reflect_response", "kept", step=step) == [
            "Instruction kept, response reflected.",
            "Passes the gate.",
        ]

    def test_a_reason_of_another_version(self):
        assert self.say("original", "too_long") == ["Dropped by selective: too_long."]
