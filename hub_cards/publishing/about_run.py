"""The record of a publishing, and what the cards say by it beyond the other records of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hub_cards.cards.about import About, Places
from hub_cards.cards.licences import stated_by_source
from hub_cards.cards.lineage import source_of
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.publishing.target import STEP
from hub_cards.sources import Source
from hub_cards.stages import find_record

VERSION = 4
TAG_DIGITS = 12


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


def publish_record(
    inputs: Mapping[str, Source],
    license: str | list[str],
    title: str,
    hub: Mapping[str, str],
    tag: str | None,
    notes: str = "",
    language: Sequence[str] = (),
) -> StepRecord:
    """The record of publishing these results: it stands in the repositories too, so that any later card says the same.

    Args:
        inputs: by stage.
        hub: by `dataset`, `statistics` and `model` the repository; what is not published has none.
        tag: as it was given; None for one by the record's own fingerprint.
    """
    config = {
        "license": license,
        "title": title,
        "notes": notes,
        "language": list(language) or None,
        "hub": dict(hub),
        "tag": tag,
    }
    return StepRecord(STEP, VERSION, config, dict(inputs))


def tag_of(record: StepRecord) -> str | None:
    """The run's tag in all its repositories, the same however often it is published; None where there are none."""
    if not record.config["hub"]:
        return None
    return record.config["tag"] or f"run-{record.fingerprint[:TAG_DIGITS]}"


def about_of(records: list[StepRecord], local: Mapping[str, str] | None = None) -> About:
    """What the cards say, by the record of the publishing among these.

    Args:
        local: by `dataset`, `statistics` and `model` the folder of what is not on the Hub.
    """
    record, reflect, stated = find_record(records, STEP), find_record(records, "reflect"), stated_by_source(records)
    config = record.config
    is_passed_on = config["license"] == stated.license
    return About(
        title=config["title"],
        license=config["license"],
        source_licence=stated.license,
        license_name=stated.license_name if is_passed_on else None,
        license_link=stated.license_link if is_passed_on else None,
        notes=config["notes"],
        language=config["language"] or stated.language,
        places=Places(**{**(local or {}), **config["hub"]}, tag=tag_of(record)),
        prompts={} if reflect is None else reflect.counts.get("prompts", {}),
    )


def as_published(records: list[StepRecord]) -> list[StepRecord]:
    """Records as strangers may read them: of a file or folder somewhere on this machine no more than the name."""
    return [
        replace(record, inputs={role: _without_place(source) for role, source in record.inputs.items()})
        for record in records
    ]


def _without_place(source: Source) -> Source:
    place = Path(source.location)
    is_elsewhere = source.kind != "hub" and (place.is_absolute() or ".." in place.parts)
    return replace(source, location=place.name) if is_elsewhere else source
