"""Clips from pictures, where there is no source file to follow: lossless, or to be looked at."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer
from torch import Tensor

from deblurcli.errors import OutputError
from deblurcli.files import OutputFile

VIEWED = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffixes of clips to be looked at, and their containers."""
VIEWED_QUALITY = {"crf": "16", "preset": "fast"}
VIEWED_CLOCK = Fraction(1, 90_000)
"""Seconds; divides the frame times of every usual rate."""
BT709, LIMITED = 1, 1
"""Tags of ITU-T H.273, and FFmpeg's of the range."""


class _Clip:
    """A clip that is begun by its first picture and ends with the context. ``_container`` is opened by the kind."""

    _container: OutputContainer

    def __init__(self, output: OutputFile) -> None:
        self.output, self.frames = output, 0
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                if self._stream is None:
                    raise OutputError(f"{self.output.destination.name} would hold no frames", "give a longer input")
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as failure:
            raise self.output.failed(failure) from failure


class ClipWriter(_Clip):
    """Writes pictures into an output file as 8-bit RGB in FFV1 and Matroska. Use as a context manager.

    Raises OutputError: the file cannot be written, or would hold no frames.
    """

    def __init__(self, output: OutputFile, rate: Fraction) -> None:
        super().__init__(output)
        self.rate = rate
        self._container = av.open(output.file, "w", format="matroska")

    def write(self, picture: Tensor) -> None:
        """Append a picture, 3 x H x W in [0, 1]; all of one size."""
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        try:
            if self._stream is None:
                self._stream = self._container.add_stream("ffv1", rate=self.rate)
                self._stream.height, self._stream.width = pixels.shape[:2]
                self._stream.pix_fmt = "bgr0"
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = self.frames, 1 / self.rate
            self._container.mux(self._stream.encode(frame.reformat(format="bgr0")))
            self.frames += 1
        except (av.FFmpegError, OSError) as failure:
            raise self.output.failed(failure) from failure


class ViewClip(_Clip):
    """Writes pictures to be looked at into an output file: H.264, 8 bits, in MP4, MOV or Matroska by its suffix.

    Use as a context manager. The pictures keep the times that they are given with.

    Raises OutputError: the file cannot be written, or would hold no frames.
    """

    def __init__(self, output: OutputFile) -> None:
        super().__init__(output)
        suffix = output.destination.suffix.lower()
        options = {"movflags": "faststart"} if VIEWED[suffix] != "matroska" else {}
        self._container = av.open(output.file, "w", format=VIEWED[suffix], container_options=options)
        self._last = -1

    def write(self, picture: np.ndarray, seconds: float, rate: Fraction) -> None:
        """Append a picture, uint8 H x W x 3 of even sides, all of one size. ``rate``: frames per second, about."""
        try:
            if self._stream is None:
                self._stream = self._container.add_stream("libx264", rate=rate, options=VIEWED_QUALITY)
                self._stream.height, self._stream.width = picture.shape[:2]
                self._stream.pix_fmt = "yuv420p"
                context = self._stream.codec_context
                context.time_base = VIEWED_CLOCK
                context.colorspace = context.color_primaries = context.color_trc = BT709
                context.color_range = LIMITED
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            self._last = max(self._last + 1, round(seconds / VIEWED_CLOCK))
            frame.pts, frame.time_base = self._last, VIEWED_CLOCK
            self._container.mux(self._stream.encode(frame))
            self.frames += 1
        except (av.FFmpegError, OSError) as failure:
            raise self.output.failed(failure) from failure
