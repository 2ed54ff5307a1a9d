"""What a card says beyond the records of its run: title and licence, the prompts, and where the run is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hub_cards.sources import looks_like_hub_id


@dataclass(frozen=True)
class Places:
    """What a reader types to load each repository of a run; None for one that there is not, or not yet.

    The cards of a run link the ones that are on the Hub.

    Attributes:
        dataset, statistics, model: a Hub id, or the path of a local folder; one that could be taken for a Hub id is
            written from `./`.
        tag: the tag of the run on the Hub, which the examples load.
    """

    dataset: str | None = None
    statistics: str | None = None
    model: str | None = None
    tag: str | None = None

    def hub_id(self, kind: str) -> str | None:
        """The Hub id of `dataset`, `statistics` or `model`; None where it is not on the Hub."""
        place = getattr(self, kind)
        return place if place and looks_like_hub_id(place) else None

    def revision(self, kind: str) -> str | None:
        """Which revision the example loads; None for what is not on the Hub."""
        return self.tag if self.hub_id(kind) else None


@dataclass(frozen=True)
class About:
    """What a card says beyond the records.

    Attributes:
        license: of this repository, as the Hub spells it; None where nobody states one.
        source_licence: what the source's own card states, None where it states none; the card names both where they
            differ.
        license_name, license_link: of a licence that the Hub calls `other`.
        notes: Markdown of the user's.
        language: codes as the Hub takes them; None where nobody states one.
        prompts: by name, the whole text of what the oracle was sent, with `{instruction}`, `{input}` and `{output}`
            where those of a pair stood.
    """

    title: str
    license: str | list[str] | None
    source_licence: str | list[str] | None = None
    license_name: str | None = None
    license_link: str | None = None
    notes: str = ""
    language: list[str] | None = None
    places: Places = field(default_factory=Places)
    prompts: Mapping[str, str] = field(default_factory=dict)


def licence_text(licence: str | list[str] | None) -> str:
    """A licence, or several, in one line; empty for none."""
    return licence if isinstance(licence, str) else ", ".join(licence or [])
