"""The real command with bytes for stdin, in this process, and what comes out of stdout; videos in a pipe."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np

from deblurcli.cli.app import run


@contextmanager
def _as(number: int, other: int) -> Iterator[None]:
    """While it lasts, a file descriptor is another one."""
    before = os.dup(number)
    os.dup2(other, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)


def deblur_piped(*words: object, stdin: bytes = b"", stdout: int | None = None) -> tuple[int, bytes]:
    """The exit code of a command line, and what it writes to stdout. ``stdout``: to that descriptor instead."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as got:
        given.write(stdin)
        given.seek(0)
        with _as(0, given.fileno()), _as(1, got.fileno() if stdout is None else stdout):
            code = run([str(word) for word in words])
        got.seek(0)
        return code, got.read()


def y4m(frames: Sequence[np.ndarray], pix_fmt: str = "yuv420p", rate: Fraction | int = 25, full: bool = False) -> bytes:
    """Frames, H x W x 3 bytes of RGB, as a stream of y4m that PyAV writes."""
    file = io.BytesIO()
    with av.open(file, "w", format="yuv4mpegpipe", container_options={"strict": "experimental"}) as out:
        stream = out.add_stream("wrapped_avframe", rate=Fraction(rate))
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        stream.codec_context.color_range = 2 if full else 1
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pix_fmt)
            picture.pts, picture.time_base = number, 1 / Fraction(rate)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return file.getvalue()


def planes(content: bytes) -> list[list[bytes]]:
    """The samples of every frame of a stream, as FFmpeg decodes them."""
    with av.open(io.BytesIO(content)) as container:
        found = []
        for frame in container.decode(video=0):
            wide = 2 if frame.format.components[0].bits > 8 else 1
            rows = [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width * wide] for p in frame.planes]
            found.append([each.tobytes() for each in rows])
        return found


def header(content: bytes) -> str:
    """The first line of a stream of y4m."""
    return content.partition(b"\n")[0].decode()


def moving(count: int, height: int = 64, width: int = 96, seed: int = 1) -> list[np.ndarray]:
    """Frames, H x W x 3 bytes, of something soft that moves."""
    rng = np.random.default_rng(seed)
    rough = rng.random((height // 8 + 1, width // 8 + count + 1, 3))
    large = rough.repeat(8, 0).repeat(8, 1)
    return [(255 * large[:height, 4 * n : 4 * n + width]).astype(np.uint8) for n in range(count)]
