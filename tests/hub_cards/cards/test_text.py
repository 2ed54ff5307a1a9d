"""Texts of any kind in Markdown."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_cards.cards.text import code, fenced, hub_address, one_line, origin, plain, quoted
from hub_cards.sources import Source


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`a``", "``` `a`` ```"),
        ("a\r\n b\t", "`a b`"),
        ("", "`  `"),
        ("<b>", "`<b>`"),
    ],
)
def test_code_is_one_span(text, shown):
    assert code(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a < b", "a < b"),
        ("<b>", "&lt;b>"),
        ("<!-- x", "&lt;!-- x"),
        ("</details>", "&lt;/details>"),
        ("a\x00\ud800", "a"),
    ],
)
def test_prose_opens_no_html(text, shown):
    assert plain(text) == shown


def test_a_block_is_ended_by_nothing_in_it():
    assert fenced("a\n\n```\nb\n", "text") == "````text\na\n\n```\nb\n````"
    assert fenced("") == "```\n\n```"


def test_notes_are_a_quotation_to_their_end():
    assert quoted(" a\n\n```\n<!-- b\n") == "> a\n>\n> ```\n> &lt;!-- b"
    assert quoted(" \n") == ""


@given(st.text(max_size=30))
def test_any_text_is_one_line_of_utf8(text):
    assert len(one_line(text).encode().splitlines()) <= 1
    fence = re.match("`+", code(text))[0]
    assert fence not in re.findall("`+", code(text)[len(fence) : -len(fence)].strip())


def test_what_is_on_the_hub_is_linked_at_its_commit():
    assert hub_address("me/x", "dataset") == "https://huggingface.co/datasets/me/x"
    source = Source("hub", "me/x", "f", "abc")
    assert origin(source, "dataset") == "[`me/x`](https://huggingface.co/datasets/me/x/tree/abc) at `abc`"
    assert origin(source, "embedding_model") == "[`me/x`](https://huggingface.co/me/x/tree/abc) at `abc`"
    assert origin(Source("folder", "me/x", "f")) == "`me/x`"
