"""Jobs for processes of a pool, which must be able to import them, and workers for them that load nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deblurcli import cli
from deblurcli.console import Reporter
from deblurcli.errors import DeviceError, InputError
from deblurcli.files import OutputFile
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.plan import Plan
from deblurcli.jobs.pool import Pool
from deblurcli.jobs.result import Result


@dataclass(frozen=True)
class Copies:
    """Copies its source, unless the source says ``kill N``: then the process is killed while it writes, N times;
    ``bad``: it is unusable; ``odd``: an unexpected error; ``sleep``: for a minute."""

    source: Path
    destination: Path

    def run(self, worker: Any) -> Result:
        text, *number = self.source.read_text().split()
        worker.console.progress("copying", 0, 1)
        with OutputFile(self.destination, overwrite=True) as output:
            output.file.write(b"half")
            if text == "kill" and tries(self.source) <= int(number[0]):
                os.kill(os.getpid(), signal.SIGKILL)
            if text == "bad":
                raise InputError(f"{self.source} is bad", "leave it out")
            if text == "odd":
                raise ValueError("odd")
            if text == "sleep":
                time.sleep(60)
            worker.console.warn("watch out")
            output.file.write(text.encode())
        return Result(self.destination, lines=["copied"], facts={"frames": 1})


def tries(source: Path) -> int:
    """How often a job for a source has begun, this time included."""
    with source.with_suffix(".tries").open("a+") as file:
        file.write("x")
        file.flush()
        return file.tell()


def quick(console: Reporter) -> Any:
    """A worker that loads nothing."""
    return SimpleNamespace(console=console)


def unfit(console: Reporter) -> Any:
    """No worker: the device is not present."""
    raise DeviceError("device cuda is not present", "give another")


def planned(folder: Path, texts: dict[str, str]) -> tuple[list[Copies], Plan]:
    """Jobs for sources with these contents, and their plan."""
    jobs = []
    for name, text in texts.items():
        (folder / "in").mkdir(exist_ok=True)
        source = folder / "in" / f"{name}.txt"
        source.write_text(text)
        jobs.append(Copies(source, folder / "out" / source.name))
    return jobs, Plan([(job.source, job.destination) for job in jobs], True)


def sleepers(folder: str) -> None:
    """A program of its own: two processes that sleep."""
    jobs, plan = planned(Path(folder), dict.fromkeys("ab", "sleep"))
    run_batch(jobs, plan, Pool([quick, quick], 1), Reporter(quiet=True))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in cli._SIGNALS:
        signal.signal(number, cli._end)
    sleepers(sys.argv[1])
