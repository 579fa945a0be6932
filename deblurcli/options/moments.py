"""How `deblur frames` and `deblur still` choose moments of a video, and restore them as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from deblurcli.options.option import frame_rate, option, weights
from deblurcli.options.output import PlannedOptions
from deblurcli.options.quality import VIDEO_QUALITIES, fill, quality_option
from deblurcli.options.times import as_time, require_time

FORMATS = ("png", "tif", "jpg")
"""Suffixes of the pictures."""


@dataclass(frozen=True, kw_only=True)
class MomentOptions(PlannedOptions):
    """The method and network; each method has options of its own."""

    fps: Fraction = frame_rate()
    quality: str = quality_option("How much time it may take, as in `deblur video`: fast, balanced or best.")
    method: str = option(
        None,
        "How to adapt, as in `deblur video`.",
        "Method",
        complete="methods",
        usual="meta; none with --quality fast",
    )
    network: str = weights(
        None,
        "Weights: a name of `deblur weights list`, a file, default, or best.",
        usual="default; plain-unet with --quality fast",
    )

    def __post_init__(self) -> None:
        fill(self, VIDEO_QUALITIES)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class FramesOptions(MomentOptions):
    """Which frames are taken."""

    every: str = option(
        "0.5s", "Of each interval of this length the sharpest frame: seconds, such as 0.5.", "Result", metavar="TIME"
    )
    start: str | None = option(
        None, "Take frames from there on: seconds, such as 3.5, or minutes and seconds, such as 1:02.", "Result",
        metavar="TIME",
    )  # fmt: skip
    duration: str | None = option(None, "Take frames of a part of this length.", "Result", metavar="TIME")
    form: str = option("png", "Format of the pictures.", "Result", choices=FORMATS, flags=("--format",))

    def __post_init__(self) -> None:
        for name in ("every", "start", "duration"):
            object.__setattr__(self, name, as_time(getattr(self, name)))
        super().__post_init__()
        for name in ("every", "start", "duration"):
            if (text := getattr(self, name)) is not None:
                require_time(f"--{name}", text, above_zero=name != "start")


@dataclass(frozen=True, kw_only=True)
class StillOptions(MomentOptions):
    """Which moment it is."""

    at: str = option(
        help="The moment: seconds, such as 3.2, or minutes and seconds, such as 1:02.", panel="Result", metavar="TIME"
    )
    around: str = option(
        "2s", "Time before and after the moment, to whose frames the networks adapt.", "Result", metavar="TIME"
    )

    def __post_init__(self) -> None:
        for name in ("at", "around"):
            object.__setattr__(self, name, as_time(getattr(self, name)))
        super().__post_init__()
        require_time("--at", self.at)
        require_time("--around", self.around, above_zero=True)
