"""How far a task is, how far the run is that it is a stage of, and how long the rest will take.

A run is told by its stages and the work of each: seconds as measured beforehand, or a unit of its own. What is done of
it tells how long a unit takes, and so the later stages; a stage that is under way tells by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

EARLY = 0.1
"""Share of a stage before which its own pace tells little, where that of the others is known; and that of a run, for
which measured seconds stand."""


@dataclass(frozen=True)
class RunProgress:
    """How far a whole run is."""

    stage: int
    """Number of the stage, from 1."""
    stages: int
    elapsed: float
    """Seconds since the run began."""
    eta: float | None
    """Seconds left; None where unknown."""

    @property
    def share(self) -> float | None:
        """Part of the run's time that is over, 0 to 1; None where unknown."""
        return None if self.eta is None else self.elapsed / max(self.elapsed + self.eta, 1e-9)

    @property
    def record(self) -> dict[str, Any]:
        """The same for the JSON log."""
        return {
            "stage": self.stage,
            "stages": self.stages,
            "run_elapsed": round(self.elapsed, 3),
            "run_eta": None if self.eta is None else round(self.eta, 3),
        }

    @property
    def text(self) -> str:
        """Times, for people."""
        gone = f"{clock(self.elapsed)} elapsed"
        return gone if self.eta is None else f"{gone}, about {clock(self.eta)} left in all"

    def later(self, seconds: float) -> RunProgress:
        """The same when so many seconds have passed."""
        left = None if self.eta is None else max(self.eta - seconds, 0.0)
        return replace(self, elapsed=self.elapsed + seconds, eta=left)


@dataclass(frozen=True)
class Progress:
    """How far a task is."""

    task: str
    done: float
    total: float | None
    """In the unit of ``done``; None where unknown."""
    elapsed: float
    """Seconds."""
    eta: float | None
    """Seconds left; None where unknown."""
    facts: dict[str, Any]
    run: RunProgress | None = None
    """The run that the task is a part of, where its stages are known."""

    @property
    def title(self) -> str:
        """The task's name and, where it is known, the number of its stage."""
        return self.task if self.run is None else f"[{self.run.stage}/{self.run.stages}] {self.task}"

    @property
    def share(self) -> str:
        """What is done of all, in percent where that is known; empty for what is not counted."""
        if not self.total:
            return f"{self.done:g} of ?" if self.done else ""
        return f"{min(100 * self.done / self.total, 100):.0f} %"

    @property
    def record(self) -> dict[str, Any]:
        """The same for the JSON log."""
        record = {name: getattr(self, name) for name in ("task", "done", "total", "elapsed", "eta")}
        return record | ({} if self.run is None else self.run.record) | self.facts

    @property
    def text(self) -> str:
        """Share, times and facts, for people."""
        times = f"{clock(self.elapsed)} elapsed"
        if self.run is not None:
            times = self.run.text
        elif self.share:
            times += f", {clock(self.eta)} left"
        return " · ".join(filter(None, [self.share, times, *(_fact(k, v) for k, v in self.facts.items())]))

    def later(self, seconds: float) -> Progress:
        """The same when so many seconds have passed without news."""
        left = None if self.eta is None else max(self.eta - seconds, 0.0)
        run = None if self.run is None else self.run.later(seconds)
        return replace(self, elapsed=self.elapsed + seconds, eta=left, run=run)


@dataclass
class Course:
    """The stages of a run, in order, and how long each has taken.

    Args:
        work: stage -> its expected work, relative to the others'; None where work does not tell how long it takes. A
            task with the name of a later stage is that stage; any other belongs to the stage that is under way.
        began: the clock when the run began.
        measured: work is seconds, measured on this machine.
    """

    work: Mapping[str, float | None]
    began: float
    measured: bool = False
    current: str = ""
    entered: float = 0.0
    resumed: bool = False
    """Whether the stage has gone on behind other tasks: how fast it alone is tells little then."""
    first: tuple[float, float] | None = None
    """The clock, and the share of the stage that was done, when it was first told: a task is often told with its first
    step, and what makes ready for it does not belong to its pace."""
    latest: tuple[float, float] | None = None
    """The same when it was last told."""
    over: float = 0.0
    """Work that was told of the stages that are over."""
    took: float = 0.0
    """Seconds of that."""

    def enter(self, task: str, now: float) -> None:
        """A task begins; if it is a stage, the one before it is over."""
        self.resumed = task == self.current
        if self.resumed or task not in self._left_over():
            return
        done, seconds = self._told()
        self.over, self.took = self.over + done, self.took + seconds
        # Nothing is before the first stage but making ready for it.
        self.current, self.entered = task, now if self.current else self.began
        self.first = self.latest = None

    def progress(self, now: float, share: float | None, eta: float | None) -> RunProgress:
        """How far the run is.

        Args:
            share: of the stage that is under way, 0 to 1; None where unknown.
            eta: seconds that are left of it, where it tells.
        """
        if share is not None:
            self.first = self.first or (now, share)
            self.latest = now, share
        names = list(self.work)
        stage = names.index(self.current) if self.current else 0
        return RunProgress(stage + 1, len(names), now - self.began, self._left(now, eta))

    def _left_over(self) -> list[str]:
        """The stages after the one that is under way."""
        names = list(self.work)
        return names[names.index(self.current) + 1 :] if self.current else names

    def _told(self) -> tuple[float, float]:
        """Work of the stage that is under way since it was first told, and its seconds."""
        mine = self.work.get(self.current)
        if not mine or self.first is None or self.latest is None:
            return 0.0, 0.0
        began, share = self.first
        if self.resumed:  # what comes between belongs to it, and what came before its first step as well
            began, share = self.entered, share if share > EARLY else 0.0
        return (self.latest[1] - share) * mine, self.latest[0] - began

    def _left(self, now: float, eta: float | None) -> float | None:
        rest = [self.work[name] for name in self._left_over()]
        if not self.current or any(work is None for work in rest):
            return None
        later = math.fsum(work for work in rest if work is not None)
        mine, here = self.work[self.current], now - self.entered
        done, seconds = self._told()
        own = seconds / done if done > 0 else None
        usual = self._pace(self.over + done, self.took + seconds)
        usual = own if usual is None else usual
        pace = usual if own is None else own
        told, share = (now, 0.0) if self.latest is None else self.latest
        early = mine is not None and usual is not None and share < EARLY
        left = None if self.resumed or early else eta
        if early and mine is not None and usual is not None:
            left = max(mine * usual - here, 0.0)
        elif left is None and mine is not None and pace is not None:
            left = max((1 - share) * mine * pace - (now - told), 0.0)
        if left is None or (later and usual is None):
            return None
        return left + (later * usual if usual is not None else 0.0)

    def _pace(self, done: float, seconds: float) -> float | None:
        """Seconds for a unit of work, from what is done; None where that is too little to tell."""
        weight = EARLY * math.fsum(work for work in self.work.values() if work)
        if self.measured and weight:
            return (seconds + weight) / (done + weight)
        return seconds / done if done and done >= weight else None


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds."""
    if seconds is None:
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _fact(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
