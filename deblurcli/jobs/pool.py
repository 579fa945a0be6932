"""Several processes that run the jobs of a batch, each with a worker of its own.

A process is started anew (the method ``spawn``) and shares nothing with this one but a pipe: tasks go to it, messages
and results come back. One that dies is replaced. Its task is given out once more, after all others, when memory may be
free again; the second time it has failed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from deblurcli.console import TICK_SECONDS, Reporter, Silent
from deblurcli.errors import DeblurError, DeviceError, described
from deblurcli.files import discard_parts, keep, kept
from deblurcli.jobs.engine import Ended, Task, attempt, sendable
from deblurcli.jobs.handout import Charge, Handout
from deblurcli.options.compute import ComputeOptions
from deblurcli.progress import Progress

GRACE_SECONDS = 10.0
"""How long processes have to clean up when they are told to end."""
PROGRESS_SECONDS = 1.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "VIPS_CONCURRENCY")
"""Where libraries read how many threads they may use."""
_SIGNALS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)}

Maker = Callable[[Reporter], Any]
"""Makes the worker of a process, in that process; it can be pickled. Raises DeblurError: there can be none."""


def new_worker(compute: ComputeOptions, sharers: int, console: Reporter) -> Any:
    """The worker of a process; the other arguments than ``console`` make it a :data:`Maker`."""
    from deblurcli.restore.worker import Worker

    return Worker(compute, console, sharers)


class Pool:
    """Processes that run tasks.

    Args:
        makers: one for each process.
        threads: of each process.
    """

    parallel = True

    def __init__(self, makers: Sequence[Maker], threads: int) -> None:
        self.makers, self.threads = makers, threads

    def run(self, tasks: Iterable[Task], console: Reporter, reads: Sequence[Path]) -> Generator[Ended, None, None]:
        """Run them; see :class:`deblurcli.jobs.engine.Engine`."""
        handout = Handout(tasks, console)
        members: dict[int, _Member] = {}
        try:
            while True:
                for place, make in enumerate(self.makers, 1):
                    if place in members and members[place].task is not None:
                        continue
                    task = handout.next()
                    if task is not None:
                        if place not in members:
                            members[place] = _Member(place, make, self.threads, console, reads)
                        members[place].give(task, handout.written)
                busy = {member.connection: member for member in members.values() if member.task is not None}
                if not busy:
                    break
                handout.progress(busy)
                for connection in wait(list(busy), timeout=PROGRESS_SECONDS):
                    member = busy[connection]  # type: ignore[index]
                    try:
                        ended = member.hear()
                    except (EOFError, OSError):
                        del members[member.place]
                        again = handout.lost(*member.bury())
                        if again is not None:
                            yield again
                        continue
                    if ended is not None:
                        yield handout.ended(ended)
            for member in members.values():
                member.dismiss()
        finally:
            _end(list(members.values()))


class _Member(Charge):
    """A process of a pool, as the process that has started it sees it."""

    def __init__(self, place: int, make: Maker, threads: int, console: Reporter, reads: Sequence[Path]) -> None:
        super().__init__(place, console)
        self._told = 0
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        arguments = (other, make, threads, console.quiet, console.verbose)
        self.process = context.Process(target=_serve, args=arguments, name=f"deblur-{place}", daemon=True)
        with _signals_held():
            self.process.start()
        other.close()
        self._send(tuple(reads))

    def give(self, task: Task, written: list[Path]) -> None:
        """Let it do a task. ``written``: every output so far, of which it is told what it does not know yet."""
        self.begin(task)
        self._send((task, written[self._told :]))
        self._told = len(written)

    def hear(self) -> Ended | None:
        """Take one message; what it says is said, and how its task has ended is returned.

        Raises:
            EOFError, OSError: it has died.
            DeblurError: it cannot do any task.
        """
        kind, *rest = self.connection.recv()
        if kind == "unfit":
            raise rest[0]
        if kind == "ended":
            self.task = None
            ended: Ended = rest[0]
            return ended
        self.tell(kind, *rest)
        return None

    def bury(self) -> tuple[Task, str, DeblurError, float]:
        """Clean up after its death: what :meth:`deblurcli.jobs.handout.Handout.lost` asks for."""
        assert self.task is not None
        self.process.join(GRACE_SECONDS)
        self.process.kill()
        self.process.join()
        self.connection.close()
        discard_parts(self.task.job.destination)
        code, source = self.process.exitcode or 0, self.task.job.source
        names = {int(each): each.name for each in signal.Signals}
        how = f"was killed ({names.get(-code, f'signal {-code}')})" if code < 0 else f"ended with code {code}"
        how = f"worker {self.place} {how}"
        found = f"{source}: {how}, the second time"
        if code == -getattr(signal, "SIGKILL", 9):
            error: DeblurError = DeviceError(found, "memory may be short: fewer --workers, or a smaller --tile")
        else:
            error = DeblurError(found, "the file brings the program down; leave it out, and report it")
        return self.task, how, error, self.since

    def dismiss(self) -> None:
        """Tell it that there is nothing more to do."""
        self._send(None)
        self.process.join(GRACE_SECONDS)

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, and is found dead by the next who listens
            self.connection.send(message)


def _end(members: list[_Member]) -> None:
    """End all processes, first by asking."""
    for member in members:
        if member.process.is_alive():
            member.process.terminate()
    until = time.monotonic() + GRACE_SECONDS
    for member in members:
        member.process.join(max(until - time.monotonic(), 0))
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        if member.process.exitcode and member.task is not None:
            discard_parts(member.task.job.destination)
        member.connection.close()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait meanwhile, and in a process that is started meanwhile until it takes them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would let signals through when it is started on the way
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, make: Maker, threads: int, quiet: bool, verbose: bool) -> None:
    """What a process of a pool does: one task after the other, until it is told to end or nobody is there."""
    _mind_signals()
    threading.Thread(target=_mind_parent, daemon=True).start()
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))  # before the libraries are loaded
    relay = Relay(connection)
    try:
        reads = connection.recv()
        worker = make(Reporter(relay, quiet=quiet, verbose=verbose))
        with kept(reads):
            while message := connection.recv():
                task, written = message
                for path in written:
                    keep(path, "the output of another input")
                relay.send("ended", sendable(attempt(task, worker)))
    except EOFError:
        return
    except Exception as error:
        relay.send("unfit", described(error))


def _mind_signals() -> None:
    """Ctrl-C is the matter of the process that has started this one; the other signals end it, cleaning up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else _exit)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _mind_parent() -> None:
    """End this process, cleaning up, when the one that has started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)


def _exit(number: int, *_: Any) -> NoReturn:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


class Relay(Silent):
    """Sends what is said to the process that has started this one."""

    every = PROGRESS_SECONDS
    ticks = TICK_SECONDS

    def __init__(self, connection: Any) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def message(self, kind: str, text: str, **facts: Any) -> None:
        self.send(kind, text)

    def progress(self, now: Progress) -> None:
        self.send("progress", now)

    def send(self, *message: Any) -> None:
        """Send a message, as long as somebody listens."""
        with contextlib.suppress(OSError), self._lock:
            self._connection.send(message)
