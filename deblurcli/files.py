"""The one writer of files: refused before any work, written under a ``.part`` name, named when complete."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

from deblurcli.errors import OutputError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_KEPT: ContextVar[dict[tuple[int, int], str] | None] = ContextVar("kept", default=None)
"""What no output may replace now, by device and inode: what each file is."""


class Part(io.FileIO):
    """An unfinished file, not buffered: a refusal of the disk is raised by the call that wrote, not by a later one."""

    def write(self, content: Any) -> int:
        """Write all of it. Raises OSError."""
        view, written = memoryview(content).cast("B"), 0
        while written < len(view):
            written += super().write(view[written:])
        return written


class OutputFile:
    """A file that appears under its name when it is complete, or not at all; never over what is :func:`kept`.

    The content goes to ``file``, open for writing and reading, which nobody needs to open again by name. Use as a
    context manager: a clean exit commits, an exception leaves nothing, an OSError becomes an OutputError.

    Args:
        destination: the name in the end.
        inputs: files that it must never be, under whatever name.
        overwrite: replace a file that exists.
        folder: where it is until it is complete, on the same file system; beside the destination if not given.

    Raises:
        UsageError: the destination exists, or is an input.
        OutputError: the file cannot be made or written.
    """

    def __init__(
        self, destination: Path, *, inputs: Iterable[Path] = (), overwrite: bool = False, folder: Path | None = None
    ) -> None:
        self.destination, self.inputs, self.overwrite = destination, tuple(inputs), overwrite
        check_destination(destination, self.inputs, overwrite)
        self.file = _create_part(destination, folder or destination.parent)
        self.part = Path(self.file.name)

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.complete()
                self.publish()
            elif isinstance(error, OSError):
                raise self.failed(error) from error
        finally:
            self.discard()

    def complete(self) -> None:
        """Bring the content to the disk. Raises OutputError."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self.failed(error) from error

    def publish(self) -> None:
        """Rename what is complete. Raises UsageError (the name appeared meanwhile, or is an input) and OutputError."""
        _check_inputs(self.destination, self.inputs)
        try:
            if not os.path.samestat(os.fstat(self.file.fileno()), self.part.lstat()):
                found = f"{self.part} was replaced by something else while it was written"
                raise OutputError(found, "choose a folder that only you can write to")
            self.file.close()
            if self.overwrite:
                self.part.replace(self.destination)
            else:
                self._link()
            sync_folder(self.destination.parent)
        except FileExistsError as error:
            cure = "use --overwrite or another name"
            raise UsageError(f"{self.destination} appeared while it was made", cure) from error
        except OSError as error:
            raise self.failed(error) from error

    def _link(self) -> None:
        """Rename only where the name is free, in one step where the file system can."""
        try:
            self.destination.hardlink_to(self.part)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # no second names here
            if os.path.lexists(self.destination):
                raise FileExistsError(self.destination) from None
            self.part.replace(self.destination)
        else:
            self.part.unlink()

    def discard(self) -> None:
        """Remove what was not named. Never raises."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)

    def failed(self, error: BaseException) -> OutputError:
        """The error to raise for one of a library or the system."""
        found = f"{self.destination.name} cannot be written: {reason(error)}"
        return OutputError(found, "free space or choose another folder")


class PartFolder:
    """The folder ``.NAME.part`` beside an output, in which that grows over several runs if need be.

    The name follows from the output's, so that a run finds what an interrupted one has left. One run at a time has it,
    as far as the file system knows locks; what lies in it is only read by whom it belongs to.

    Raises:
        UsageError: another run has it.
        OutputError: it cannot be made, or is something else.
    """

    def __init__(self, destination: Path) -> None:
        self.destination = destination
        self.path, self.is_locked = part_folder(destination), False
        try:
            self._lock = self._locked()
            for left in self.path.glob(".*.part"):  # of a run that was killed
                left.unlink()
        except OSError as error:
            found = f"{destination.name} cannot be created in {destination.parent}: {reason(error)}"
            raise OutputError(found, "choose another folder or name") from error

    def _locked(self) -> int:
        """The open folder, locked and in its place. Raises OSError."""
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            state = self.path.lstat()
            if not stat.S_ISDIR(state.st_mode) or self._owner() != state.st_uid:
                raise OutputError(f"{self.path} is not a folder of yours", "remove it, or choose another folder")
            if fcntl is None:
                return -1
            opened = os.open(self.path, os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(opened)
                found = f"another run is writing {self.destination}"
                raise UsageError(found, "wait for it, or give another name") from None
            except OSError:  # a file system without locks
                return opened
            self.is_locked = True
            with contextlib.suppress(FileNotFoundError):  # the run that had it has just removed it
                if os.path.samestat(os.fstat(opened), self.path.lstat()):
                    return opened
            os.close(opened)

    def _owner(self) -> int:
        """Whom a file made there belongs to: on network drives, that need not be who makes it. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / ".owner.part").unlink()
        with Part(str(self.path / ".owner.part"), "x+") as file:
            found = os.fstat(file.fileno()).st_uid
            Path(file.name).unlink()
        return found

    def clear(self) -> None:
        """Remove what lies in it. Raises OutputError."""
        try:
            for left in self.path.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be emptied: {reason(error)}", "remove it") from error

    def close(self, *, keep: bool = False) -> None:
        """Let others have it; without ``keep``, remove it and all that lies in it. Never raises."""
        lock, self._lock = self._lock, -1
        with contextlib.suppress(OSError, OutputError):
            if not keep:
                self.clear()
                self.path.rmdir()
        if lock >= 0:
            os.close(lock)


class LineFile:
    """A file that gets one line after the other, each with one call of the system, so that a kill leaves whole lines
    and several processes can share it. What it holds already stays.

    Raises:
        UsageError: it is an input.
        OutputError: it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        check_destination(path, overwrite=True)
        self.path = path
        try:
            self._file = Part(str(path), "a+")
            self._torn = _is_torn(self._file)
        except OSError as error:
            raise self._failed(error) from error

    def add(self, line: str) -> None:
        """Add a line. Raises OutputError."""
        try:
            self._file.write(("\n" * self._torn + line + "\n").encode("utf-8", "surrogateescape"))
        except OSError as error:
            self._torn = True
            raise self._failed(error) from error
        self._torn = False

    def close(self) -> None:
        """Bring it to the disk. Never raises."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path} cannot be written: {reason(error)}", "free space or choose another folder")


def _is_torn(file: io.FileIO) -> bool:
    """Whether a file ends within a line, as a kill of the system may leave it."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def discard_parts(destination: Path) -> None:
    """Remove what a process that was killed has left of an output. Never raises."""
    start = _hidden_name(destination, ".01234567.part").removesuffix("01234567.part")
    with contextlib.suppress(OSError):
        for path in destination.parent.iterdir():
            if path.name.startswith(start) and re.fullmatch(r"[0-9a-f]{8}\.part", path.name[len(start) :]):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def output_files(
    destinations: Sequence[Path], *, inputs: Iterable[Path] = (), overwrite: bool = False
) -> Iterator[list[OutputFile]]:
    """Several files that appear together or not at all; otherwise as :class:`OutputFile`."""
    inputs = tuple(inputs)
    if len({path.resolve() for path in destinations}) < len(destinations):
        raise UsageError(f"{destinations[0]} would be written twice", "choose another output name")
    with contextlib.ExitStack() as stack:
        outputs: list[OutputFile] = []
        for destination in destinations:
            outputs.append(OutputFile(destination, inputs=inputs, overwrite=overwrite))
            stack.callback(outputs[-1].discard)
        try:
            yield outputs
        except OSError as error:
            raise outputs[0].failed(error) from error
        for output in outputs:
            output.complete()
        for output in outputs:  # what can be refused is, before the first of them has replaced anything
            _check_inputs(output.destination, inputs)
        for number, output in enumerate(outputs):
            try:
                output.publish()
            except BaseException:
                for named in outputs[:number]:
                    named.destination.unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def kept(inputs: Iterable[Path]) -> Iterator[None]:
    """While it lasts, no output is one of these files, under whatever name and with whatever permission to overwrite.

    A writer knows the file that its content comes from; a command reads more: other files of a batch, weights.
    """
    known = dict(_KEPT.get() or {})
    token = _KEPT.set(known)
    try:
        for path in inputs:
            keep(path, "an input")
        yield
    finally:
        _KEPT.reset(token)


def keep(path: Path, what: str) -> None:
    """Add a file to what is :func:`kept`, if anything is; ``what`` it is, for the message."""
    known = _KEPT.get()
    with contextlib.suppress(OSError):
        state = path.stat()
        if known is not None:
            known.setdefault((state.st_dev, state.st_ino), what)


def check_destination(destination: Path, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Refuse what must never be written to, before anything is opened. Raises UsageError and OutputError."""
    folder = destination.parent
    try:
        found = _state_of(destination)
        reachable = folder.is_dir()
        _check_inputs(destination, inputs)
    except OSError as error:
        raise OutputError(f"{destination} cannot be written: {reason(error)}", "choose another name") from error
    if destination.is_dir():
        raise OutputError(f"{destination} is a folder", "give a file name")
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise OutputError(f"{destination} is not a regular file", "give another file name")
    if found is not None:
        if not overwrite:
            raise UsageError(f"{destination} exists", "use --overwrite or another name")
    elif not reachable:
        raise OutputError(f"folder {folder} does not exist", "create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"folder {folder} is not writable", "choose another folder")


def reason(error: BaseException) -> str:
    """The short text of a library or system error, without the file name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _state_of(path: Path) -> os.stat_result | None:
    """What has this name, links not followed; None where nothing has. Raises OSError."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_inputs(destination: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is an input, whether by its name or through a link. Raises UsageError."""
    if not destination.exists():
        return
    for path in inputs:
        if path.exists() and destination.samefile(path):
            raise UsageError(f"{destination} is the input", "choose another output name")
    state = destination.stat()
    if what := (_KEPT.get() or {}).get((state.st_dev, state.st_ino)):
        raise UsageError(f"{destination} is {what}", "choose another output name")


def part_folder(destination: Path) -> Path:
    """``.NAME.part`` beside it; names that are too long for that are told apart by a digest."""
    tail = ".part"
    if len(os.fsencode(destination.name)) > 255 - len(".") - len(tail):
        tail = f".{hashlib.sha256(os.fsencode(destination.name)).hexdigest()[:16]}.part"
    return destination.with_name(_hidden_name(destination, tail))


def _hidden_name(destination: Path, tail: str) -> str:
    """``.NAME`` and a tail for what belongs to an output while it is made, cut to fit 255 bytes."""
    name = os.fsencode(destination.name)[: 255 - 1 - len(tail)]
    # A cut in the middle of a character must not leave an invalid name.
    stem = os.fsdecode(name) if len(name) == len(os.fsencode(destination.name)) else name.decode(errors="ignore")
    return f".{stem}{tail}"


def _create_part(destination: Path, folder: Path) -> Part:
    """Create and open ``.NAME.<id>.part`` in a folder. Raises OutputError."""
    for _ in range(100):
        try:
            return Part(str(folder / _hidden_name(destination, f".{secrets.token_hex(4)}.part")), "x+")
        except FileExistsError:
            continue
        except OSError as error:
            found = f"{destination.name} cannot be created in {destination.parent}: {reason(error)}"
            raise OutputError(found, "choose another folder or name") from error
    raise OutputError(f"{folder} holds too many .part files", "remove them")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where that can be done."""
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):  # some network drives cannot sync a folder
            opened = os.open(folder, os.O_DIRECTORY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
