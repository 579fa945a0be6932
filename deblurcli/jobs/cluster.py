"""The machines of a Ray cluster that run the jobs of a batch: each has an actor with a worker of its own.

Paths travel, not frames: a task goes to an actor, which reads and writes the files where its machine sees them, and
what it says and how the task has ended come back. An actor that dies is replaced; its task is given out once more, as
in :mod:`deblurcli.jobs.pool`. Where machines are, which are free and when one is lost is Ray's matter.

Ray is an extra, and loaded when a cluster is asked for.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from deblurcli.console import Reporter, results_stream
from deblurcli.errors import DeblurError, DeviceError, UsageError, described
from deblurcli.files import discard_parts, keep, kept
from deblurcli.jobs.engine import Ended, Task, attempt, sendable
from deblurcli.jobs.handout import Charge, Handout
from deblurcli.jobs.pool import GRACE_SECONDS, PROGRESS_SECONDS, THREAD_VARIABLES, Maker, Relay
from deblurcli.version import __version__

LOCAL = "local"
"""The address of a cluster that is begun on this machine and ends with the command."""
STORE_BYTES = 80 << 20
"""Memory for what travels in such a cluster, near the least that Ray takes: that is paths and messages."""
WAIT_SECONDS = 60.0
"""After how long without any worker it is said that the cluster has no room."""
MAX_BEGINNINGS = 3
"""How often an actor may die before its first task."""


class Cluster:
    """Actors on the machines of a cluster.

    Args:
        address: of the cluster's head, as Ray takes it (``host:port``, ``ray://host:port``, ``auto``), or ``local``.
        count: of the tasks.
        workers: a number of actors, or ``auto``: one for each graphics card or, without any, for each machine.
        make: from how many actors share a device to a :data:`deblurcli.jobs.pool.Maker`.
        cards: whether they compute on graphics cards where there are any.
        threads: of each actor; None: the cores are divided.
    """

    parallel = True

    def __init__(
        self, address: str, count: int, workers: str, make: Callable[[int], Maker], *, cards: bool, threads: int | None
    ) -> None:
        self.address, self.count, self.workers, self.make = address, count, workers, make
        self.cards, self.threads = cards, threads

    def run(self, tasks: Iterable[Task], console: Reporter, reads: Sequence[Path]) -> Generator[Ended, None, None]:
        """Run them; see :class:`deblurcli.jobs.engine.Engine`. Raises DeviceError: the cluster cannot be reached."""
        with connected(self.address) as ray:
            share = self.share(ray.nodes())
            make, handout = self.make(share.sharers), Handout(tasks, console)
            members: dict[int, _Member] = {}
            try:
                for place in range(1, share.actors + 1):
                    members[place] = _Member(ray, place, make, share, console, reads)
                yield from self._run(ray, handout, members, share)
            finally:
                for member in members.values():
                    member.end()

    def share(self, nodes: Sequence[dict[str, Any]]) -> Share:
        """How the living machines of a cluster are divided among actors. ``nodes``: as ``ray.nodes()`` lists them."""
        alive = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
        cores, cards = (int(sum(each.get(name, 0) for each in alive)) for name in ("CPU", "GPU"))
        cards = cards if self.cards else 0
        devices = max(cards or len(alive), 1)
        actors = max(min(devices if self.workers == "auto" else int(self.workers), self.count), 1)
        each = self.threads or max(cores // max(actors, len(alive)), 1)
        return Share(actors, -(-actors // devices), each, round(min(cards / actors, 1.0), 3))

    def _run(
        self, ray: Any, handout: Handout, members: dict[int, _Member], share: Share
    ) -> Generator[Ended, None, None]:
        patience = time.monotonic() + WAIT_SECONDS
        while True:
            ready = [member for member in members.values() if member.ready]
            for member in ready:
                if member.task is None and (task := handout.next()) is not None:
                    member.give(task, handout.written)
            busy = {place: member for place, member in members.items() if member.task is not None}
            if ready and not busy:
                return
            if not ready and time.monotonic() > patience:
                handout.console.warn(f"no worker has begun yet: the cluster {self.address} has no {share} free")
                patience = float("inf")
            if busy:
                handout.progress(busy)
            else:
                handout.console.progress("waiting for the cluster", 0, None)
            waited = {ref: member for member in members.values() for ref in member.awaited}
            found, _ = ray.wait(list(waited), num_returns=len(waited), timeout=PROGRESS_SECONDS / 4)
            for member in dict.fromkeys(waited[ref] for ref in found):
                try:
                    ended = member.hear(found)
                except ray.exceptions.RayError as error:
                    lost = member.bury(error)
                    ended = None if lost is None else handout.lost(*lost)
                    if ended is not None:
                        yield ended
                    continue
                if ended is not None:
                    yield handout.ended(ended)


@dataclass(frozen=True)
class Share:
    """How a cluster is divided."""

    actors: int
    sharers: int
    """Actors that share a device."""
    cores: int
    """Processor cores that each actor asks for, and its threads."""
    cards: float
    """Graphics cards that each actor asks for; a part of one where several share it."""

    def __str__(self) -> str:
        cores = f"{self.cores} processor core{'s' if self.cores > 1 else ''}"
        return cores + (f" and {self.cards:g} of a graphics card" if self.cards else "")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster while it lasts. Raises UsageError (no Ray here), DeviceError (no cluster there)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would open a connection of its own
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--cluster needs Ray, which is not installed", "pip install 'deblurcli[cluster]'") from error
    here: dict[str, Any] = {}
    if address == LOCAL:
        here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "object_store_memory": STORE_BYTES}
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address, log_to_driver=False, configure_logging=True, logging_level="critical", **here)
    except Exception as error:
        found = f"no Ray cluster answers at {address} ({str(error).splitlines()[0] if str(error) else error!r})"
        raise DeviceError(found, "start one with ray start --head, or give --cluster local") from error
    try:
        for number, handler in before.items():  # Ray has taken them
            signal.signal(number, handler)
        with own_results():
            yield ray
    finally:
        ray.shutdown()


class _Member(Charge):
    """An actor, as the process that has started it sees it."""

    def __init__(
        self, ray: Any, place: int, make: Maker, share: Share, console: Reporter, reads: Sequence[Path]
    ) -> None:
        super().__init__(place, console)
        self._ray, self._make, self._share, self._reads = ray, make, share, tuple(reads)
        self._beginnings = 0
        self._begin()

    def _begin(self) -> None:
        # One call works, and another one meanwhile tells what it says.
        share = self._share
        wanted = self._ray.remote(num_cpus=share.cores, num_gpus=share.cards, max_concurrency=2)
        self.actor = wanted(Actor).remote(share.cores, self.console.quiet, self.console.verbose)
        self._beginnings += 1
        self._told = 0
        self.ready = False
        self.work: Any = self.actor.begin.remote(self._make, self._reads, Home.here())
        self.mail: Any = None

    @property
    def awaited(self) -> list[Any]:
        """What will come from it."""
        return [ref for ref in (self.work, self.mail) if ref is not None]

    def give(self, task: Task, written: list[Path]) -> None:
        """Let it do a task. ``written``: every output so far, of which it is told what it does not know yet."""
        self.begin(task)
        self.work = self.actor.restore.remote(task, written[self._told :])
        self._told = len(written)
        if self.mail is None:
            self.mail = self.actor.told.remote()

    def hear(self, found: Sequence[Any]) -> Ended | None:
        """Take what has come; what it says is said, and how its task has ended is returned.

        Raises:
            RayError: it has died.
            DeblurError: it cannot do any task.
        """
        if self.mail in found:
            self._say_all(self._ray.get(self.mail))
            self.mail = None if self.task is None else self.actor.told.remote()
        if self.work not in found:
            return None
        come, self.work = self._ray.get(self.work), None
        if self.task is None:
            if come is not None:
                raise come
            self.ready = True
            return None
        if self.mail is not None:  # which may have been on its way with what was said before the end
            self._say_all(self._ray.get(self.mail))
            self.mail = None
        ended, rest = come
        self._say_all(rest)
        self.task = None
        return ended

    def _say_all(self, messages: Iterable[tuple[str, Any]]) -> None:
        for kind, what in messages:
            self.tell(kind, what)

    def bury(self, error: Exception) -> tuple[Task, str, DeblurError, float] | None:
        """Begin anew after its death, and clean up after it: what :meth:`Handout.lost` asks for, if it had a task.

        Raises DeviceError: it dies before it has begun, again and again.
        """
        task, self.task = self.task, None
        self._ray.kill(self.actor)
        if task is None and self._beginnings >= MAX_BEGINNINGS:
            found = f"no worker can begin on the cluster ({_first_line(error)})"
            raise DeviceError(
                found, f"install deblurcli {__version__} with the same Python on every machine"
            ) from error
        self._begin()
        if task is None:
            return None
        self._beginnings = 1
        discard_parts(task.job.destination)
        how = f"worker {self.place} died"
        cure = "memory may be short, or the file brings the program down: fewer --workers, or leave it out"
        return task, how, DeviceError(f"{task.job.source}: {how}, the second time", cure), self.since

    def end(self) -> None:
        """End it, and remove what it has half written."""
        self._ray.kill(self.actor)
        if self.task is not None:
            with contextlib.suppress(Exception):
                self._ray.wait([self.work], timeout=GRACE_SECONDS)
            discard_parts(self.task.job.destination)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]


@dataclass(frozen=True)
class Home:
    """What an actor takes over from the process that has started it."""

    folder: Path
    """Where relative paths begin."""
    variables: dict[str, str]
    version: str

    @staticmethod
    def here() -> Home:
        """What an actor takes over from this process."""
        variables = {name: value for name, value in os.environ.items() if name.startswith("DEBLUR_")}
        return Home(Path.cwd(), variables, __version__)


class Actor:
    """What works on a machine of the cluster: one task after the other, by one worker."""

    def __init__(self, threads: int, quiet: bool, verbose: bool) -> None:
        os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads))  # before the libraries are loaded
        self._outbox = _Outbox()
        self._console = Reporter(Relay(self._outbox), quiet=quiet, verbose=verbose)
        self._stack, self._context = contextlib.ExitStack(), contextvars.copy_context()
        self._worker: Any = None

    def begin(self, make: Maker, reads: Sequence[Path], home: Home) -> DeblurError | None:
        """Make its worker; the error where there can be none. ``reads``: what no task may write."""
        if home.version != __version__:
            found = f"a machine of the cluster has deblurcli {__version__}, not {home.version}"
            return DeviceError(found, "install the same version on every machine")
        os.environ |= home.variables
        with contextlib.suppress(OSError):  # absolute paths need no such folder
            os.chdir(home.folder)
        try:
            self._worker = make(self._console)
        except Exception as error:
            return described(error)
        self._context.run(self._stack.enter_context, kept(reads))
        return None

    def restore(self, task: Task, written: Sequence[Path]) -> tuple[Ended, list[tuple[str, Any]]]:
        """Do a task: how it has ended, and what was said and is not told yet. ``written``: outputs of other tasks."""
        for path in written:
            self._context.run(keep, path, "the output of another input")
        ended = sendable(self._context.run(attempt, task, self._worker))
        return ended, self._outbox.take(0.0)

    def told(self) -> list[tuple[str, Any]]:
        """What was said since the last call, as soon as something is, or nothing after a while."""
        return self._outbox.take(PROGRESS_SECONDS)


class _Outbox:
    """Messages that wait to be taken."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, Any]] = []
        self._filled = threading.Condition()

    def send(self, message: tuple[str, Any]) -> None:
        """Put one in."""
        with self._filled:
            self._messages.append(message)
            self._filled.notify()

    def take(self, seconds: float) -> list[tuple[str, Any]]:
        """Take all, waiting for one at most so long."""
        with self._filled:
            self._filled.wait_for(lambda: self._messages, seconds)
            taken, self._messages = self._messages, []
        return taken


class OneThread(io.TextIOBase):
    """A text stream for the thread that makes it. What others write is dropped: a library may write among the
    results, as Ray does when a worker dies."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """Write, in that thread."""
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def flush(self) -> None:
        """Bring out what was written."""
        self._stream.flush()

    def fileno(self) -> int:
        """The system's number of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    @property
    def buffer(self) -> Any:
        """The stream of bytes below."""
        return self._stream.buffer


@contextlib.contextmanager
def own_results() -> Iterator[None]:
    """Nothing but what this thread writes goes to stdout meanwhile."""
    with contextlib.redirect_stdout(OneThread(results_stream())):
        yield
