"""What runs the jobs of a batch, one of several engines: here this process; :mod:`deblurcli.jobs.pool` has processes.

An engine takes tasks one by one, whenever it can begin another, and gives back how each has ended, in any order. It
knows nothing of reports and exit codes, and a batch nothing of how tasks travel.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deblurcli.console import Reporter
from deblurcli.errors import InputError, PartialError, described
from deblurcli.jobs.plan import explained, require_usable
from deblurcli.media.inputs import STDIN, Medium

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


@dataclass(frozen=True)
class Task:
    """A job with its place in a batch; it can be pickled."""

    job: Job
    medium: Medium | None = None
    """What is restored, if it is one."""
    number: int = 1
    total: int = 1

    @property
    def heading(self) -> str:
        """The file and its number, for people."""
        return f"[{self.number}/{self.total}] {self.job.source}"


@dataclass(frozen=True)
class Ended:
    """How a task has ended: with a result or an error."""

    task: Task
    result: Result | None
    error: Exception | None
    seconds: float
    """The time of the whole job, loading the networks included."""
    tries: int = 1

    @property
    def failure(self) -> Exception | None:
        """What has prevented it, or a PartialError that tells how the written file differs; None where all is well."""
        if self.result is None or not self.result.differences:
            return self.error
        return PartialError(f"{self.result.destination} is written, but: {', '.join(self.result.differences)}")

    @property
    def code(self) -> int:
        """The exit code that it would have alone."""
        return 0 if self.failure is None else described(self.failure).code


class Engine(Protocol):
    """What runs tasks. It is used up when all have ended."""

    parallel: bool
    """Whether several files are worked on at the same time, so that what is said about them must be kept apart."""

    def run(self, tasks: Iterable[Task], console: Reporter, reads: Sequence[Path]) -> Generator[Ended, None, None]:
        """Run tasks until there are no more of them. Closing the generator ends what is under way, without leavings.

        Args:
            console: where it is said what happens meanwhile.
            reads: every file that the batch reads, which no task may write.

        Raises:
            DeblurError: no task can be run at all.
        """


class Here:
    """This process, one task after the other; the caller keeps what the batch reads from being written."""

    parallel = False

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Iterable[Task], console: Reporter, reads: Sequence[Path]) -> Generator[Ended, None, None]:
        """Run them; see :class:`Engine`."""
        for task in tasks:
            with console.about(task.job.source):
                ended = attempt(task, self.worker)
            yield ended


def attempt(task: Task, worker: Worker) -> Ended:
    """Do a task, whatever comes of it. Raises BrokenPipeError: nobody reads the results any more."""
    started = time.monotonic()
    try:
        result = _run(task, worker)
    except BrokenPipeError:
        raise
    except Exception as error:
        return Ended(task, None, error, time.monotonic() - started)
    return Ended(task, result, None, time.monotonic() - started)


def sendable(ended: Ended) -> Ended:
    """The same with an error that other processes know; the traceback of an unexpected one goes with it as a note."""
    if ended.error is None:
        return ended
    known: Any = described(ended.error)
    if known is not ended.error:
        known.add_note("".join(traceback.format_exception(ended.error)))
    return replace(ended, error=known)


def _run(task: Task, worker: Worker) -> Result:
    job = task.job
    if job.source != STDIN:
        require_usable(job.source, task.medium.word if task.medium else "file")
    try:
        return job.run(worker)
    except InputError as error:
        raise explained(error, job.source, task.medium) from error
