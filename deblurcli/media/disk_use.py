"""How much room a video takes while it is written, told before the work begins: a few of its frames are encoded."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import av

from deblurcli.media.container import open_input
from deblurcli.media.encoders import Encoding
from deblurcli.media.layout import unpack
from deblurcli.media.reader import Frame, VideoReader
from deblurcli.media.segments import SEGMENT_FRAMES, SegmentEncoder

PLACES = 3
"""Parts of a video at whose beginnings frames are encoded."""
FRAMES_PER_PLACE = 4
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def expected_bytes(source: VideoReader, encoding: Encoding) -> int:
    """About how many bytes the video will have; where no frame of it can be had so, as many as the input has."""
    keyframes: list[int] = []
    others: list[int] = []
    for frames in _samples(source):
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            encoder = SegmentEncoder(encoding, source.info.video)
            packets = [packet for frame in frames for packet in encoder.encode(frame)]
            sizes = [packet.size for packet in (*packets, *encoder.rest())]
            keyframes.append(sizes[0])
            others += sizes[1:]
    if not keyframes:
        return source.info.path.stat().st_size
    count, key = source.inventory.packets, sum(keyframes) / len(keyframes)
    segments = -(-count // SEGMENT_FRAMES)
    return round(segments * key + (count - segments) * (sum(others) / len(others) if others else key))


def _samples(source: VideoReader) -> Iterator[list[Frame]]:
    """Frames from some places of the video, as they are decoded behind a keyframe."""
    video, layout, piece = source.info.video, source.layout, source.excerpt is not None
    length = source.info.duration if piece else video.duration
    with contextlib.suppress(av.FFmpegError, OSError), open_input(source.info.path) as container:
        stream = container.streams[source.stream.index]
        for place in range(PLACES):
            frames: list[Frame] = []
            with contextlib.suppress(av.FFmpegError, OSError, ValueError, IndexError):
                if length and (place or piece):
                    at = video.start + round(length * place / PLACES / video.time_base)
                    container.seek(at, stream=stream)
                for picture in itertools.islice(container.decode(stream), FRAMES_PER_PLACE):
                    shape = (picture.width, picture.height, picture.format.name)
                    if shape == (video.width, video.height, video.pix_fmt):
                        pts = video.start + len(frames) * source.usual_duration
                        planes = unpack(picture, layout)
                        frames.append(Frame(planes, layout, pts, video.time_base, source.usual_duration, picture))
            if frames:
                yield frames
            if not length:
                return


def free_bytes(folder: Path) -> int | None:
    """What is free where a folder is or will be; None where the file system does not say."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def readable_size(count: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"
