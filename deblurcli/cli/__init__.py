"""The command `deblur`: parse, do the jobs, turn exceptions into exit codes.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once; nothing at all before
signals are minded, so that none of them ends in a traceback.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

from deblurcli.errors import SIGNALS

_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGQUIT", "SIGTERM") if hasattr(signal, name)]


def _end(number: int, *_: Any) -> NoReturn:
    # Once: `timeout` and some schedulers send it twice, and the second must not cut the cleaning up short.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> NoReturn:
    """The console script."""
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, _end)
        from deblurcli.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
        print(f"deblur: {SIGNALS[code]}; run the same command again", file=sys.stderr)
    sys.exit(code)
