"""Frames that can be looked through as often as needed: a file's, a shot's, or pictures in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from deblurcli.media.ahead import QUEUE_FRAMES, ahead
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.probe import MediaInfo
from deblurcli.media.sequences import name_of
from deblurcli.media.shots import by_shot
from deblurcli.media.videos import describe, open_video
from deblurcli.networks.spec import unit
from deblurcli.options.compute import LARGE
from deblurcli.options.rates import USUAL_FPS


class Footage:
    """Frames in order; every call of a method is a pass over all of them. Passes raise InputError."""

    name: str
    """For messages: of a file, its name."""
    total: int | None
    """Expected number of frames, for progress only: the header's claim, or None. The length is what decodes."""
    first: int = 0
    """The number of its first frame in the video."""

    def pictures(self) -> Generator[Tensor, None, None]:
        """The frames to restore: float, 3 x H x W in [0, 1]."""
        raise NotImplementedError

    def previews(self) -> Generator[Tensor, None, None]:
        """The frames to look at, faster: bytes where 8 bits suffice, else as ``pictures``; 3 x H x W."""
        return self.pictures()


class VideoFootage(Footage):
    """The frames of a video, or of an excerpt, opened anew for every pass; a ``strict`` pass refuses damage.

    ``fps`` is for image sequences.

    Raises:
        InputError: the file is unusable, as :func:`deblurcli.media.probe.probe` says.
        UsageError: the video ends before the excerpt begins.
    """

    def __init__(
        self, path: Path, *, strict: bool = False, excerpt: Excerpt | None = None, fps: Fraction = USUAL_FPS
    ) -> None:
        whole = describe(path, fps)
        self.info: MediaInfo = whole if excerpt is None else excerpt.of(whole)
        self.strict, self.excerpt, self.fps = strict, excerpt, fps
        self.name, self.total = name_of(path), self.info.expected_frames

    def pictures(self) -> Generator[Tensor, None, None]:
        with self.opened() as reader:
            for frame in reader.frames():
                yield frame.rgb()

    def previews(self) -> Generator[Tensor, None, None]:
        # Closed in this order: the thread that decodes must end before its file does.
        with self.opened() as reader, closing(previewed(reader)) as frames:
            for _, picture in frames:
                yield picture

    def opened(self) -> FrameReader:
        """A new reader of them."""
        return open_video(self.info.path, strict=self.strict, excerpt=self.excerpt, fps=self.fps)


class PictureFootage(Footage):
    """Pictures, 3 x H x W, float in [0, 1] or bytes. Those of an iterator can be looked through once."""

    def __init__(self, pictures: Iterable[Tensor], name: str = "frames") -> None:
        self.name, self.total = name, len(pictures) if isinstance(pictures, Sized) else None
        self._pictures = pictures

    def pictures(self) -> Generator[Tensor, None, None]:
        yield from map(unit, self._pictures)

    def previews(self) -> Generator[Tensor, None, None]:
        yield from self._pictures


def shots(footage: Footage) -> Generator[Footage, None, None]:
    """One shot after the other, found in a single pass over the previews; each can be looked through once.

    Raises:
        InputError: the video cannot be read.
    """
    seen = 0

    def counted(pictures: Iterable[Tensor]) -> Iterator[Tensor]:
        nonlocal seen
        for picture in pictures:
            yield picture
            seen += 1

    with closing(footage.previews()) as frames:
        for number, shot in enumerate(by_shot(counted(frames)), 1):
            found = PictureFootage(shot, f"shot {number} of {footage.name}")
            found.first = seen
            yield found


def previewed(reader: FrameReader) -> Generator[tuple[Frame, Tensor], None, None]:
    """The frames of an open video with their previews, decoded ahead on a thread. Raises InputError.

    The thread ends when this is closed, which must be before the video is.
    """
    video = reader.info.video
    waiting = 1 if video.width * video.height > LARGE else QUEUE_FRAMES
    return ahead(((frame, frame.preview()) for frame in reader.frames()), waiting)
