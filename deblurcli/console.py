"""Progress, messages, results and the JSON log: the only code that writes to a terminal.

Results go to stdout, everything else to stderr. The JSON log (``--log json``) has one object per line on stderr:

    {"type": "note" | "warning" | "error" | "detail", "message": ..., "code": ... (of an error)}
    {"type": "progress", "task": ..., "done": ..., "total": ..., "elapsed": s, "eta": s | null, <facts>}
    {"type": "plan", "source": ..., "frames": ..., "adapting": s, "restoring": s, "fast": s | null, <facts>}
    {"type": "summary", "source": ..., "destination": ..., "differences": [...], <facts>}     a file is done
    {"type": "exit", "code": ..., "message": ...}             always the last line

Every line about a file has its path as ``source``.

File names may hold line ends, terminal escapes and characters that turn the direction of writing. None of them reaches
a message, progress or a terminal. A result that goes into a file or a pipe is exact, so that a script can use the path.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from deblurcli.errors import DeblurError, OutputError, described
from deblurcli.progress import Course, Progress
from deblurcli.texts import json_line, one_line, printable

LOGS = ("text", "json")

BAR_SECONDS = 0.1
JSON_SECONDS = 1.0
PLAIN_SECONDS = 5.0
TICK_SECONDS = 3.0
"""How long a run's progress may stand still in the JSON log."""
TICK_LOOK_SECONDS = 0.5


def results_stream() -> TextIO:
    """Where results go."""
    return sys.stdout


def abandon_stdout() -> None:
    """Let what is still buffered for stdout go nowhere: Python writes it at its end, which must not fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass
class Ticking:
    """A progress that goes on by the clock: what is shown is true when it is shown."""

    progress: Progress
    at: float
    """The clock when it was true."""

    def __format__(self, _: str) -> str:
        return one_line(self.progress.later(time.monotonic() - self.at).text)


class Silent:
    """Says nothing: the default of the library, and what the other sinks of a :class:`Reporter` start from."""

    every = math.inf
    """Seconds between two looks at the progress of a task."""
    patient = False
    """Whether a task is mentioned only when it has taken that long."""
    ticks = math.inf
    """Seconds without news after which a run's progress is told again."""
    named = False
    """Whether every line has the file that it is about beside it."""
    source: Path | None = None
    """The file that is worked on."""

    def result(self, line: str) -> None: ...

    def message(self, kind: str, text: str, **facts: Any) -> None: ...

    def progress(self, now: Progress) -> None: ...

    def event(self, kind: str, facts: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class PlainLines(Silent):
    """Lines of text, as a log file holds them."""

    every = ticks = PLAIN_SECONDS
    patient = True

    def result(self, line: str) -> None:
        self.close()
        stdout = sys.stdout
        try:
            print(printable(line) if stdout is not None and stdout.isatty() else line, flush=True)
        except UnicodeEncodeError:
            # A file name that is not text in this locale goes out as the bytes it has on disk.
            stdout.buffer.write(os.fsencode(line) + b"\n")
            stdout.buffer.flush()

    def message(self, kind: str, text: str, **facts: Any) -> None:
        if kind == "detail":
            self.write("\n".join(printable(line).rstrip() for line in text.rstrip().split("\n")))
        else:
            opening = {"note": "", "warning": "deblur: warning: ", "error": "deblur: "}[kind]
            self.write(opening + one_line(text))

    def progress(self, now: Progress) -> None:
        self.write(one_line(f"{now.title}: {now.text}"))

    def write(self, line: str) -> None:
        """A line of stderr. Losing the terminal must not lose hours of work."""
        if sys.stderr is None:  # print() would take stdout for None
            return
        with contextlib.suppress(OSError, ValueError):
            self.close()
            print(line, file=sys.stderr, flush=True)


class TerminalBar(PlainLines):
    """Lines of text, and progress as a bar that is redrawn."""

    every = BAR_SECONDS
    ticks = math.inf  # the bar has a thread of its own
    patient = False
    _bar: Any = None

    def progress(self, now: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            # Not redirecting stdout: rich would send results to stderr.
            words = [TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[text]}")]
            console = Console(file=sys.stderr)
            self._bar = Bar(
                *(words[0], BarColumn(), words[1]),
                console=console, refresh_per_second=5, transient=True, redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._bar.add_task("", text="")
            self._bar.start()
        share = None if now.run is None else now.run.share
        done, total = (now.done, now.total) if share is None else (share, 1.0)
        title, text = one_line(now.title), Ticking(now, time.monotonic())
        self._bar.update(self._bar.task_ids[0], description=title, completed=done, total=total, text=text)

    def write(self, line: str) -> None:
        """A line above the bar, which stays: nothing else may come for long."""
        if self._bar is None:
            super().write(line)
        else:
            with contextlib.suppress(OSError, ValueError):
                self._bar.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()


class JsonLines(PlainLines):
    """One JSON object per line."""

    every = JSON_SECONDS
    ticks = TICK_SECONDS
    patient = False
    named = True

    def message(self, kind: str, text: str, **facts: Any) -> None:
        self.event(kind, {"message": text} | facts)

    def progress(self, now: Progress) -> None:
        self.event("progress", now.record)

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        about = {} if self.source is None else {"source": self.source}
        self.write(json_line({"type": kind} | about | facts))


def sink_for(log: str) -> Silent:
    """The sink of ``--log text`` or ``json``.

    A bar is drawn only where it can be redrawn. FORCE_COLOR asks for colours in a log file, not for bars.
    """
    if log == "json":
        return JsonLines()
    stderr = sys.stderr
    terminal = stderr is not None and not stderr.closed and stderr.isatty()
    redrawn = terminal and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return TerminalBar() if redrawn else PlainLines()


class Reporter:
    """Says what happens, by default in lines of text with a bar on a terminal.

    ``quiet``: only errors, results and the exit line of the JSON log. ``verbose``: :meth:`detail`, too.
    """

    def __init__(self, sink: Silent | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
        self.sink = sink or sink_for("text")
        self.quiet, self.verbose = quiet, verbose
        # Decoder and encoder threads may warn while the main thread reports progress.
        self._lock = threading.RLock()
        self._task = ""
        self._first = self._done = self._started = self._next = 0.0
        self._shown = False
        self._course: Course | None = None
        self._latest: tuple[Progress, float] | None = None
        """The latest progress of a run, and the clock then."""

    @classmethod
    def silent(cls) -> Reporter:
        """Writes nothing at all: the default of the library."""
        return cls(Silent(), quiet=True)

    def result(self, line: str) -> None:
        """A line on stdout: what the command was run for. Raises OutputError (the disk is full) and BrokenPipeError."""
        with self._lock:
            try:
                self.sink.result(line)
            except BrokenPipeError:
                raise
            except OSError as error:
                abandon_stdout()
                raise OutputError(f"stdout cannot be written: {error.strerror}", "give it another place") from error

    def note(self, message: str) -> None:
        """What happened, for the curious."""
        self._say("note", message)

    def warn(self, message: str) -> None:
        """What the user should know although the work goes on."""
        self._say("warning", message)

    def error(self, message: str) -> None:
        """What went wrong: what was found; what to do."""
        self._say("error", message)

    def failure(self, error: Exception, about: str = "") -> int:
        """Say in one line what an exception means; returns its exit code. ``about``: the file, if the line lacks it."""
        known = described(error)
        with self.about(known.source or self.sink.source):
            self._say("error", str(known) if about in str(known) else f"{about}: {known}", code=known.code)
        if known.code == DeblurError.code:
            self.detail("".join(traceback.format_exception(error)))
        return known.code

    @contextlib.contextmanager
    def about(self, source: Path | None) -> Iterator[None]:
        """While it lasts, what is said is about this file; the JSON log names it."""
        before, self.sink.source = self.sink.source, source
        try:
            yield
        finally:
            self.sink.source = before

    def detail(self, text: str) -> None:
        """Several lines for whoever asked with ``--verbose``: a traceback, a plan."""
        if self.verbose:
            self._say("detail", text)

    def event(self, kind: str, /, **facts: Any) -> None:
        """A line of the JSON log only."""
        if not self.quiet or kind == "exit":
            with self._lock:
                self.sink.event(kind, facts)

    def progress(self, task: str, done: float, total: float | None, **facts: Any) -> None:
        """How far a task is. Cheap enough for every frame and iteration: most calls only look at the clock.

        ``done`` and ``total`` have one unit; None: unknown. Another name, or ``done`` going back, starts a new task.
        ``facts`` are shown beside, such as fps, iteration, loss.
        """
        if self.quiet:
            return
        now = time.monotonic()
        new = task != self._task or done < self._done
        # The end is shown once, and by a patient sink only when the task was long enough to be mentioned before.
        ends = total is not None and self._done < total <= done and (self._shown or not self.sink.patient)
        self._done = done
        if not new and not ends and now < self._next and self._course is None:
            return
        with self._lock:
            if new:
                if not self._task and self.sink.patient:
                    self._next = now + self.sink.every
                self._task, self._first, self._started, self._shown = task, done, now, False
                if self._course is not None:
                    self._course.enter(task, now)
            elapsed = now - self._started
            gained = done - self._first
            eta = elapsed * max(total - done, 0) / gained if total is not None and gained > 0 else None
            run = None
            if self._course is not None:
                share = done / total if total and task == self._course.current else None
                run = self._course.progress(now, share, None if share is None else eta)
            found = Progress(task, done, total, elapsed, eta, facts, run)
            self._latest = (found, now)
            if ends or now >= self._next or (new and not self.sink.patient):
                self._next, self._shown = now + self.sink.every, True
                self.sink.progress(found)

    def part(self, share: float) -> None:
        """How much (0 to 1) of the next of a run's units is done: a frame in many tiles may take minutes."""
        with self._lock:
            if self._course is None or self._latest is None:
                return
            found, _ = self._latest
            done = math.floor(found.done) + share
            if done >= self._done:
                self.progress(found.task, done, found.total, **found.facts)

    @contextlib.contextmanager
    def run(self, work: Mapping[str, float | None]) -> Iterator[None]:
        """While it lasts, tasks are stages of one run: its progress has the run's, and goes on by the clock.

        Args:
            work: stage -> its expected work, in any unit; None where that does not tell how long it takes. Other tasks,
                and those of a stage that is over, belong to the stage that is under way.
        """
        self._course = None if self.quiet else Course(work, time.monotonic())
        over = threading.Event()
        if self._course is not None and self.sink.ticks < math.inf:
            threading.Thread(target=self._tick, args=(over,), name="deblur-progress", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with self._lock:
                self._course = self._latest = None
                self._task = ""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """How long the stages of the run will take, now that the machine's speed is known."""
        with self._lock:
            if self._course is not None:
                self._course.work, self._course.measured = seconds, True

    def _tick(self, over: threading.Event) -> None:
        """Tell the progress again where nothing new has come for long: a call of the networks may take a minute."""
        while not over.wait(TICK_LOOK_SECONDS):
            with self._lock:
                now = time.monotonic()
                if self._latest is not None and now >= self._next - self.sink.every + self.sink.ticks:
                    self._next = now + self.sink.every
                    found, at = self._latest
                    self.sink.progress(found.later(now - at))

    def close(self) -> None:
        """Take the bar off the terminal; the next progress draws it again."""
        with self._lock:
            self.sink.close()

    def _say(self, kind: str, text: str, **facts: Any) -> None:
        if not self.quiet or kind == "error":
            with self._lock:
                self.sink.message(kind, text, **facts)
