"""What the source's own card states of its licence and language: passed on, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_cards.cards.lineage import source_of
from hub_cards.hub.client import small_file
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source


@dataclass(frozen=True)
class SourceCard:
    """What the metadata of a data set's card state; None for what they do not.

    Attributes:
        license: one, or a list where the card lists several.
        license_name, license_link: of a licence that the Hub calls `other`.
        language: codes as the Hub takes them.
    """

    license: str | list[str] | None = None
    license_name: str | None = None
    license_link: str | None = None
    language: list[str] | None = None


def stated_by_source(source: Source | list[StepRecord]) -> SourceCard:
    """What a source's card states: on the Hub that of the very commit, of a folder its `README.md`.

    Args:
        source: or the records of a lineage: then the nearest of its data sets on the Hub whose card states a licence,
            which has passed its own source's on, or else what its rows were read from first.

    Returns:
        Nothing for a single file, where there is no card, and where the process is offline and the card not cached.

    Raises:
        BadInputError, StoppedError: the Hub refuses, or does not answer.
    """
    if isinstance(source, list):
        read = [record.inputs["dataset"] for record in reversed(source) if "dataset" in record.inputs]
        found = map(stated_by_source, [*(one for one in read if one.kind == "hub"), source_of(source)])
        return next((stated for stated in found if stated.license), SourceCard())
    if source is None or source.kind not in ("hub", "folder"):
        return SourceCard()
    card = _cached_card(source) if source.kind == "hub" else Path(source.location) / "README.md"
    return SourceCard() if card is None or not card.is_file() else _stated(card)


def _cached_card(source: Source) -> Path | None:
    """The card at the very commit that was read, from the cache, or else the Hub gives it."""
    return small_file(source.location, "dataset", "README.md", source.revision, f"--dataset {source.location}")


def _stated(card: Path) -> SourceCard:
    import yaml
    from huggingface_hub import metadata_load

    try:
        metadata = metadata_load(card) or {}
        licence, language = _texts(metadata.get("license")), _codes(metadata.get("language"))
    except (AttributeError, UnicodeDecodeError, ValueError, yaml.YAMLError):  # no mapping, or not text
        return SourceCard()
    names = {}
    if licence == ["other"]:
        names = {name: _text(metadata.get(name)) for name in ("license_name", "license_link")}
    return SourceCard(licence[0] if len(licence) == 1 else licence or None, language=language or None, **names)


def _texts(value: Any) -> list[str]:
    return [text for one in (value if isinstance(value, list) else [value]) if (text := _text(one))]


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _codes(value: Any) -> list[str]:
    """Norwegian is `no`, which YAML reads as a false."""
    values = value if isinstance(value, list) else [value]
    return _texts(["no" if one is False else one for one in values])
