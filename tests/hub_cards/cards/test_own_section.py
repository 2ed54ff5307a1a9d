"""The owner's part of a card: taken over from whatever the old card has become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_cards.cards.own_section import EMPTY_SECTION, END, START, keep_own_section, own_section

NEW = f"---\nlicense: mit\n---\n\n# New\n\n{EMPTY_SECTION}\n"


def old(words: str) -> str:
    return f"---\nlicense: apache-2.0\n---\n\n# Old\n\n{START}\n{words}\n{END}\n"


def test_is_taken_over_and_nothing_else():
    kept = keep_own_section(NEW, old("## My words\n\n---\nlicense: none\n---\n\\1 \\g<0>"))
    words = "## My words\n\n---\nlicense: none\n---\n\\1 \\g<0>"
    assert kept == f"---\nlicense: mit\n---\n\n# New\n\n{START}\n\n{words}\n\n{END}\n"


@pytest.mark.parametrize("card", ["", "# Another tool's card\n", old(""), old("\n \n"), f"text\n{END}\n", "<!-- a -->"])
def test_without_one_the_new_card_stays_as_it_is(card):
    assert keep_own_section(NEW, card) == NEW


def test_line_ends_are_the_new_cards():
    assert keep_own_section(NEW, old("a\r\nb").replace("\n", "\r\n")) == keep_own_section(NEW, old("a\n\nb"))
    assert own_section(old("a\nb").replace("\n", "\r\n")) == "a\nb"


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (f"{START}\na\n{END}\nours\n{START}\nb\n{END}", "a\n\nb"),  # doubled
        (f"{START}\na\n{START}\nb\n{END}\nc\n{END}\nours", "a\n\nb\n\nc"),  # one in the other
        (f"ours\n{START}\na\n## b", "a\n## b"),  # the end is gone
        (f"{START}\n{START}\na\n{END}", "a"),
        (f"a\n{END}\n{START}\nb\n{END}\n{END}\nc", "b"),
        ("<!--own-section:start-->\na\n<!--  own-section:end  -->", "a"),  # rewritten by an editor
        (f"{START}a <!-- a comment --> b{END}", "a <!-- a comment --> b"),
    ],
)
def test_is_found_in_what_somebody_has_broken(card, words):
    assert own_section(card) == words
    assert own_section(keep_own_section(NEW, card)) == words


def test_a_new_card_without_a_place_for_it_gets_one():
    assert keep_own_section("# New\n", old("a")) == f"# New\n\n{START}\n\na\n\n{END}\n"


def test_nothing_of_it_is_seen_before_it_is_written():
    assert EMPTY_SECTION.startswith("<!--") and EMPTY_SECTION.count("-->") == 2 and own_section(NEW) == ""


@given(st.text(st.sampled_from("ab \n#-<>!`|é🦜"), max_size=40))
def test_any_words_survive_any_number_of_new_cards(words):
    once = keep_own_section(NEW, old(words))
    assert own_section(once) == words.strip("\n") if words.strip() else once == NEW
    assert keep_own_section(NEW, once) == once
