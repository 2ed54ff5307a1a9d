"""The part of a card that is its owner's: it stands between two comments, and a new card takes it over."""

from __future__ import annotations

import re

START = "<!-- own-section:start | Write below this line: what stands here is kept whenever the card is made again. -->"
END = "<!-- own-section:end -->"
EMPTY_SECTION = f"{START}\n{END}"
_MARKER = re.compile(r"<!--\s*own-section:(start|end)\b[^>]*-->")


def keep_own_section(new: str, old: str) -> str:
    """The new card with the owner's part of the old one.

    Returns:
        `new` as it is where `old` has nothing of its owner's, or is another tool's card. Its line ends are `new`'s.
    """
    kept = own_section(old)
    if not kept:
        return new
    section = f"{START}\n\n{kept}\n\n{END}"
    starts = [found.start() for found in _MARKER.finditer(new) if found[1] == "start"]
    if not starts:
        return f"{new.rstrip()}\n\n{section}\n"
    end = next((found.end() for found in _MARKER.finditer(new, starts[-1]) if found[1] == "end"), len(new))
    return new[: starts[-1]] + section + new[end:]


def own_section(card: str) -> str:
    """What a card's owner wrote, without blank lines around it; empty where there is nothing.

    Sections that somebody has doubled or put into one another are joined. Where the end is missing, the section goes on
    to the end of the card, where it always stands; without a start nothing tells the owner's words from ours.
    """
    text = card.replace("\r\n", "\n").replace("\r", "\n")
    parts, depth, begin = [], 0, 0
    for marker in _MARKER.finditer(text):
        if depth:
            parts.append(text[begin : marker.start()])
        depth = depth + 1 if marker[1] == "start" else max(0, depth - 1)
        begin = marker.end()
    if depth:
        parts.append(text[begin:])
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())
