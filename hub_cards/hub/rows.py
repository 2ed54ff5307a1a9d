"""Which files of a Hub data set are a config's split, as `datasets` finds them, and the records of its odd ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.hub.remote import HubFolder, NotCachedError, is_offline, not_cached
from hub_cards.sources import DESCRIPTIONS, FILE_TYPES

if TYPE_CHECKING:
    from datasets import DatasetBuilder

CARDS = ("README.md", ".huggingface.yaml")  # files that say which configs there are
BUILDERS = ("parquet", "json", "csv", "arrow")  # of `datasets`, whose records are named fields
NO_SETTINGS = {"name", "version", "data_dir", "data_files", "description"}  # of a builder's config


@dataclass(frozen=True)
class Split:
    """The files of one split.

    Attributes:
        builder: the name of the builder of `datasets` for them: `parquet`, `csv`, …
        settings: what the repository's card sets for that builder, such as a separator.
    """

    paths: list[PurePosixPath]
    builder: str
    settings: dict[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether our own readers take the files as they are."""
        return not self.settings and all(path.suffix in FILE_TYPES for path in self.paths)


def find_split(folder: HubFolder, config: str | None, split: str) -> Split:
    """The files of a config's split, found from the repository's listing and its card; no data file is fetched.

    Raises:
        BadInputError: there is no such config or split (the message names the known ones), or there are no data files.
    """
    names = [PurePosixPath(name) for name in folder.sizes()]
    cards = [path for path in names if str(path) in CARDS]
    with TemporaryDirectory() as made:
        # `datasets` finds a folder's configs and splits by names alone: empty files stand for those of the repository.
        root = Path(made).resolve()
        for path in names:
            if path.name not in DESCRIPTIONS and ".." not in path.parts:  # nothing is made outside of the folder
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
        for path, local in zip(cards, folder.fetch(cards), strict=True):
            (root / path).write_bytes(local.read_bytes())
        builder = _builder(root, config, folder)
        found = {str(name): [Path(file) for file in files] for name, files in (builder.config.data_files or {}).items()}
        if split not in found:
            raise BadInputError(f"--dataset_split {split}: {folder.where} has the splits {', '.join(found)}")
        paths = [PurePosixPath(path.relative_to(root).as_posix()) for path in found[split]]
    kind = type(builder).__module__.split(".")[-1]
    if kind not in BUILDERS:
        raise BadInputError(f"{folder.where}: its {kind} files hold no rows of texts; {', '.join(BUILDERS)} do")
    return Split(paths, kind, _settings(builder))


def _builder(root: Path, config: str | None, folder: HubFolder) -> DatasetBuilder:
    from zipfile import BadZipFile

    from datasets import load_dataset_builder

    try:
        return load_dataset_builder(str(root), config)
    except FileNotFoundError as error:
        raise BadInputError(f"{folder.where}: the repository holds no data files that are known") from error
    except BadZipFile as error:
        raise BadInputError(
            f"{folder.where}: its data are packed in an archive; download and unpack it, and give the file"
        ) from error
    except ValueError as error:  # no such config, or none named of several: its first two lines name the known ones
        said = " ".join(" ".join(str(error).splitlines()[:2]).split())
        raise BadInputError(f"{folder.where} --dataset_config {config}: {said}") from error


def _settings(builder: DatasetBuilder) -> dict[str, Any]:
    given = {}
    for item in dataclasses.fields(builder.config):
        value = getattr(builder.config, item.name)
        factory = item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        if item.name not in NO_SETTINGS and value != default:
            given[item.name] = value
    return given


def split_records(folder: HubFolder, split: Split, streaming: bool) -> Iterator[dict[str, Any]]:
    """The records of files that `datasets` reads and we do not: CSV, compressed ones.

    Raises:
        BadInputError: they cannot be read, or fetched; or `streaming` offline.
        StoppedError: the Hub is out of reach.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    if streaming:
        if is_offline("dataset"):
            raise not_cached(folder.repo_id, folder.commit, "dataset", str(split.paths[0]), folder.flag)
        root = f"hf://datasets/{folder.repo_id}@{folder.commit}"
        files = [f"{root}/{path}" for path in split.paths]
    else:
        files = [str(path) for path in folder.fetch(split.paths)]
    try:
        yield from load_dataset(split.builder, data_files=files, split="train", streaming=streaming, **split.settings)
    except (DatasetGenerationError, ValueError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        raise BadInputError(f"{folder.where}: {split.paths[0]} cannot be read ({cause})") from error
    except (HfHubHTTPError, httpx.TransportError, ConnectionError) as error:
        raise StoppedError(
            f"{folder.where}: cannot read {split.paths[0]} ({error}); run the same command again"
        ) from error


@contextmanager
def streaming_explained(dataset: str, streaming: bool) -> Iterator[None]:
    """What is missing offline, as a user of --streaming can help it: a run online would keep nothing.

    Raises:
        NotCachedError: as it is, where nothing is streamed.
        BadInputError: in its place, where something is.
    """
    try:
        yield
    except NotCachedError as error:
        if not streaming:
            raise
        raise BadInputError(
            f"--streaming: reads --dataset {dataset} on the Hub and keeps nothing of it, and {error.variable} is set; "
            f"leave --streaming out, after one run without it online or `{error.download}`"
        ) from error
