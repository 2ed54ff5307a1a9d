"""Markdown of a line as HTML: the tags that are meant, and nothing that a hostile text could mean."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_cards.cards.text import code, one_line, origin
from hub_cards.report.markup import inline
from hub_cards.sources import Source

CASES = {
    "plain": "plain",
    "": "",
    "a `b` c": "a <code>b</code> c",
    "``a`b``": "<code>a`b</code>",
    "`` `a` ``": "<code>`a`</code>",
    "`**a**`": "<code>**a**</code>",
    "`<b>&lt;`": "<code>&lt;b&gt;&amp;lt;</code>",
    "**a** and **b**": "<strong>a</strong> and <strong>b</strong>",
    "**`a`**": "<strong><code>a</code></strong>",
    "[a](https://x.org/a?b=1&c=2)": '<a href="https://x.org/a?b=1&amp;c=2" rel="noreferrer">a</a>',
    "[`a`](http://x.org)": '<a href="http://x.org" rel="noreferrer"><code>a</code></a>',
    "[`a]`](http://x.org)": '<a href="http://x.org" rel="noreferrer"><code>a]</code></a>',
    "**[a](http://x.org)**": '<strong><a href="http://x.org" rel="noreferrer">a</a></strong>',
    "two\n`lines\nof`": "two\n<code>lines\nof</code>",
    # What stays text
    "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&lt;img src=x onerror=alert(1)>": "&lt;img src=x onerror=alert(1)&gt;",
    "[a](javascript:alert(1))": "[a](javascript:alert(1))",
    "[a](JAVASCRIPT:alert%281%29)": "[a](JAVASCRIPT:alert%281%29)",
    "[a](data:text/html,x)": "[a](data:text/html,x)",
    "[a](//x.org)": "[a](//x.org)",
    "[a](/x)": "[a](/x)",
    "[a](https://x.org/(b))": "[a](https://x.org/(b))",
    "[a](https://x.org b)": "[a](https://x.org b)",
    "[](https://x.org)": "[](https://x.org)",
    "![a](https://x.org/a.png)": '!<a href="https://x.org/a.png" rel="noreferrer">a</a>',
    "[[a]](https://x.org)": "[[a]](https://x.org)",
    "[a [b](https://x.org)": '[a <a href="https://x.org" rel="noreferrer">b</a>',
    '[a](https://x.org/"onclick="alert)': '<a href="https://x.org/&#34;onclick=&#34;alert" rel="noreferrer">a</a>',
    "[**`**[b](http://c.org)`](http://d.org)": (
        '<a href="http://d.org" rel="noreferrer"><strong>`</strong>[b](http://c.org)`</a>'
    ),
    "`a``": "`a``",
    "``a`": "``a`",
    "`a": "`a",
    "``": "``",
    "**a": "**a",
    "****": "****",
    "* a_b_c ~~d~~ # e": "* a_b_c ~~d~~ # e",
}


@pytest.mark.parametrize("text", CASES)
def test_cases(text):
    assert inline(text) == CASES[text]


@pytest.mark.parametrize("text", ["a", "`", "``a`", " a", "a`b``c", "</code>", "**", "[x](http://y.z)"])
def test_code_as_the_cards_write_it_is_shown_as_it_was(text):
    assert inline(code(text)) == f"<code>{html.escape(text.strip()).replace('&quot;', '&#34;')}</code>"


def test_an_origin_as_the_cards_write_it():
    source = Source("hub", "me/my_set", "f", "0123abc")
    assert inline(origin(source)) == (
        '<a href="https://huggingface.co/datasets/me/my_set/tree/0123abc" rel="noreferrer"><code>me/my_set</code></a>'
        " at <code>0123abc</code>"
    )


class Seen(HTMLParser):
    """All tags with their attributes, whether they are closed in order, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(str(text))
        self.close()

    def handle_starttag(self, tag, attrs):
        assert not (tag == "a" and "a" in self.open)
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


PIECES = st.sampled_from(
    [
        *("`", "``", "**", "*", "[", "]", "(", ")", "](", "](http://x.y)", "](https://x.y/?a=b&c)", "javascript:"),
        *("<", ">", "<b>", "</a>", "<!--", "-->", "<script>", "&", "&lt;", "&#60;", "&amp;lt;", '"', "'", "\\", "\n"),
        *("a", " ", "é", "\u2028", "http://", "onclick=", "href="),
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=25).map("".join))
def test_nothing_but_code_strong_words_and_web_links_comes_out(text):
    seen = Seen(inline(text))
    assert seen.open == []
    for tag, attributes in seen.tags:
        assert tag in ("code", "strong", "a")
        assert set(attributes) == ({"href", "rel"} if tag == "a" else set())
        assert tag != "a" or re.fullmatch(r"https?://[^\s()]+", attributes["href"])


PLAIN = st.text(alphabet=st.characters(exclude_characters="`*[&"), max_size=9)
WORDS = PLAIN.filter(str.strip)
SPANS = {
    "plain": (PLAIN, str, []),
    "code": (st.text(max_size=9).map(one_line), code, ["code"]),
    "strong": (WORDS, "**{}**".format, ["strong"]),
    "link": (WORDS.filter(lambda text: "]" not in text), "[{}](https://x.org/?a=1&b=2)".format, ["a"]),
}
PARTS = st.sampled_from(list(SPANS)).flatmap(lambda kind: st.tuples(st.just(kind), SPANS[kind][0]))


@given(st.lists(PARTS, max_size=9))
def test_every_text_arrives_in_its_tag(parts):
    seen = Seen(inline(" - ".join(SPANS[kind][1](text) for kind, text in parts)))
    assert seen.text == " - ".join(text or {"code": "  "}.get(kind, "") for kind, text in parts)
    assert [tag for tag, _ in seen.tags] == [tag for kind, _ in parts for tag in SPANS[kind][2]]
