"""The command `deblur`: parse, do the jobs, turn exceptions into exit codes.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once; nothing at all before
signals are minded, so that none of them ends in a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn

from deblurcli.errors import SIGNALS

_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGQUIT", "SIGTERM") if hasattr(signal, name)]

GRACE_SECONDS = 20.0
"""How long the program may clean up after a signal: an encoder or a drive that is stuck would hold it for ever. It is
more than the processes of a batch have."""


def _end(number: int, *_: Any) -> NoReturn:
    # Once: `timeout` and some schedulers send it twice, and the second must not cut the cleaning up short.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    _limit(128 + number)
    sys.exit(128 + number)


def _interrupt(*_: Any) -> NoReturn:
    _limit(128 + signal.SIGINT)
    raise KeyboardInterrupt


def _limit(code: int) -> None:
    """End the program after the grace period, whatever holds it: what it leaves is what a kill leaves."""
    timer = threading.Timer(GRACE_SECONDS, os._exit, [code])
    timer.daemon = True
    timer.start()


def _wait_asleep() -> None:
    """Let the threads of OpenMP, which torch computes with on Linux, soon sleep while they wait for each other.

    By default they turn round for many milliseconds, and hold a core that another program needs to go on with what they
    wait for: on a busy machine that makes everything several times as slow, and counts as work when speed is measured.
    A thousand turns are what OpenMP itself takes where there are more threads than cores.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main() -> NoReturn:
    """The console script."""
    _wait_asleep()
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, _end)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        from deblurcli.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
        print(f"deblur: {SIGNALS[code]}; run the same command again", file=sys.stderr)
    sys.exit(code)
