"""Texts that nobody has looked at, made safe for Markdown: in a line, in a code span, in a block of their own."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from hub_cards.sources import Source

HUB = "https://huggingface.co"
_OPENS_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")


def one_line(value: Any) -> str:
    """A value in one line, without what no card may hold: control characters and halves of surrogate pairs."""
    return " ".join(_CONTROL.sub("", str(value)).split())


def plain(value: Any) -> str:
    """A value as a line of prose that opens no HTML: a comment would hide the rest of the card."""
    return without_html(one_line(value))


def without_html(text: str) -> str:
    """A text in which no tag and no comment begins."""
    return _OPENS_HTML.sub("&lt;", text)


def code(value: Any) -> str:
    """A value as a code span of one line, whatever backticks it holds."""
    text = one_line(value)
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if not text or text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def fenced(text: Any, language: str = "") -> str:
    """A text as it is, as a block of code that nothing in it can end."""
    content = _CONTROL.sub("", str(text)).strip("\n")
    fence = "`" * max(3, _longest_run(content) + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def quoted(text: str) -> str:
    """A user's Markdown as a quotation, with which whatever it leaves open ends. Empty for none."""
    lines = without_html(_CONTROL.sub("", text)).strip().splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def hub_address(repo_id: str, repo_type: str, revision: str | None = None) -> str:
    """The page of a repository on the Hub."""
    path = f"{'datasets/' if repo_type == 'dataset' else ''}{repo_id}{f'/tree/{revision}' if revision else ''}"
    return f"{HUB}/{quote(path)}"


def origin(source: Source, role: str = "dataset") -> str:
    """Where something was read: its name, for the Hub with a link to the very commit.

    Args:
        role: as in `StepRecord.inputs`; what is called a model is one on the Hub.
    """
    name = code(source.location)
    if source.kind != "hub":
        return name
    is_model = role in ("baseline", "oracle") or "model" in role
    link = f"[{name}]({hub_address(source.location, 'model' if is_model else 'dataset', source.revision)})"
    return f"{link} at {code(source.revision)}" if source.revision else link
