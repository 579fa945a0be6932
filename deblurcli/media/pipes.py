"""stdin and stdout as ends of pipes: bytes that come once, kept on the disk where they are needed twice, and bytes that
go out.

Waiting for the other end can be given up from another thread, so that an interrupted run ends though nobody writes or
reads at the other end.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from deblurcli.console import Reporter
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import OutputFile, PartFolder, reason
from deblurcli.folders import temporary_place
from deblurcli.media.ahead import Stopped
from deblurcli.media.disk_use import free_bytes, readable_size
from deblurcli.media.inputs import STDIN, STDOUT

Y4M = b"YUV4MPEG2 "
"""How a stream of YUV4MPEG2 begins."""
PIECE = 1 << 20
"""Bytes that are kept with one call."""
ATOMIC = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes at once when it takes any."""
RESERVE = 256 << 20
"""Bytes that are left free where stdin is kept."""
KEPT = "deblur-"
"""How the folders begin that hold what has no other place."""
LOOK_SECONDS = 0.2
"""How often it is looked whether waiting was given up."""


class _End:
    """One end of a pipe. Use as a context manager."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._given_up = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def give_up(self) -> None:
        """Let nobody wait for the other end any more."""
        self._given_up.set()

    def _wait(self, writing: bool) -> None:
        """Until the other end is ready. Raises Stopped: it was given up."""
        if os.name == "nt":  # which can wait for sockets only
            return
        files = [self._file]
        while not any(select.select([] if writing else files, files if writing else [], [], LOOK_SECONDS)):
            if self._given_up.is_set():
                raise Stopped


class Incoming(_End):
    """What comes from stdin, which can be read once.

    Attributes:
        count: bytes that have come so far.

    Raises:
        UsageError: stdin is a terminal.
        InputError: it is closed, empty, or cannot be read.
    """

    def __init__(self) -> None:
        try:
            super().__init__(io.FileIO(os.dup(0)))
            if self._file.isatty():
                raise UsageError("stdin is a terminal", "pipe a video or picture into it, or give a file")
        except OSError as error:
            raise InputError(f"stdin cannot be read: {reason(error)}", "pipe something into it") from error
        self.count, self._head = 0, b""
        while len(self._head) < len(Y4M) and (more := self._next(PIECE)):
            self._head += more
        if not self._head:
            raise InputError("stdin is empty (0 bytes)", "check the command before the pipe")

    @property
    def is_y4m(self) -> bool:
        """Whether frames follow that can be read one after the other; asked before the first of them is."""
        return self._head.startswith(Y4M)

    def read(self, size: int) -> bytes:
        """The next bytes, ``size`` at most; empty at the end. Raises InputError."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._next(size)

    def _next(self, size: int) -> bytes:
        try:
            self._wait(writing=False)
            piece = self._file.read(size) or b""
        except OSError as error:
            raise InputError(f"stdin cannot be read: {reason(error)}", "check the command before the pipe") from error
        self.count += len(piece)
        return piece


class Outgoing(_End):
    """What goes to stdout. Nothing else does meanwhile: what others print there goes to stderr.

    Attributes:
        error: what writing has ended with.

    Raises:
        UsageError: stdout is a terminal.
        OutputError: it is closed.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None
        try:
            if os.isatty(1):
                raise UsageError("stdout is a terminal", "pipe it into a program, or give -o FILE")
            super().__init__(io.FileIO(os.dup(1), "w"))
            with contextlib.suppress(OSError):  # stderr may be closed
                os.dup2(2, 1)
        except OSError as error:
            raise OutputError(f"stdout cannot be written: {reason(error)}", "give -o FILE") from error

    def __exit__(self, *error: object) -> None:
        os.dup2(self._file.fileno(), 1)
        super().__exit__(*error)

    def write(self, content: bytes) -> int:
        """Write all of it. Raises BrokenPipeError (nobody reads it), OSError."""
        view = memoryview(content)
        try:
            while view:
                self._wait(writing=True)
                view = view[self._file.write(view[:ATOMIC]) or 0 :]
        except OSError as error:
            self.error = error
            raise
        return len(content)


@contextlib.contextmanager
def folder_for(what: str) -> Iterator[Path]:
    """A folder of its own for what has no other place, while it is needed; those of runs that were killed are removed.

    Raises OutputError.
    """
    place = temporary_place()
    try:
        folder = PartFolder(place / f"{KEPT}{secrets.token_hex(8)}")
    except OutputError as error:
        found = f"{what} cannot be kept in {place}: {reason(error.__cause__ or error)}"
        raise OutputError(found, "set TMPDIR to another folder") from error
    try:
        remove_stale(place, folder)
        yield folder.path
    finally:
        folder.close()


def remove_stale(place: Path, own: PartFolder) -> None:
    """Remove the folders that nobody has any more; a run has its own until it ends, however it does. Never raises."""
    with contextlib.suppress(OSError):
        for path in place.glob(f".{KEPT}*.part"):
            with contextlib.suppress(OutputError, UsageError):
                if path != own.path and own.is_locked:
                    PartFolder(place / path.name.removeprefix(".").removesuffix(".part")).close()


@contextlib.contextmanager
def kept_on_disk(incoming: Incoming, console: Reporter) -> Iterator[Path]:
    """All of stdin as a file, while it is needed. Its size, and the room for it, are said.

    Raises:
        InputError: stdin cannot be read.
        OutputError: there is no room for it.
    """
    with folder_for("stdin") as folder:
        path, total = folder / STDIN.name, 0
        with OutputFile(path) as output:
            while piece := incoming.read(PIECE):
                _require_room(total, folder)
                try:
                    output.file.write(piece)
                except OSError as error:
                    raise _no_room(total, folder, reason(error)) from error
                total += len(piece)
                console.progress("receiving", total, None)
        free = free_bytes(folder)
        left = "" if free is None else f", where {readable_size(free)} are left"
        console.note(f"stdin: {readable_size(total)} kept in {folder} until the end{left}")
        yield path


def _require_room(total: int, folder: Path) -> None:
    if total % (64 * PIECE) < PIECE and (free := free_bytes(folder)) is not None and free < RESERVE:
        raise _no_room(total, folder, f"only {readable_size(free)} are left there")


def _no_room(total: int, folder: Path, why: str) -> OutputError:
    found = f"stdin cannot be kept in {folder.parent} beyond {readable_size(total)}: {why}"
    return OutputError(found, "set TMPDIR to a folder on a larger disk, or give a file")


def send(path: Path, outgoing: Outgoing) -> None:
    """Write a complete file to stdout. Raises OutputError, BrokenPipeError."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                outgoing.write(piece)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise not_sent(error) from error


def not_sent(error: OSError) -> OutputError:
    """The error to raise where stdout cannot be written, though somebody reads it."""
    return OutputError(f"{STDOUT.name} cannot be written: {reason(error)}", "give it another place, or -o FILE")
