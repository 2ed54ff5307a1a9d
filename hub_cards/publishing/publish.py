"""Publish what is laid out: push every repository, tag it, read it back, and tie the repositories of a run together."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from hub_cards.hub.client import ask, hub_api
from hub_cards.publishing.access import State, look
from hub_cards.publishing.manifest import NOT_LISTED, files_below, read_local_manifest
from hub_cards.publishing.push import Pushed, check_tag, make_repository, push_files, push_folder, tag_commit
from hub_cards.publishing.read_back import read_back
from hub_cards.publishing.target import STEP, Target

COLLECTION_TITLE_LENGTH = 59  # the Hub takes no longer one
COLLECTION_TITLE = "{}: data, scores, model"


@dataclass(frozen=True)
class Repository:
    """One folder that is laid out for the Hub, and where it goes.

    Attributes:
        tag: the run's tag, for its commit; None for none.
        whole: whether the folder is all that the repository holds of ours, or is put beside what is there.
    """

    target: Target
    folder: Path
    tag: str | None
    whole: bool = True


@dataclass(frozen=True)
class Receipt:
    """What was published where, as it is kept beside the result.

    Attributes:
        seen: what was read back, in a few words.
    """

    repo_id: str
    repo_type: str
    revision: str
    commit: str
    tag: str | None
    seen: str
    page: str


def publish(repositories: Sequence[Repository]) -> list[Receipt]:
    """Push, tag and read back; only what was read back is called published. `check_access` comes before it.

    May be called again after whatever went wrong: it finishes what is left and makes nothing twice. Several
    repositories are tied together by a collection, named after the first.

    Raises:
        BadInputError: the Hub refuses, or a repository is not what it should be.
        StoppedError: the Hub does not answer, or what was read back differs.
    """
    for one in repositories:
        check_laid_out(one.folder)
    states = [look(one.target) for one in repositories]
    for one in repositories:
        if one.tag:
            check_tag(one.target, one.tag, one.folder)
    pushed = []
    for one in repositories:
        if one.whole:
            make_repository(one.target)
        pushed.append(_push(one))
    seen = read_back(
        [
            {
                "repo_id": one.target.repo_id,
                "repo_type": one.target.repo_type,
                "commit": done.commit,
                "folder": str(one.folder.resolve()),
                "where": one.target.where,
                "whole": one.whole,
            }
            for one, done in zip(repositories, pushed, strict=True)
        ]
    )
    for state in states:
        _show_to_all(state)
    receipts = [
        Receipt(t.repo_id, t.repo_type, t.revision, done.commit, one.tag, found, t.page)
        for one, t, done, found in zip(repositories, [one.target for one in repositories], pushed, seen, strict=True)
    ]
    for receipt in receipts:
        say(STEP, f"published {receipt.page} at {receipt.commit[:7]}, read back: {receipt.seen}")
    if len(repositories) > 1:
        say(STEP, f"collection {_collect([one.target for one in repositories])}")
    return receipts


def _push(one: Repository) -> Pushed:
    started = time.monotonic()
    message = f"Publish {one.target.kind}" + (f" of {one.tag}" if one.tag else "")
    done = (push_folder if one.whole else push_files)(one.target, one.folder, message)
    if one.tag:
        tag_commit(one.target, one.tag, done.commit, one.folder)
    what = f"pushed in {time.monotonic() - started:.0f} s" if done.changed else "is there already"
    say(STEP, f"{one.target.repo_id} ({one.target.kind}): {what}, {done.commit[:7]}")
    return done


def _show_to_all(state: State) -> None:
    """Make a private or new repository public, once what is in it has been read back."""
    target = state.target
    if state.private is not False and not target.private:
        ask(
            "make it public",
            lambda: hub_api().update_repo_settings(target.repo_id, private=False, repo_type=target.repo_type),
            target.where,
        )


def _collect(targets: Sequence[Target]) -> str:
    """Put the repositories into their collection, made where there is none; the address of its page."""
    api, owner = hub_api(), targets[0].repo_id.split("/")[0]
    title = COLLECTION_TITLE.format(targets[0].name)[:COLLECTION_TITLE_LENGTH]
    where = f"the collection {title!r} of {owner}"
    private = any(target.private for target in targets)
    found = ask(
        "make it",
        lambda: api.create_collection(title, namespace=owner, private=private, exists_ok=True),
        where,
    )
    if found.private and not private:
        ask("make it public", lambda: api.update_collection_metadata(found.slug, private=False), where)
    for target in targets:
        ask(
            f"add {target.repo_id}",
            lambda target=target: api.add_collection_item(
                found.slug, item_id=target.repo_id, item_type=target.repo_type, exists_ok=True
            ),
            where,
        )
    return found.url


def write_receipts(folder: Path, receipts: Sequence[Receipt]) -> None:
    """Keep what was published where beside the result, as `<name>.hub.json`: a file within would be part of it."""
    content = [asdict(receipt) for receipt in receipts]
    path = folder.with_name(f"{folder.name}.hub.json")
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show_plan(repositories: Sequence[Repository], states: Sequence[State] | None) -> str:
    """What would be pushed: for each repository its visibility, files and sizes, and its card.

    Args:
        states: what is on the Hub now; None where it was not asked.
    """
    parts = []
    for number, one in enumerate(repositories):
        files = [(name, (one.folder / name).stat().st_size) for name in files_below(one.folder)]
        width = max(len(name) for name, _ in files)
        visibility = states[number].visibility if states else ("private" if one.target.private else "public")
        title = f"{one.target.page} ({one.target.kind}, {visibility}, branch {one.target.revision}, tag {one.tag})"
        lines = [f"  {name:{width}}  {size:>13,} bytes" for name, size in files]
        lines.append(f"  {'total':{width}}  {sum(size for _, size in files):>13,} bytes")
        card = (one.folder / "README.md").read_text(encoding="utf-8")
        parts.append("\n".join([title, *lines, "", *(f"  | {line}".rstrip() for line in card.splitlines())]))
    return "\n\n".join(parts)


def check_laid_out(folder: Path) -> None:
    """What is laid out is whole: every listed file is there as listed, and no more; and no token is in it.

    Raises:
        BadInputError: it is not.
    """
    listed = read_local_manifest(folder)
    names = [name for name in files_below(folder) if name not in NOT_LISTED]
    if different := set(names) ^ set(listed.files):
        raise BadInputError(f"{folder}: {min(different)} and the list of files differ; lay it out again")
    for name, (size, _) in listed.files.items():
        if (folder / name).stat().st_size != size:
            raise BadInputError(f"{folder}: {name} has changed since it was laid out; lay it out again")
    _check_no_secret(folder)


def _check_no_secret(folder: Path) -> None:
    """The keys of this run are in no text that it publishes, by whatever way they got there."""
    from huggingface_hub import get_token

    secrets = {get_token(), *(os.environ.get(name) for name in ("OPENAI_API_KEY", "WANDB_API_KEY"))}
    secrets = {secret for secret in secrets if secret and len(secret) >= 8}
    for name in files_below(folder):
        if Path(name).suffix not in (".md", ".json", ".jinja", ".txt", ".svg", ".yaml"):
            continue
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        if any(secret in text for secret in secrets):
            raise BadInputError(f"{folder / name}: holds one of your keys, so nothing is published; take it out")
