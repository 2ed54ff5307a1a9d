"""May we publish there? Asked before any work is done, so that no run of a week ends at a name that is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hub_cards.errors import BadInputError
from hub_cards.hub.client import LOG_IN, ask, hub_api, shortened
from hub_cards.publishing.manifest import read_remote_manifest
from hub_cards.publishing.target import Target

# What may be published over what: the same again, and a later stage over an earlier one.
STAGES = ("reflect", "score", "select", "dataset")
REFERENCE = re.compile(r"[A-Za-z0-9_][\w.\-/]*", re.ASCII)
WRITING_ROLES = ("admin", "write", "contributor")
# What a repository holds that nobody has put anything into.
UNTOUCHED = (".gitattributes", "README.md")


@dataclass(frozen=True)
class State:
    """What is at a target now.

    Attributes:
        head: the newest commit of its branch; None where there is no such repository or branch yet.
        private: who may see the repository; None where there is none yet.
    """

    target: Target
    head: str | None
    private: bool | None

    @property
    def visibility(self) -> str:
        """Who may see it, before and after."""
        after = "private" if self.target.private else "public"
        if self.private is None:
            return f"new, {after}"
        before = "private" if self.private else "public"
        return before if self.private == self.target.private else f"{before}, made {after}"


def can_ask() -> bool:
    """Whether this process may talk with the Hub, and has a token to do it with."""
    from huggingface_hub import constants, get_token

    return not constants.is_offline_mode() and get_token() is not None


def check_access(
    targets: Sequence[Target], license: str | list[str] | None = None, language: Sequence[str] = ()
) -> list[State]:
    """Look at every target as the user that the token belongs to; changes nothing.

    Args:
        license, language: of the cards, to be known to the Hub.

    Raises:
        BadInputError: no token or one that may not write, a name (of a repository, branch or tag) that the Hub does
            not take or that somebody else has, a repository that holds something else or is open to all where this
            run's is to be private, a licence or language that the Hub does not know; or the process is offline.
        StoppedError: the Hub does not answer.
    """
    if not targets:
        return []
    _check_online()
    _check_names(targets)
    user = ask("ask who you are", hub_api().whoami, "--push_to_hub")
    for target in targets:
        _check_may_write(target, user)
    _check_known("license", license, targets[0].repo_type)
    _check_known("language", list(language), targets[0].repo_type)
    return [look(target) for target in targets]


def _check_online() -> None:
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise BadInputError("--push_to_hub: HF_HUB_OFFLINE is set; unset it to publish")
    if get_token() is None:
        raise BadInputError(f"--push_to_hub: publishing needs a token: {LOG_IN}")


def _check_names(targets: Sequence[Target]) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for target in targets:
        try:
            validate_repo_id(target.repo_id)
        except HFValidationError as error:
            raise BadInputError(f"{target.where}: is no name of a repository: {str(error).splitlines()[0]}") from error
        _check_reference("--hub_revision", target.revision)
        if target.tag is not None:
            _check_reference("--hub_tag", target.tag)
            if target.tag == target.revision:
                raise BadInputError(f"--hub_tag {target.tag}: is the name of the branch; give the tag another")
        if target.repo_id.count("/") != 1:
            raise BadInputError(f"{target.where}: needs its owner: user/{target.repo_id}")
    names = [(target.repo_type, target.repo_id.lower()) for target in targets]
    for target, name in zip(targets, names, strict=True):
        if names.count(name) > 1:
            raise BadInputError(f"{target.where}: is named twice; data set and statistics need two repositories")


def _check_reference(flag: str, name: str) -> None:
    """git's own rules for the names of branches and tags, and no character that is anything but plain."""
    if not REFERENCE.fullmatch(name) or ".." in name or name.endswith((".", "/", ".lock")):
        raise BadInputError(f"{flag} {name}: is no name for it; letters, digits and . _ - / make one, as in v1.0")


def _check_may_write(target: Target, user: dict[str, Any]) -> None:
    owner = target.repo_id.split("/")[0]
    token = (user.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise BadInputError(f"{target.where}: your token may only read; make one that may write")
    scopes = (token.get("fineGrained") or {}).get("scoped")
    if scopes and not any("repo.write" in scope.get("permissions", ()) for scope in scopes):
        raise BadInputError(f"{target.where}: your token may not write to any repository; give it `repo.write`")
    roles = {organization["name"]: organization.get("roleInOrg") for organization in user.get("orgs") or ()}
    if owner.lower() == user["name"].lower():
        return
    known = {name.lower(): role for name, role in roles.items()}
    if owner.lower() not in known:
        mine = ", ".join([user["name"], *roles])
        raise BadInputError(f"{target.where}: {owner} is not you; your token's names are {mine}")
    role = known[owner.lower()]
    if role is not None and role not in WRITING_ROLES:
        raise BadInputError(f"{target.where}: in {owner} you may only {role}; ask for a role that may write")


def _check_known(name: str, value: str | list[str] | None, repo_type: str) -> None:
    """The Hub knows which licences and languages there are; better asked now than by the first card that is pushed."""
    import yaml
    from huggingface_hub import RepoCard

    if not value:
        return
    card = RepoCard(f"---\n{yaml.safe_dump({name: value})}---\n", ignore_metadata_errors=True)
    where = f"--{name} {value if isinstance(value, str) else ' '.join(value)}"
    try:
        ask(f"check the {name}", lambda: card.validate(repo_type=repo_type), where)
    except ValueError as error:
        raise BadInputError(f"{where}: the Hub does not know it: {shortened(error)}") from error


def look(target: Target) -> State:
    """What is at a target now, for who has been asked for already; raises as `check_access` of what is there."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = hub_api()

    def info():
        try:
            return api.repo_info(target.repo_id, repo_type=target.repo_type)
        except RepositoryNotFoundError as error:
            if type(error) is RepositoryNotFoundError:  # not: gated, which is somebody else's
                return None
            raise

    found = ask("look at it", info, target.where)
    if found is None:
        return State(target, None, None)
    if target.private and not found.private:
        raise BadInputError(
            f"{target.where}: is open to all, and this run would publish privately; give --private false to publish "
            "there, or choose another name"
        )

    def branch_head():
        try:
            return api.repo_info(target.repo_id, repo_type=target.repo_type, revision=target.revision).sha
        except RevisionNotFoundError:
            return None

    head = ask("look at it", branch_head, target.where)
    _check_content(target, [file.rfilename for file in found.siblings or ()], found.sha)
    return State(target, head, bool(found.private))


def _check_content(target: Target, files: Sequence[str], commit: str) -> None:
    """Refuse a repository that holds something else: publishing would put two things into one."""
    manifest = read_remote_manifest(target, commit)
    if manifest is None and all(name in UNTOUCHED for name in files):
        return
    if manifest is None:
        others = ", ".join([name for name in files if name not in UNTOUCHED][:3])
        raise BadInputError(f"{target.where}: is taken: it holds files that publish did not write ({others}, …)")
    known = manifest.kind in STAGES and target.kind in STAGES
    if manifest.kind != target.kind and not (known and STAGES.index(manifest.kind) < STAGES.index(target.kind)):
        raise BadInputError(
            f"{target.where}: is taken: it holds what was published as {manifest.kind}, and this is {target.kind}"
        )
