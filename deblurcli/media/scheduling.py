"""Threads stay scheduled as they were: an encoder must not take the machine for itself.

SVT-AV1, run by the superuser (as in most containers), gives the threads that it starts *and the one that opens it*
real-time priority, above everything else on the machine. The restoring networks, their threads and every program that
is started later inherit that; two such processes on two cores have been seen to stop a machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def usual_scheduling() -> Iterator[None]:
    """Put all threads of the process back to the scheduling that the calling one has, should any become real-time.

    A process that somebody runs in real time on purpose is left as it is; so are systems other than Linux.
    """
    if sys.platform != "linux" or real_time():
        yield
        return
    usual = os.sched_getscheduler(0)
    try:
        yield
    finally:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                if real_time(int(task.name)):
                    os.sched_setscheduler(int(task.name), usual, os.sched_param(0))


def real_time(thread: int = 0) -> bool:
    """Whether a thread, by its number on Linux (0: the calling one), runs before all that are not real-time."""
    return os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR)
