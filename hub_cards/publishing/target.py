"""Where a result is published: which repository, of what kind, who may see it. The flags of every stage that pushes."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub_cards.errors import BadInputError

STEP = "publish"
# The kinds of repository that a run becomes.
DATASET, STATISTICS, MODEL = "dataset", "statistics", "model"


@dataclass(frozen=True)
class Target:
    """One repository to publish to.

    Attributes:
        repo_id: `user/name`.
        repo_type: `dataset` or `model`, as the Hub sorts them.
        kind: what of ours it holds: `dataset`, `statistics`, `model`, or the stage whose result it is.
        flag: where the user named it, for the messages.
        private: whether it is to be seen by its owner alone.
        revision: the branch.
        tag: the run's, where one was given.
    """

    repo_id: str
    repo_type: str
    kind: str
    flag: str
    private: bool = True
    revision: str = "main"
    tag: str | None = None

    @property
    def name(self) -> str:
        """Its name without its owner's."""
        return self.repo_id.split("/")[-1]

    @property
    def where(self) -> str:
        """What the messages call it."""
        return f"{self.flag} {self.repo_id}"

    @property
    def page(self) -> str:
        """The address of its page."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo_id}"


def required_target(repo_id: str | None, repo_type: str, kind: str, how: tuple[bool, str, str | None]) -> Target:
    """The target that `--hub_dataset_id` or `--hub_model_id` names, for what is to be published.

    Args:
        how: whether it is private, its branch, and the tag that was given.

    Raises:
        BadInputError: none is named.
    """
    flag = f"--hub_{repo_type}_id"
    if not repo_id:
        what = "data set" if repo_type == "dataset" else repo_type
        raise BadInputError(f"--push_to_hub: name the {what} on the Hub with {flag} user/name")
    return Target(repo_id, repo_type, kind, flag, *how)


@dataclass
class PushArguments:
    """Whether and how a stage publishes its result; the same flags in every script."""

    push_to_hub: bool = field(default=False, metadata={"help": "publish the result on the Hub once it is finished"})
    private: bool = field(
        default=True, metadata={"help": "whether new repositories are for their owner's eyes alone; false: for all"}
    )
    hub_revision: str = field(default="main", metadata={"help": "branch to publish to; made where there is none"})
    hub_tag: str | None = field(
        default=None, metadata={"help": "name of this run's tag (default: `run-` and digits of its fingerprint)"}
    )

    def _how(self) -> tuple[bool, str, str | None]:
        return self.private, self.hub_revision, self.hub_tag


@dataclass
class ModelPushArguments(PushArguments):
    """The flags of a stage whose result belongs to a model."""

    hub_model_id: str | None = field(default=None, metadata={"help": "Hub model to publish to, as user/name"})

    def model_target(self) -> Target | None:
        """Where the model is; None where nothing is published.

        Raises:
            BadInputError: it is to be published and no repository is named.
        """
        return required_target(self.hub_model_id, "model", MODEL, self._how()) if self.push_to_hub else None


@dataclass
class DatasetPushArguments(PushArguments):
    """The flags of a stage whose result is a data set."""

    hub_dataset_id: str | None = field(default=None, metadata={"help": "Hub data set to publish to, as user/name"})
    license: str = field(
        default="",
        metadata={"help": "licence of the data, as the Hub spells it (default: what the source's own card states)"},
    )

    def target(self, kind: str) -> Target | None:
        """Where the stage's result goes; None where it is not published.

        Raises:
            BadInputError: it is to be published and no repository is named.
        """
        return required_target(self.hub_dataset_id, "dataset", kind, self._how()) if self.push_to_hub else None
