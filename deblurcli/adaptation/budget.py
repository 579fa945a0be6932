"""How long an adaptation to a video may take."""

from __future__ import annotations

from deblurcli.adaptation.survey import Survey
from deblurcli.options.meta import MetaOptions

MOST_WORK, SHORT_SHARE = 30 * 1280 * 720, 2
"""Adapting may take as long as restoring so many pixels, or the video so many times if that is less."""
UPDATE_WORK, ALONE_WORK, LOOK_WORK = 7.0, 5.5, 500_000
"""Work of an update for each pixel that it learns from, of a whole network and of a part that restores each frame
alone, and of a look of the guard, in pixels restored; measured."""
FIT_WORK = 2.5
"""Work of the targets and of the fit of the blur for each pixel of the patches."""
USUAL_CROP = 192
"""Side in pixels of what an update learns from with a fitted model of blur: more updates pay more than larger ones."""
LEAST_UPDATES = 5
"""Below this the video is too short to be worth adapting to."""


def side_of(options: MetaOptions, size: int) -> int:
    """Side in pixels of what an update learns from, in patches of ``size``."""
    return min(options.crop or USUAL_CROP, size)


def affordable(found: Survey, options: MetaOptions, side: int, *, alone: bool = False) -> int:
    """How many updates are taken: those asked for, or as many as keep adapting within its time.

    Counted in pixels, not by the clock, so that the same video gets the same updates everywhere. The unit is the work
    of restoring one pixel with the whole network.

    Args:
        side: of what an update learns from, in pixels.
        alone: a part of the network adapts that restores each frame alone.
    """
    patches = len(found.patches) * found.size**2
    return affordable_within(found.frames * found.pixels, patches, options, side, alone=alone)


def affordable_within(pixels: int, patches: int, options: MetaOptions, side: int, *, alone: bool = False) -> int:
    """The same as :func:`affordable`, from the pixels of all frames and those of the patches."""
    if options.steps != "auto":
        return options.updates
    allowed = min(MOST_WORK, SHORT_SHARE * pixels)
    fixed = FIT_WORK * patches + (0 if options.guard == "off" else LOOK_WORK * 3)
    return max(0, min(options.updates, int((allowed - fixed) / _work(options, side, alone))))


def _work(options: MetaOptions, side: int, alone: bool) -> float:
    return (ALONE_WORK if alone else UPDATE_WORK) * side**2 * options.batch
