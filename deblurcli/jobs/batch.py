"""Jobs one after the other: what is said of each, and how a batch ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deblurcli.errors import PartialError
from deblurcli.jobs.plan import make_folder, require_found

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


def run_job(job: Job, worker: Worker) -> None:
    """Do one job and say what came of it. Raises PartialError: the file is written, with differences."""
    require_found(job.source)
    console = worker.console
    result = job.run(worker)
    for line in result.lines:
        console.note(line)
    console.event(
        "summary", source=job.source, destination=result.destination, differences=result.differences, **result.facts
    )
    if not result.facts.get("skipped"):
        console.result(str(result.destination))
    if result.differences:
        raise PartialError(f"{result.destination} is written, but: {', '.join(result.differences)}")


def run_batch(jobs: Sequence[Job], batch: bool, worker: Worker) -> None:
    """Do every job with one worker; a batch goes on after a failure and ends as :func:`finish` says."""
    if not batch:
        return run_job(jobs[0], worker)
    for folder in dict.fromkeys(job.destination.parent for job in jobs):
        make_folder(folder)
    codes = []
    for number, job in enumerate(jobs, 1):
        worker.console.note(f"[{number}/{len(jobs)}] {job.source}")
        try:
            run_job(job, worker)
        except BrokenPipeError:
            raise
        except Exception as error:
            codes.append(worker.console.failure(error, about=job.source.name))
    finish(codes, len(jobs))
    worker.console.note(f"{len(jobs)} files done")


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
