"""The exception tree, and the exit code each class stands for.

DeblurError          1  unexpected error
├── UsageError       2  bad option, output exists, output is the input
├── PartialError     3  some items failed, frames replaced, streams not kept
├── InputError       4  input unusable
├── OutputError      5  output cannot be written
├── WeightsError     6  weights missing or refused
├── OfflineError     7  network needed but unavailable
└── DeviceError      8  device not present, or out of memory at the smallest tile
"""


class DeblurError(Exception):
    """What was found and where, and what to do about it, in one line."""

    code = 1

    def __init__(self, found: str, cure: str = "") -> None:
        self.found = " ".join(found.split())
        self.cure = " ".join(cure.split())
        super().__init__(f"{self.found}; {self.cure}" if self.cure else self.found)


class UsageError(DeblurError):
    code = 2


class PartialError(DeblurError):
    code = 3


class InputError(DeblurError):
    code = 4


class OutputError(DeblurError):
    code = 5


class WeightsError(DeblurError):
    code = 6


class OfflineError(DeblurError):
    code = 7


class DeviceError(DeblurError):
    code = 8


# How the shell sees an interrupt (128 + signal number).
SIGINT_CODE = 130
SIGTERM_CODE = 143
