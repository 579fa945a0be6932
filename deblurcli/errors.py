"""The exceptions, and what each exit code means: the program, its manual and its tests read it here."""

from __future__ import annotations

import errno
from pathlib import Path

SIGNALS = {129: "hung up", 130: "interrupted", 131: "quit", 143: "terminated"}
"""What is said of the signals that end the program, by exit code."""


class DeblurError(Exception):
    """What was found and where, and what to do about it, in one line."""

    code = 1
    retry = "no"
    """Whether the same command may help; it begins with yes or no."""
    source: Path | None = None
    """The file that it is about, for the JSON log."""

    def __init_subclass__(cls, code: int, retry: str) -> None:
        cls.code, cls.retry = code, retry

    def __init__(self, found: str, cure: str = "") -> None:
        self.found = " ".join(found.split())
        self.cure = " ".join(cure.split())
        super().__init__(f"{self.found}; {self.cure}" if self.cure else self.found)


class UsageError(DeblurError, code=2, retry="no, change the command"):
    """Usage: a bad option, an output that exists or is the input."""


class PartialError(DeblurError, code=3, retry="no, it would end the same way"):
    """Partial: some files failed, frames were replaced, or something besides the pixels could not be kept."""


class InputError(DeblurError, code=4, retry="no"):
    """The input is unusable."""


class OutputError(DeblurError, code=5, retry="no, make room or give another place first"):
    """The output cannot be written."""


class WeightsError(DeblurError, code=6, retry="no, `deblur weights pull` first"):
    """Weights are missing or refused."""


class OfflineError(DeblurError, code=7, retry="yes"):
    """A connection is needed but unavailable."""


class DeviceError(DeblurError, code=8, retry="yes, with fewer workers or on another device"):
    """Device: not present, failing, or out of memory."""


class UnfinishedError(DeblurError, code=9, retry="yes, with --skip-existing"):
    """Unfinished: some files failed, at least one of them for a reason that may pass."""


EXIT_CODES: dict[int, str] = {
    **{0: "Done.", 1: "Unexpected error."},
    **{kind.code: str(kind.__doc__) for kind in DeblurError.__subclasses__()},
    **{129: "Hung up (SIGHUP).", 130: "Interrupted (SIGINT).", 131: "Quit (SIGQUIT)."},
    **{141: "Nobody reads the output any more (SIGPIPE).", 143: "Terminated (SIGTERM)."},
}
"""What each code means. From 128 on: 128 and the number of the signal, as shells show it."""

_SAME = "yes, with --skip-existing"
RETRY: dict[int, str] = {
    **{0: "", 1: DeblurError.retry},
    **{kind.code: kind.retry for kind in DeblurError.__subclasses__()},
    **{129: _SAME, 130: _SAME, 131: _SAME, 141: "no, give it a reader", 143: _SAME},
}
"""Whether the same command may help after each code; begins with yes or no."""


def may_pass(code: int) -> bool:
    """Whether the same command may help after an exit code."""
    return RETRY.get(code, "").startswith("yes")


FILE_ERRORS: dict[int, tuple[type[DeblurError], str]] = {
    errno.ENAMETOOLONG: (InputError, "give a shorter name"),
    errno.EACCES: (InputError, "check the path and its permissions"),
    errno.EPERM: (InputError, "check the path and its permissions"),
    errno.ELOOP: (InputError, "check where the links lead"),
    errno.ENOSPC: (OutputError, "make room, or give another place"),
    errno.EDQUOT: (OutputError, "make room, or give another place"),
}
"""Errors of the file system whose cause is plain wherever they come from, and their cures."""


_SHORT_OF_MEMORY = ("out of memory", "can't allocate memory", "could not create a primitive")
"""What torch says in any error of its own; oneDNN tells no more than that it cannot set up a convolution."""
_DEVICE_FAILED = ("cuda error", "cudnn error", "cublas error", "hip error", "mps backend")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, torch, FFmpeg or the system means that memory ran out, on any device."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SHORT_OF_MEMORY)


def described(error: Exception) -> DeblurError:
    """Any exception as one with a code and one line; code 1 for unexpected ones."""
    if isinstance(error, DeblurError):
        return error
    first = (str(error) or type(error).__name__).splitlines()[0]
    if is_out_of_memory(error):
        return DeviceError(f"memory ran out ({first})", "free memory, or give a smaller --tile or fewer --workers")
    if isinstance(error, RuntimeError) and any(sign in first.lower() for sign in _DEVICE_FAILED):
        return DeviceError(f"the device failed ({first})", "see deblur doctor, or give --device cpu")
    if isinstance(error, OSError) and error.errno in FILE_ERRORS:
        kind, cure = FILE_ERRORS[error.errno]
        return kind(f"{error.filename or 'the output'}: {error.strerror}", cure)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return DeblurError(f"unexpected error: {text}", "run again with --verbose for the traceback")
