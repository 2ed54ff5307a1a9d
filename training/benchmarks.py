"""Benchmarks through lm-evaluation-harness: tasks, shots, metrics and versions are pinned, finished tasks are kept."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hub_cards.cli import say
from hub_cards.errors import BadInputError
from hub_cards.provenance import fingerprint_of
from hub_cards.sources import Source

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

PINS = Path(__file__).with_name("benchmark_suites.yaml")
MEAN = "mean"
Result = dict[str, Any]


@dataclass(frozen=True)
class PinnedTask:
    """One benchmark as it is measured.

    Attributes:
        name: a task, group or tag of the harness.
        dataset: the Hub id of its questions.
        shots: solved examples before each question.
        metric, filter: which number of the harness's results.
        version: the harness's version of the task, or of each of its parts.
        parts: how many tasks the group has; 1 for a single task.
        weighted: whether the mean over the parts is by their numbers of questions.
    """

    name: str
    dataset: str
    shots: int
    metric: str
    filter: str
    version: float
    parts: int = 1
    weighted: bool = False


@dataclass(frozen=True)
class Catalog:
    """The pinned tasks and the suites made of them.

    Attributes:
        folder: where the harness finds the tasks' YAML files; null: its own tasks.
    """

    tasks: dict[str, PinnedTask]
    suites: dict[str, tuple[str, ...]]
    folder: Path | None = None

    def tasks_of(self, names: Sequence[str]) -> list[PinnedTask]:
        """The tasks of some suites and tasks, each once, in order."""
        wanted = (task for name in names for task in self.suites.get(name, (name,)))
        return [self.tasks[name] for name in dict.fromkeys(wanted)]


def read_catalog(path: Path = PINS, folder: Path | None = None) -> Catalog:
    """The tasks and suites that a YAML file pins."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    tasks = {name: PinnedTask(name=name, **pins) for name, pins in content["tasks"].items()}
    return Catalog(tasks, {name: tuple(members) for name, members in content["suites"].items()}, folder)


def check_benchmarks(names: Sequence[str]) -> None:
    """Raise `BadInputError`, listing what there is, unless every name is a suite or a pinned task. Imports no torch."""
    catalog = read_catalog()
    for name in names:
        if name not in catalog.suites and name not in catalog.tasks:
            raise BadInputError(
                f"--benchmarks {name!r}: is unknown; the suites are {', '.join(catalog.suites)}, the single tasks "
                f"{', '.join(catalog.tasks)}"
            )
    if len(set(names)) < len(names):
        raise BadInputError(f"--benchmarks {' '.join(names)}: names something twice")


def check_harness() -> None:
    """Raise `BadInputError` with the command that installs lm-evaluation-harness where it is not there."""
    if find_spec("lm_eval") is None:
        raise BadInputError(
            '--benchmarks: lm-evaluation-harness is not installed: pip install "reflection-tuning[benchmarks]"'
        )


def run_benchmarks(
    model: Source,
    names: Sequence[str],
    *,
    batch_size: int | str,
    cache_dir: Path,
    dtype: str = "auto",
    limit: int | None = None,
    catalog: Catalog | None = None,
) -> list[Result]:
    """Measure a model on suites and single tasks.

    The parts of the tasks are run one after the other, each is kept in `cache_dir` when it is finished, and what is
    kept is not run again. Under a launcher the processes share the questions of every part, and all get the results.

    Args:
        model: a folder, or a Hub id at a commit.
        names: suites and tasks of the catalog.
        batch_size: questions at a time, or `auto`. It does not decide the result.
        cache_dir: of finished results; one folder serves many models, for the keys hold all that decides a result.
        limit: the first questions of each part only.

    Returns:
        For every suite its tasks and then their mean, and every single task, in the order of `names`:

        - `task`, `suite` (null for a single task), `metric`, `value` (a fraction; null where the harness gives none),
          `stderr` (null where there is none, as for a mean), `shots`, `version`: as pinned,
        - `n`, `n_all`: questions asked, and how many the test set has; null for a mean,
        - `dataset`: the Hub id of the questions; null for a mean.

        A mean is there only where every task of the suite has a value.

    Raises:
        BadInputError: the harness is missing, a task's data or the model cannot be loaded, the installed harness has
            another version of a task, or there are more processes than questions.
    """
    catalog = catalog or read_catalog()
    check_harness()
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from lm_eval.tasks import TaskManager

    # Before the harness makes its own: without this a second process on a CPU would not know of the first.
    state = PartialState(cpu=not torch.accelerator.is_available())
    if limit is not None and limit < state.num_processes:
        raise BadInputError(
            f"--benchmark_limit {limit}: leaves some of the {state.num_processes} processes without work"
        )
    manager = TaskManager(include_path=catalog.folder, include_defaults=catalog.folder is None)
    tasks = {task.name: task for task in catalog.tasks_of(names)}
    parts = {name: part_names(manager, task) for name, task in tasks.items()}
    # By task and part: two pinned tasks may take different numbers of one.
    places = {
        (name, part): cache_dir / f"{part}-{_key(model, part, tasks[name], dtype, limit)}.json"
        for name in tasks
        for part in parts[name]
    }
    (missing,) = broadcast_object_list([[both for both, place in places.items() if _kept(place) is None]])
    lm = _load_model(model, dtype, batch_size) if missing else None
    for number, (name, part) in enumerate(missing, start=1):
        say("benchmarks", f"{part}, {tasks[name].shots} shots ({number} of {len(missing)})")
        measured = _measure(lm, manager, part, tasks[name], limit)
        if state.is_main_process:
            _keep(places[name, part], measured)
    (found,) = broadcast_object_list([{both: _kept(place) for both, place in places.items()}])
    results = {name: _joined(task, [found[name, part] for part in parts[name]]) for name, task in tasks.items()}
    return _in_order(results, names, catalog)


def part_names(manager: TaskManager, task: PinnedTask) -> list[str]:
    """The harness's tasks that make up a pinned one, sorted.

    Raises:
        BadInputError: the installed harness does not have it, or has other parts.
    """
    parts = sorted(_leaves(manager, task.name))
    if len(parts) != task.parts:
        raise BadInputError(
            f"--benchmarks {task.name}: lm-evaluation-harness {version('lm_eval')} has {len(parts)} tasks of this "
            f"name, pinned are {task.parts}; {_advice()}"
        )
    return parts


def _leaves(manager: TaskManager, name: str) -> set[str]:
    entry = manager.task_index.get(name)
    if entry is None:
        return set()
    if entry.kind.name == "TAG":
        return set(entry.tags)
    if entry.kind.name == "GROUP":
        return {leaf for member in entry.cfg["task"] for leaf in _leaves(manager, member)}
    return {name}


def _advice() -> str:
    return 'install the pinned harness: pip install "reflection-tuning[benchmarks]"'


def _key(model: Source, part: str, task: PinnedTask, dtype: str, limit: int | None) -> str:
    pins = [task.shots, task.metric, task.filter, task.version]
    return fingerprint_of([model.fingerprint, part, pins, dtype, limit, version("lm_eval")])


def _kept(place: Path) -> Result | None:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _keep(place: Path, found: Result) -> None:
    """Write beside the place and rename, so that a file that exists is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(found, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(place)


def _load_model(model: Source, dtype: str, batch_size: int | str) -> HFLM:
    import torch
    from lm_eval.models.huggingface import HFLM

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        return HFLM(
            model.location, revision=model.revision or "main", dtype=dtype, batch_size=batch_size, device=device.type
        )
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"--model_name_or_path {model.location}: cannot be loaded ({reason})") from error


def _measure(lm: HFLM, manager: TaskManager, part: str, pins: PinnedTask, limit: int | None) -> Result | None:
    """One part's numbers; null in all processes but the main one."""
    from datasets.exceptions import DatasetsError
    from lm_eval import evaluate
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    try:
        (task,) = manager.load([part])["tasks"].values()
    except (DatasetsError, OSError, ValueError) as error:  # ValueError: offline, and not in the cache
        reason = " ".join(str(error).split())
        raise BadInputError(
            f"--benchmarks {pins.name}: the questions of {part} ({pins.dataset}) cannot be loaded ({reason})"
        ) from error
    if float(task.config.metadata["version"]) != pins.version:
        raise BadInputError(
            f"--benchmarks {pins.name}: lm-evaluation-harness {version('lm_eval')} has version "
            f"{task.config.metadata['version']} of {part}, pinned is {pins.version}; {_advice()}"
        )
    task.set_config(key="num_fewshot", value=pins.shots)
    task.set_fewshot_seed(DEFAULT_OTHER_SEED)
    # Not `simple_evaluate`, which looks into the whole environment after every task.
    found = evaluate(lm, {"tasks": {part: task}}, limit=limit, log_samples=False)
    if found is None:
        return None
    numbers, counts = found["results"][part], found["n-samples"][part]
    return {
        "value": _number(numbers[f"{pins.metric},{pins.filter}"]),
        "stderr": _number(numbers[f"{pins.metric}_stderr,{pins.filter}"]),
        "n": counts["effective"],
        "n_all": counts["original"],
    }


def _number(value: Any) -> float | None:
    """The harness writes `N/A` for what it has not computed."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _joined(task: PinnedTask, parts: Sequence[Result]) -> Result:
    """A pinned task's result from those of its parts."""
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

    values, stderrs, sizes = ([part[name] for part in parts] for name in ("value", "stderr", "n"))
    value = None if None in values else aggregate_subtask_metrics(values, sizes, weight_by_size=task.weighted)
    stderr = stderrs[0] if len(parts) == 1 else None
    if len(parts) > 1 and None not in stderrs and sum(sizes) > len(sizes):
        stderr = pooled_sample_stderr(stderrs, sizes) if task.weighted else unweighted_mean_stderr(stderrs)
    return {
        "task": task.name,
        "metric": task.metric,
        "value": value,
        "stderr": _number(stderr),
        "shots": task.shots,
        "version": task.version,
        "n": sum(sizes),
        "n_all": sum(part["n_all"] for part in parts),
        "dataset": task.dataset,
    }


def _in_order(results: dict[str, Result], names: Sequence[str], catalog: Catalog) -> list[Result]:
    rows = []
    for name in names:
        if name not in catalog.suites:
            rows.append({**results[name], "suite": None})
            continue
        members = [results[task] for task in catalog.suites[name]]
        rows += [{**result, "suite": name} for result in members]
        values = [result["value"] for result in members]
        if None not in values:
            absent = dict.fromkeys(("stderr", "shots", "version", "n", "n_all", "dataset"))
            rows.append({"task": name, "suite": name, "metric": MEAN, "value": sum(values) / len(values), **absent})
    return rows
