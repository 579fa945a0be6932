"""How long a video will take, told before the work begins: the work of each stage at the speeds of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deblurcli.adaptation.work import FRAME_WORK, Clip, Speeds, Work
from deblurcli.methods import prepared_for, stages
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.blur2blur import Blur2BlurOptions

LUCKY_TIME = 2.5e-7
"""Taking detail from sharper frames, in seconds a pixel: OpenCV's, which no precision of the networks changes."""
FINISHING_WORK = 0.005
"""Joining all streams and reading the file back, for a pixel, in pixels restored."""
RESTORING = "restoring", "finishing"
"""The stages after adapting."""


@dataclass(frozen=True)
class Forecast:
    """About how long a run takes."""

    stages: dict[str, float]
    """Stage of the run, by the tasks of its progress, in order -> seconds."""

    per_shot: bool = False
    """Whether the method is prepared anew for each shot, so that adapting is no stage of its own."""

    @property
    def course(self) -> dict[str, float]:
        """The stages by which a run tells how far it is."""
        if not self.per_shot:
            return self.stages
        finishing = self.stages["finishing"]
        return {"restoring": self.total - finishing, "finishing": finishing}

    @property
    def adapting(self) -> float:
        """Seconds before the first frame is restored, the look through the video included; 0 where nothing adapts."""
        return sum(seconds for stage, seconds in self.stages.items() if stage not in RESTORING)

    @property
    def restoring(self) -> float:
        """Seconds of the rest."""
        return sum(self.stages.get(stage, 0.0) for stage in RESTORING)

    @property
    def total(self) -> float:
        return self.adapting + self.restoring

    def __str__(self) -> str:
        adapting = f"{duration(self.adapting)} adapting, " if self.adapting else ""
        return f"about {adapting}{duration(self.restoring)}{' restoring' if adapting else ''}"


def forecast(
    clip: Clip, options: Any, spec: NetworkSpec, speeds: Speeds, *, adapted: bool = False, lucky: bool = False
) -> Forecast:
    """About how long a video takes.

    Args:
        options: the method's.
        spec: facts about the network that restores.
        adapted: the adaptation is there already, as an interrupted run has left it.
        lucky: frames take detail from sharper ones.
    """
    pixels = clip.frames * clip.pixels
    restored = Work(pixels, single=FRAME_WORK * pixels, seconds=LUCKY_TIME * lucky * pixels)
    found = stages(spec, options, clip)
    restored += found.pop("restoring", Work())
    found = ({} if adapted else found) | {"restoring": restored, "finishing": Work(FINISHING_WORK * pixels)}
    return Forecast({stage: work.at(speeds) for stage, work in found.items()}, prepared_for(options) == "shot")


def updates(options: Any) -> bool:
    """Whether a method updates the network."""
    followed = isinstance(options, Blur2BlurOptions) and options.then != "none"
    return followed or bool(getattr(options, "updates", 0))


def fast(clip: Clip, speeds: Speeds, *, lucky: bool = False) -> float:
    """Seconds of ``--quality fast``; ``lucky`` as for :func:`forecast`."""
    return clip.frames * clip.pixels * ((1 + FRAME_WORK) * speeds.single + LUCKY_TIME * lucky)


def duration(seconds: float) -> str:
    """A time for people: 3 s, 40 s, 2 min, 1 h 5 min."""
    if seconds < 9.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 100:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
