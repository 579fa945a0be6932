"""Progress, messages, results and the JSON log: the only code that writes to a terminal.

Results go to stdout, everything else to stderr. The JSON log (``--log json``) has one object per line on stderr:

    {"type": "note" | "warning" | "error" | "detail", "message": ...}
    {"type": "progress", "task": ..., "done": ..., "total": ..., "elapsed": s, "eta": s | null, <facts>}
    {"type": "summary", "source": ..., "destination": ..., "differences": [...], <facts>}     a file is done
    {"type": "exit", "code": ..., "message": ...}             always the last line
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import threading
import time
from typing import Any, Literal

LOGS = ("text", "json")

BAR_SECONDS = 0.1
JSON_SECONDS = 1.0
PLAIN_SECONDS = 10.0

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def _one_line(message: str) -> str:
    """A file name may hold line ends and terminal escapes; a message is one line without them."""
    return _CONTROL.sub(" ", message).strip()


def _json(value: Any) -> Any:
    """What JSON cannot hold: NaN and infinity become null; numpy scalars, paths and fractions numbers or text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    with contextlib.suppress(TypeError, ValueError):
        return float(value) if math.isfinite(float(value)) else None
    return str(value)


def _fact(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bars_wanted() -> bool:
    """Bars only where they can be redrawn. FORCE_COLOR asks for colours in a log file, not for bars."""
    stderr = sys.stderr
    if stderr is None or stderr.closed or not stderr.isatty():
        return False
    return os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


class Reporter:
    """Says what happens: a bar on a terminal, plain lines in a log file, JSON for machines, or nothing.

    Args:
        log: text or json.
        quiet: only errors (and the exit line of the JSON log); results are still printed.
        verbose: also :meth:`detail`.
    """

    def __init__(self, log: Literal["text", "json"] = "text", *, quiet: bool = False, verbose: bool = False) -> None:
        self.log, self.quiet, self.verbose = log, quiet, verbose
        self._silent = False
        self._bars = log == "text" and not quiet and _bars_wanted()
        self._every = JSON_SECONDS if log == "json" else BAR_SECONDS if self._bars else PLAIN_SECONDS
        # Decoder and encoder threads may warn while the main thread reports progress.
        self._lock = threading.RLock()
        self._bar: Any = None
        self._task = ""
        self._first = self._done = self._started = self._next = 0.0
        self._shown = False

    @classmethod
    def silent(cls) -> Reporter:
        """Writes nothing at all: the default of the library."""
        reporter = cls(quiet=True)
        reporter._silent = True
        return reporter

    def result(self, line: str) -> None:
        """A line on stdout: what the command was run for.

        Raises:
            BrokenPipeError: nobody reads stdout any more.
        """
        if self._silent:
            return
        with self._lock:
            self.close()
            try:
                print(line, flush=True)
            except UnicodeEncodeError:
                # A file name that is not text in this locale goes out as the bytes it has on disk.
                sys.stdout.buffer.write(os.fsencode(line) + b"\n")
                sys.stdout.buffer.flush()

    def note(self, message: str) -> None:
        """What happened, for the curious."""
        if not self.quiet:
            self._message("note", message, _one_line(message))

    def warn(self, message: str) -> None:
        """What the user should know although the work goes on."""
        if not self.quiet:
            self._message("warning", message, f"deblur: warning: {_one_line(message)}")

    def error(self, message: str) -> None:
        """What went wrong: what was found; what to do."""
        self._message("error", message, f"deblur: {_one_line(message)}")

    def detail(self, text: str) -> None:
        """Several lines for whoever asked with ``--verbose``: a traceback, a plan."""
        if self.verbose:
            self._message("detail", text, text.rstrip())

    def event(self, kind: str, /, **facts: Any) -> None:
        """A line of the JSON log only."""
        if self.log == "json" and (not self.quiet or kind in ("error", "exit")):
            self._write(json.dumps({"type": kind, **{k: _json(v) for k, v in facts.items()}}))

    def progress(self, task: str, done: float, total: float | None, **facts: Any) -> None:
        """How far a task is. Cheap enough for every frame and iteration: most calls only look at the clock.

        Args:
            task: what is being done; another name, or ``done`` going back, starts a new task.
            done: so far, in any unit.
            total: in the same unit; None where unknown.
            facts: shown beside, such as fps, iteration, loss.
        """
        if self.quiet:
            return
        now = time.monotonic()
        new = task != self._task or done < self._done
        # The end is shown once, and in plain lines only when the task was long enough to be mentioned before.
        ends = total is not None and self._done < total <= done and (self._shown or self._every < PLAIN_SECONDS)
        self._done = done
        if not new and not ends and now < self._next:
            return
        with self._lock:
            if new:
                self._task, self._first, self._started, self._shown = task, done, now, False
                self._next = now if self._every < PLAIN_SECONDS else now + self._every
                if now < self._next:
                    return
            self._next, self._shown = now + self._every, True
            elapsed = now - self._started
            gained = done - self._first
            eta = elapsed * max(total - done, 0) / gained if total is not None and gained > 0 else None
            if self.log == "json":
                self.event("progress", task=task, done=done, total=total, elapsed=elapsed, eta=eta, **facts)
                return
            share = f"{min(100 * done / total, 100):3.0f} %" if total else f"{done:g} of ?"
            times = f"{_clock(elapsed)} elapsed, {_clock(eta)} left"
            text = " · ".join([share, times, *(_fact(k, v) for k, v in facts.items())])
            if self._bars:
                self._draw(task, done, total, text)
            else:
                self._write(f"{task}: {text.strip()}")

    def close(self) -> None:
        """Take the bar off the terminal; the next progress draws it again."""
        with self._lock:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    def _draw(self, task: str, done: float, total: float | None, text: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            # Not redirecting stdout: rich would send results to stderr.
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                console=Console(file=sys.stderr),
                refresh_per_second=5,
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )
            self._bar.add_task("", text="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], description=task, completed=done, total=total, text=text)

    def _message(self, kind: str, message: str, line: str) -> None:
        if self.log == "json":
            self.event(kind, message=message)
        else:
            self._write(line)

    def _write(self, line: str) -> None:
        if self._silent or sys.stderr is None:  # print() would take stdout for None
            return
        # Losing the terminal must not lose hours of work.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.close()
            print(line, file=sys.stderr, flush=True)
