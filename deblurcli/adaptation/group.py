"""Several videos that a method adapts to together: one adaptation, in which every video has an equal share.

Reblur2Deblur (Chen et al., ICCP 2018, table 4) fine-tunes on one video or on a group of them, and finds the group
better. What a method learns from does not grow with their number: they share what one video alone would have. Only to
judge by, each has a patch at least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from deblurcli.adaptation.support import MOMENT, USUAL, SupportPatch
from deblurcli.adaptation.survey import HELD_OUT, Survey, counted, survey
from deblurcli.console import Reporter
from deblurcli.errors import InputError
from deblurcli.media.footage import Footage
from deblurcli.options.survey import SurveyOptions

Seen = TypeVar("Seen")


def shares(total: int, videos: int) -> list[int]:
    """A number parted among videos as evenly as can be; the first ones have one more."""
    return [total // videos + (number < total % videos) for number in range(videos)]


def seen_in_each(
    footages: Sequence[Footage], look: Callable[[int, Footage], Seen], console: Reporter
) -> list[tuple[int, Seen]]:
    """What is seen in each video, with the video's number.

    Of several videos, one that cannot be read is named and left out.

    Args:
        look: a video's number and the video to what is seen in it; may raise InputError.

    Raises:
        InputError: none of the videos can be read.
    """
    found: list[tuple[int, Seen]] = []
    for number, footage in enumerate(footages):
        try:
            found.append((number, look(number, footage)))
        except InputError as error:
            if not found and number == len(footages) - 1:
                raise
            console.warn(f"not adapted to: {error}")
    return found


def surveyed(
    footages: Sequence[Footage],
    options: SurveyOptions,
    console: Reporter,
    *,
    moment: int = MOMENT,
    usual: int = USUAL,
) -> Survey:
    """Survey one video, or several as if they were one; each is looked through once.

    Of several, each gets its share of ``options.patches`` to learn from, and its share of ``HELD_OUT``, but one at
    least, to judge by.

    Args:
        moment, usual: as :func:`deblurcli.adaptation.survey.survey` takes them.

    Raises:
        InputError: none of the videos can be read.
    """
    learnt = shares(options.patches, len(footages))
    judging = [max(share, 1) for share in shares(HELD_OUT, len(footages))]

    def look(number: int, footage: Footage) -> Survey:
        frames = counted(footage.previews(), footage.total, console)
        # Other places in each video.
        seed, count = options.seed + number, learnt[number] + judging[number]
        found = survey(frames, patches=count, size=options.patch_size, seed=seed, moment=moment, usual=usual)
        found.learnt = learnt[number]
        return found

    found = seen_in_each(footages, look, console)
    if len(footages) == 1:
        return found[0][1]
    return joined([each for _, each in found], [footages[number].name for number, _ in found])


def joined(surveys: list[Survey], names: list[str]) -> Survey:
    """Surveys of several videos as one: sharpness and cuts one video after the other, and patches of equal size.

    Those to learn from come first, the videos' in turn. Where one video is smaller than the patches, the others' are
    cut to the middle of them.
    """
    whole = Survey(size=min((found.size for found in surveys if found.patches), default=0), videos=names)
    support: list[tuple[int, SupportPatch]] = []
    held_out: list[SupportPatch] = []
    for number, found in enumerate(surveys):
        whole.cuts += [whole.frames + cut for cut in found.cuts]
        whole.sharpness += found.sharpness
        whole.pixels += found.pixels * found.frames
        patches = [_cropped(replace(patch, video=number), found.size, whole.size) for patch in found.patches]
        support += enumerate(patches[: found.learnt])
        held_out += patches[found.learnt :]
    whole.pixels //= max(whole.frames, 1)
    whole.patches = [patch for _, patch in sorted(support, key=lambda each: each[0])]
    whole.learnt = len(whole.patches)
    whole.patches += held_out
    return whole


def _cropped(patch: SupportPatch, size: int, side: int) -> SupportPatch:
    """The middle of a patch of ``size`` pixels, ``side`` pixels wide and high."""
    start = (size - side) // 2

    if not start:
        return patch

    def cut(crops: Tensor) -> Tensor:
        # A copy: what is cut off must not stay in memory.
        return crops[..., start : start + side, start : start + side].clone()

    window, blurriest, turn = (None if c is None else cut(c) for c in (patch.window, patch.blurriest, patch.turn))
    usual = [cut(crops) for crops in patch.usual]
    y, x = patch.y + start, patch.x + start
    return replace(patch, y=y, x=x, window=window, blurriest=blurriest, turn=turn, usual=usual)
