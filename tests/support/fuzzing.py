"""Cases for the fuzz suite: an input of some kind, damaged by a number, is given to the real command.

Run as a program, ``fuzzing.py KIND SEED FIRST LAST FOLDER``, it does the cases from FIRST up to LAST in this process
and prints a line of JSON for each. A watch outside Python ends it where one takes too long, and a limit of the system
keeps the machine's memory; whoever has started it goes on behind a case that brought it down.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

SECONDS, BLOCKED_SECONDS = 20.0, 300.0
"""Time of the processor that a case may take, and time of the clock, which a busy machine makes long."""
MEMORY = 1.5e9
"""Bytes that the process may hold."""
LIMIT = 2_500_000_000
"""Bytes that the system gives it at most."""
NUMBERS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\0\x01")
"""Where a size stands, these make it absurd."""
Draw = np.random.Generator


class Kind(Protocol):
    """One kind of input."""

    def case(self, draw: Draw, folder: Path) -> str:
        """Damage a copy, give it to the command, and say in some words what became of it; ``FAULT ...`` is a fault."""


def damaged(data: bytes, draw: Draw) -> bytes:
    """A copy with bits flipped, bytes replaced, a span zeroed, left out, repeated or swapped with another, or cut."""
    out, length = bytearray(data), len(data)
    size = int(draw.integers(1, max(2, min(2000, length // 8))))
    at, to = (int(draw.integers(0, max(length - size, 1))) for _ in range(2))
    match draw.integers(8):
        case 0:
            for place in draw.integers(0, length, draw.integers(1, 12)):
                out[place] ^= 1 << int(draw.integers(8))
        case 1:  # at the beginning, where sizes and numbers stand
            for place in draw.integers(0, min(length, 512), draw.integers(1, 8)):
                out[place] = int(draw.integers(256))
        case 2:
            place = int(draw.integers(0, max(length - 4, 1)))
            out[place : place + 4] = NUMBERS[draw.integers(len(NUMBERS))]
        case 3:
            out[at : at + size] = bytes(size)
        case 4:
            del out[at : at + size]
        case 5:
            out[at:at] = out[to : to + size]
        case 6:
            out[at : at + size], out[to : to + size] = out[to : to + size], out[at : at + size]
        case 7:
            del out[int(length * draw.uniform(0, 0.995)) :]
    return bytes(out)


class Said:
    """What goes to the two standard files of the process, whoever writes it."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / name for name in ("stdout", "stderr")]
        self.files = [path.open("w+b") for path in self.paths]
        for number, file in enumerate(self.files, 1):
            os.dup2(file.fileno(), number)

    def take(self) -> tuple[str, str]:
        """What was written since the last time."""
        found = []
        for stream, file in zip((sys.stdout, sys.stderr), self.files, strict=True):
            stream.flush()
            found.append(os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace"))
            os.ftruncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        return found[0], found[1]


def judged(code: int, err: str, codes: tuple[int, ...]) -> str:
    """The code in words; a fault where it is another one, or what is said is not one line of ours."""
    lines = err.splitlines()
    told = (not lines) if code == 0 else (len(lines) == 1 and lines[0].startswith("deblur: "))
    if code not in codes or not told or "Traceback" in err or "unexpected error" in err:
        return f"FAULT code {code}: {err[-600:]}"
    return f"code {code}"


def kinds() -> dict[str, Callable[[Path, Said], Kind]]:
    """What makes each kind; imported late, since the watch must be there first."""
    import fuzz_kinds

    return {
        "video": fuzz_kinds.Videos,
        "picture": fuzz_kinds.Pictures,
        "weights": fuzz_kinds.Weights,
        "journal": fuzz_kinds.Journals,
    }


def main(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    report = os.fdopen(os.dup(1), "w")
    trace = os.fdopen(os.dup(2), "w")
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    faulthandler.register(signal.SIGPROF, file=trace, chain=True)  # which ends the process then
    said = Said(folder)
    kind = kinds()[name](folder, said)
    for number in range(first, last):
        print(json.dumps({"begins": number}), file=report, flush=True)
        draw, place = np.random.default_rng([seed, number]), folder / f"{name}-{number}"
        place.mkdir()
        said.take()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(BLOCKED_SECONDS, exit=True, file=trace)
        started = time.process_time()
        try:
            verdict = kind.case(draw, place)
        except Exception as error:
            verdict = f"FAULT {type(error).__name__}: {error}"
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if held > MEMORY:
            verdict = f"FAULT {held / 1e9:.1f} GB of memory"
        line = {"case": number, "verdict": verdict, "seconds": round(time.process_time() - started, 2), "memory": held}
        print(json.dumps(line), file=report, flush=True)
        if "FAULT" not in verdict:
            shutil.rmtree(place)


if __name__ == "__main__":
    name, *numbers, folder = sys.argv[1:]
    main(name, *map(int, numbers), Path(folder))
