"""What engines with several workers share: tasks are given out, once more where a worker died over one, and what a
worker says is told of its file."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deblurcli.console import Progress, Reporter
from deblurcli.errors import DeblurError
from deblurcli.jobs.engine import Ended, Task
from deblurcli.media.sequences import name_of

MAX_TRIES = 2


class Handout:
    """The tasks of a batch on their way to workers.

    A task over which a worker has died is given out once more, after all others, when memory may be free again; the
    second time it has failed.

    Attributes:
        written: every output so far, which no other task may replace.
        done: how many tasks have ended.
    """

    def __init__(self, tasks: Iterable[Task], console: Reporter) -> None:
        self.console = console
        self.written: list[Path] = []
        self.done = 0
        self._given, self._again = iter(tasks), deque[Task]()
        self._tries: Counter[int] = Counter()

    def next(self) -> Task | None:
        """The next task; None where there is none now."""
        task = next(self._given, None) or (self._again.popleft() if self._again else None)
        if task is not None:
            self._tries[task.number] += 1
        return task

    def ended(self, ended: Ended) -> Ended:
        """Count a task that has ended, and how often it was tried."""
        self.done += 1
        if ended.result is not None:
            self.written.append(ended.result.destination)
        return replace(ended, tries=self._tries[ended.task.number])

    def lost(self, task: Task, how: str, error: DeblurError, since: float) -> Ended | None:
        """What becomes of a task whose worker has died: it is given out again, or has failed.

        Args:
            how: the worker died.
            error: what to say where that was the task's fault.
            since: when it was given to the worker, on the monotonic clock.
        """
        if self._tries[task.number] < MAX_TRIES:
            with self.console.about(task.job.source):
                self.console.warn(f"{how} while it restored {task.job.source}; the file is tried once more")
            self._again.append(task)
            return None
        return self.ended(Ended(task, None, error, time.monotonic() - since))

    def progress(self, busy: Mapping[Any, Charge]) -> None:
        """Say how far all of it is, and what each worker does."""
        total = next((each.task.total for each in busy.values() if each.task is not None), None)
        self.console.progress("restoring", self.done, total, now=", ".join(each.doing for each in busy.values()))


class Charge:
    """What a worker is charged with, as the process sees it that gives tasks out.

    Attributes:
        place: number of the worker.
        task: None where it waits for one.
        since: when it got its task, on the monotonic clock.
    """

    def __init__(self, place: int, console: Reporter) -> None:
        self.place, self.console = place, console
        self.task: Task | None = None
        self.since = 0.0
        self._now: Progress | None = None

    def begin(self, task: Task) -> None:
        """It has got a task."""
        self.task, self.since, self._now = task, time.monotonic(), None

    def tell(self, kind: str, what: Any) -> None:
        """Say what it has said, as of its file."""
        if kind == "progress":
            self._now = what
        if self.task is not None:
            with self.console.about(self.task.job.source):
                self._say(kind, what)

    def _say(self, kind: str, what: Any) -> None:
        named, console = self.console.sink.named, self.console
        if kind == "progress":
            if named:
                console.event("progress", **what.record)
        elif named or console.verbose or kind in ("warning", "error"):
            name = name_of(self.task.job.source) if self.task is not None and not named else ""
            text = what if name in what else f"{name}: {what}"
            {"note": console.note, "warning": console.warn, "error": console.error, "detail": console.detail}[kind](
                text
            )

    @property
    def doing(self) -> str:
        """The file that it works on, and how far it is."""
        if self.task is None:
            return ""
        name, now = name_of(self.task.job.source), self._now
        return name if now is None else f"{name} {now.task.removesuffix(name).strip()} {now.share.strip()}"
