"""What the cards of a run say beyond its records, from the flags and from what the source's own card states."""

from __future__ import annotations

from collections.abc import Sequence

from hub_cards.cards.about import About, Places
from hub_cards.cards.licences import stated_by_source
from hub_cards.cards.lineage import source_of
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source
from hub_cards.stages import find_record


def licence_to_publish(given: str, source: Source | list[StepRecord]) -> str | list[str]:
    """The licence of the cards: the one that is given, else what the source's own card states. None is made up.

    Args:
        source: or the lineage of what is published.

    Raises:
        BadInputError: there is neither.
    """
    licence = given or stated_by_source(source).license
    if not licence:
        name = source_of(source).location if isinstance(source, list) else source.location
        raise BadInputError(
            f"--license: {name} states no licence that could be passed on; name it, as the Hub spells it "
            "(apache-2.0, cc-by-nc-4.0, …)"
        )
    return licence


def about_run(
    records: list[StepRecord],
    license: str,
    title: str,
    places: Places,
    notes: str = "",
    language: Sequence[str] = (),
) -> About:
    """What the cards say.

    Args:
        records: a lineage.
        license: as the user gave it; empty to pass on the source's.

    Raises:
        BadInputError: there is no licence.
    """
    stated, reflect = stated_by_source(records), find_record(records, "reflect")
    return About(
        title=title,
        license=licence_to_publish(license, records),
        source_licence=stated.license,
        license_name=None if license else stated.license_name,
        license_link=None if license else stated.license_link,
        notes=notes,
        language=list(language) or stated.language,
        places=places,
        prompts={} if reflect is None else reflect.counts.get("prompts", {}),
    )
