"""The pictures of files, and of two files in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from deblurcli.errors import InputError
from deblurcli.media.canvas import resized
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.images import read_image
from deblurcli.media.inputs import is_picture
from deblurcli.media.probe import VideoInfo
from deblurcli.media.videos import open_video
from deblurcli.options.rates import USUAL_FPS

Picture = TypeVar("Picture")


class Moment(NamedTuple):
    """A picture as it is looked at: uint8, H x W x 3, upright, with square pixels."""

    picture: np.ndarray
    seconds: float
    """From the first picture of its file."""


def side_by_side(
    restored: Path, reference: Path, damage: list[str], beside: Path | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The pictures of two files in step; ``beside``: what both are compared with, as of :func:`pictures`.

    Raises InputError where they are not of one size and length.
    """
    read = [pictures(restored, damage, beside or reference), pictures(reference, damage, beside or restored)]
    return in_step(restored, reference, read, lambda picture: (picture.shape[2], picture.shape[1]))


def moments_in_step(
    before: Path, after: Path, damage: list[str], excerpt: Excerpt | None = None, fps: Fraction = USUAL_FPS
) -> Iterator[tuple[Moment, Moment]]:
    """The same, to be looked at; ``excerpt``: the part of the first that is; ``fps``: of image sequences.

    Raises InputError, also where one is a picture and the other a video.
    """
    stills = [is_picture(before, after), is_picture(after, before)]
    if stills[0] != stills[1]:
        still, moving = (before, after) if stills[0] else (after, before)
        raise InputError(f"{still} is a picture, {moving} is a video", "compare two of one kind")
    read = [moments(before, damage, excerpt, fps, after), moments(after, damage, fps=fps, beside=before)]
    return in_step(before, after, read, lambda moment: moment.picture.shape[1::-1])


def in_step(
    one: Path, other: Path, read: Sequence[Iterator[Picture]], size: Callable[[Picture], Any]
) -> Iterator[tuple[Picture, Picture]]:
    """What is read of two files, pair by pair. ``size``: width and height of a picture.

    Raises InputError where they are not of one size and length.
    """
    for count, (first, second) in enumerate(zip_longest(*read)):
        if first is None or second is None:
            longer = other if first is None else one
            raise InputError(f"{longer} has more than the other's {count} frames", "compare videos of equal length")
        if size(first) != size(second):
            sizes = ["x".join(map(str, size(picture))) for picture in (first, second)]
            raise InputError(f"{one} is {sizes[0]}, {other} is {sizes[1]}", "compare pictures of equal size")
        yield first, second


def pictures(path: Path, damage: list[str], beside: Path | None = None) -> Iterator[Tensor]:
    """The pictures of a file; ``damage`` gets a line for each kind that a video has. ``beside``: what it is compared
    with, which tells whether an animation is a picture."""
    if is_picture(path, beside):
        yield read_image(path).rgb()
        return
    with open_video(path) as reader:
        for frame in reader.frames():
            yield frame.rgb()
        damage += [f"{path.name}: {line}" for line in reader.damage.lines()]


def moments(
    path: Path,
    damage: list[str],
    excerpt: Excerpt | None = None,
    fps: Fraction = USUAL_FPS,
    beside: Path | None = None,
) -> Iterator[Moment]:
    """The same, to be looked at."""
    if is_picture(path, beside):
        yield Moment(_bytes(read_image(path).preview()), 0.0)
        return
    with open_video(path, excerpt=excerpt, fps=fps) as reader:
        video = reader.info.video
        for frame in reader.frames():
            seconds = float((frame.pts - video.start) * frame.time_base)
            yield Moment(upright(_bytes(frame.preview()), video), seconds)
        damage += [f"{path.name}: {line}" for line in reader.damage.lines()]


def _bytes(picture: Tensor) -> np.ndarray:
    """3 x H x W, bytes or in [0, 1], to H x W x 3 bytes."""
    levels = picture if picture.dtype == torch.uint8 else (picture.clamp(0, 1) * 255).round().byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def upright(picture: np.ndarray, video: VideoInfo) -> np.ndarray:
    """As a player shows it: its pixels made square, then turned."""
    ratio = float(video.sample_aspect_ratio or 1)
    if ratio != 1:
        picture = resized(picture, max(1, round(picture.shape[1] * ratio)), picture.shape[0])
    return np.ascontiguousarray(np.rot90(picture, video.rotation // 90))
