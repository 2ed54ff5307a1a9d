"""Push a folder that is laid out for the Hub: one commit a repository, whoever else writes and whatever gets lost."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_cards.cards.model import EVALUATION
from hub_cards.cards.own_section import keep_own_section
from hub_cards.errors import BadInputError
from hub_cards.hub.client import ask, hub_api, shortened
from hub_cards.provenance import PROVENANCE_FILE, StepRecord, read_records
from hub_cards.publishing.manifest import (
    CARD,
    MANIFEST_FILE,
    Manifest,
    fetch,
    files_below,
    read_local_manifest,
    read_remote_manifest,
)
from hub_cards.publishing.target import STEP, Target


@dataclass(frozen=True)
class Pushed:
    """What a push came to.

    Attributes:
        commit: at which the repository holds the folder's files.
        changed: whether there was anything to commit.
    """

    commit: str
    changed: bool


def make_repository(target: Target) -> None:
    """Create the repository, and its branch, where there is none; what is there stays.

    A new one is private: it is shown to others, if it is to be, once it has been read back.

    Raises:
        BadInputError: the Hub refuses.
        StoppedError: the Hub does not answer.
    """
    api = hub_api()
    ask(
        "create the repository",
        lambda: api.create_repo(target.repo_id, repo_type=target.repo_type, private=True, exist_ok=True),
        target.where,
    )
    if target.revision != "main":
        ask(
            f"create the branch {target.revision}",
            lambda: api.create_branch(
                target.repo_id, repo_type=target.repo_type, branch=target.revision, exist_ok=True
            ),
            target.where,
        )


def push_folder(target: Target, folder: Path, message: str) -> Pushed:
    """Make the repository hold `folder`'s files, by one commit on its branch.

    Files that an earlier publishing wrote, and this one does not have, are deleted; others in the repository stay, and
    so does its owner's section of the card. A push whose answer was lost, or that another writer came before, looks
    anew and commits what is left to do, which may be nothing.

    Raises:
        BadInputError: the Hub refuses.
        StoppedError: the Hub does not answer, or others keep writing.
    """
    from huggingface_hub import CommitOperationAdd

    added = {
        name: CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
        for name in files_below(folder)
        if name != CARD
    }

    def commit() -> Pushed:
        head = _head(target)
        # The client marks what it has uploaded and what it found on the Hub, and that may have changed meanwhile.
        operations: list[Any] = [copy.copy(one) for one in added.values()]
        operations += _card(target, folder, head)
        operations += _deletions(target, head, list(added))
        return _commit(target, operations, head, message)

    return ask("push", commit, target.where, conflicts=True)


def push_files(target: Target, folder: Path, message: str) -> Pushed:
    """Put `folder`'s files beside what publishing has put there before; nothing is deleted.

    Raises:
        BadInputError: the Hub refuses, or the repository was not published by us.
        StoppedError: the Hub does not answer, or others keep writing.
    """
    from huggingface_hub import CommitOperationAdd

    own = read_local_manifest(folder)

    def commit() -> Pushed:
        head = _head(target)
        there = read_remote_manifest(target, head)
        if there is None:
            raise BadInputError(f"{target.where}: was not published by recipes/publish.py or recipes/sft.py")
        listed = Manifest(there.kind, {**there.files, **own.files}).as_text().encode()
        names = [name for name in files_below(folder) if name not in (CARD, MANIFEST_FILE)]
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
        operations += _card(target, folder, head)
        operations.append(CommitOperationAdd(path_in_repo=MANIFEST_FILE, path_or_fileobj=listed))
        return _commit(target, operations, head, message)

    return ask("push", commit, target.where, conflicts=True)


def _head(target: Target) -> str:
    return hub_api().repo_info(target.repo_id, repo_type=target.repo_type, revision=target.revision).sha


def _card(target: Target, folder: Path, head: str) -> list[Any]:
    """The card, with the section that its owner has written on the Hub."""
    from huggingface_hub import CommitOperationAdd

    if not (folder / CARD).is_file():
        return []
    card, old = (folder / CARD).read_text(encoding="utf-8"), fetch(target, CARD, head)
    if old is not None:
        card = keep_own_section(card, old.read_text(encoding="utf-8", errors="replace"))
    return [CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode())]


def _deletions(target: Target, head: str, kept: Sequence[str]) -> list[Any]:
    """What an earlier publishing wrote and this one does not have, as far as it is still there."""
    from huggingface_hub import CommitOperationDelete

    before = read_remote_manifest(target, head)
    if before is None:
        return []
    there = set(hub_api().list_repo_files(target.repo_id, repo_type=target.repo_type, revision=head))
    gone = sorted((set(before.files) - set(kept)) & there)
    return [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]


def _commit(target: Target, operations: Sequence[Any], head: str, message: str) -> Pushed:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        done = hub_api().create_commit(
            target.repo_id,
            operations,
            commit_message=message,
            repo_type=target.repo_type,
            revision=target.revision,
            parent_commit=head,
        )
    except HfHubHTTPError:
        raise
    except ValueError as error:  # the card's metadata, which the Hub looks at before anything is uploaded
        raise BadInputError(f"{target.where}: the Hub does not take the card: {shortened(error)}") from error
    return Pushed(done.oid, done.oid != head)


def check_tag(target: Target, tag: str, folder: Path) -> None:
    """Before anything is pushed: a tag that is there already must be of this very publishing.

    Raises:
        BadInputError: it names something else.
        StoppedError: the Hub does not answer.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    def named() -> str | None:
        try:
            return hub_api().repo_info(target.repo_id, repo_type=target.repo_type, revision=tag).sha
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    commit = ask(f"read the tag {tag}", named, target.where)
    if commit is not None:
        _check_same(target, tag, commit, folder)


def tag_commit(target: Target, tag: str, commit: str, folder: Path) -> str:
    """Give the commit of a folder the run's tag; a tag that is there stays, if it is of this very publishing.

    Returns:
        The commit that the tag names.

    Raises:
        BadInputError: the tag names something else, or is no name for a tag.
        StoppedError: the Hub does not answer.
    """
    api = hub_api()
    ask(
        f"make the tag {tag}",
        lambda: api.create_tag(target.repo_id, tag=tag, revision=commit, repo_type=target.repo_type, exist_ok=True),
        target.where,
    )
    named = ask(
        f"read the tag {tag}",
        lambda: api.repo_info(target.repo_id, repo_type=target.repo_type, revision=tag).sha,
        target.where,
    )
    if named != commit:
        _check_same(target, tag, named, folder)
    return named


def _check_same(target: Target, tag: str, commit: str, folder: Path) -> None:
    """A tagged commit holds what `folder` does, by the same record; an evaluation may have come later."""
    there, records = read_remote_manifest(target, commit), fetch(target, PROVENANCE_FILE, commit)
    made = [] if records is None else read_records(records.parent)
    same = there is not None and _lasting(there) == _lasting(read_local_manifest(folder))
    if not same or _publishing(made) != _publishing(read_records(folder)):
        raise BadInputError(
            f"--hub_tag {tag}: is the tag of another run in {target.repo_id}, at {commit[:7]}; give this one another"
        )


def _lasting(manifest: Manifest) -> dict[str, tuple[int, str]]:
    later = (PROVENANCE_FILE, f"{EVALUATION}/")
    return {name: file for name, file in manifest.files.items() if not name.startswith(later)}


def _publishing(records: Sequence[StepRecord]) -> str | None:
    return next((record.fingerprint for record in records if record.step == STEP), None)
