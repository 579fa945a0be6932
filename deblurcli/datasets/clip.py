"""A clip of pairs: the frames of a video, each blurred and sharp, read when they are asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from deblurcli.datasets.folders import Pair
from deblurcli.errors import InputError
from deblurcli.media.footage import Footage, unit
from deblurcli.media.frames import Frame
from deblurcli.media.images import read_image
from deblurcli.media.inputs import VIDEO_SUFFIXES
from deblurcli.media.reader import VideoReader

Pictures = tuple[Tensor, Tensor]
"""A blurred and a sharp picture, 3 x H x W each."""


@dataclass(frozen=True)
class Clip:
    """The frames of one video in order.

    Args:
        name: its path below the dataset.
        pairs: files of single pictures, a pair for each frame, or one pair of videos.
        sizes_vary: whether the pictures may differ in size from frame to frame.
    """

    name: str
    pairs: tuple[Pair, ...]
    sizes_vary: bool = False

    @property
    def is_video(self) -> bool:
        """Whether the frames are in two video files."""
        return is_video(self.pairs[0][0])

    def frames(self, limit: int | None = None) -> Iterator[Pictures]:
        """The frames, blurred and sharp: bytes, or float in [0, 1] where a picture has 16 bits.

        A frame or two are in memory. ``limit``: frames to stop after.

        Raises InputError: a file cannot be read, or the two sides differ in size or length.
        """
        return islice(self._video() if self.is_video else map(read_pair, self.pairs), limit)

    def _video(self) -> Iterator[Pictures]:
        (blurred, sharp), *_ = self.pairs
        with ExitStack() as stack:
            one, two = (stack.enter_context(VideoReader(path)) for path in (blurred, sharp))
            yield from together(one.frames(), two.frames(), blurred, sharp)


class ClipFootage(Footage):
    """The blurred frames of a clip, to adapt to; those of varying size are cut to what all of them have.

    Args:
        limit: frames to stop after.

    Raises InputError: a picture cannot be read.
    """

    def __init__(self, clip: Clip, limit: int | None = None) -> None:
        self.name, self.clip, self.limit = clip.name, clip, limit
        self.total = None if clip.is_video else len(clip.pairs[:limit])
        self._size: tuple[int, int] | None = None
        if clip.sizes_vary and not clip.is_video:
            height, width = zip(*(picture.shape[-2:] for picture in self._blurred()), strict=True)
            self._size = min(height), min(width)

    def _blurred(self) -> Iterator[Tensor]:
        """The sharp side is for measuring alone, and is not opened here."""
        if self.clip.is_video:
            with VideoReader(self.clip.pairs[0][0]) as reader:
                yield from ((frame.rgb() * 255).round().byte() for frame in islice(reader.frames(), self.limit))
        else:
            yield from (pixels(blurred) for blurred, _ in self.clip.pairs[: self.limit])

    def pictures(self) -> Generator[Tensor, None, None]:
        yield from map(unit, self.previews())

    def previews(self) -> Generator[Tensor, None, None]:
        for picture in self._blurred():
            if self._size is None:
                yield picture
            else:
                (height, width), (tall, wide) = picture.shape[-2:], self._size
                top, left = (height - tall) // 2, (width - wide) // 2
                yield picture[:, top : top + tall, left : left + wide].contiguous()


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def pixels(path: Path) -> Tensor:
    """A picture, 3 x H x W: bytes, or float in [0, 1] where the file has 16 bits. Raises InputError."""
    return read_image(path).preview()


def read_pair(pair: Pair) -> Pictures:
    """The pictures of a pair of files. Raises InputError: one cannot be read, or their sizes differ."""
    blurred, sharp = map(pixels, pair)
    require_equal(blurred, sharp, *pair)
    return blurred, sharp


def together(one: Iterator[Frame], two: Iterator[Frame], blurred: Path, sharp: Path) -> Iterator[Pictures]:
    """The frames of a pair of videos as bytes. Raises InputError where sizes or lengths differ."""
    while True:
        frames = next(one, None), next(two, None)
        if frames == (None, None):
            return
        if frames[0] is None or frames[1] is None:
            raise InputError(f"{blurred} and {sharp} have different numbers of frames", "take them away")
        left, right = ((frame.rgb() * 255).round().byte() for frame in (frames[0], frames[1]))
        require_equal(left, right, blurred, sharp)
        yield left, right


def require_equal(one: Tensor, two: Tensor, blurred: Path, sharp: Path) -> None:
    """Refuse a pair of pictures that differ in size. Raises InputError."""
    if one.shape != two.shape:
        sizes = " and ".join(f"{p.shape[-1]}x{p.shape[-2]}" for p in (one, two))
        raise InputError(f"{blurred} and {sharp} are {sizes}", "take them away, or make them again")
