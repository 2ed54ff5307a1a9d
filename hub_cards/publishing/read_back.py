"""Read a published repository back as a stranger would: at its commit, with an empty cache, by the usual loaders.

`python -m hub_cards.publishing.read_back` does it in a process of its own, because the libraries take the places of
their caches when they are imported, and a warm cache answers where the Hub would not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hub_cards.errors import BadInputError, StoppedError
from hub_cards.hub.client import ask, hub_api, shortened
from hub_cards.publishing.manifest import read_local_manifest

T = TypeVar("T")
SAMPLE_ROWS = 20
TIME_LIMIT = 3600  # seconds
# What would lead the new process to the caches of this one.
PLACES = (
    *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE"),
    *("HF_XET_CACHE", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME"),
)


class DifferentError(Exception):
    """What is on the Hub is not what was pushed; the message says where."""


def read_back(repositories: Sequence[dict[str, Any]]) -> list[str]:
    """Compare repositories on the Hub with the folders that were pushed, in a new process with an empty cache.

    Args:
        repositories: for each its `repo_id`, `repo_type`, `commit`, `folder`, `where`, and whether the folder is the
            `whole` of it.

    Returns:
        For each what was seen, in a few words: `5 configs, 402 rows`.

    Raises:
        StoppedError: something differs, or the Hub does not answer.
    """
    try:
        done = _in_a_new_process(json.dumps(list(repositories)))
    except subprocess.TimeoutExpired as error:
        raise StoppedError(
            f"what was pushed was not read back within {TIME_LIMIT // 60} minutes; run the same command again"
        ) from error
    lines = done.stdout.splitlines()
    answer = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    if answer is None:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        names = ", ".join(repository["repo_id"] for repository in repositories)
        raise StoppedError(f"{names}: pushed, but could not be read back ({last}); run the same command again")
    if "error" in answer:
        raise StoppedError(f"{answer['error']}; so it is not called published: run the same command again")
    return answer["seen"]


def _in_a_new_process(repositories: str) -> subprocess.CompletedProcess[str]:
    """Run this module with an empty cache; with the token of this process, which may be that of its cached login."""
    from huggingface_hub import get_token

    with tempfile.TemporaryDirectory(prefix="read-back-") as home:
        environment = {name: value for name, value in os.environ.items() if name not in PLACES}
        environment |= {"HF_HOME": home, "XDG_CACHE_HOME": home, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_TOKEN": get_token() or "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}
        return subprocess.run(
            [sys.executable, "-m", "hub_cards.publishing.read_back"],
            input=repositories,
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIME_LIMIT,
            check=False,
        )


def compare(repository: dict[str, Any]) -> str:
    """Compare one repository with its folder; what was seen, in a few words.

    Raises:
        DifferentError: a file, a config's rows or features, or a model's configuration, tokenizer or tensors differ.
    """
    folder = Path(repository["folder"])
    compare_files(repository, folder)
    if not repository["whole"]:
        return counted(len(read_local_manifest(folder).files), "file")
    return (compare_dataset if repository["repo_type"] == "dataset" else compare_model)(repository, folder)


def compare_files(repository: dict[str, Any], folder: Path) -> None:
    """Every listed file is there with the same content, by the Hub's own hashes of it."""
    from huggingface_hub.utils.sha import git_hash

    api, where = hub_api(), repository["where"]

    def listing() -> dict[str, Any]:
        tree = api.list_repo_tree(
            repository["repo_id"], recursive=True, revision=repository["commit"], repo_type=repository["repo_type"]
        )
        return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}

    there = ask("list the files", listing, where)
    for name, (size, sha256) in read_local_manifest(folder).files.items():
        if name not in there:
            raise DifferentError(f"{where}: {name} is not there")
        found = there[name]
        same = found.lfs.sha256 == sha256 if found.lfs else found.blob_id == git_hash((folder / name).read_bytes())
        if found.size != size or not same:
            raise DifferentError(f"{where}: {name} is not the file that was pushed")


def compare_dataset(repository: dict[str, Any], folder: Path) -> str:
    """Each config has the features, as many rows and the same first rows as its files here."""
    from datasets import load_dataset

    total, configs = 0, _configs(folder)
    for name, files in configs.items():
        where = f"{repository['where']} ({name})"
        here = load_dataset("parquet", data_files=[str(path) for path in files], split="train", streaming=True)
        there = ask(
            "load it",
            lambda name=name: load_dataset(
                repository["repo_id"], name, split="train", revision=repository["commit"], streaming=True
            ),
            where,
        )
        if _features(there) != _features(here):
            raise DifferentError(f"{where}: has the features {there.features} and not {here.features}")
        rows, expected = _count_there(repository, folder, files), sum(_count(path) for path in files)
        if rows != expected:
            raise DifferentError(f"{where}: has {rows} rows and not {expected}")
        sample = ask("read rows", lambda there=there: list(there.take(SAMPLE_ROWS)), where)
        if sample != list(here.take(SAMPLE_ROWS)):
            raise DifferentError(f"{where}: its first {SAMPLE_ROWS} rows are not those that were pushed")
        total += rows
    return f"{counted(len(configs), 'config')}, {counted(total, 'row')}"


def counted(number: int, what: str) -> str:
    """A number of things in words: `1 file`, `1,200 rows`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _features(dataset: Any) -> Any:
    """Columns and types; the order is part of neither."""
    return None if dataset.features is None else dict(dataset.features)


def _configs(folder: Path) -> dict[str, list[Path]]:
    """By the name of each config its files here, as the card has them."""
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(folder / "README.md")
    patterns = {config["config_name"]: config["data_files"][0]["path"] for config in card.data.configs}
    return {name: sorted(folder.glob(pattern)) for name, pattern in patterns.items()}


def _count(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def _count_there(repository: dict[str, Any], folder: Path, files: Sequence[Path]) -> int:
    """How many rows the files on the Hub say that they have: their ends are read, not the whole."""
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    system = HfFileSystem(block_size=2**16)
    paths = [f"datasets/{repository['repo_id']}@{repository['commit']}/{p.relative_to(folder)}" for p in files]

    def rows(path: str) -> int:
        with system.open(path) as file:
            return pq.read_metadata(file).num_rows

    return sum(ask("read its end", lambda path=path: rows(path), repository["where"]) for path in paths)


def _loaded(what: str, load: Callable[[], T], where: str) -> T:
    """What a loader of transformers gives; it wraps whatever happens, and the Hub's silence too, in these."""
    try:
        return ask(f"load its {what}", load, where)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise DifferentError(f"{where}: its {what} cannot be loaded ({shortened(error)})") from error


def compare_model(repository: dict[str, Any], folder: Path) -> str:
    """Configuration and tokenizer load, and the tensors are as many and as large as here."""
    from transformers import AutoConfig, AutoTokenizer

    where, at = repository["where"], {"revision": repository["commit"]}
    there = _loaded("configuration", lambda: AutoConfig.from_pretrained(repository["repo_id"], **at), where)
    if _settings(there) != _settings(AutoConfig.from_pretrained(folder)):
        raise DifferentError(f"{where}: its configuration is not the one that was pushed")
    tokenizer = _loaded("tokenizer", lambda: AutoTokenizer.from_pretrained(repository["repo_id"], **at), where)
    if tokenizer.get_vocab() != AutoTokenizer.from_pretrained(folder).get_vocab():
        raise DifferentError(f"{where}: its tokenizer is not the one that was pushed")
    found = ask("read its tensors", lambda: hub_api().get_safetensors_metadata(repository["repo_id"], **at), where)
    tensors = {name: tuple(info.shape) for file in found.files_metadata.values() for name, info in file.tensors.items()}
    if tensors != _tensors(folder):
        raise DifferentError(f"{where}: its tensors are not those that were pushed")
    return f"{len(tensors)} tensors, {sum(found.parameter_count.values()):,} parameters"


def _settings(config: Any) -> dict[str, Any]:
    """Everything but where it was read from."""
    return {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


def _tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    shapes = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def _main() -> None:
    """Answer by one line of JSON: what was seen of each repository, or the first error."""
    import datasets

    datasets.disable_progress_bars()
    try:
        answer: dict[str, Any] = {"seen": [compare(repository) for repository in json.load(sys.stdin)]}
    except (DifferentError, BadInputError, StoppedError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
