"""One stage of a run, as its script and `recycle.py` both see it: is it up to date, and if not, do it under a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict

from hub_cards.cli import is_main_process, say
from hub_cards.hub.client import small_file
from hub_cards.provenance import PROVENANCE_FILE, StepRecord, digest_of, fingerprint_of, read_records
from hub_cards.sources import Source
from hub_cards.storage import check_output_dir, is_up_to_date, locked, save_result

if TYPE_CHECKING:
    from hub_cards.publishing.stage import StagePush


VARIANTS_READERS = ("reflect", "score", "select")  # of a published data set; a training reads what was selected


def lineage(*folders: str) -> list[StepRecord]:
    """The records of the steps that made these folders, each once; none for what is not ours."""
    return _each_once(record for folder in folders for record in read_records(Path(folder)))


def lineage_of(record: StepRecord, *roles: str) -> list[StepRecord]:
    """The records of the steps that made these inputs of a step, each once; none for what is not ours.

    Args:
        roles: in this order; an input that the step does not have is passed over.

    Raises:
        StoppedError: the Hub does not answer.
    """
    sources = {role: record.inputs[role] for role in roles if role in record.inputs}
    return _each_once(
        made
        for role, source in sources.items()
        for made in records_of(source, role)
        if source.kind != "hub" or _made_what_is_read(made, record, role)
    )


def _made_what_is_read(made: StepRecord, record: StepRecord, role: str) -> bool:
    """Whether a step of a published run made what is read of it: a selection did not make the variants beside it."""
    reads_variants = role == "dataset" and record.step in VARIANTS_READERS and record.config.get("config") != "selected"
    return made.step != "publish" and not (reads_variants and made.step == "select")


def _each_once(records: Iterable[StepRecord]) -> list[StepRecord]:
    return list({record.fingerprint: record for record in records}.values())


def records_of(source: Source, role: str) -> list[StepRecord]:
    """The records of the steps that made an input, here or published; none for what is not ours."""
    if source.kind != "hub":
        return read_records(Path(source.location))
    repo_type = "model" if role == "model" else "dataset"
    path = small_file(source.location, repo_type, PROVENANCE_FILE, source.revision, f"--{role} {source.location}")
    return [] if path is None else read_records(path.parent)


def find_record(records: list[StepRecord], step: str, counted: str | None = None) -> StepRecord | None:
    """The latest record of `step` in a lineage; with `counted`, the latest one that counted this."""
    of_step = (record for record in reversed(records) if record.step == step)
    return next((record for record in of_step if counted is None or counted in record.counts), None)


@contextmanager
def stage(output_dir: Path, record: StepRecord) -> Iterator[bool]:
    """Lock `output_dir` and tell whether the stage must run; under a launcher the main process holds the lock.

    Yields:
        False where the result is already there (a line says so), else True.

    Raises:
        BadInputError: the folder holds something else, or another process writes it.
    """
    check_output_dir(output_dir, record.step)
    up_to_date = is_up_to_date(output_dir, record)
    if up_to_date:
        say(record.step, f"up to date: {output_dir}")
    if up_to_date or not is_main_process():
        yield not up_to_date
        return
    with locked(output_dir):
        yield True


def run_stage(
    output_dir: str,
    record: StepRecord,
    earlier: list[StepRecord],
    compute: Callable[[], tuple[DatasetDict, dict[str, Any]]],
    settled: bool = True,
    push: StagePush | None = None,
) -> None:
    """Run a stage whose result is a `DatasetDict`: skip it when up to date, else compute and save it atomically.

    Args:
        earlier: the lineage of the input.
        compute: returns the result and its counts for the record; called by every process of a launcher, and what the
            main one returns is saved. A count named `unfinished` is the rows that another run may still mend.
        settled: whether inputs and configuration settle the result; else the record keeps its digest.
        push: how the result is published once it is there, by the main process; checked before anything is done.
    """
    folder = Path(output_dir)
    if push and is_main_process():
        push.check(record, earlier)
    _compute_and_save(folder, record, earlier, compute, settled)
    if push and is_main_process():
        push.push(folder)


def _compute_and_save(
    folder: Path,
    record: StepRecord,
    earlier: list[StepRecord],
    compute: Callable[[], tuple[DatasetDict, dict[str, Any]]],
    settled: bool,
) -> None:
    with stage(folder, record) as needed:
        if not needed:
            return
        say(record.step, f"reads {', '.join(source.location for source in record.inputs.values())}")
        started = time.monotonic()
        result, counts = compute()
        if not is_main_process():
            return
        digest = None if settled else fingerprint_of({name: digest_of(part) for name, part in result.items()})
        outcome = {"result": digest, "unfinished": counts.pop("unfinished", 0)}
        save_result(folder, result, [*earlier, record.finished(counts, time.monotonic() - started, **outcome)])
        say(record.step, f"saved {', '.join(f'{name} {len(rows)}' for name, rows in result.items())} rows in {folder}")
