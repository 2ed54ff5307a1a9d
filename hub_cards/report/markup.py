"""The Markdown of a line that the cards are made of, as HTML: code, strong words and links, and nothing else."""

from __future__ import annotations

import html
import re

from markupsafe import Markup, escape

# As many backticks end a code span as have begun it, no more and no fewer.
_CODE = r"(?<!`)(?P<fence>`++)(?P<code>.+?)(?<!`)(?P=fence)(?!`)"
_STRONG = r"\*\*(?P<strong>.+?)\*\*"
_LINK = r"\[(?P<label>(?:[^\[\]`]|`[^`]*`)+)\]\((?P<address>https?://[^\s()]+)\)"
_SPAN = re.compile(f"{_CODE}|{_STRONG}|{_LINK}", re.DOTALL)
_IN_LINK = re.compile(f"{_CODE}|{_STRONG}", re.DOTALL)


def inline(text: str) -> Markup:
    """A line of Markdown as HTML in which only what stands here has a meaning; everything else is text.

    Of links only those to web addresses are made; they open without telling where they were followed. An address that
    holds a bracket is none.
    """
    return _inline(text, _SPAN)


def _inline(text: str, spans: re.Pattern[str]) -> Markup:
    parts, end = [], 0
    for found in spans.finditer(text):
        parts += [_plain(text[end : found.start()]), _span(found, spans)]
        end = found.end()
    return Markup("").join([*parts, _plain(text[end:])])


def _span(found: re.Match[str], spans: re.Pattern[str]) -> Markup:
    if found["code"] is not None:
        return Markup("<code>{}</code>").format(_without_pad(found["code"]))
    if found["strong"] is not None:
        return Markup("<strong>{}</strong>").format(_inline(found["strong"], spans))
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(found["address"], _inline(found["label"], _IN_LINK))


def _without_pad(content: str) -> str:
    """Code that begins or ends with a backtick stands between spaces."""
    return content[1:-1] if content.startswith(" ") and content.endswith(" ") and content.strip() else content


def _plain(text: str) -> Markup:
    # The cards write `&lt;` for what would open HTML in Markdown.
    return escape(html.unescape(text))
