"""The Markdown of a line that the cards are made of, as HTML: code, strong words and links, and nothing else."""

from __future__ import annotations

import html
import re

from markupsafe import Markup, escape

_CODE = r"(?P<fence>`+)(?P<code>.+?)(?<!`)(?P=fence)(?!`)"
_STRONG = r"\*\*(?P<strong>.+?)\*\*"
_LINK = r"\[(?P<label>(?:[^\[\]`]|`[^`]*`)+)\]\((?P<address>https?://[^\s()]+)\)"
_SPAN = re.compile(f"{_CODE}|{_STRONG}|{_LINK}")


def inline(text: str) -> Markup:
    """A line of Markdown as HTML in which only what stands here has a meaning; everything else is text.

    Of links only those to web addresses are made; they open without telling where they were followed.
    """
    parts, end = [], 0
    for found in _SPAN.finditer(text):
        parts += [_plain(text[end : found.start()]), _span(found)]
        end = found.end()
    return Markup("").join([*parts, _plain(text[end:])])


def _span(found: re.Match[str]) -> Markup:
    if found["code"] is not None:
        return Markup("<code>{}</code>").format(_without_pad(found["code"]))
    if found["strong"] is not None:
        return Markup("<strong>{}</strong>").format(inline(found["strong"]))
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(found["address"], inline(found["label"]))


def _without_pad(content: str) -> str:
    """Code that begins or ends with a backtick stands between spaces."""
    is_padded = content.startswith(" ") and content.endswith(" ") and content.strip()
    return content[1:-1] if is_padded and (content[1] == "`" or content[-2] == "`") else content


def _plain(text: str) -> Markup:
    # The cards write `&lt;` for what would open HTML in Markdown.
    return escape(html.unescape(text))
