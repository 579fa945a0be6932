"""Jobs one after the other: what is said of each, and how a batch ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deblurcli.errors import InputError, PartialError
from deblurcli.files import keep, kept
from deblurcli.jobs.plan import Plan, explained, make_folder, require_usable
from deblurcli.options.option import Options, weights_files

if TYPE_CHECKING:
    from deblurcli.jobs.result import Result
    from deblurcli.restore.worker import Worker


class Job(Protocol):
    """A picklable value that says what to read, what to write, and how."""

    @property
    def source(self) -> Path: ...

    @property
    def destination(self) -> Path: ...

    def run(self, worker: Worker) -> Result:
        """Do it. Raises DeblurError: it is not done."""


def files_read(job: Any) -> Iterator[Path]:
    """The files that a job reads: its source, the videos that it adapts to together with it, and the weights that its
    options name, with what lies in their folder."""
    yield job.source
    yield from getattr(job, "together", ())
    options = [getattr(job, each.name) for each in fields(job)]
    for path in (path for each in options if isinstance(each, Options) for path in weights_files(each)):
        yield path
        with contextlib.suppress(OSError):  # loading says what is wrong
            yield from path.iterdir()


def run_job(job: Job, planned: Plan, worker: Worker) -> None:
    """Do one job and say what came of it. Raises PartialError: the file is written, with differences."""
    word = planned.medium.word if planned.medium else "file"
    require_usable(job.source, word)
    console = worker.console
    try:
        result = job.run(worker)
    except InputError as error:
        raise explained(error, job.source, planned.medium) from error
    for line in result.lines:
        console.note(line)
    if job.source in planned.renamed and not result.facts.get("skipped"):
        suffix = job.source.suffix
        console.note(f"{suffix} files are read, but not written: {job.source.name} became {result.destination.name}")
    console.event(
        "summary", source=job.source, destination=result.destination, differences=result.differences, **result.facts
    )
    if not result.facts.get("skipped"):
        keep(result.destination, f"the output of {job.source}")
        console.result(str(result.destination))
    if result.differences:
        raise PartialError(f"{result.destination} is written, but: {', '.join(result.differences)}")


def run_batch(jobs: Sequence[Job], planned: Plan, worker: Worker) -> None:
    """Do every job of a plan with one worker; a batch goes on after a failure and ends as :func:`finish` says.

    No output replaces what any of the jobs reads, or what an earlier one has written.
    """
    with kept(path for job in jobs for path in files_read(job)):
        if planned.batch:
            return _run_each(jobs, planned, worker)
        try:
            run_job(jobs[0], planned, worker)
        finally:
            _tell_left(planned, worker)


def _run_each(jobs: Sequence[Job], planned: Plan, worker: Worker) -> None:
    for folder in dict.fromkeys(job.destination.parent for job in jobs):
        make_folder(folder)
    codes = []
    for number, job in enumerate(jobs, 1):
        worker.console.note(f"[{number}/{len(jobs)}] {job.source}")
        try:
            run_job(job, planned, worker)
        except BrokenPipeError:
            raise
        except Exception as error:
            codes.append(worker.console.failure(error, about=job.source.name))
    _tell_left(planned, worker)
    finish(codes, len(jobs))
    worker.console.note(f"{len(jobs)} files done")


def _tell_left(planned: Plan, worker: Worker) -> None:
    for line in planned.left:
        worker.console.note(line)


def finish(codes: list[int], total: int) -> None:
    """End a batch with the codes of the items that did not go well.

    Raises PartialError where there are any, with their code where all failed for one reason.
    """
    if not codes:
        return
    failed = sum(code != PartialError.code for code in codes)
    counts = {"failed": failed, "with differences": len(codes) - failed}
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    ended = PartialError(f"of {total} files {summary}", "the lines above say why")
    if failed == total and len(set(codes)) == 1:
        ended.code = codes[0]
    raise ended
