"""Streaming decoding: one frame at a time, with the source's own samples and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import numpy as np

from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media.layout import PlaneLayout, layout_of, unpack
from deblurcli.media.probe import MediaInfo, open_input, probe, time_of

if TYPE_CHECKING:
    from torch import Tensor

MAX_FAILURES = 100
"""Damaged packets in a row after which a file is given up."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture in the source's own samples."""

    planes: tuple[np.ndarray, ...]
    """uint8 or uint16, H x W, chroma as stored, in the order Y, U, V[, A] or G, B, R[, A] or grey."""
    layout: PlaneLayout
    pts: int
    """Presentation time in units of ``time_base``, as ``duration`` is."""
    time_base: Fraction
    """Seconds."""
    duration: int
    picture: av.VideoFrame | None = field(default=None, repr=False)
    """As decoded: its side data (captions, HDR data, field order) travels to the encoder."""

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    def rgb(self) -> Tensor:
        """Float32 RGB, 3 x H x W in [0, 1], contiguous."""
        from deblurcli.media.colour import to_rgb

        return to_rgb(self.planes, self.layout)

    def preview(self) -> Tensor:
        """RGB to look at, faster than ``rgb()``: uint8, 3 x H x W, rounded; ``rgb()`` itself for more than 8 bits."""
        from deblurcli.media.colour import to_rgb8

        return to_rgb8(self.planes, self.layout) if self.layout.depth <= 8 else self.rgb()

    def with_change(self, change: Tensor) -> Frame:
        """A new frame with an RGB difference added (restored - ``rgb()``): float, 3 x H x W.

        A zero change gives the same samples bit for bit; alpha is not touched.
        """
        from deblurcli.media.colour import add_change

        return replace(self, planes=add_change(self.planes, self.layout, change))


class VideoReader:
    """Decodes one video stream, in constant memory. Use as a context manager; read through once.

    Args:
        path: the video.
        copied: ``items`` also yields the packets of the other streams.

    Attributes:
        decode_failures: packets that were damaged or missing.
        nudged: frames whose time was absent or not after the frame before; each is moved by as little as possible.

    Raises:
        InputError: the file is unusable, as :func:`deblurcli.media.probe.probe` says.
    """

    def __init__(self, path: Path, *, copied: bool = False) -> None:
        self.info: MediaInfo = probe(path)
        self.container = open_input(self.info.path)
        self.stream = self.container.streams[self.info.video.index]
        self.stream.thread_type = "AUTO"
        self.layout: PlaneLayout = layout_of(self.info.video.pix_fmt, self.info.video.colour)
        self.decode_failures = 0
        self.nudged = 0
        self.copied = copied

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        """The frames in order of time. Raises InputError if nothing decodes, or if size or format change."""
        return (item for item in self.items() if isinstance(item, Frame))

    def items(self) -> Iterator[Frame | av.Packet]:
        """Frames and, if ``copied``, the other streams' packets, in the order of the file."""
        # A frame is held back until the next one tells how long it lasts.
        held: Frame | None = None
        for item in self._decoded():
            if isinstance(item, av.Packet):
                yield item
                continue
            frame = self._timed(item, held)
            if held:
                yield replace(held, duration=frame.pts - held.pts)
            held = frame
        if held is None:
            raise InputError(f"{self.info.path.name} holds no frame that decodes", "re-mux it, or copy it again")
        last = self._last(held)
        self._count_shortfall(last)
        yield last

    def _decoded(self) -> Iterator[av.VideoFrame | av.Packet]:
        in_a_row = 0
        packets = self._demux()
        while True:
            frames: list[av.VideoFrame] = []
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                in_a_row = self._failed(in_a_row, error)
                packets = self._demux()  # go on behind the damage
                continue
            if packet is None:
                return
            if packet.stream.index != self.stream.index:
                if packet.size:  # an empty one only marks the end
                    yield packet
                continue
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError) as error:
                in_a_row = self._failed(in_a_row, error)
            for frame in frames:
                in_a_row = 0
                self.decode_failures += frame.is_corrupt
                yield frame

    def _failed(self, in_a_row: int, error: Exception) -> int:
        self.decode_failures += 1
        if in_a_row + 1 < MAX_FAILURES:
            return in_a_row + 1
        found = f"{self.info.path.name}: {MAX_FAILURES} damaged packets in a row ({reason(error)})"
        raise InputError(found, "copy it again, or cut out the damaged part") from error

    def _demux(self) -> Iterator[av.Packet]:
        return self.container.demux(*([] if self.copied else [self.stream]))

    def _timed(self, frame: av.VideoFrame, before: Frame | None) -> Frame:
        video = self.info.video
        pts = time_of(frame, self.info.container)
        if before and (pts is None or pts <= before.pts):
            self.nudged += 1
            pts = before.pts + (1 if pts is not None else self._usual_duration())
        elif pts is None:
            pts = video.start
        found = (frame.width, frame.height, frame.format.name)
        if found != (video.width, video.height, video.pix_fmt):
            was = f"{video.width}x{video.height} {video.pix_fmt}"
            now = f"{found[0]}x{found[1]} {found[2]}"
            at = float(pts * video.time_base)
            raise InputError(f"{self.info.path.name} changes from {was} to {now} at {at:.2f} s", "split it there first")
        return Frame(unpack(frame, self.layout), self.layout, pts, video.time_base, frame.duration or 0, frame)

    def _usual_duration(self) -> int:
        video = self.info.video
        return max(1, round(1 / (video.rate * video.time_base))) if video.rate else 1

    def _last(self, frame: Frame) -> Frame:
        """The last frame lasts until the stream's claimed end, where that is known and near."""
        video = self.info.video
        usual = self._usual_duration()
        duration = frame.duration or usual
        if video.duration:
            rest = round(video.duration / video.time_base) - (frame.pts - video.start)
            if 0 < rest <= 10 * max(usual, duration):
                duration = rest
        return replace(frame, duration=duration)

    def _count_shortfall(self, last: Frame) -> None:
        """A Matroska file that was cut gives no error; its header still claims the full length."""
        video = self.info.video
        if "matroska" in self.info.container and video.duration and not self.decode_failures:
            end = (last.pts + last.duration) * video.time_base
            if video.duration - end > 2 * self._usual_duration() * video.time_base:
                self.decode_failures += 1
