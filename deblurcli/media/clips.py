"""Plain lossless clips from pictures, where there is no source file to follow."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType

import av
from torch import Tensor

from deblurcli.errors import OutputError
from deblurcli.files import OutputFile


class ClipWriter:
    """Writes pictures into an output file as 8-bit RGB in FFV1 and Matroska. Use as a context manager.

    Raises OutputError: the file cannot be written, or would hold no frames.
    """

    def __init__(self, output: OutputFile, rate: Fraction) -> None:
        self.output, self.rate, self.frames = output, rate, 0
        self._container = av.open(output.file, "w", format="matroska")
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> ClipWriter:
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
