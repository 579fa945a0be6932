"""The jobs of a command: what is said of each, what is written down, and how a batch of them ends."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurcli.console import Reporter
from deblurcli.errors import DeblurError, OutputError, PartialError, UnfinishedError, UsageError, described, may_pass
from deblurcli.files import LineFile, keep, kept, reason
from deblurcli.jobs.engine import Ended, Engine, Job, Task
from deblurcli.jobs.lists import listed, write_list
from deblurcli.jobs.plan import Plan, make_folder
from deblurcli.media.inputs import IMAGES, STDOUT, VIDEOS
from deblurcli.media.remote import Address
from deblurcli.media.sequences import name_of, place_of
from deblurcli.options.batch import BatchOptions
from deblurcli.options.option import Options, weights_files
from deblurcli.texts import json_line

if TYPE_CHECKING:
    from deblurcli.jobs.result import Result

MAX_REPEATED = 20
"""Failed files that are named again at the end."""
MAX_LINE_BYTES = 1 << 20


def files_read(job: Any) -> Iterator[Path]:
    """The files that a job reads: its source, the videos that it adapts to together with it, and the weights that its
    options name, with what lies in their folder."""
    job = getattr(job, "job", job)
    yield job.source
    yield from getattr(job, "together", ())
    options = [getattr(job, each.name) for each in fields(job)]
    for path in (path for each in options if isinstance(each, Options) for path in weights_files(each)):
        yield path
        with contextlib.suppress(OSError):  # loading says what is wrong
            yield from path.iterdir()


def run_batch(
    jobs: Sequence[Job], planned: Plan, engine: Engine, console: Reporter, options: BatchOptions | None = None
) -> None:
    """Do every job of a plan with an engine; a batch goes on after a failure and ends as :func:`finish` says.

    No output replaces what any of the jobs reads, or what an earlier one has written.

    Args:
        options: whether to go on, and what to write down: a report, and the list of the inputs that are not done.

    Raises:
        UsageError, OutputError: the report or the list cannot be written, or a folder for outputs cannot be made.
        DeblurError: the code that the command ends with.
    """
    chosen = options or BatchOptions()
    reads = list(dict.fromkeys(path for job in jobs for path in files_read(job)))
    tasks = [Task(job, planned.medium, number, len(jobs)) for number, job in enumerate(jobs, 1)]
    with kept(reads), contextlib.closing(Account(tasks, planned, console, chosen)) as account:
        if planned.batch and not planned.dry:
            local = (job.destination for job in jobs if not isinstance(job.destination, Address))
            for folder in dict.fromkeys(place_of(destination).parent for destination in local):
                make_folder(folder)
        given = _given(tasks, account, announced=planned.batch and not engine.parallel)
        with contextlib.closing(engine.run(given, console, reads)) as run:
            for ended in run:
                with console.about(ended.task.job.source):
                    account.add(ended, parallel=engine.parallel)
        account.finish()


def _given(tasks: Sequence[Task], account: Account, announced: bool) -> Iterator[Task]:
    """The tasks for an engine, until a failure that ends the batch; those under way go on to their ends."""
    for task in tasks:
        if account.stopped:
            return
        if announced:
            with account.console.about(task.job.source):
                account.console.note(task.heading)
        yield task


class Account:
    """What came of the jobs: said as it happens, added to the report, listed at the end.

    The list of what is not done is true at all times: it names every input until the end, then those that are left.
    """

    def __init__(self, tasks: Sequence[Task], planned: Plan, console: Reporter, options: BatchOptions) -> None:
        self.console = console
        self.stopped = False
        self._tasks, self._planned, self._list = tasks, planned, options.failed
        self._keep_going = options.keep_going
        self._ended: dict[int, Ended] = {}
        self._codes: list[int] = []
        self._listed = False
        if self._list is not None:
            require_list(self._list)
            if options.report is not None and options.report.absolute() == self._list.absolute():
                raise UsageError(f"{self._list} would be both report and list", "give two names")
        self._where, self._report = options.report, None if options.report is None else open_report(options.report)
        if options.report is not None:
            keep(options.report, "the report")
        self._write_list()

    def add(self, ended: Ended, *, parallel: bool) -> None:
        """Take how a task has ended. ``parallel``: others are under way, so that what is said of it is one line."""
        self._ended[ended.task.number] = ended
        if ended.result is not None:
            try:
                self._say_written(ended.result, ended.task, parallel)
            except OutputError as error:  # nothing more goes to stdout, but the work does
                if not self._planned.batch:
                    raise
                self._codes.append(self.console.failure(error))
        if ended.failure is not None:
            self._codes.append(ended.code)
            self.stopped |= ended.result is None and not self._keep_going
            if self._planned.batch:
                self.console.failure(ended.failure, about=name_of(ended.task.job.source))
        if self._report is not None:
            try:
                self._report.add(json_line(record(ended)))
            except OutputError as error:  # which is no reason to lose the work
                self._codes.append(self.console.failure(error))
                self._report = None

    def _say_written(self, result: Result, task: Task, parallel: bool) -> None:
        source = task.job.source
        if result.plan:
            for line in result.plan:
                self.console.result(line)
            return
        skipped = bool(result.facts.get("skipped"))
        lines = list(result.summary or result.lines)
        if result.summary:
            self.console.detail("\n".join(result.lines))
            lines = [" ".join(lines[:2])] if self._planned.batch else lines
        if source in self._planned.renamed and not skipped:
            name = f"{source.name} became {result.destination.name}"
            lines.append(f"{source.suffix} files are read, but not written: {name}")
        if parallel:
            lines = [f"[{len(self._ended)}/{task.total}] {source}: {'; '.join(lines) or 'done'}"]
        for line in lines:
            self.console.note(line)
        self.console.event(
            "summary", source=source, destination=result.destination, differences=result.differences, **result.facts
        )
        if not skipped and result.destination != STDOUT:
            keep(result.destination, f"the output of {source}")
            self.console.result(str(result.destination))

    def finish(self) -> None:
        """Say what is left, and how it ends. Raises DeblurError: not all is well."""
        self._write_list()
        self._listed = True
        for line in self._planned.left:
            self.console.note(line)
        if self._report is not None:
            self.console.note(f"every number is in {self._where}")
        if self._planned.batch:
            self._finish_batch()
        for ended in self._ended.values():
            if ended.failure is not None and not self._planned.batch:
                raise about(ended.failure, ended.task.job.source)

    def _finish_batch(self) -> None:
        failed = [ended for ended in self._ended.values() if ended.result is None]
        for ended in failed[:MAX_REPEATED]:
            self.console.note(f"failed: {ended.task.job.source}")
        if len(failed) > MAX_REPEATED:
            self.console.note(f"failed: {len(failed) - MAX_REPEATED} more")
        if self._list is not None and failed:
            self.console.note(f"what is not done: --files-from {self._list}")
        total = len(self._tasks)
        if self.stopped:
            rest = total - len(self._ended)
            stopped = PartialError(f"stopped after a failure, {rest} of {total} files not begun", "see the lines above")
            stopped.code = failed[0].code
            raise stopped
        finish(self._codes, total)
        if self._planned.dry:
            self.console.note(f"{total} files planned")
            return
        facts = [ended.result.facts for ended in self._ended.values() if ended.result is not None]
        self.console.note("; ".join([f"{total} files done", *counted(facts)]))

    def close(self) -> None:
        """Bring report and list to the disk after an end before the end, too. Never raises."""
        if self._report is not None:
            self._report.close()
        if not self._listed:
            try:
                self._write_list()
            except DeblurError as error:
                self.console.failure(error)

    def _write_list(self) -> None:
        if self._list is not None:
            left = [task.job.source for task in self._tasks if not self._is_done(task)]
            below = self._planned.below
            write_list(self._list, (listed(source, below.get(source, Path(source.name))) for source in left))

    def _is_done(self, task: Task) -> bool:
        ended = self._ended.get(task.number)
        return ended is not None and ended.result is not None


def counted(files: Sequence[dict[str, Any]]) -> list[str]:
    """What came of several files, for people: how many are sharper, and in how many adapting was of use."""
    verdicts = Counter(facts["sharpness"]["verdict"] for facts in files if "sharpness" in facts)
    found = [", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())] if verdicts else []
    adapted = [facts["adaptations"] for facts in files if facts.get("adaptations")]
    if adapted:
        kept = sum(any(each["kept"] for each in of_file) for of_file in adapted)
        found.append(f"adapting was of use in {kept} of {len(adapted)}")
    return found


def require_list(path: Path) -> None:
    """Refuse to write the list of what is not done over a video or picture. Raises UsageError."""
    if path.suffix.lower() in VIDEOS.suffixes | IMAGES.suffixes:
        raise UsageError(f"--failed {path} is the name of a video or image", "give a name such as failed.txt")


def open_report(path: Path) -> LineFile:
    """A report to add lines to; those that it has stay. Raises UsageError (it is something else) and OutputError."""
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES).strip()
    except FileNotFoundError:
        first = b""
    except OSError as error:
        raise OutputError(f"the report {path} cannot be read: {reason(error)}", "give another name") from error
    try:
        known = not first or "source" in json.loads(first)
    except (ValueError, TypeError):
        known = False
    if not known:
        raise UsageError(f"{path} exists and is not a report", "give another name for the report")
    return LineFile(path)


def record(ended: Ended) -> dict[str, Any]:
    """The line of a report."""
    result, failure = ended.result, ended.failure
    status = "failed" if result is None else "skipped" if result.facts.get("skipped") else "done"
    record = {} if result is None else {k: v for k, v in result.facts.items() if k != "skipped"}
    record |= {} if failure is None else {"message": str(described(failure)), "retry": may_pass(ended.code)}
    first = {"source": ended.task.job.source, "destination": ended.task.job.destination, "status": status}
    first |= {"code": ended.code, "seconds": round(ended.seconds, 2), "tries": ended.tries}
    return first | {"differences": [] if result is None else result.differences} | record | first


def about(error: Exception, source: Path) -> DeblurError:
    """The error of a single job, which names its file in the JSON log."""
    known = described(error)
    known.source = source
    if known is not error:
        known.__cause__ = error
    return known


def finish(codes: Sequence[int], total: int) -> None:
    """End a batch with the codes of the items that did not go well.

    Raises, where there are any: UnfinishedError, if the same command may help; PartialError, if it does not; with the
    code of the items where all failed for one reason.
    """
    if not codes:
        return
    failed = [code for code in codes if code != PartialError.code]
    counts = {"failed": len(failed), "with differences": len(codes) - len(failed)}
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    kind = UnfinishedError if any(map(may_pass, failed)) else PartialError
    ended = kind(f"of {total} files {summary}", "the lines above say why")
    if len(failed) == total and len(set(codes)) == 1:
        ended.code = codes[0]
    raise ended
