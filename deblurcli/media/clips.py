"""Plain lossless clips from pictures, where there is no source file to follow."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av

from deblurcli.errors import OutputError
from deblurcli.media.files import check_destination, commit, create_part, reason

if TYPE_CHECKING:
    import torch

SUFFIX = ".mkv"


class ClipWriter:
    """Writes pictures as 8-bit RGB in FFV1 and Matroska; the name appears when the file is complete.

    Use as a context manager. Raises UsageError (output exists) and OutputError.
    """

    def __init__(self, destination: Path, rate: Fraction, *, overwrite: bool = False) -> None:
        check_destination(None, destination, overwrite)
        self.destination, self.rate, self.overwrite = destination, rate, overwrite
        self.frames = 0
        self._part = create_part(destination)
        self._container = av.open(str(self._part.absolute()), "w", format="matroska")
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                if self._stream is None:
                    raise OutputError(f"{self.destination.name} would hold no frames", "give a longer input")
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if error is None:
                commit(self._part, self.destination, self.overwrite)
        except (av.FFmpegError, OSError) as failure:
            raise self._failed(failure) from failure
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, picture: "torch.Tensor") -> None:
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
            raise self._failed(failure) from failure

    def _failed(self, failure: Exception) -> OutputError:
        return OutputError(f"{self.destination.name} cannot be written: {reason(failure)}", "free space")
