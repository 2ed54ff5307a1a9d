"""The licence of data, as its own card states it: passed on, never guessed."""

from __future__ import annotations

from pathlib import Path

from hub_cards.provenance import StepRecord
from hub_cards.sources import Source


def find_licence(records: list[StepRecord]) -> str | list[str] | None:
    """The licence of the data set that the first step of a lineage read; null where its card names none."""
    source = records[0].inputs.get("dataset") if records else None
    return None if source is None else licence_of(source)


def licence_of(source: Source) -> str | list[str] | None:
    """The `license` of a data set's card: on the Hub, or the `README.md` of a folder.

    Returns:
        Null for a single file, where there is no card or it names no licence, and where the Hub is out of reach and the
        card is not in the cache. A list where the card lists several.
    """
    card = _cached_card(source) if source.kind == "hub" else Path(source.location) / "README.md"
    if source.kind == "file" or card is None or not card.is_file():
        return None
    return _stated(card)


def _cached_card(source: Source) -> Path | None:
    """The card at the very commit that was read, which `datasets` has fetched, or else the Hub gives."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx

    try:
        return Path(
            hf_hub_download(
                source.location, "README.md", repo_type="dataset", revision=source.revision, etag_timeout=30
            )
        )
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError):  # OSError: offline, and not in the cache
        return None


def _stated(card: Path) -> str | list[str] | None:
    import yaml
    from huggingface_hub import metadata_load

    try:
        licence = (metadata_load(card) or {}).get("license")
    except (AttributeError, UnicodeDecodeError, ValueError, yaml.YAMLError):  # no mapping, or not text
        return None
    if isinstance(licence, list):
        licence = [str(one) for one in licence if one]
        return licence[0] if len(licence) == 1 else licence or None
    return licence if isinstance(licence, str) and licence else None
