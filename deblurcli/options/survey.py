"""How the sharpest patches of a video are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from deblurcli.options.option import Options, frame_rate, option, require

MIN_PATCH, PATCH_GRID = 64, 32
"""Pixels: the least side of a patch, and what it is a multiple of, as the reblurring network halves it five times."""


@dataclass(frozen=True)
class SequenceOptions(Options):
    """How an image sequence is read."""

    fps: Fraction = frame_rate()


@dataclass(frozen=True)
class SurveyOptions(Options):
    """What `deblur inspect` looks for, and what the meta method adapts to."""

    patches: int = option(12, "Sharpest patches of the video to look for.", "Method", least=1)
    patch_size: int = option(256, "Side of a patch in pixels, a multiple of 32.", metavar="PIXELS")
    seed: int = option(43, "Seed of the patch locations and of their order.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.patch_size >= MIN_PATCH and self.patch_size % PATCH_GRID == 0,
            f"--patch-size {self.patch_size} does not fit the reblurring network",
            f"give a multiple of {PATCH_GRID}, at least {MIN_PATCH}",
        )
