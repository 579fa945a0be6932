"""Amounts of work, told before it is done, and how long they take at the speeds of a machine.

All work is counted in pixels: those that a network restores, and those that an update learns from. Both speeds are
measured (:mod:`deblurcli.restore.speed`). The constants here, and those of the methods, say how many such pixels other
work is worth; ``python -m benchmarks forecast`` tells how far the sums are off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from deblurcli.adaptation.survey import HELD_OUT
from deblurcli.adaptation.update import looks_within

FRAME_WORK = 0.12
"""Decoding and encoding a pixel, in pixels restored by the bundled network of single frames."""
SURVEY_WORK = 2500
"""Surveying a frame: scoring its places, whatever its size. In pixels restored by that network."""
FIT_WORK = 0.35
"""Fitting a video's blur to its patches, restored, for a pixel of a patch. In pixels restored."""
STRATA_WORK, LOOK_WORK = 800_000, 250_000
"""Making the pieces that the guard goes by, and a look at them. In pixels restored."""


@dataclass(frozen=True)
class Clip:
    """What is restored."""

    frames: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.frames} frame{'s' * (self.frames != 1)} of {self.width}x{self.height}"


@dataclass(frozen=True)
class Speeds:
    """Those of a machine, in seconds a pixel."""

    restoring: float
    """The network that restores, restoring."""
    updating: float
    """The part of it that adapts, updated; 0 where nothing is."""
    single: float
    """Restoring by the bundled network of single frames, the measure of all that has nothing to do with the other."""


USUAL = Speeds(3e-6, 8e-6, 2.4e-6)
"""Where nothing is measured: those of the default network on an ordinary processor core."""


@dataclass(frozen=True)
class Work:
    """An amount of work, by what decides how long it takes. Amounts can be added."""

    restored: float = 0.0
    """Pixels that the network restores."""
    updated: float = 0.0
    """Pixels that updates of its adapting part learn from."""
    single: float = 0.0
    """Pixels that the bundled network of single frames restores."""
    seconds: float = 0.0
    """What the clock ends, on any machine."""

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def at(self, speeds: Speeds) -> float:
        """Seconds at the speeds of a machine."""
        # What is not done takes no time where memory is not enough for a speed, which is infinite then.
        parts = (self.restored, speeds.restoring), (self.updated, speeds.updating), (self.single, speeds.single)
        return self.seconds + sum(amount * speed for amount, speed in parts if amount)


def survey_work(clip: Clip) -> Work:
    """The look through the video."""
    return Work(single=clip.frames * (SURVEY_WORK + clip.pixels * FRAME_WORK / 4))


def expected_patches(clip: Clip, asked: int, size: int) -> tuple[int, int]:
    """How many patches a survey finds, with those that only judge, and their side."""
    return asked + HELD_OUT, max(32, min(size, clip.height // 32 * 32, clip.width // 32 * 32))


def strata_work(guard: str | None) -> Work:
    """Making what the guard goes by, after the fit."""
    return Work() if guard == "off" else Work(STRATA_WORK)


def look_work(guard: str | None, looks: int) -> Work:
    """Looks of the guard."""
    return Work() if guard == "off" else Work(looks * LOOK_WORK)


def guard_work(guard: str | None, steps: int) -> Work:
    """Those that it takes while a network learns for so many steps."""
    return look_work(guard, looks_within(steps))
